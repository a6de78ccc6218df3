//! O_DIRECT: aligned writes and reads that go past the page cache, seen through it afterwards.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::blocks::{BLOCK_BYTES, stamp_block};

const PIECE_BYTES: usize = 64 * BLOCK_BYTES;
const PIECES: usize = 64;

pub(super) fn exercise(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT);
    let file = options.open(path).context("open with O_DIRECT")?;
    let mut room = vec![0u8; PIECE_BYTES + BLOCK_BYTES];
    let start = room.as_ptr().align_offset(BLOCK_BYTES);
    let aligned = &mut room[start..start + PIECE_BYTES];
    // Every second piece, backwards: holes stay, and the size comes first.
    for piece in (0..PIECES).rev().step_by(2) {
        stamp(aligned, piece);
        file.write_all_at(aligned, (piece * PIECE_BYTES) as u64)
            .with_context(|| format!("write piece {piece}"))?;
    }
    for piece in 0..PIECES {
        aligned.fill(0xAA);
        file.read_exact_at(aligned, (piece * PIECE_BYTES) as u64)
            .with_context(|| format!("read piece {piece}"))?;
        let mut wanted = vec![0u8; PIECE_BYTES];
        if piece % 2 == 1 {
            stamp(&mut wanted, piece);
        }
        ensure!(aligned[..] == wanted[..], "piece {piece} is not what was written");
    }
    drop(file);
    let cached = std::fs::read(path)?;
    ensure!(cached.len() == PIECES * PIECE_BYTES, "{} bytes through the cache", cached.len());
    let mut wanted = vec![0u8; PIECE_BYTES];
    stamp(&mut wanted, 1);
    ensure!(cached[PIECE_BYTES..2 * PIECE_BYTES] == wanted[..], "the page cache has something else");
    Ok(())
}

fn stamp(bytes: &mut [u8], piece: usize) {
    for (block, index) in bytes.chunks_exact_mut(BLOCK_BYTES).zip(0u64..) {
        stamp_block(block, piece as u64 * 64 + index, 77);
    }
}
