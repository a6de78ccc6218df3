//! Runs work on the store on a thread that may wait for a device, or in place if the store never
//! waits.
//!
//! A store in memory never waits. So a simulation has one thread, and its runs repeat.

use std::io;

/// Runs `work`, on a thread of its own if it `waits`.
///
/// # Errors
/// If the work panicked on its thread.
pub(super) async fn run_work<T: Send + 'static>(
    waits: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    if !waits {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
