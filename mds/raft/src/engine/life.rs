//! Tracks whether an engine runs: its tasks own parts of its life, and drop them when they end.
//!
//! The engine itself reports the error with which it stopped, but not a task that panicked. This
//! module detects that, since a panic drops what its task owns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
struct State {
    core_ended: AtomicBool,
    machine_panicked: AtomicBool,
}

/// The life of an engine. Clones are the same life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    state: Arc<State>,
}

/// The task of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// The task that decides: without it there is no engine, however it ended.
    Core,
    /// The task that applies entries. If it ends with an error, the core learns of it and ends too.
    Machine,
}

/// Owned by one task for as long as it runs.
#[derive(Debug)]
pub(crate) struct Part {
    life: Life,
    task: Task,
}

impl Life {
    /// A task's part.
    pub(crate) fn part(&self, task: Task) -> Part {
        Part { life: self.clone(), task }
    }

    /// Whether the engine has ended, or can do nothing any more.
    pub(crate) fn is_over(&self) -> bool {
        self.state.core_ended.load(Ordering::Acquire) || self.state.machine_panicked.load(Ordering::Acquire)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let state = &self.life.state;
        match self.task {
            Task::Core => state.core_ended.store(true, Ordering::Release),
            Task::Machine if std::thread::panicking() => {
                state.machine_panicked.store(true, Ordering::Release)
            }
            Task::Machine => {}
        }
    }
}
