//! The operations of the current file: the last ones in memory, all in a log outside the mount; and
//! the watch that reports an operation that does not end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::operation::Step;

/// How many operations a report shows.
const SHOWN: usize = 30;
/// An operation that takes longer is stuck: a killed server is back much earlier.
const STUCK: Duration = Duration::from_secs(150);

/// What was done, and when the operation under way began.
pub(super) struct History {
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    last: VecDeque<String>,
    log: Option<BufWriter<File>>,
    under_way: Option<Instant>,
}

impl History {
    /// With a log at `path`, if there is one.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(super) fn new(path: Option<&Path>) -> Result<Self> {
        let log = path.map(|path| File::create(path).with_context(|| format!("log {}", path.display())));
        let log = log.transpose()?.map(BufWriter::new);
        let inner = Inner { last: VecDeque::new(), log, under_way: None };
        Ok(Self { began: Instant::now(), inner: Mutex::new(inner) })
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("its holders do not panic")
    }

    /// A new file: the log begins again.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(super) fn restart(&self, line: &str) -> Result<()> {
        let mut inner = self.inner();
        inner.last.clear();
        if let Some(log) = &mut inner.log {
            log.flush()?;
            log.get_ref().set_len(0)?;
            log.rewind()?;
            writeln!(log, "{line}")?;
        }
        Ok(())
    }

    /// An operation begins; `own` if this guest performs it.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(super) fn begin(&self, step: &Step, size: u64, own: bool) -> Result<()> {
        let line = format!(
            "{:6} {:9.3} s guest {} size {size}: {}",
            step.number,
            self.began.elapsed().as_secs_f32(),
            step.guest,
            step.operation
        );
        let mut inner = self.inner();
        if let Some(log) = &mut inner.log {
            writeln!(log, "{line}")?;
        }
        if inner.last.len() == SHOWN {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
        inner.under_way = own.then(Instant::now);
        Ok(())
    }

    /// It has ended.
    pub(super) fn end(&self) {
        self.inner().under_way = None;
    }

    /// The last operations, one a line; the log is on disk then.
    pub(super) fn report(&self) -> String {
        let mut inner = self.inner();
        if let Some(log) = &mut inner.log {
            let _ = log.flush();
        }
        inner.last.iter().map(|line| format!("  {line}\n")).collect()
    }

    /// The operation under way has taken too long.
    pub(super) fn is_stuck(&self) -> bool {
        self.inner().under_way.is_some_and(|began| STUCK < began.elapsed())
    }
}
