//! A bounded pool of named threads for calls that block.
//!
//! Callers wait (asynchronously) for a place in the queue; a job once queued always runs, even if
//! its caller is gone. Threads end when the pool is dropped and the queue is empty.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use crate::limits::SUBMISSIONS_MAX;

type Job = Box<dyn FnOnce() + Send>;

/// The handle; the last one dropped ends the threads.
pub(super) struct ThreadPool {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl ThreadPool {
    /// Starts `threads` threads named `name-0`, `name-1`, …
    pub(super) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let queue = Mutex::new(Queue { jobs: VecDeque::new(), closed: false });
        let shared = Arc::new(Shared { queue, filled: Condvar::new() });
        let pool = Self { shared: Arc::clone(&shared), places: Arc::new(Semaphore::new(SUBMISSIONS_MAX)) };
        for index in 0..threads {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("{name}-{index}")).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Runs `job` on a thread of the pool and answers what it answered.
    pub(super) async fn run<T: Send + 'static>(
        self: Arc<Self>,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("never closed");
        let (answer, answered) = oneshot::channel();
        self.shared.push(Box::new(move || {
            let result = job();
            drop(place);
            // A caller that went away does not want the answer.
            let _ = answer.send(result);
        }));
        answered.await.unwrap_or_else(|_| Err(io::Error::other("a disk thread panicked")))
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.filled.notify_all();
    }
}

impl Shared {
    fn push(&self, job: Job) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs.push_back(job);
        self.filled.notify_one();
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // A job that panics answers its caller by dropping the channel; the thread goes on.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
