//! The thread of a metadata server: front, Raft engine, log and state machine pass work to each
//! other without a change of thread, and the log's small flushes are made right there
//! (docs/adr/0006-one-thread-for-a-shard.md).
//!
//! Simulations run their servers on a single thread of their own instead.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The handle of the thread; dropping it ends the thread and all its tasks.
pub(crate) struct ShardThread {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl ShardThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses it.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("shard".to_owned()).spawn(move || {
            // An error is the drop of the handle, which is the signal.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { runtime: handle, _end: end })
    }

    /// Runs a future on the thread; tasks that it spawns stay there.
    ///
    /// # Errors
    /// If the future panicked.
    pub(crate) async fn run_future<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        self.runtime.spawn(future).await.map_err(io::Error::other)
    }
}
