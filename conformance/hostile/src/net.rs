//! TCP from a chosen address of the loopback network and, if wanted, from a port below 1024: so one
//! machine is many hosts.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use env::BoxFuture;
use env::net::{Listener, Net, Stream};
use env::os::tokio_net::connected;
use tokio::net::{TcpSocket, TcpStream};

/// Ports that only root may bind and that programs seldom have.
const RESERVED: std::ops::Range<u16> = 600..1024;

/// Where connections come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Via {
    /// The host.
    pub(crate) from: Ipv4Addr,
    /// From a port below 1024, which servers may ask for.
    pub(crate) reserved: bool,
    /// Bytes that the kernel keeps of what was received and not read; `None`: as it likes.
    pub(crate) receive_bytes: Option<u32>,
}

impl Via {
    /// From a host's address.
    pub(crate) fn host(from: Ipv4Addr, reserved: bool) -> Self {
        Self { from, reserved, receive_bytes: None }
    }

    /// Connects.
    ///
    /// # Errors
    /// What the kernel says; `AddrInUse` if no reserved port is free.
    pub(crate) async fn open(self, to: SocketAddr) -> io::Result<TcpStream> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        if !self.reserved {
            return self.open_at(0, to).await;
        }
        let count = RESERVED.end - RESERVED.start;
        for _ in 0..count {
            let port = RESERVED.start + NEXT.fetch_add(1, Ordering::Relaxed) % count;
            match self.open_at(port, to).await {
                Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable) => {}
                done => return done,
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    async fn open_at(self, port: u16, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        if let Some(bytes) = self.receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(SocketAddr::new(IpAddr::V4(self.from), port))?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Net for Via {
    fn listen(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(std::future::ready(Err(ErrorKind::Unsupported.into())))
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        let via = *self;
        Box::pin(async move { connected(via.open(to).await?) })
    }
}
