//! One small file used again and again, as programs do that keep a state, a log or a lock in it;
//! timed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// Which file, and what is done with it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Again {
    file: PathBuf,
    /// How many times.
    count: u64,
    /// How many bytes it has.
    bytes: usize,
    #[arg(value_enum)]
    how: How,
}

/// One turn.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum How {
    /// Open, write, read what was written, close.
    Rewrite,
    /// Open with O_TRUNC, write, close; open, read, close.
    Replace,
    /// Write, then ftruncate to nothing; open throughout.
    Empty,
    /// The attributes as the server has them, of a file that nothing has open.
    Stat,
    /// The same of a file that was written and is still open, so that a layout to write it is out.
    StatWritten,
}

impl Again {
    /// Prints seconds.
    pub(super) fn run(&self) -> Result<()> {
        let content: Vec<u8> = (0..self.bytes).map(|at| (at % 251) as u8).collect();
        let mut all = OpenOptions::new();
        let all = all.read(true).write(true).create(true).truncate(false);
        let mut open = all.open(&self.file)?;
        open.write_all(&content)?;
        open.sync_all()?;
        if !matches!(self.how, How::Empty | How::StatWritten) {
            drop(open);
            open = File::open("/dev/null")?;
        }
        let started = Instant::now();
        for turn in 0..self.count {
            match self.how {
                How::Rewrite => {
                    let mut file = all.open(&self.file)?;
                    file.write_all(&content)?;
                    file.seek(SeekFrom::Start(0))?;
                    same(&mut file, &content)
                }
                How::Replace => {
                    File::create(&self.file)?.write_all(&content)?;
                    same(&mut File::open(&self.file)?, &content)
                }
                How::Empty => {
                    open.seek(SeekFrom::Start(0))?;
                    open.write_all(&content)?;
                    open.set_len(0)?;
                    Ok(())
                }
                How::Stat | How::StatWritten => asked(&self.file, self.bytes as u64),
            }
            .with_context(|| format!("turn {turn}"))?;
        }
        println!("{:.6}", started.elapsed().as_secs_f64());
        drop(open);
        Ok(())
    }
}

fn same(file: &mut File, content: &[u8]) -> Result<()> {
    let mut bytes = Vec::with_capacity(content.len());
    file.read_to_end(&mut bytes)?;
    ensure!(bytes == content, "{} bytes that are not what was written", bytes.len());
    Ok(())
}

/// Has the client ask the server, whatever it has cached.
fn asked(path: &Path, bytes: u64) -> Result<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: a statx structure of zeros is one; the path ends with NUL.
    let (code, status) = unsafe {
        let mut status: libc::statx = std::mem::zeroed();
        let flags = libc::AT_STATX_FORCE_SYNC;
        let mask = libc::STATX_BASIC_STATS;
        (libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, mask, &raw mut status), status)
    };
    ensure!(code == 0, "statx: {}", std::io::Error::last_os_error());
    ensure!(status.stx_size == bytes, "{} bytes, {bytes} were written", status.stx_size);
    Ok(())
}
