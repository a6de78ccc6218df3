//! Values of the namespace, big-endian, each behind a version byte (docs/formats/namespace.md).
//!
//! Lengths are checked before a value is parsed: a value that no version wrote is an error, never a
//! panic.

mod bytes;
mod inode;

use layout::copies::{BACKUPS_MAX, Formers};
use layout::ec::Profile;
use layout::{Backup, DataServerId, Epoch, ExtentId};

use crate::ExtentRecord;
use crate::inode::{FileType, Ino};
use crate::limits::NAME_BYTES_MAX;
use crate::store::StoreError;
use crate::work::WorkItem;

pub(crate) use self::bytes::{put_u32, put_u64, u32_at, u64_at};
pub use self::inode::{INODE_BYTES, decode_inode, encode_inode};

/// Bytes of a directory entry before its name.
pub const DIRENT_HEAD_BYTES: usize = 10;
/// Bytes of an extent record.
pub const EXTENT_BYTES: usize = BACKUPS_AT + BACKUPS_MAX * BACKUP_BYTES;
/// Bytes of a work item, but for a prove.
pub const WORK_BYTES: usize = 36;
/// Bytes of a prove.
pub const PROVE_BYTES: usize = WORK_BYTES + BACKUPS_MAX * 4;

const VERSION: u8 = 1;
/// Of a prove: version 1 has none.
const PROVE_VERSION: u8 = 2;
/// Of extent records: version 1 lacks replicas, version 2 the code, version 3 whether a promise was
/// made.
const EXTENT_VERSION: u8 = 4;
/// Extents of this version may have been promised.
const EXTENT_VERSION_PROMISED: u8 = 3;
/// The oldest version that is still read.
const EXTENT_VERSION_CODELESS: u8 = 2;
/// Position of the code in the byte of the replicas' flags.
const CODE_SHIFT: u32 = 4;
/// Position of its flag beside that of pending work.
const UNPROMISED_SHIFT: u32 = 1;
const BACKUPS_AT: usize = 24;
const BACKUP_BYTES: usize = 12;
const _: () = assert!(BACKUPS_MAX <= CODE_SHIFT as usize, "flags end below the code");
const _: () = {
    let mut at = 0;
    while at < Profile::ALL.len() {
        let number = code_number(Some(Profile::ALL[at]));
        assert!(number != 0, "zero is no code of its own");
        assert!(number <= u8::MAX >> CODE_SHIFT, "a code fits above the flags");
        at += 1;
    }
};

const WORK_CUT: u8 = 1;
const WORK_DROP: u8 = 2;
const WORK_FENCE: u8 = 3;
const WORK_CUT_AND_FENCE: u8 = 4;
const WORK_ADOPT: u8 = 5;
const WORK_YIELD: u8 = 6;
const WORK_PROVE: u8 = 7;

/// A directory entry as decoded from its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirentRef<'a> {
    /// The inode that it names.
    pub ino: Ino,
    /// Type of that inode.
    pub file_type: FileType,
    /// The name.
    pub name: &'a [u8],
}

/// The value of a directory entry.
#[must_use]
pub fn encode_dirent(entry: &DirentRef<'_>) -> Vec<u8> {
    assert!(!entry.name.is_empty() && entry.name.len() <= NAME_BYTES_MAX, "names are checked");
    let mut out = Vec::with_capacity(DIRENT_HEAD_BYTES + entry.name.len());
    out.push(VERSION);
    out.push(entry.file_type.code());
    out.extend_from_slice(&entry.ino.to_be_bytes());
    out.extend_from_slice(entry.name);
    debug_assert_eq!(decode_dirent(&out).as_ref(), Ok(entry), "an entry reads back as it was");
    out
}

/// Reads the value of a directory entry.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_dirent(value: &[u8]) -> Result<DirentRef<'_>, StoreError> {
    let (head, name) = value
        .split_first_chunk::<DIRENT_HEAD_BYTES>()
        .ok_or(StoreError::Corrupt("directory entry length"))?;
    if head[0] != VERSION {
        return Err(StoreError::Corrupt("directory entry version"));
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(StoreError::Corrupt("directory entry name"));
    }
    let file_type = FileType::from_code(head[1]).ok_or(StoreError::Corrupt("directory entry kind"))?;
    Ok(DirentRef { ino: u64_at(head, 2), file_type, name })
}

