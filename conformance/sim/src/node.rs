//! A node: the tasks of one process, which run until they have nothing left to do, and end all at
//! once.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

/// The tasks of a process.
pub(crate) struct Process {
    runtime: Runtime,
    idle: Arc<Idle>,
    /// Up to where the runtime's own clock was moved: the Raft engine reads it.
    clock_ns: u64,
}

/// Told by the runtime when no task can run.
#[derive(Default)]
struct Idle {
    reached: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Process {
    /// A process that begins when the node's clock shows this.
    pub(crate) fn new(now_ns: u64) -> Self {
        let idle = Arc::new(Idle::default());
        let told = Arc::clone(&idle);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || {
                told.reached.store(true, Ordering::Relaxed);
                if let Some(waker) = told.waker.lock().take() {
                    waker.wake();
                }
            })
            .build()
            .expect("a runtime without I/O needs nothing");
        Self { runtime, idle, clock_ns: now_ns }
    }

    /// Starts a task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    /// Runs all tasks until none can go on at this time, which is what the node's clock shows.
    pub(crate) fn run(&mut self, now_ns: u64) {
        let step = Duration::from_nanos(now_ns - self.clock_ns);
        self.clock_ns = now_ns;
        let idle = &self.idle;
        self.runtime.block_on(async {
            if !step.is_zero() {
                tokio::time::advance(step).await;
            }
            idle.reached.store(false, Ordering::Relaxed);
            poll_fn(|context| {
                if idle.reached.load(Ordering::Relaxed) {
                    return Poll::Ready(());
                }
                *idle.waker.lock() = Some(context.waker().clone());
                Poll::Pending
            })
            .await;
        });
    }
}
