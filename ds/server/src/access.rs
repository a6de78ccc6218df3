//! From a filehandle to what its bearer may do.
//!
//! The handle is the whole of the permission: user numbers in the credential are not looked at.
//!
//! Spec: docs/formats/ds_handle.md; RFC 8435 §2.2.

use std::net::IpAddr;

use layout::{DsHandle, ExtentId, Holder};
use wire_nfs::v3::{Fh3, Nfsstat3};

use crate::admission::Admission;
use crate::core::{Core, Identity};
use crate::holding::{Question, ask};
use crate::limits::{ADMIT_ROUNDS_MAX, HANDLE_FRESH_STEPS, HELD_WAIT_MS_MAX};

/// What a client's request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Read,
    /// WRITE or COMMIT.
    Write,
}

/// Opens a handle that was shown from an address, and lets the request pass if it may. Waits for a
/// lease, and for what metadata servers say of exports and layouts.
///
/// # Errors
/// As [`open`]; STALE if it was made for a layout that is not held any more, or got through what is
/// no export now; ACCES if its export does not admit the address; JUKEBOX if what must be known is
/// not told in time.
pub(crate) async fn admit(
    core: &Core,
    file: &Fh3,
    wanted: Wanted,
    from: IpAddr,
) -> Result<DsHandle, Nfsstat3> {
    let mut came_ms = None;
    for _ in 0..ADMIT_ROUNDS_MAX {
        let (identity, now_ms) = core.serving().await?;
        let came_ms = *came_ms.get_or_insert(now_ms);
        let handle = open(&identity, file, wanted)?;
        let age_steps = handle.issued.age_steps(core.handle_clock.at_ms(now_ms));
        let (Holder::Client { export, .. }, Some(question)) = (handle.holder, Question::about(&handle))
        else {
            // It is made for each request, so it seems to be old only while another metadata
            // server's clock takes over.
            return if age_steps <= HANDLE_FRESH_STEPS { Ok(handle) } else { Err(Nfsstat3::Jukebox) };
        };
        let admission = identity.admission(export, from);
        let is_outdated = core.currency.is_outdated(now_ms);
        if admission != Admission::Admitted || is_outdated {
            if core.currency.is_at(came_ms) && !is_outdated {
                return Err(refused(core, admission, export, from));
            }
            // The list may have become longer a moment ago; one that was outdated for too long
            // judges nothing.
            tokio::select! {
                biased;
                () = core.currency.reaches(came_ms) => continue,
                () = core.env.clock.sleep_ms(HELD_WAIT_MS_MAX) => return Err(Nfsstat3::Jukebox),
            }
        }
        if ask::check(core, question, age_steps).await? {
            return Ok(handle);
        }
    }
    Err(Nfsstat3::Jukebox)
}

/// An address that is not admitted is told so, and gets its data in band if a metadata server knows
/// it by another one.
fn refused(core: &Core, admission: Admission, export: u16, from: IpAddr) -> Nfsstat3 {
    if admission == Admission::NoExport {
        return Nfsstat3::Stale;
    }
    core.metrics.address_refused(export, from);
    Nfsstat3::Acces
}

/// Opens a handle, and checks that it allows what is wanted.
///
/// # Errors
/// BADHANDLE if it was not made by a metadata server; STALE if it was made for another data server,
/// by an earlier version, or under a key that is used no longer; ACCES if it is not for what is
/// wanted.
fn open(identity: &Identity, file: &Fh3, wanted: Wanted) -> Result<DsHandle, Nfsstat3> {
    let handle = identity.open(file.as_bytes()).map_err(|error| {
        tracing::debug!(%error, "handle refused");
        if error.may_be_old() { Nfsstat3::Stale } else { Nfsstat3::Badhandle }
    })?;
    // A backup serves nobody: it may lack what its home was told a moment ago.
    if handle.home != identity.server {
        return Err(Nfsstat3::Stale);
    }
    match wanted {
        Wanted::Write if !handle.mode.writes() => Err(Nfsstat3::Acces),
        // STALE: a client that has since opened the file for reading as well asks for another one,
        // which reads.
        Wanted::Read if matches!(handle.holder, Holder::Client { reads: false, .. }) => Err(Nfsstat3::Stale),
        Wanted::Read | Wanted::Write => Ok(handle),
    }
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
    use layout::{DataServerId, EXTENT_BYTES, Epoch, HandleKey, Iomode, Issued, Role, handle};

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

    fn sealed(key: &HandleKey, handle: &DsHandle) -> Fh3 {
        Fh3::new(bytes::Bytes::copy_from_slice(&handle::seal(key, handle).0)).unwrap()
    }

    #[test]
    fn a_handle_is_for_what_it_says() {
        let (key, next) = (HandleKey::new([1; 32]), HandleKey::numbered(1, [3; 32]));
        let own = DataServerId(4);
        let may_read = DsHandle {
            extent: ExtentId { ino: 1, index: 2 },
            epoch: Epoch(1),
            mode: Iomode::Read,
            holder: Holder::Client { tag: 3, export: 0, reads: true },
            issued: Issued::at_ms(0),
            size_hint_bytes: 4,
            role: Role::Home,
            home: own,
            backups: [None; 2],
        };
        let may_write = DsHandle {
            mode: Iomode::ReadWrite,
            holder: Holder::Client { tag: 3, export: 0, reads: false },
            ..may_read
        };
        let of = |server, keys: &[&HandleKey]| Identity::of(server, keys.iter().copied().cloned().collect());
        let (read, write) = (sealed(&key, &may_read), sealed(&key, &may_write));
        let here = of(own, &[&next, &key]);
        assert_eq!(open(&here, &read, Wanted::Read), Ok(may_read));
        assert_eq!(open(&here, &read, Wanted::Write), Err(Nfsstat3::Acces));
        assert_eq!(open(&here, &write, Wanted::Write), Ok(may_write));
        assert_eq!(open(&here, &write, Wanted::Read), Err(Nfsstat3::Stale), "a grant that does not read");
        assert_eq!(open(&here, &sealed(&next, &may_read), Wanted::Read), Ok(may_read), "both keys are good");
        assert_eq!(open(&of(DataServerId(5), &[&key]), &read, Wanted::Read), Err(Nfsstat3::Stale));
        assert_eq!(open(&of(own, &[&next]), &read, Wanted::Read), Err(Nfsstat3::Stale), "its key is gone");
        let another = HandleKey::new([2; 32]);
        assert_eq!(open(&of(own, &[&another]), &read, Wanted::Read), Err(Nfsstat3::Badhandle), "forged");
        let mut earlier = read.as_bytes().to_vec();
        earlier[0] = 2;
        let earlier = Fh3::new(earlier.into()).unwrap();
        assert_eq!(open(&here, &earlier, Wanted::Read), Err(Nfsstat3::Stale), "the client asks anew");
    }
}
