//! A writer that does not give up: it overwrites a file that it has open, past the page cache, and
//! goes on when it is refused. Its log says which writes were begun, which were acknowledged, and
//! which were refused with what.
//!
//! INVARIANT: a write is in the log before it is sent, and no two writes have the same stamp.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::blocks::{BLOCK_BYTES, read_stamp, stamp_block};

/// After a refusal.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes until `stop` exists. `file` has been filled with stamp 1.
pub(super) fn insist(path: &Path, stop: &Path, log: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?;
    let blocks = file.metadata()?.len() / BLOCK_BYTES as u64;
    let log = File::create(log)?;
    let mut room = vec![0u8; 2 * BLOCK_BYTES];
    let start = room.as_ptr().align_offset(BLOCK_BYTES);
    let block = &mut room[start..start + BLOCK_BYTES];
    let (mut stamp, mut acknowledged, mut refused) = (1, 0u64, 0u64);
    while !stop.exists() {
        stamp += 1;
        let index = stamp % blocks;
        stamp_block(block, index, stamp);
        note(&log, &format!("begun {stamp}"))?;
        let code = match file.write_at(block, index * BLOCK_BYTES as u64) {
            Ok(BLOCK_BYTES) => {
                acknowledged += 1;
                note(&log, &format!("acknowledged {stamp}"))?;
                continue;
            }
            // QUIRK(linux): an O_DIRECT write whose LAYOUTGET is refused returns 0, not the error.
            Ok(0) => 0,
            Ok(count) => bail!("write {stamp} wrote {count} bytes of {BLOCK_BYTES}"),
            Err(error) => error.raw_os_error().context("an error without a number")?,
        };
        refused += 1;
        note(&log, &format!("refused {stamp} {code}"))?;
        std::thread::sleep(PAUSE);
    }
    println!("{acknowledged} {refused}");
    Ok(())
}

/// A line in one piece: it is read while it is written.
fn note(mut log: &File, line: &str) -> Result<()> {
    log.write_all(format!("{line}\n").as_bytes()).context("the log")
}

/// Prints the newest stamp in a file; fails if a block is none that was written there.
pub(super) fn newest(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    let blocks = file.metadata()?.len() / BLOCK_BYTES as u64;
    let mut block = [0u8; BLOCK_BYTES];
    let mut newest = 0;
    for index in 0..blocks {
        file.read_exact_at(&mut block, index * BLOCK_BYTES as u64)
            .with_context(|| format!("read block {index}"))?;
        match read_stamp(&block, index) {
            Some(stamp @ 1..) => newest = newest.max(stamp),
            _ => bail!("block {index} is none that was written there: {:02x?}", &block[..16]),
        }
    }
    println!("{newest}");
    Ok(())
}
