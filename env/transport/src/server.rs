//! Listens, and gives every connection its tasks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use env::Clock;
use env::net::{Listener, Net, Stream};
use tokio::sync::watch;

use crate::budget::Budget;
use crate::door::{Door, Verdict};
use crate::limits::{ACCEPT_RETRY_MS, SHUTDOWN_MS_MAX};
use crate::link::Link;
use crate::{Connection, Limits, LogRate, Service};

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
        budget: Budget::of(&limits, net.is_machine()),
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

/// A connection's place; given back when this is dropped.
struct Inside {
    door: Arc<Mutex<Door<Connection>>>,
    from: IpAddr,
    id: u64,
}

impl Drop for Inside {
    fn drop(&mut self) {
        lock(&self.door).leave(self.from, self.id);
    }
}

fn lock(door: &Mutex<Door<Connection>>) -> MutexGuard<'_, Door<Connection>> {
    // What it says is right after each of its acts.
    door.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a connection in, in the place of another one if there is none left.
fn let_in(door: &Arc<Mutex<Door<Connection>>>, link: &Link, stream: Stream) {
    let from = stream.peer.ip();
    match lock(door).decide(from, Connection::is_proven) {
        Verdict::Enter => {}
        Verdict::Replaces(other) => {
            tracing::debug!(peer = %stream.peer, other = %other.peer(), "too many connections: one gives way");
            other.close();
        }
        // Dropping the stream closes it: better than a client that waits in a backlog for
        // ever.
        Verdict::Full => {
            tracing::debug!(peer = %stream.peer, "too many connections");
            return;
        }
    }
    link.start(stream, |connection| {
        let id = connection.id();
        lock(door).enter(from, id, connection.clone());
        Inside { door: Arc::clone(door), from, id }
    });
}

async fn accept_loop(mut listener: Box<dyn Listener>, link: Link) {
    let door = Arc::new(Mutex::new(Door::new(link.limits.connections_max)));
    let mut stop = link.stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok(stream) => let_in(&door, &link, stream),
            Err(error) => {
                static RATE: LogRate = LogRate::new();
                if let Some(suppressed) = RATE.admit(link.clock.monotonic_ms()) {
                    tracing::warn!(%error, suppressed, "cannot accept");
                }
                link.clock.sleep_ms(ACCEPT_RETRY_MS).await;
            }
        }
    }
}
