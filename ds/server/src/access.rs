//! From a filehandle to what its bearer may do.
//!
//! The handle is the whole of the permission: this server does not look at user numbers in the
//! credential.
//!
//! Spec: docs/formats/ds_handle.md; RFC 8435 §2.2.

use std::net::IpAddr;
use std::sync::Arc;

use env::Clock;
use layout::{DsHandle, ExtentId, Holder};
use wire_nfs::v3::{Fh3, Nfsstat3};

use crate::admission::{Admission, Identity, Permits};
use crate::holding::{Holding, Question};
use crate::lease::Serving;
use crate::limits::{ADMIT_ROUNDS_MAX, HANDLE_FRESH_STEPS, HELD_WAIT_MS_MAX};
use crate::metrics::Metrics;

/// What a client's request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Read,
    /// WRITE or COMMIT.
    Write,
}

/// Lets requests of clients pass, or refuses them.
pub(crate) struct Gate {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) permits: Arc<Permits>,
    pub(crate) holding: Arc<Holding>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Gate {
    /// Opens a handle that a client showed from an address, and lets the request pass if it may.
    /// Waits for a lease, and for what metadata servers say of exports and layouts.
    ///
    /// # Errors
    /// As [`open_handle`]; STALE if the handle was made for a layout that is not held any more, or
    /// got through what is no export now; ACCES if its export does not admit the address; JUKEBOX
    /// if a metadata server does not tell in time what must be known.
    pub(crate) async fn admit_request(
        &self,
        file: &Fh3,
        wanted: Wanted,
        from: IpAddr,
    ) -> Result<DsHandle, Nfsstat3> {
        let currency = &self.permits.currency;
        let mut came_ms = None;
        for _ in 0..ADMIT_ROUNDS_MAX {
            let now_ms = self.serving.wait_for_lease().await?;
            let identity = self.permits.identity().ok_or(Nfsstat3::Jukebox)?;
            let came_ms = *came_ms.get_or_insert(now_ms);
            let handle = open_handle(&identity, file, wanted)?;
            let age_steps = handle.issued.age_steps(self.permits.handle_clock.at_ms(now_ms));
            let (Holder::Client { export, .. }, Some(question)) = (handle.holder, Question::about(&handle))
            else {
                // A metadata server makes one for each request, so it seems to be old only while
                // another metadata server's clock takes over.
                return if age_steps <= HANDLE_FRESH_STEPS { Ok(handle) } else { Err(Nfsstat3::Jukebox) };
            };
            let admission = identity.admission(export, from);
            let is_outdated = currency.is_outdated(now_ms);
            if admission != Admission::Admitted || is_outdated {
                if currency.is_at(came_ms) && !is_outdated {
                    return Err(self.refuse(admission, export, from));
                }
                // The list may have become longer a moment ago; one that was outdated for too long
                // judges nothing.
                tokio::select! {
                    biased;
                    () = currency.wait_for(came_ms) => continue,
                    () = self.clock.sleep_ms(HELD_WAIT_MS_MAX) => return Err(Nfsstat3::Jukebox),
                }
            }
            assert_eq!(admission, Admission::Admitted, "only an address that is admitted passes");
            if self.holding.check_held(question, age_steps).await? {
                return Ok(handle);
            }
        }
        Err(Nfsstat3::Jukebox)
    }

    /// The status for an address that is not admitted. Its client gets its data in band if a
    /// metadata server knows it by another address.
    fn refuse(&self, admission: Admission, export: u16, from: IpAddr) -> Nfsstat3 {
        assert_ne!(admission, Admission::Admitted, "a client that is admitted is not refused");
        if admission == Admission::NoExport {
            return Nfsstat3::Stale;
        }
        self.metrics.count_refused_address(export, from);
        Nfsstat3::Acces
    }
}

/// Opens a handle, and checks that it allows what is wanted.
///
/// # Errors
/// BADHANDLE if no metadata server made it; STALE if a metadata server made it for another data
/// server, in an earlier version, or under a key that is used no longer; ACCES if it does not allow
/// what is wanted.
fn open_handle(identity: &Identity, file: &Fh3, wanted: Wanted) -> Result<DsHandle, Nfsstat3> {
    let handle = identity.open(file.as_bytes()).map_err(|error| {
        tracing::debug!(%error, "handle refused");
        if error.may_be_old() { Nfsstat3::Stale } else { Nfsstat3::Badhandle }
    })?;
    // A replica serves no client: it may lack what its primary was told a moment ago.
    if handle.home != identity.server {
        return Err(Nfsstat3::Stale);
    }
    match wanted {
        Wanted::Write if !handle.mode.writes() => Err(Nfsstat3::Acces),
        // STALE: a client that has since opened the file for reading as well asks for another
        // handle, which reads.
        Wanted::Read if matches!(handle.holder, Holder::Client { reads: false, .. }) => Err(Nfsstat3::Stale),
        Wanted::Read | Wanted::Write => Ok(handle),
    }
}

/// Where a byte of the file is in its extent; the extent's end counts as inside.
///
/// # Units
/// `offset` counts bytes from the start of the file, the result from the start of the extent.
pub(crate) fn offset_in_extent(extent: ExtentId, offset: u64) -> Option<u32> {
    let within = offset.checked_sub(extent.first_byte())?;
    let within = u32::try_from(within).ok()?;
    (within <= ds_store::limits::EXTENT_BYTES).then_some(within)
}

#[cfg(test)]
mod tests;
