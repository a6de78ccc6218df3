//! CRC-32C, and the table of one CRC per payload block.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, checksum};

use crate::limits::BLOCK_BYTES;

const BLOCK: usize = BLOCK_BYTES as usize;

/// CRC-32C of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    narrow(checksum(CrcAlgorithm::Crc32Iscsi, bytes))
}

fn narrow(crc: u64) -> u32 {
    u32::try_from(crc).expect("a 32-bit CRC")
}

/// The table of a payload that lies in several buffers: 4 bytes per block, ready to be written.
pub(crate) fn table(payload: &[Bytes]) -> Vec<u8> {
    let mut table = Vec::new();
    // A block that spans buffers is summed piece by piece; one that does not, at once.
    let mut open: Option<(Digest, usize)> = None;
    for buffer in payload {
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let Some((digest, have)) = &mut open else {
                if let Some((block, behind)) = rest.split_at_checked(BLOCK) {
                    table.extend_from_slice(&crc32c(block).to_be_bytes());
                    rest = behind;
                } else {
                    open = Some((Digest::new(CrcAlgorithm::Crc32Iscsi), 0));
                }
                continue;
            };
            let (piece, behind) = rest.split_at(rest.len().min(BLOCK - *have));
            digest.update(piece);
            *have += piece.len();
            rest = behind;
            if *have == BLOCK {
                table.extend_from_slice(&narrow(digest.finalize()).to_be_bytes());
                open = None;
            }
        }
    }
    if let Some((digest, _)) = open {
        table.extend_from_slice(&narrow(digest.finalize()).to_be_bytes());
    }
    table
}

/// The first block of `payload` whose CRC is not the one in `table`, which begins with that of
/// `payload`'s first block.
pub(crate) fn bad_block(payload: &[u8], table: &[u8]) -> Option<usize> {
    assert!(payload.len().div_ceil(BLOCK) * 4 <= table.len());
    let blocks = payload.chunks(BLOCK).zip(table.chunks_exact(4));
    blocks.enumerate().find(|(_, (block, crc))| crc32c(block).to_be_bytes() != **crc).map(|(index, _)| index)
}
