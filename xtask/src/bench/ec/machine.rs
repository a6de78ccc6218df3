//! What this machine can do at best: a file written and read, and bytes sent to itself. Repair is
//! measured against it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::guest::random;

/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;
const PIECE_BYTES: usize = 1 << 20;
const LOOPBACK_MIB: u64 = 2048;

/// MiB/s of each.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Machine {
    /// A new file in sequence, fsync included.
    pub(super) disk_write_mib_s: f64,
    /// The same, cold.
    pub(super) disk_read_mib_s: f64,
    /// One TCP connection to this machine itself.
    pub(super) loopback_mib_s: f64,
}

impl Machine {
    /// Measures it with a file of `mib` in `folder`.
    ///
    /// # Errors
    /// Those of the disk and the network.
    pub(super) fn measure(folder: &Path, mib: u64) -> Result<Self> {
        let path = folder.join("probe");
        let disk_write_mib_s = write(&path, mib)?;
        std::fs::write("/proc/sys/vm/drop_caches", "3").context("this machine's page cache")?;
        let disk_read_mib_s = read(&path, mib)?;
        std::fs::remove_file(&path)?;
        let loopback_mib_s = loopback()?;
        Ok(Self { disk_write_mib_s, disk_read_mib_s, loopback_mib_s })
    }

    /// What a server that makes images again writes can be no faster than.
    pub(super) fn bound_mib_s(self) -> f64 {
        self.disk_write_mib_s.min(self.loopback_mib_s)
    }

    /// The same where it reads so many bytes for each that it writes, all of them from this disk
    /// and over loopback.
    pub(super) fn reading_bound_mib_s(self, read_per_byte: f64) -> f64 {
        self.bound_mib_s().min(self.disk_read_mib_s / read_per_byte).min(self.loopback_mib_s / read_per_byte)
    }
}

/// What the files in a folder take on the disk.
pub(super) fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| {
        let found = entry.metadata().ok()?;
        Some(if found.is_dir() { disk_bytes(&entry.path()) } else { found.blocks() * BLOCK_BYTES })
    };
    entries.filter_map(Result::ok).filter_map(bytes).sum()
}

fn piece() -> Vec<u8> {
    let mut state = 0x5EED;
    std::iter::repeat_with(|| random(&mut state).to_be_bytes()).take(PIECE_BYTES / 8).flatten().collect()
}

fn write(path: &Path, mib: u64) -> Result<f64> {
    let piece = piece();
    let began = Instant::now();
    let mut file = File::create(path)?;
    (0..mib).try_for_each(|_| file.write_all(&piece))?;
    file.sync_all()?;
    Ok(mib as f64 / began.elapsed().as_secs_f64())
}

fn read(path: &Path, mib: u64) -> Result<f64> {
    let mut piece = vec![0; PIECE_BYTES];
    let began = Instant::now();
    let mut file = File::open(path)?;
    (0..mib).try_for_each(|_| file.read_exact(&mut piece))?;
    Ok(mib as f64 / began.elapsed().as_secs_f64())
}

fn loopback() -> Result<f64> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let target = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> Result<()> {
        let (piece, mut stream) = (piece(), TcpStream::connect(target)?);
        Ok((0..LOOPBACK_MIB).try_for_each(|_| stream.write_all(&piece))?)
    });
    let (mut stream, _) = listener.accept()?;
    let began = Instant::now();
    let mut room = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        match stream.read(&mut room)? {
            0 => break,
            count => bytes += count as u64,
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    match sender.join() {
        Ok(sent) => sent?,
        Err(_) => bail!("the sender panicked"),
    }
    Ok(bytes as f64 / f64::from(1 << 20) / seconds)
}
