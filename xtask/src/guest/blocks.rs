//! Stamped blocks: 4 KiB whose every word follows from where the block is and a stamp, so a block
//! tells which write it is from, and a torn or misplaced one tells that too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Size of a stamped block.
pub(crate) const BLOCK_BYTES: usize = 4096;
const WORDS: usize = BLOCK_BYTES / 8;

/// The pseudo-random step all of the guest's acts use (xorshift64*): cheap, and the same
/// everywhere.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

/// Writes block number `index` of a file with `stamp` into `block`.
pub(crate) fn stamp_block(block: &mut [u8], index: u64, stamp: u64) {
    assert!(block.len() == BLOCK_BYTES);
    let mut state = (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stamp).max(1);
    block[..8].copy_from_slice(&stamp.to_be_bytes());
    for word in block[8..].chunks_exact_mut(8) {
        word.copy_from_slice(&next(&mut state).to_be_bytes());
    }
}

/// The stamp of a block, if the whole block is what that stamp gives at that place. Zeros are stamp
/// 0: a hole.
pub(crate) fn read_stamp(block: &[u8], index: u64) -> Option<u64> {
    let stamp = u64::from_be_bytes(block.get(..8)?.try_into().ok()?);
    if stamp == 0 {
        return block.iter().all(|byte| *byte == 0).then_some(0);
    }
    let mut wanted = [0u8; BLOCK_BYTES];
    stamp_block(&mut wanted, index, stamp);
    (block == wanted).then_some(stamp)
}

pub(super) fn fill(path: &Path, bytes: u64, stamp: u64) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut piece = vec![0u8; 256 * BLOCK_BYTES];
    let blocks = bytes / BLOCK_BYTES as u64;
    let mut index = 0;
    while index < blocks {
        let count = usize::try_from((blocks - index).min(256))?;
        for (block, number) in piece.chunks_exact_mut(BLOCK_BYTES).zip(index..).take(count) {
            stamp_block(block, number, stamp);
        }
        file.write_all(&piece[..count * BLOCK_BYTES]).with_context(|| format!("write at block {index}"))?;
        index += count as u64;
    }
    file.sync_all().context("fsync")
}

pub(super) fn compare(path: &Path, stamps: &[u64]) -> Result<()> {
    let mut file = File::open(path)?;
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut block = [0u8; BLOCK_BYTES];
    let blocks = file.metadata()?.len() / BLOCK_BYTES as u64;
    for index in 0..blocks {
        file.read_exact(&mut block).with_context(|| format!("read block {index}"))?;
        match read_stamp(&block, index) {
            Some(stamp) if stamps.contains(&stamp) => *seen.entry(stamp).or_default() += 1,
            other => bail!(
                "block {index} has stamp {other:?}, wanted one of {stamps:?}; starts {:02x?}",
                &block[..16]
            ),
        }
    }
    println!("{seen:?}");
    Ok(())
}

const _: () = assert!(WORDS * 8 == BLOCK_BYTES, "a block is whole words");
