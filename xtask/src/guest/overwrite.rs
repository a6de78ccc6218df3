//! One guest writes a file over and over while another reads it: each block read must be one that
//! was written there, whole, and never older than one the same reader saw at that place in an
//! earlier pass.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::blocks::{BLOCK_BYTES, read_stamp, stamp_block};

pub(super) fn overwrite(path: &Path, stop: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let blocks = file.metadata()?.len() / BLOCK_BYTES as u64;
    let mut block = [0u8; BLOCK_BYTES];
    let mut stamp = 2;
    while !stop.exists() {
        for index in 0..blocks {
            stamp_block(&mut block, index, stamp);
            file.write_all_at(&block, index * BLOCK_BYTES as u64)?;
        }
        file.sync_all()?;
        stamp += 1;
    }
    println!("{}", stamp - 1);
    Ok(())
}

pub(super) fn watch(path: &Path, seconds: u64) -> Result<()> {
    let started = Instant::now();
    let (mut passes, mut oldest) = (0u64, Vec::new());
    while started.elapsed() < Duration::from_secs(seconds) {
        // Opened again each time: close-to-open is what NFS promises.
        let file = OpenOptions::new().read(true).open(path)?;
        let blocks = file.metadata()?.len() / BLOCK_BYTES as u64;
        oldest.resize(usize::try_from(blocks)?, 0);
        let mut block = [0u8; BLOCK_BYTES];
        for index in 0..blocks {
            file.read_exact_at(&mut block, index * BLOCK_BYTES as u64)
                .with_context(|| format!("read block {index}"))?;
            let Some(stamp) = read_stamp(&block, index).filter(|stamp| *stamp != 0) else {
                bail!(
                    "pass {passes}: block {index} is no block that was written there: {:02x?}",
                    &block[..16]
                );
            };
            let before = &mut oldest[usize::try_from(index)?];
            if stamp < *before {
                bail!("pass {passes}: block {index} went back from write {before} to write {stamp}");
            }
            *before = stamp;
        }
        passes += 1;
    }
    println!("{passes} passes");
    Ok(())
}
