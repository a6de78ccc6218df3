//! Which segments of the journal ought to be there, how far the journal went, and since where no
//! metadata server has judged that.
//!
//! A journal says nothing of what is not there any more. So its complete segments are listed in a
//! file of their own: one that is gone is missed at the next start. What an older copy of the whole
//! directory lacks it cannot know itself: for that the store tells how far its journal went, and a
//! metadata server remembers.
//!
//! INVARIANT: a segment is taken off the list before it is dropped; the file never lists one that
//! was dropped by the store.
//! INVARIANT: [`Manifest::unjudged`] is the least that any start found since the store was judged
//! last: to start again proves nothing.
//! Spec: docs/formats/segments.md.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use bytes::Bytes;
use env::{Disk, OpenMode};
use wal::LogEnd;

use crate::error::OpenError;
use crate::limits::SEGMENTS_LISTED_MAX;

/// The file.
pub(crate) const NAME: &str = "segments";
const NAME_NEW: &str = "segments.new";

const MAGIC: &[u8; 8] = b"SHOALSEG";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 72;
const CRC_BYTES: usize = 4;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The journal went at least as far as the youngest segment that was dropped, whatever is found
    /// of it.
    pub(crate) floor: LogEnd,
    /// The least that was found by a start that no metadata server has judged; `None` if all were.
    pub(crate) unjudged: Option<LogEnd>,
    /// Complete segments.
    pub(crate) segments: BTreeSet<u64>,
}

impl Manifest {
    pub(crate) fn encode(&self, uuid: &[u8; 16]) -> Vec<u8> {
        let count = u32::try_from(self.segments.len()).expect("at most SEGMENTS_LISTED_MAX");
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 8 * self.segments.len() + CRC_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(uuid);
        let unjudged = self.unjudged.unwrap_or_default();
        for number in [self.floor.segment, self.floor.offset, unjudged.segment, unjudged.offset] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&u32::from(self.unjudged.is_some()).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        self.segments.iter().for_each(|segment| bytes.extend_from_slice(&segment.to_be_bytes()));
        bytes.extend_from_slice(&crc32c(&bytes).to_be_bytes());
        debug_assert_eq!(Self::decode(&bytes, uuid).as_ref(), Some(self), "a manifest reads back");
        bytes
    }

    /// `None` if it is not whole, of another store, or of another version.
    pub(crate) fn decode(bytes: &[u8], uuid: &[u8; 16]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        let (head, listed) = body.split_at_checked(HEAD_BYTES)?;
        let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let is_ours = head[..8] == *MAGIC && word(8) == VERSION && head[16..32] == *uuid;
        let count = usize::try_from(word(12)).ok()?;
        if !is_ours || crc32c(body) != u32::from_be_bytes(*crc) || listed.len() != 8 * count {
            return None;
        }
        let end = |at: usize| LogEnd { segment: number(at), offset: number(at + 8) };
        let listed = listed.chunks_exact(8);
        Some(Self {
            floor: end(32),
            unjudged: (word(64) != 0).then(|| end(48)),
            segments: listed.map(|one| u64::from_be_bytes(one.try_into().expect("eight bytes"))).collect(),
        })
    }

    /// Reads the file. One that is not there says nothing: the store is new, or of an earlier
    /// version. Nor does one that is damaged.
    pub(crate) async fn load(disk: &dyn Disk, dir: &Path, uuid: &[u8; 16]) -> io::Result<Self> {
        let path = dir.join(NAME);
        if !disk.exists(&path).await? {
            return Ok(Self::default());
        }
        let file = disk.open(&path, OpenMode::READ).await?;
        let bytes = file.read_at(0, HEAD_BYTES + 8 * SEGMENTS_LISTED_MAX + CRC_BYTES + 1).await?;
        Ok(Self::decode(&bytes, uuid).unwrap_or_else(|| {
            tracing::error!(path = %path.display(), "the list of journal segments is damaged: it is rewritten");
            Self::default()
        }))
    }

    /// Rewrites the file. Without room for another one it is written over: segments are dropped
    /// to make room. Power that goes meanwhile leaves one that says nothing.
    pub(crate) async fn save(&self, disk: &dyn Disk, dir: &Path, uuid: &[u8; 16]) -> io::Result<()> {
        let bytes = Bytes::from(self.encode(uuid));
        let path = dir.join(NAME);
        match replace(disk, dir, bytes.clone()).await {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && disk.exists(&path).await? => {}
            done => return done,
        }
        let length = bytes.len() as u64;
        let file = disk.open(&path, OpenMode::WRITE).await?;
        file.write_at(vec![bytes], 0).await?;
        file.set_len(length).await?;
        file.sync_data().await
    }

