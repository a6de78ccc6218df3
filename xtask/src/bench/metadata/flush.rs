//! What a durable write costs here by itself: 4 KiB and fdatasync, one after the other,
//! in a file that is there already.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

const WRITES: u64 = 2_000;
const PIECE_BYTES: usize = 4096;

/// How long one took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Flush {
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

/// Measures it in a folder, on the file system of which everything else is.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn measure(folder: &Path) -> Result<Flush> {
    let path = folder.join("flushed");
    let timed = times(&path).with_context(|| format!("{}", path.display()));
    let _ = std::fs::remove_file(&path);
    let mut times_us = timed?;
    times_us.sort_unstable();
    let at = |part: f64| times_us[((times_us.len() - 1) as f64 * part) as usize];
    Ok(Flush { p50_us: at(0.5), p99_us: at(0.99) })
}

fn times(path: &Path) -> Result<Vec<u64>> {
    let file = File::create(path)?;
    let piece = [0x5a; PIECE_BYTES];
    // A first write would make the file system allocate, which a log in place does not.
    for at in 0..WRITES {
        file.write_all_at(&piece, at * PIECE_BYTES as u64)?;
    }
    file.sync_all()?;
    let write = |at: u64| -> Result<u64> {
        let began = Instant::now();
        file.write_all_at(&piece, at * PIECE_BYTES as u64)?;
        file.sync_data()?;
        Ok(u64::try_from(began.elapsed().as_micros())?)
    };
    (0..WRITES).map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn a_flush_takes_its_time() {
        let flush = measure(&std::env::temp_dir()).unwrap();
        assert!(flush.p50_us <= flush.p99_us);
    }
}
