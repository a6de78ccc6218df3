//! Which back end a disk gets: a ring where the kernel gives one, threads otherwise.

use std::io;
use std::sync::Arc;

use super::blocking_disk::BlockingDisk;
use super::prompt_disk::PromptDisk;
use super::uring_disk::UringDisk;
use crate::Disk;

/// What the operator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// io_uring where the kernel accepts it, else threads.
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// Threads.
    Blocking,
    /// The caller's thread for small writes and their syncs, threads for the rest.
    Prompt,
}

/// Which back end it became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackEnd {
    /// io_uring.
    Uring,
    /// Threads.
    Blocking,
    /// The caller's thread, and threads.
    Prompt,
}

/// Starts a disk. `name` shows in thread names (at most 12 bytes of it are kept by the kernel).
///
/// # Errors
/// [`Preference::Uring`] and the kernel refuses a ring, or the system refuses a thread.
pub fn open_disk(name: &str, preference: Preference) -> io::Result<(Arc<dyn Disk>, BackEnd)> {
    if preference == Preference::Prompt {
        return Ok((Arc::new(PromptDisk::start(name)?), BackEnd::Prompt));
    }
    if preference != Preference::Blocking {
        match UringDisk::start(name) {
            Ok(disk) => return Ok((Arc::new(disk), BackEnd::Uring)),
            Err(error) if preference == Preference::Uring => return Err(error),
            Err(_) => {}
        }
    }
    Ok((Arc::new(BlockingDisk::start(name)?), BackEnd::Blocking))
}
