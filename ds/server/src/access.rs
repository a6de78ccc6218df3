//! From a filehandle to what its bearer may do.
//!
//! The handle is the whole of the permission: user numbers in the credential are not looked at.
//!
//! Spec: docs/formats/ds_handle.md; RFC 8435 §2.2.

use layout::{DataServerId, DsHandle, ExtentId, HandleKey, Iomode, handle};
use wire_nfs::v3::{Fh3, Nfsstat3};

/// Opens a handle, and checks that it allows writing if that is what is wanted.
///
/// # Errors
/// BADHANDLE if it was not made by a metadata server; STALE if it was made for another data server; ACCES if it is for reading and `mode` is not.
pub(crate) fn open(
    key: &HandleKey,
    own: DataServerId,
    file: &Fh3,
    mode: Iomode,
) -> Result<DsHandle, Nfsstat3> {
    let handle = handle::open(key, file.as_bytes()).map_err(|error| {
        tracing::debug!(%error, "handle refused");
        Nfsstat3::Badhandle
    })?;
    // A backup serves nobody: it may lack what its home was told a moment ago.
    if handle.home != own {
        return Err(Nfsstat3::Stale);
    }
    if mode.writes() && !handle.mode.writes() {
        return Err(Nfsstat3::Acces);
    }
    Ok(handle)
}

/// Where a byte of the file is in its extent; the extent's end counts as inside.
///
/// # Units
/// `offset` counts bytes from the start of the file, the result from the start of the extent.
pub(crate) fn within(extent: ExtentId, offset: u64) -> Option<u32> {
    let within = offset.checked_sub(extent.first_byte())?;
    let within = u32::try_from(within).ok()?;
    (within <= ds_store::limits::EXTENT_BYTES).then_some(within)
}

#[cfg(test)]
mod tests {
    use layout::{EXTENT_BYTES, Epoch, Role};

    use super::*;

    #[test]
    fn offsets_are_of_the_file() {
        let extent = ExtentId { ino: 1, index: 2 };
        assert_eq!(within(extent, 2 * EXTENT_BYTES), Some(0));
        assert_eq!(within(extent, 3 * EXTENT_BYTES), Some(64 << 20));
        assert_eq!(within(extent, 3 * EXTENT_BYTES + 1), None);
        assert_eq!(within(extent, 2 * EXTENT_BYTES - 1), None);
        assert_eq!(within(extent, u64::MAX), None);
    }

    #[test]
    fn a_reader_may_not_write() {
        let key = HandleKey::new([1; 32]);
        let extent = ExtentId { ino: 1, index: 2 };
        let own = DataServerId(4);
        let may_read = DsHandle {
            extent,
            epoch: Epoch(1),
            mode: Iomode::Read,
            client_tag: 3,
            size_hint_bytes: 4,
            role: Role::Home,
            home: own,
            backups: [None; 2],
        };
        let sealed = handle::seal(&key, &may_read);
        let file = Fh3::new(bytes::Bytes::copy_from_slice(&sealed.0)).unwrap();
        assert_eq!(open(&key, own, &file, Iomode::Read), Ok(may_read));
        assert_eq!(open(&key, own, &file, Iomode::ReadWrite), Err(Nfsstat3::Acces));
        assert_eq!(open(&key, DataServerId(5), &file, Iomode::Read), Err(Nfsstat3::Stale), "not its home");
        assert_eq!(open(&HandleKey::new([2; 32]), own, &file, Iomode::Read), Err(Nfsstat3::Badhandle));
    }
}
