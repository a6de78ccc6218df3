//! Acts that run inside a guest, on the mount under test: what a shell cannot do, or not exactly
//! enough.
//!
//! Each is `xtask guest-op ACT ...`, prints one line that a scenario reads, and fails with a
//! reason.

mod again;
mod blocks;
mod commits;
mod direct;
mod files;
mod fsx;
mod insist;
mod lock;
mod look;
mod mapping;
mod overwrite;
mod steady;
mod timed;
mod verifier;

pub(crate) use self::blocks::next as random;
pub(crate) use self::fsx::Plant;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum GuestOp {
    /// Makes COUNT files of SIZE bytes in DIR (a subfolder for each job), each with a content of
    /// its own.
    Create(files::Files),
    /// Reads every file `create` made and compares.
    Check(files::Files),
    /// Asks for the attributes of every file `create` made.
    Stat(files::Files),
    /// Removes every file `create` made.
    Unlink(files::Files),
    /// Writes stamped blocks from the start of FILE, then fsyncs.
    Fill { file: PathBuf, bytes: u64, stamp: u64 },
    /// Reads FILE and compares each block with any of the stamps; prints how many blocks had which.
    Compare { file: PathBuf, stamps: Vec<u64> },
    /// Writes and reads FILE with O_DIRECT.
    Direct { file: PathBuf },
    /// Exercises files in DIR with random operations and compares them with a model.
    Fsx(fsx::Fsx),
    /// Changes FILE through a shared mapping.
    Mapping { file: PathBuf },
    /// Prints a row for each name in DIR: kind, mode, owner, size, links and a sum of its bytes.
    Look { dir: PathBuf },
    /// Takes an fcntl write lock on bytes START..START+LENGTH of FILE and holds it.
    Lock(lock::Lock),
    /// Makes, renames and removes small files in the directories of DIR, one of each shard, an act
    /// every 10 ms, until STOP exists; prints acts, shards, and the longest, milliseconds.
    Gaps { dir: PathBuf, stop: PathBuf },
    /// Holds files in DIR open and locked, and uses them, until STOP exists; makes READY when it
    /// has them.
    Hold { dir: PathBuf, ready: PathBuf, stop: PathBuf },
    /// Tries to get the locks of `hold` until STOP exists; fails if it gets one.
    Contend { dir: PathBuf, stop: PathBuf },
    /// Gets the locks of `hold`, which has released them.
    Obtain { dir: PathBuf },
    /// Writes FILE over, block by block in order, again and again, until the file STOP exists.
    Overwrite { file: PathBuf, stop: PathBuf },
    /// Writes to FILE, straight to the server, until STOP exists, also when it is refused; LOG says
    /// what became of each write.
    Insist { file: PathBuf, stop: PathBuf, log: PathBuf },
    /// Prints the newest stamp in FILE.
    Newest { file: PathBuf },
    /// Reads FILE again and again for some seconds while `overwrite` runs elsewhere.
    Watch { file: PathBuf, seconds: u64 },
    /// Writes FILE in 1 MiB pieces and fsyncs; prints seconds.
    TimeWrite { file: PathBuf, bytes: u64 },
    /// Reads FILE in 1 MiB pieces; prints seconds.
    TimeRead { file: PathBuf },
    /// Reads 4 KiB at random places of FILE for SECONDS; prints operations a second.
    TimeRandom { file: PathBuf, seconds: u64 },
    /// Uses one small FILE again and again; prints seconds.
    Again(again::Again),
    /// Writes 4 KiB and fsyncs for SECONDS in every file `create` made in DIR, all at once; prints
    /// commits a second.
    Commits { dir: PathBuf, seconds: u64 },
    /// Writes, creates, renames and removes in DIR until the file STOP exists, logging what the
    /// server promised.
    Promise(verifier::Promise),
    /// Compares DIR with what the logs of `promise` say.
    Verify { dir: PathBuf, logs: Vec<PathBuf> },
}

impl GuestOp {
    /// Does it.
    ///
    /// # Errors
    /// When the file system does not do what it should; the message says what was seen.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Create(files) => files.create(),
            Self::Check(files) => files.check(),
            Self::Stat(files) => files.stat(),
            Self::Unlink(files) => files.unlink(),
            Self::Fill { file, bytes, stamp } => blocks::fill(&file, bytes, stamp),
            Self::Compare { file, stamps } => blocks::compare(&file, &stamps),
            Self::Direct { file } => direct::exercise(&file),
            Self::Fsx(fsx) => fsx.run(),
            Self::Mapping { file } => mapping::exercise(&file),
            Self::Look { dir } => look::watch_folder(&dir),
            Self::Lock(lock) => lock.hold(),
            Self::Gaps { dir, stop } => steady::gaps(&dir, &stop),
            Self::Hold { dir, ready, stop } => steady::hold(&dir, &ready, &stop),
            Self::Contend { dir, stop } => steady::contend(&dir, &stop),
            Self::Obtain { dir } => steady::obtain(&dir),
            Self::Overwrite { file, stop } => overwrite::overwrite(&file, &stop),
            Self::Insist { file, stop, log } => insist::insist(&file, &stop, &log),
            Self::Newest { file } => insist::newest(&file),
            Self::Watch { file, seconds } => overwrite::watch(&file, seconds),
            Self::TimeWrite { file, bytes } => timed::write(&file, bytes),
            Self::TimeRead { file } => timed::read(&file),
            Self::TimeRandom { file, seconds } => timed::random(&file, seconds),
            Self::Again(again) => again.run(),
            Self::Commits { dir, seconds } => commits::commits(&dir, seconds),
            Self::Promise(promise) => promise.run(),
            Self::Verify { dir, logs } => verifier::verify(&dir, &logs),
        }
    }
}
