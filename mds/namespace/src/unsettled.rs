//! Files whose size is not settled: clients were granted extents for writing, and only data servers
//! know what they wrote. The size of such a file is the largest of its inode's and the ends that
//! the primaries of the granted extents hold.
//!
//! A file is unsettled from its first LAYOUTGET for writing until its last such layout is gone and
//! the data servers were measured after that. The records here name the extents to measure, and
//! their state at the grant.
//!
//! Spec: docs/protocol/sizes.md; docs/formats/namespace.md.

use layout::ExtentId;
use serde::{Deserialize, Serialize};

use crate::FsError;
use crate::codec::{put_u32, put_u64, u32_at, u64_at};
use crate::inode::Ino;
use crate::keys;
use crate::store::{self, StoreError, View};

/// Bytes of the record of an unsettled file.
pub const UNSETTLED_BYTES: usize = 12;
/// Bytes of the record of a granted extent.
pub const GRANTED_BYTES: usize = 16;

const VERSION: u8 = 1;
const DROPS_SET_ID: u8 = 1;
const IS_SEEN: u8 = 1;

/// A file whose size is not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// Grows with every grant and return of a layout for writing, and with every change of the
    /// length by a client: earlier measurements do not count.
    pub turns: u64,
    /// A client that is not the superuser may have written: its writes clear set-id bits.
    pub drops_set_id: bool,
}

/// The state of an extent that a data server reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its counter of changes.
    pub change: u64,
    /// Bytes it stores; holes do not count.
    pub held_bytes: u32,
}

/// An extent that was granted for writing since the size was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Its index in the file.
    pub index: u32,
    /// The content that the inode's times and change counter cover; `None` if it was not known:
    /// then they cover none.
    pub seen: Option<Seen>,
}

/// The value of an unsettled file's record; its key names the file.
#[must_use]
pub fn encode_unsettled(record: &Unsettled) -> [u8; UNSETTLED_BYTES] {
    let mut out = [0; UNSETTLED_BYTES];
    out[0] = VERSION;
    out[1] = if record.drops_set_id { DROPS_SET_ID } else { 0 };
    put_u64(&mut out, 4, record.turns);
    debug_assert_eq!(decode_unsettled(&out).as_ref(), Ok(record), "it reads back as it was");
    out
}

/// Reads the value of an unsettled file's record.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value that no version wrote.
pub fn decode_unsettled(value: &[u8]) -> Result<Unsettled, StoreError> {
    let value: &[u8; UNSETTLED_BYTES] =
        value.try_into().map_err(|_| StoreError::Corrupt("unsettled file length"))?;
    if value[0] != VERSION || value[1] & !DROPS_SET_ID != 0 {
        return Err(StoreError::Corrupt("unsettled file version"));
    }
    Ok(Unsettled { turns: u64_at(value, 4), drops_set_id: value[1] == DROPS_SET_ID })
}

/// The value of a granted extent's record; its key names the extent.
#[must_use]
pub fn encode_granted(seen: Option<Seen>) -> [u8; GRANTED_BYTES] {
    let mut out = [0; GRANTED_BYTES];
    out[0] = VERSION;
    if let Some(seen) = seen {
        out[1] = IS_SEEN;
        put_u32(&mut out, 4, seen.held_bytes);
        put_u64(&mut out, 8, seen.change);
    }
    debug_assert_eq!(decode_granted(&out), Ok(seen), "it reads back as it was");
    out
}

/// Reads the value of a granted extent's record.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value that no version wrote.
pub fn decode_granted(value: &[u8]) -> Result<Option<Seen>, StoreError> {
    let value: &[u8; GRANTED_BYTES] =
        value.try_into().map_err(|_| StoreError::Corrupt("granted extent length"))?;
    match (value[0], value[1]) {
        (VERSION, 0) => Ok(None),
        (VERSION, IS_SEEN) => Ok(Some(Seen { held_bytes: u32_at(value, 4), change: u64_at(value, 8) })),
        _ => Err(StoreError::Corrupt("granted extent version")),
    }
}

/// The record of a file whose size is not settled; `None` if it is.
///
/// # Errors
/// [`FsError::Store`].
pub fn unsettled(view: &dyn View, ino: Ino) -> Result<Option<Unsettled>, FsError> {
    let mut found = Ok(None);
    view.read(&keys::unsettled(ino), &mut |value| found = decode_unsettled(value).map(Some))?;
    Ok(found?)
}

/// The extents of a file that were granted for writing since its size was settled, by index.
///
/// # Errors
/// [`FsError::Store`].
pub fn granted(view: &dyn View, ino: Ino) -> Result<Vec<Granted>, FsError> {
    let from = keys::granted(ExtentId { ino, index: 0 });
    let to = keys::granted(ExtentId { ino: ino.saturating_add(1), index: 0 });
    store::list(view, &from, &to, usize::MAX, |key, value| {
        let id = keys::extent_of(key).ok_or(StoreError::Corrupt("granted extent key"))?;
        Ok(Granted { index: id.index, seen: decode_granted(value)? })
    })
}

/// Whether an extent was granted for writing since the size was settled.
///
/// # Errors
/// [`FsError::Store`].
pub fn is_granted(view: &dyn View, id: ExtentId) -> Result<bool, FsError> {
    Ok(view.get(&keys::granted(id))?.is_some())
}

/// Files whose size is not settled, with a number above `after` (0: all), at most `files_max`.
///
/// # Errors
/// [`FsError::Store`].
pub fn all_after(view: &dyn View, after: Ino, files_max: usize) -> Result<Vec<Ino>, FsError> {
    let (from, to) = (keys::unsettled(after.saturating_add(1)), [keys::TAG_UNSETTLED + 1]);
    store::list(view, &from, &to, files_max, |key, _| {
        Ok(keys::number_of(key).ok_or(StoreError::Corrupt("unsettled file key"))?)
    })
}
