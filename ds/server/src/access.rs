//! From a filehandle to what its bearer may do; and what handles are judged by, as metadata servers
//! told it: the keys, the clock by which handles are made, and from which addresses exports admit
//! clients.
//!
//! The handle is the whole of the permission: this server does not look at user numbers in the
//! credential. A handle names the export that its layout was got through. A host elsewhere that
//! shows it was not given it.
//!
//! Spec: docs/formats/ds_handle.md; docs/protocol/control.md §7, §8; RFC 8435 §2.2.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::Clock;
use layout::handle::{self, HandleError};
use layout::{DataServerId, DsHandle, ExtentId, HandleKey, Holder, Network};
use parking_lot::RwLock;
use tokio::sync::Notify;
use wire_nfs::control::handles::{Admitted, AdmittedBy};
use wire_nfs::v3::{Fh3, Nfsstat3};

use crate::holding::{Holding, Question};
use crate::lease::Serving;
use crate::limits::{ADMIT_ROUNDS_MAX, EXPORTS_OUTDATED_MS_MAX, HANDLE_FRESH_STEPS, HELD_WAIT_MS_MAX};
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
    assert_eq!(extent.first_byte() + u64::from(within), offset, "both offsets name one byte");
    (within <= ds_store::limits::EXTENT_BYTES).then_some(within)
}

/// What handles are judged by, replaced as metadata servers tell it again.
#[derive(Default)]
pub(crate) struct Permits {
    identity: RwLock<Option<Arc<Identity>>>,
    /// Until when the exports here are known to be the cluster's.
    pub(crate) currency: Currency,
    /// The clock by which handles are made.
    pub(crate) handle_clock: HandleClock,
}

/// The id of this server, and what it judges handles by. Never changed: another one takes its
/// place.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) server: DataServerId,
    /// At most `wire_nfs::control::limits::HANDLE_KEYS_MAX`.
    keys: Vec<HandleKey>,
    keys_version: u64,
    /// `None` until a metadata server has told the exports.
    admits: Option<Arc<Admits>>,
}

impl Identity {
    /// A server that was told of no exports.
    #[cfg(test)]
    pub(crate) fn new(server: DataServerId, keys: Vec<HandleKey>) -> Self {
        Self { server, keys, keys_version: 1, admits: None }
    }

    /// Opens a handle under the key that it names.
    ///
    /// # Errors
    /// [`HandleError`].
    pub(crate) fn open(&self, bytes: &[u8]) -> Result<DsHandle, HandleError> {
        let number = handle::key_number(bytes).unwrap_or_default();
        let key = self.keys.iter().find(|key| key.number() == number);
        match key.or_else(|| self.keys.first()) {
            Some(key) => handle::open(key, bytes),
            None => Err(HandleError::Key { number }),
        }
    }

    /// Whether a client may show a handle of this export from an address.
    pub(crate) fn admission(&self, export: u16, from: IpAddr) -> Admission {
        self.admits.as_ref().map_or(Admission::NoExport, |admits| admits.admission(export, from))
    }
}

impl Permits {
    /// Notes the id of this server and the handle keys that a metadata server has told. The exports
    /// stay.
    pub(crate) fn identify(&self, server: DataServerId, keys: Vec<HandleKey>, keys_version: u64) {
        let mut identity = self.identity.write();
        let admits = identity.as_ref().and_then(|before| before.admits.clone());
        *identity = Some(Arc::new(Identity { server, keys, keys_version, admits }));
    }

    /// Notes the handle keys that a metadata server has told.
    pub(crate) fn set_handle_keys(&self, keys: Vec<HandleKey>, keys_version: u64) {
        self.change_identity(|before| Identity { keys, keys_version, ..before });
    }

    /// Notes the exports that a metadata server has told.
    pub(crate) fn set_admits(&self, admits: Admits) {
        let version = admits.version;
        self.change_identity(|before| Identity { admits: Some(Arc::new(admits)), ..before });
        assert_eq!(self.exports_version(), Some(version), "a server that has an id learns exports");
    }

    fn change_identity(&self, change: impl FnOnce(Identity) -> Identity) {
        let mut identity = self.identity.write();
        if let Some(before) = identity.as_deref() {
            let after = change(before.clone());
            assert_eq!(before.server, after.server, "only REGISTER gives another id");
            *identity = Some(Arc::new(after));
        }
    }

    /// What handles are judged by, once a metadata server has told it.
    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.read().clone()
    }

    /// The version of the handle keys here; 0 for none.
    pub(crate) fn handle_keys_version(&self) -> u64 {
        self.identity.read().as_ref().map_or(0, |identity| identity.keys_version)
    }

    /// The version of the exports here.
    pub(crate) fn exports_version(&self) -> Option<u64> {
        self.identity.read().as_ref()?.admits.as_ref().map(|admits| admits.version)
    }
}

