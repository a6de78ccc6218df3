//! Explains slow operations: finds the longest of an operation's waits, for the log line.
//!
//! Waits are recorded beside the work, not passed through it: they are for people only, and no
//! decision depends on them. Work in other tasks is not covered.

use std::cell::Cell;
use std::fmt;

use env::Clock;
use layout::{DataServerId, ExtentId};

tokio::task_local! {
    /// The longest wait of the running operation.
    static LONGEST: Cell<Option<(u64, Wait)>>;
}

/// The subject of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    what: &'static str,
    extent: Option<ExtentId>,
    server: Option<DataServerId>,
}

impl Wait {
    /// A wait with a subject only.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, extent: None, server: None }
    }

    /// Adds the extent.
    pub(crate) fn of(self, extent: ExtentId) -> Self {
        Self { extent: Some(extent), ..self }
    }

    /// Adds the data server.
    pub(crate) fn at(self, server: DataServerId) -> Self {
        Self { server: Some(server), ..self }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if let Some(server) = self.server {
            write!(f, ", data server {server}")?;
        }
        match self.extent {
            Some(extent) => write!(f, ", extent {extent}"),
            None => Ok(()),
        }
    }
}

/// Runs an operation; also returns its longest wait and the subject of that.
pub(crate) async fn noting<T>(operation: impl Future<Output = T>) -> (T, Option<(u64, Wait)>) {
    let noted = async {
        let done = operation.await;
        (done, LONGEST.with(Cell::get))
    };
    LONGEST.scope(Cell::new(None), noted).await
}

/// Waits, and records the time for the running operation.
pub(crate) async fn waited<T>(clock: &dyn Clock, wait: Wait, work: impl Future<Output = T>) -> T {
    let began_ms = clock.monotonic_ms();
    let done = work.await;
    note(clock.monotonic_ms().saturating_sub(began_ms), wait);
    done
}

fn note(spent_ms: u64, wait: Wait) {
    // Outside of an operation the wait is not recorded.
    let _ = LONGEST.try_with(|longest| {
        if longest.get().is_none_or(|(ms, _)| ms < spent_ms) {
            longest.set(Some((spent_ms, wait)));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_wait_is_noted_with_what_it_was_for() {
        let cut = Wait::new("a cut").of(ExtentId { ino: 5, index: 2 }).at(DataServerId(3));
        let operation = async {
            note(7, Wait::new("a majority"));
            note(40, cut);
            note(9, Wait::new("a majority"));
            "done"
        };
        let (done, longest) = noting(operation).await;
        assert_eq!((done, longest), ("done", Some((40, cut))));
        let words = cut.to_string();
        assert!(words.starts_with("a cut, data server 3, extent ") && words.contains('5'), "{words}");
        assert_eq!(noting(async {}).await.1, None, "each operation has its own");
        note(1, cut);
    }
}