/// The value of an extent record; its key names the extent.
#[must_use]
pub fn encode_extent(record: &ExtentRecord) -> [u8; EXTENT_BYTES] {
    let mut out = [0; EXTENT_BYTES];
    out[0] = EXTENT_VERSION;
    out[1] = u8::from(record.pending_work.is_some()) | u8::from(record.unpromised) << UNPROMISED_SHIFT;
    out[2] = u8::try_from(record.backups.len()).expect("at most BACKUPS_MAX");
    for (place, backup) in record.backups.iter().enumerate() {
        let at = BACKUPS_AT + place * BACKUP_BYTES;
        out[3] |= u8::from(backup.filling) << place;
        put_u32(&mut out, at, backup.server.0);
        put_u64(&mut out, at + 4, backup.since.0);
    }
    out[3] |= code_number(record.code) << CODE_SHIFT;
    put_u32(&mut out, 4, record.home.0);
    put_u64(&mut out, 8, record.epoch.0);
    put_u64(&mut out, 16, record.pending_work.unwrap_or(0));
    debug_assert_eq!(decode_extent(record.extent, &out).as_ref(), Ok(record), "it reads back");
    out
}

/// Reads the value of an extent record.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_extent(extent: ExtentId, value: &[u8]) -> Result<ExtentRecord, StoreError> {
    let value: &[u8; EXTENT_BYTES] = value.try_into().map_err(|_| StoreError::Corrupt("extent length"))?;
    let (filling, code) = match value[0] {
        EXTENT_VERSION | EXTENT_VERSION_PROMISED => {
            (value[3] & ((1 << CODE_SHIFT) - 1), value[3] >> CODE_SHIFT)
        }
        EXTENT_VERSION_CODELESS => (value[3], 0),
        _ => return Err(StoreError::Corrupt("extent version")),
    };
    let count = usize::from(value[2]);
    if BACKUPS_MAX < count || filling >> count != 0 {
        return Err(StoreError::Corrupt("extent backups"));
    }
    let backups = (0..count).map(|place| {
        let at = BACKUPS_AT + place * BACKUP_BYTES;
        let (server, since) = (DataServerId(u32_at(value, at)), Epoch(u64_at(value, at + 4)));
        Backup { server, since, filling: filling >> place & 1 == 1 }
    });
    let flags_max = if value[0] == EXTENT_VERSION { 3 } else { 1 };
    if flags_max < value[1] {
        return Err(StoreError::Corrupt("extent flags"));
    }
    let pending_work = (value[1] & 1 == 1).then(|| u64_at(value, 16));
    Ok(ExtentRecord {
        extent,
        home: DataServerId(u32_at(value, 4)),
        backups: backups.collect(),
        epoch: Epoch(u64_at(value, 8)),
        pending_work,
        code: code_of(code)?,
        unpromised: value[1] >> UNPROMISED_SHIFT == 1,
    })
}

/// The number of an extent's code; 0: no code of its own. A number never changes its meaning.
const fn code_number(code: Option<Profile>) -> u8 {
    match code {
        None => 0,
        Some(Profile::OneCopy) => 1,
        Some(Profile::TwoCopies) => 2,
        Some(Profile::TwoPlusOne) => 3,
        Some(Profile::FourPlusTwo) => 4,
        Some(Profile::SixPlusThree) => 5,
        Some(Profile::EightPlusFour) => 6,
    }
}

fn code_of(number: u8) -> Result<Option<Profile>, StoreError> {
    let mut all = std::iter::once(None).chain(Profile::ALL.map(Some));
    all.find(|code| code_number(*code) == number).ok_or(StoreError::Corrupt("code of an extent"))
}

