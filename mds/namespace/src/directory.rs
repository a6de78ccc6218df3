//! The entries of a directory: found by name, listed by cookie.
//!
//! An entry's key is its cookie: a keyed hash of its name, with the low byte to distinguish names
//! of equal hash. One scan of at most 256 neighbours (nearly always one) finds a name; a listing
//! resumes behind any cookie, whatever was added or removed since. The hash is keyed so that
//! clients cannot make up names that collide.
//!
//! INVARIANT: bit 63 of a cookie is clear and bit 62 set: it is positive as an `off_t`, and above
//! the small numbers clients keep for `.` and `..`.

use std::ops::ControlFlow;

use crate::FsError;
use crate::codec::{self, DirentRef};
use crate::inode::{FileType, Ino};
use crate::keys;
use crate::limits::COOKIES_PER_NAME;
use crate::store::{StoreError, Txn, View};
use crate::superblock;

const COOKIE_LOW_BITS: u32 = COOKIES_PER_NAME.trailing_zeros();
const COOKIE_MARK: u64 = 1 << 62;

const _: () = assert!(COOKIES_PER_NAME.is_power_of_two(), "low bits tell names apart");

/// The first cookie a name may have (docs/formats/namespace.md).
#[must_use]
pub fn cookie_base(cookie_key: &[u8; 32], name: &[u8]) -> u64 {
    let hash = blake3::keyed_hash(cookie_key, name);
    let head: [u8; 8] = *hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    let hash = u64::from_be_bytes(head) >> 2;
    let base = (hash >> COOKIE_LOW_BITS << COOKIE_LOW_BITS) | COOKIE_MARK;
    assert!(base >> 62 == 1, "bit 63 is clear and bit 62 set");
    assert!(base.is_multiple_of(COOKIES_PER_NAME), "the low byte tells names of one hash apart");
    base
}

/// An entry that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) cookie: u64,
    pub(crate) ino: Ino,
}

/// Finds a name. The caller has checked the name.
pub(crate) fn find(view: &dyn View, directory: Ino, name: &[u8]) -> Result<Option<Found>, FsError> {
    let base = cookie_base(&superblock::cookie_key(view)?, name);
    let mut outcome = Ok(None);
    scan(view, directory, base, base + COOKIES_PER_NAME, &mut |cookie, entry| match entry {
        Ok(entry) if entry.name == name => {
            outcome = Ok(Some(Found { cookie, ino: entry.ino }));
            ControlFlow::Break(())
        }
        Ok(_) => ControlFlow::Continue(()),
        Err(error) => {
            outcome = Err(error.into());
            ControlFlow::Break(())
        }
    })?;
    outcome
}

/// Adds a name that does not exist yet.
///
/// # Errors
/// [`FsError::NoSpace`] if all cookies of its hash are taken.
pub(crate) fn insert(txn: &mut dyn Txn, directory: Ino, entry: &DirentRef<'_>) -> Result<(), FsError> {
    let base = cookie_base(&superblock::cookie_key(txn)?, entry.name);
    let mut free = base;
    scan(txn, directory, base, base + COOKIES_PER_NAME, &mut |cookie, _| {
        if cookie != free {
            return ControlFlow::Break(());
        }
        free += 1;
        ControlFlow::Continue(())
    })?;
    assert!((base..=base + COOKIES_PER_NAME).contains(&free), "a name gets a cookie of its hash");
    if free == base + COOKIES_PER_NAME {
        return Err(FsError::NoSpace);
    }
    Ok(txn.put(&keys::dirent(directory, free), &codec::encode_dirent(entry))?)
}

/// Makes an existing entry name another inode.
pub(crate) fn replace(
    txn: &mut dyn Txn,
    directory: Ino,
    cookie: u64,
    entry: &DirentRef<'_>,
) -> Result<(), FsError> {
    Ok(txn.put(&keys::dirent(directory, cookie), &codec::encode_dirent(entry))?)
}

/// Removes an entry.
pub(crate) fn remove(txn: &mut dyn Txn, directory: Ino, cookie: u64) -> Result<(), FsError> {
    Ok(txn.delete(&keys::dirent(directory, cookie))?)
}

/// Called by a scan with each cookie and entry; `Break` ends the scan.
pub(crate) type VisitEntry<'a> = &'a mut dyn FnMut(u64, Result<DirentRef<'_>, StoreError>) -> ControlFlow<()>;

/// Scans the entries with `from <= cookie < to` in the order of their cookies.
pub(crate) fn scan(
    view: &dyn View,
    directory: Ino,
    from: u64,
    to: u64,
    visit: VisitEntry<'_>,
) -> Result<(), StoreError> {
    debug_assert!(from <= to, "a scan goes up");
    let (from, to) = (keys::dirent(directory, from), keys::dirent(directory, to));
    view.range(&from, &to, &mut |key, value| match keys::dirent_of(key) {
        Some((_, cookie)) => visit(cookie, codec::decode_dirent(value)),
        None => visit(0, Err(StoreError::Corrupt("directory entry key"))),
    })
}

/// Makes an entry of its parts.
pub(crate) fn entry(ino: Ino, file_type: FileType, name: &[u8]) -> DirentRef<'_> {
    DirentRef { ino, file_type, name }
}

#[cfg(test)]
mod tests;
