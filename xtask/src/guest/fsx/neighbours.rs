//! Neighbours: threads that open and close the file and list its directory all the time, and change
//! nothing.
//!
//! Their replies carry the file's attributes while others write; none of them asks for attributes
//! explicitly, which would have the client report its writes first.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::guest::random;

const PAUSE_US_MAX: u64 = 5_000;

/// What the neighbours look at.
pub(super) struct Street {
    dir: PathBuf,
    file: Mutex<Option<PathBuf>>,
    over: AtomicBool,
}

impl Street {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), file: Mutex::new(None), over: AtomicBool::new(false) }
    }

    /// The file that exists from now on.
    pub(super) fn show(&self, file: &Path) {
        *self.file.lock().expect("its holders do not panic") = Some(file.to_owned());
    }

    /// Ends all neighbours.
    pub(super) fn clear(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether the run is over.
    pub(super) fn is_clear(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Lives beside the file until the street is cleared.
    ///
    /// # Errors
    /// When an open or a list fails though the file is there.
    pub(super) fn live(&self, seed: u64) -> Result<()> {
        let mut state = seed.max(1);
        while !self.is_clear() {
            let path = self.file.lock().expect("its holders do not panic").clone();
            if let Some(path) = path {
                match self.look(&path, random(&mut state) >> 8) {
                    // It is removed between two files.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    other => other.with_context(|| format!("a neighbour of {}", path.display()))?,
                }
            }
            std::thread::sleep(Duration::from_micros((random(&mut state) >> 8) % PAUSE_US_MAX));
        }
        Ok(())
    }

    fn look(&self, path: &Path, choice: u64) -> std::io::Result<()> {
        match choice % 4 {
            0 => std::fs::File::open(path).map(drop),
            1 => std::fs::read_dir(&self.dir)?.try_for_each(|entry| entry.map(drop)),
            _ => std::fs::File::options().read(true).write(true).open(path).map(drop),
        }
    }
}