/// The value of a work item; its key holds the number.
#[must_use]
pub fn encode_work(item: &WorkItem) -> Vec<u8> {
    let (code, keep_bytes) = match item {
        WorkItem::Cut { keep_bytes, fences: false, .. } => (WORK_CUT, *keep_bytes),
        WorkItem::Cut { keep_bytes, fences: true, .. } => (WORK_CUT_AND_FENCE, *keep_bytes),
        WorkItem::Drop { .. } => (WORK_DROP, 0),
        WorkItem::Fence { .. } => (WORK_FENCE, 0),
        WorkItem::Adopt { keep_bytes, .. } => (WORK_ADOPT, *keep_bytes),
        WorkItem::Yield { keep_bytes, .. } => (WORK_YIELD, *keep_bytes),
        WorkItem::Prove { keep_bytes, .. } => (WORK_PROVE, *keep_bytes),
    };
    let mut out = [0; PROVE_BYTES];
    out[0] = VERSION;
    out[1] = code;
    put_u32(&mut out, 4, item.home().0);
    put_u64(&mut out, 8, item.extent().ino);
    put_u32(&mut out, 16, item.extent().index);
    put_u64(&mut out, 20, item.epoch().0);
    put_u64(&mut out, 28, keep_bytes);
    let WorkItem::Prove { formers, .. } = item else {
        debug_assert_eq!(decode_work(&out[..WORK_BYTES]).as_ref(), Ok(item), "it reads back");
        return out[..WORK_BYTES].to_vec();
    };
    out[0] = PROVE_VERSION;
    for (place, server) in formers.iter().enumerate() {
        put_u32(&mut out, WORK_BYTES + place * 4, server.0);
    }
    debug_assert_eq!(decode_work(&out).as_ref(), Ok(item), "it reads back as it was");
    out.to_vec()
}

/// Reads the value of a work item.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_work(value: &[u8]) -> Result<WorkItem, StoreError> {
    if let Ok(value) = value.try_into() {
        return decode_prove(value);
    }
    let value: &[u8; WORK_BYTES] = value.try_into().map_err(|_| StoreError::Corrupt("work item length"))?;
    if value[0] != VERSION {
        return Err(StoreError::Corrupt("work item version"));
    }
    let home = DataServerId(u32_at(value, 4));
    let extent = ExtentId { ino: u64_at(value, 8), index: u32_at(value, 16) };
    let epoch = Epoch(u64_at(value, 20));
    match value[1] {
        code @ (WORK_CUT | WORK_CUT_AND_FENCE) => {
            let (keep_bytes, fences) = (u64_at(value, 28), code == WORK_CUT_AND_FENCE);
            Ok(WorkItem::Cut { extent, home, epoch, keep_bytes, fences })
        }
        WORK_DROP => Ok(WorkItem::Drop { extent, home, epoch }),
        WORK_FENCE => Ok(WorkItem::Fence { extent, home, epoch }),
        WORK_ADOPT => Ok(WorkItem::Adopt { extent, home, epoch, keep_bytes: u64_at(value, 28) }),
        WORK_YIELD => Ok(WorkItem::Yield { extent, home, epoch, keep_bytes: u64_at(value, 28) }),
        _ => Err(StoreError::Corrupt("work item kind")),
    }
}

fn decode_prove(value: &[u8; PROVE_BYTES]) -> Result<WorkItem, StoreError> {
    if value[0] != PROVE_VERSION {
        return Err(StoreError::Corrupt("work item version"));
    }
    if value[1] != WORK_PROVE {
        return Err(StoreError::Corrupt("work item kind"));
    }
    let named = (0..BACKUPS_MAX).map(|place| u32_at(value, WORK_BYTES + place * 4)).filter(|id| *id != 0);
    Ok(WorkItem::Prove {
        home: DataServerId(u32_at(value, 4)),
        extent: ExtentId { ino: u64_at(value, 8), index: u32_at(value, 16) },
        epoch: Epoch(u64_at(value, 20)),
        keep_bytes: u64_at(value, 28),
        formers: Formers::new(named.map(DataServerId))
            .filter(|all| !all.is_empty())
            .ok_or(StoreError::Corrupt("former servers"))?,
    })
}
