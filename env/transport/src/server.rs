//! Listens, and gives every connection its tasks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use env::Clock;
use env::net::{Listener, Net};
use tokio::sync::{Semaphore, watch};

use crate::limits::{ACCEPT_RETRY_MS, SHUTDOWN_MS_MAX};
use crate::link::{Link, budget};
use crate::{Limits, Service};

/// A server that runs until it is shut down or dropped.
pub struct Server {
    local_addr: SocketAddr,
    clock: Arc<dyn Clock>,
    stop: watch::Sender<bool>,
}

/// Listens at `addr` (port 0 takes a free one) and serves until the result is shut down or dropped.
///
/// # Errors
/// What the network says to listening there.
pub async fn serve(
    net: Arc<dyn Net>,
    clock: Arc<dyn Clock>,
    addr: SocketAddr,
    service: Arc<dyn Service>,
    limits: Limits,
) -> io::Result<Server> {
    let listener = net.listen(addr).await?;
    let local_addr = listener.local_addr();
    let stop = watch::Sender::new(false);
    let link = Link {
        clock: Arc::clone(&clock),
        service: Some(service),
        limits,
        budget: budget(&limits),
        stop: stop.subscribe(),
    };
    tokio::spawn(accept_loop(listener, link));
    Ok(Server { local_addr, clock, stop })
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Ends listening and all connections, and waits until the calls under way are through, at most
    /// [`SHUTDOWN_MS_MAX`] milliseconds. Their answers are not sent any more.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        tokio::select! {
            () = self.stop.closed() => {}
            () = self.clock.sleep_ms(SHUTDOWN_MS_MAX) => {
                tracing::warn!(addr = %self.local_addr, "calls still under way after shutdown");
            }
        }
    }
}

async fn accept_loop(mut listener: Box<dyn Listener>, link: Link) {
    let places = Arc::new(Semaphore::new(link.limits.connections_max));
    let mut stop = link.stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok(stream), Ok(place)) => drop(link.start(stream, place)),
            // Dropping the stream closes it: better than a client that waits in a backlog nobody looks at.
            (Ok(stream), Err(_)) => tracing::warn!(peer = %stream.peer, "too many connections"),
            (Err(error), _) => {
                tracing::warn!(%error, "cannot accept");
                link.clock.sleep_ms(ACCEPT_RETRY_MS).await;
            }
        }
    }
}