/// What the exports say. Never changed: another list takes its place.
#[derive(Debug, Default)]
pub(crate) struct Admits {
    version: u64,
    /// The networks of each export, by its number; none: every address.
    exports: Vec<(u16, Vec<Network>)>,
}

/// What exports say of a handle that comes from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// The export does not admit the address.
    Elsewhere,
    /// The export is none any more.
    NoExport,
}

/// A metadata server told exports that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exports as they were told make no sense")]
pub(crate) struct Senseless;

impl Admits {
    /// The exports that a metadata server told.
    ///
    /// # Errors
    /// [`Senseless`].
    pub(crate) fn from_told(told: &Admitted) -> Result<Self, Senseless> {
        let mut exports = Vec::with_capacity(told.exports.len());
        for AdmittedBy { export, networks } in &told.exports {
            let export = u16::try_from(*export).map_err(|_| Senseless)?;
            let networks = networks.iter().map(|network| network.parse().map_err(|_| Senseless));
            exports.push((export, networks.collect::<Result<_, _>>()?));
        }
        exports.sort_unstable_by_key(|(export, _)| *export);
        Ok(Self { version: told.version, exports })
    }

    /// Whether the export is there and admits the address. The list does not say whether a client
    /// may write through it: while an operator restricts an export to reading, clients write what
    /// they still have to, and then epochs end their handles.
    fn admission(&self, export: u16, from: IpAddr) -> Admission {
        let Ok(place) = self.exports.binary_search_by_key(&export, |(export, _)| *export) else {
            return Admission::NoExport;
        };
        let (found, networks) = &self.exports[place];
        assert_eq!(*found, export, "the list is sorted by export");
        let is_admitted = networks.is_empty() || networks.iter().any(|network| network.contains(from));
        if is_admitted { Admission::Admitted } else { Admission::Elsewhere }
    }
}

/// Until when the list of exports here is known to be the cluster's, and since when it is known not
/// to be.
#[derive(Debug, Default)]
pub(crate) struct Currency {
    asked_ms: AtomicU64,
    /// [`CURRENT`], or when the registrar asked the metadata server that first named another list.
    outdated_since_ms: AtomicU64,
    told: Notify,
}

/// Of [`Currency`]: no other list is known to be in force.
const CURRENT: u64 = 0;

impl Currency {
    /// A metadata server, asked at `asked_ms`, said that no other list is in force.
    pub(crate) fn confirm(&self, asked_ms: u64) {
        self.outdated_since_ms.store(CURRENT, Ordering::Release);
        self.asked_ms.fetch_max(asked_ms, Ordering::AcqRel);
        self.told.notify_waiters();
        assert!(self.is_at(asked_ms), "what was confirmed of a moment stays confirmed");
    }

    /// A metadata server, asked at `asked_ms`, said that another list is in force, which is not
    /// here yet.
    pub(crate) fn doubt(&self, asked_ms: u64) {
        let since_ms = asked_ms.max(CURRENT + 1);
        // It counts from the first time.
        let _ =
            self.outdated_since_ms.compare_exchange(CURRENT, since_ms, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether the list here has been out of force for so long that it judges nothing any more.
    pub(crate) fn is_outdated(&self, now_ms: u64) -> bool {
        let since_ms = self.outdated_since_ms.load(Ordering::Acquire);
        since_ms != CURRENT && EXPORTS_OUTDATED_MS_MAX <= now_ms.saturating_sub(since_ms)
    }

    /// Whether a metadata server has confirmed the list for a moment not before `since_ms`.
    pub(crate) fn is_at(&self, since_ms: u64) -> bool {
        since_ms <= self.asked_ms.load(Ordering::Acquire)
    }

    /// Returns once a metadata server has confirmed the list for a moment not before `since_ms`.
    pub(crate) async fn wait_for(&self, since_ms: u64) {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.is_at(since_ms) {
                return;
            }
            told.await;
        }
    }
}

/// The clock of metadata servers by which handles are made, as far as it is known here.
///
/// INVARIANT: this clock is not behind theirs by a millisecond: a handle that was made just now is
/// never of the future.
#[derive(Debug, Default)]
pub(crate) struct HandleClock {
    /// To be added to our clock, wrapping.
    ahead_ms: AtomicU64,
}

impl HandleClock {
    /// A metadata server that was asked at `asked_ms` of our clock says what its clock showed then,
    /// or a little later.
    pub(crate) fn set(&self, told_ms: u64, asked_ms: u64) {
        // What it showed and our own time are both rounded down.
        let ahead_ms = told_ms.wrapping_add(1).wrapping_sub(asked_ms);
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// A time of our clock by this one.
    pub(crate) fn at_ms(&self, now_ms: u64) -> u64 {
        now_ms.wrapping_add(self.ahead_ms.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
