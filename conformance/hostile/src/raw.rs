//! Bytes on a connection, with no regard for what a client should do: records, parts of records,
//! and answers not taken.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire_rpc::{Credential, mark_bytes};
use wire_xdr::{Encode, Reader, Writer};

use crate::failed::{Outcome, failed};
use crate::net::Via;

/// A connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    /// Opens one.
    pub(crate) async fn open(via: Via, to: SocketAddr) -> Outcome<Self> {
        match timeout(Duration::from_secs(10), via.open(to)).await {
            Ok(stream) => Ok(Self { stream: stream? }),
            Err(_) => Err(failed(format!("{to} does not answer"))),
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Takes one record of one fragment, within a time.
    pub(crate) async fn take(&mut self, within: Duration) -> Outcome<Bytes> {
        let take = async {
            let mut head = [0; 4];
            self.stream.read_exact(&mut head).await?;
            let bytes = (u32::from_be_bytes(head) & 0x7fff_ffff) as usize;
            if 4 << 20 < bytes {
                return Err(failed(format!("a record of {bytes} bytes")));
            }
            let mut record = vec![0; bytes];
            self.stream.read_exact(&mut record).await?;
            Ok(Bytes::from(record))
        };
        timeout(within, take).await.unwrap_or_else(|_| Err(failed("no answer in time")))
    }

    /// Whether something came that was not taken, or the other side has closed it; nothing is
    /// taken.
    pub(crate) async fn has_come(&self) -> bool {
        timeout(Duration::from_millis(1), self.stream.peek(&mut [0])).await.is_ok()
    }

    /// Whether the other side has closed it; what came is thrown away.
    pub(crate) fn is_closed(&self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// A call as a record.
pub(crate) fn record(
    xid: u32,
    (program, version, procedure): (u32, u32, u32),
    credential: &Credential,
    args: Writer,
) -> Vec<u8> {
    let mut call = wire_rpc::call(xid, program, version, procedure, credential);
    call.append(args);
    let bytes = call.into_bytes();
    let mut record = mark_bytes(bytes.len()).to_vec();
    record.extend_from_slice(&bytes);
    record
}

/// Arguments as bytes.
pub(crate) fn encoded(args: &impl Encode) -> Writer {
    let mut writer = Writer::new();
    args.encode(&mut writer);
    writer
}

/// The results of a reply that says that the call ran; otherwise what it says.
pub(crate) fn results(record: Bytes) -> Outcome<Reader> {
    match wire_rpc::parse(record).map_err(|error| failed(format!("{error:?}")))? {
        wire_rpc::Message::Reply(header, reader) if header.status == wire_rpc::ReplyStatus::Success => {
            Ok(reader)
        }
        wire_rpc::Message::Reply(header, _) => Err(failed(format!("{:?}", header.status))),
        _ => Err(failed("a call, not a reply")),
    }
}
