//! From which addresses exports admit clients, as metadata servers tell it.
//!
//! A handle names the export that its layout was got through. A host elsewhere that shows it was
//! not given it.
//!
//! Spec: docs/formats/ds_handle.md; docs/protocol/control.md §8.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use layout::Network;
use tokio::sync::Notify;
use wire_nfs::control::handles::{Admitted, AdmittedBy};

use crate::limits::EXPORTS_OUTDATED_MS_MAX;

/// What the exports say. Never changed: another list takes its place.
#[derive(Debug, Default)]
pub(crate) struct Admits {
    version: u64,
    /// The networks of each, by number; none: every address.
    exports: Vec<(u16, Vec<Network>)>,
}

/// What exports say of a handle that comes from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// The export does not admit the address.
    Elsewhere,
    /// It is no export any more.
    NoExport,
}

/// A metadata server told something that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exports as they were told make no sense")]
pub(crate) struct Senseless;

impl Admits {
    /// What was told.
    ///
    /// # Errors
    /// [`Senseless`].
    pub(crate) fn of(told: &Admitted) -> Result<Self, Senseless> {
        let mut exports = Vec::with_capacity(told.exports.len());
        for AdmittedBy { export, networks } in &told.exports {
            let export = u16::try_from(*export).map_err(|_| Senseless)?;
            let networks = networks.iter().map(|network| network.parse().map_err(|_| Senseless));
            exports.push((export, networks.collect::<Result<_, _>>()?));
        }
        exports.sort_unstable_by_key(|(export, _)| *export);
        Ok(Self { version: told.version, exports })
    }

    /// Which version this is.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether the export is there and admits the address. Whether it may be written through is not
    /// looked at: while an export is being restricted to reading, clients write what they still
    /// have to, and then epochs end their handles.
    pub(crate) fn admission(&self, export: u16, from: IpAddr) -> Admission {
        let Ok(place) = self.exports.binary_search_by_key(&export, |(export, _)| *export) else {
            return Admission::NoExport;
        };
        let (_, networks) = &self.exports[place];
        let is_admitted = networks.is_empty() || networks.iter().any(|network| network.contains(from));
        if is_admitted { Admission::Admitted } else { Admission::Elsewhere }
    }
}

/// Until when the list here is known to be the cluster's, and since when it is known not to be.
#[derive(Debug, Default)]
pub(crate) struct Currency {
    asked_ms: AtomicU64,
    /// [`CURRENT`], or when a metadata server was asked that first named another list.
    outdated_since_ms: AtomicU64,
    told: Notify,
}

/// Of [`Currency`]: no other list is known to be in force.
const CURRENT: u64 = 0;

impl Currency {
    /// A metadata server said, asked at `asked_ms`, that no other list is in force.
    pub(crate) fn confirm(&self, asked_ms: u64) {
        self.outdated_since_ms.store(CURRENT, Ordering::Release);
        self.asked_ms.fetch_max(asked_ms, Ordering::AcqRel);
        self.told.notify_waiters();
    }

    /// A metadata server said, asked at `asked_ms`, that another list is in force, which is not
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

    /// Whether that was said of a moment not before `since_ms`.
    pub(crate) fn is_at(&self, since_ms: u64) -> bool {
        since_ms <= self.asked_ms.load(Ordering::Acquire)
    }

    /// Returns once that was said of a moment not before `since_ms`.
    pub(crate) async fn reaches(&self, since_ms: u64) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_not_in_force_judges_for_a_while() {
        let (currency, max_ms) = (Currency::default(), EXPORTS_OUTDATED_MS_MAX);
        assert!(!currency.is_outdated(u64::MAX), "nothing says so");
        currency.doubt(0);
        currency.doubt(1_000);
        assert!(
            !currency.is_outdated(max_ms) && currency.is_outdated(max_ms + 1),
            "it counts from the first time"
        );
        currency.confirm(2_000);
        assert!(!currency.is_outdated(u64::MAX));
        currency.doubt(3_000);
        assert!(!currency.is_outdated(2_999 + max_ms) && currency.is_outdated(3_000 + max_ms));
    }

    #[test]
    fn the_export_decides_from_where() {
        let told = |export, networks: &[&str]| AdmittedBy {
            export,
            networks: networks.iter().map(|network| (*network).to_owned()).collect(),
        };
        let exports = vec![told(9, &["10.1.0.0/16", "fd00::/8"]), told(2, &[])];
        let admits = Admits::of(&Admitted { version: 3, exports }).unwrap();
        let of = |export, text: &str| admits.admission(export, text.parse().unwrap());
        assert_eq!(admits.version(), 3);
        assert_eq!(of(2, "192.0.2.1"), Admission::Admitted, "no networks are all addresses");
        assert_eq!(of(9, "10.1.2.3"), Admission::Admitted);
        assert_eq!(of(9, "::ffff:10.1.2.3"), Admission::Admitted);
        assert_eq!(of(9, "10.2.0.1"), Admission::Elsewhere);
        assert_eq!(of(3, "10.1.2.3"), Admission::NoExport);
        let bad = Admitted { version: 1, exports: vec![told(1 << 16, &[])] };
        assert_eq!(Admits::of(&bad).unwrap_err(), Senseless);
        let bad = Admitted { version: 1, exports: vec![told(1, &["10.0.0.0/33"])] };
        assert_eq!(Admits::of(&bad).unwrap_err(), Senseless);
    }
}