    /// As [`save`](Self::save), at a start: a store of an earlier version may have no list, and no
    /// room for one; nor is there room to append much. `false` says that it was not saved for that.
    pub(crate) async fn save_at_start(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        uuid: &[u8; 16],
    ) -> io::Result<bool> {
        match self.save(disk, dir, uuid).await {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!(%error, "the segments of the journal are not listed yet");
                Ok(false)
            }
            saved => saved.map(|()| true),
        }
    }

    /// The segments that are listed and not there, or why the store may be opened all the same.
    ///
    /// # Errors
    /// [`OpenError::SegmentsGone`], unless the loss is accepted.
    pub(crate) fn check(&self, there: &BTreeSet<u64>, is_loss_accepted: bool) -> Result<(), OpenError> {
        let mut gone = self.segments.difference(there);
        let Some(first) = gone.next().copied() else { return Ok(()) };
        let segments = 1 + gone.count();
        if is_loss_accepted {
            tracing::error!(
                segments,
                first,
                "segments of the journal are gone: what they held reads as older bytes, or zeros"
            );
            return Ok(());
        }
        Err(OpenError::SegmentsGone { segments, first, listed: self.segments.len() })
    }
}

async fn replace(disk: &dyn Disk, dir: &Path, bytes: Bytes) -> io::Result<()> {
    let fresh = dir.join(NAME_NEW);
    let file = disk.open(&fresh, OpenMode { truncate: true, ..OpenMode::CREATE }).await?;
    file.write_at_and_sync(vec![bytes], 0).await?;
    disk.rename(&fresh, &dir.join(NAME)).await?;
    disk.sync_dir(dir).await
}

/// The manifest of an open store.
pub(crate) struct Listed {
    /// As the file has it, if that is sure.
    pub(crate) on_disk: Manifest,
    /// A save has failed, or was dropped: the file has what is here, or what was to be saved.
    /// Whatever comes next is written.
    pub(crate) is_unsure: bool,
    /// Segments that are about to be dropped: they are not listed again.
    pub(crate) dropping: BTreeSet<u64>,
}

impl Listed {
    /// What was loaded or saved; `is_sure` says whether the file is known to have it.
    pub(crate) fn new(on_disk: Manifest, is_sure: bool) -> Self {
        Self { on_disk, is_unsure: !is_sure, dropping: BTreeSet::new() }
    }

    /// Whether the file has this already.
    pub(crate) fn has(&self, next: &Manifest) -> bool {
        !self.is_unsure && *next == self.on_disk
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).expect("a CRC-32C has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] = [0x11; 16];

    fn some() -> Manifest {
        let end = |segment, offset| LogEnd { segment, offset };
        Manifest { floor: end(2, 3), unjudged: Some(end(4, 5)), segments: BTreeSet::from([6, 7]) }
    }

    #[test]
    fn a_manifest_has_its_golden_bytes() {
        let bytes = some().encode(&UUID);
        let hex: String = bytes[..bytes.len() - 4].iter().map(|byte| format!("{byte:02x}")).collect();
        let zero = "00000000";
        let expected = format!(
            "53484f414c534547 00000001 00000002 {} {zero}00000002 {zero}00000003 {zero}00000004 {zero}00000005 \
             00000001 {zero} {zero}00000006 {zero}00000007",
            "11".repeat(16)
        );
        assert_eq!(hex, expected.replace(' ', ""));
        assert_eq!(bytes[bytes.len() - 4..], crc32c(&bytes[..bytes.len() - 4]).to_be_bytes());
        assert_eq!(Manifest::decode(&bytes, &UUID), Some(some()));
        let judged = Manifest { unjudged: None, ..some() };
        assert_eq!(Manifest::decode(&judged.encode(&UUID), &UUID), Some(judged));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let bytes = some().encode(&UUID);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Manifest::decode(&changed, &UUID), None, "{at}");
            assert_eq!(Manifest::decode(&bytes[..at], &UUID), None, "{at}");
        }
        assert_eq!(Manifest::decode(&bytes, &[0x12; 16]), None, "another store's");
    }
}
