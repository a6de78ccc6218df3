//! fcntl byte-range locks: take one, say so, hold it for a while.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What to lock.
#[derive(Debug, clap::Args)]
pub(crate) struct Lock {
    file: PathBuf,
    start: i64,
    length: i64,
    /// Wait until it is free (F_SETLKW) instead of failing at once.
    #[arg(long)]
    wait: bool,
    /// How long to hold it.
    #[arg(long, default_value_t = 0)]
    hold_ms: u64,
}

impl Lock {
    pub(super) fn hold(&self) -> Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&self.file)?;
        let request = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: self.start,
            l_len: self.length,
            l_pid: 0,
        };
        let command = if self.wait { libc::F_SETLKW } else { libc::F_SETLK };
        let started = Instant::now();
        // SAFETY: the descriptor is open and the request outlives the call, which only reads it.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw const request) } != 0 {
            bail!("fcntl: {}", std::io::Error::last_os_error());
        }
        println!("locked after {} ms", started.elapsed().as_millis());
        std::thread::sleep(Duration::from_millis(self.hold_ms));
        Ok(())
    }
}
