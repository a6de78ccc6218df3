//! The thread on which a metadata server lives: front, Raft engine, log and state machine hand over to each other without
//! a change of thread, and the log's small flushes are made right there (docs/adr/0006-one-thread-for-a-shard.md).
//!
//! Simulations start their servers on their own one thread instead.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The handle on the thread; dropping it ends the thread and everything that runs on it.
pub(crate) struct ShardThread {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl ShardThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses it.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("shard".to_owned()).spawn(move || {
            // An error is the handle's drop, which is the only news there is.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { runtime: handle, _end: end })
    }

    /// Runs a future there; what it spawns stays there.
    ///
    /// # Errors
    /// When the future panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        self.runtime.spawn(future).await.map_err(io::Error::other)
    }
}
