//! Data-server handles that were given out, by file and export, and those that must be fenced.
//!
//! A handle outlives its layout: only a raised epoch ends it. So a file keeps its record until its
//! extents were fenced, with or without layouts.
//!
//! Spec: docs/formats/state.md; docs/protocol/admin.md §8.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::value::{Value, read_postcard, write_postcard};
use crate::limits::{EXPORTS_MAX, HANDED_EXPORTS_MAX};

/// Exports through which data-server handles of a file were given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// Their ids, in order of their first grant; empty if there were too many to keep: then any
    /// export may be meant.
    pub exports: Vec<u16>,
}

impl Handed {
    /// Whether a handle may have been given out through one of these.
    #[must_use]
    pub fn is_through(&self, exports: &[u16]) -> bool {
        self.exports.is_empty() || self.exports.iter().any(|id| exports.contains(id))
    }

    /// Adds an export; `None` if nothing changes.
    #[must_use]
    pub fn with(before: Option<&Self>, export: u16) -> Option<Self> {
        let Some(before) = before else { return Some(Self { exports: vec![export] }) };
        if before.is_through(&[export]) {
            return None;
        }
        let is_full = HANDED_EXPORTS_MAX <= before.exports.len();
        let more = before.exports.iter().copied().chain([export]);
        let handed = Self { exports: if is_full { Vec::new() } else { more.collect() } };
        assert!(handed.exports.len() <= HANDED_EXPORTS_MAX, "a file has few exports, or any");
        assert!(handed.is_through(&[export]), "the export is among them");
        Some(handed)
    }
}

/// Fencing that restricted exports still require.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fencing {
    /// The last version of the exports that restricted something; a layout that was checked against
    /// an earlier version is not granted.
    pub version: u64,
    /// Fence every extent: handles without a record may be in use.
    pub all: bool,
    /// Restricted exports, by id: extents of files that are recorded with one of them must be
    /// fenced.
    pub exports: Vec<u16>,
    /// Layouts recalled for the last completed version.
    pub layouts: u64,
    /// Extents fenced for the last completed version.
    pub extents: u64,
}

impl Fencing {
    /// Whether anything is left to do.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.all || !self.exports.is_empty()
    }

    /// The remaining fencing once these exports are restricted as well, in this version.
    #[must_use]
    pub fn and(&self, version: u64, restricted: impl IntoIterator<Item = u16>) -> Self {
        let exports: BTreeSet<u16> = self.exports.iter().copied().chain(restricted).collect();
        let all = self.all || EXPORTS_MAX < exports.len();
        let exports: Vec<u16> = if all { Vec::new() } else { exports.into_iter().collect() };
        assert!(self.version <= version, "versions of the exports grow");
        assert!(exports.len() <= EXPORTS_MAX, "no more exports are fenced than there may be");
        Self { version, all, exports, layouts: 0, extents: 0 }
    }
}

impl Value for Handed {
    fn write(&self, bytes: Vec<u8>) -> Vec<u8> {
        write_postcard(self, bytes)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        read_postcard(bytes).filter(|read: &Self| read.exports.len() <= HANDED_EXPORTS_MAX)
    }
}

impl Value for Fencing {
    fn write(&self, bytes: Vec<u8>) -> Vec<u8> {
        write_postcard(self, bytes)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        read_postcard(bytes).filter(|read: &Self| read.exports.len() <= EXPORTS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_few_exports_or_by_any() {
        let mut handed = Handed::with(None, 7).expect("it is new");
        assert_eq!(handed.encode(), [1, 1, 7]);
        assert_eq!(Handed::with(Some(&handed), 7), None);
        for id in 8..8 + u16::try_from(HANDED_EXPORTS_MAX).unwrap() {
            assert!(!handed.is_through(&[id]));
            handed = Handed::with(Some(&handed), id).expect("it is new");
            assert!(handed.is_through(&[id]) && handed.is_through(&[7]));
        }
        assert_eq!(handed, Handed::default(), "one more than are kept");
        assert!(handed.is_through(&[99]));
    }

    #[test]
    fn what_is_left_to_do_adds_up() {
        let first = Fencing::default().and(3, [2, 1]);
        assert!(first.is_pending() && !Fencing::default().is_pending());
        let second = first.and(4, [1, 5]);
        assert_eq!((second.version, second.exports.as_slice()), (4, &[1, 2, 5][..]));
        assert_eq!(second.encode(), [1, 4, 0, 3, 1, 2, 5, 0, 0]);
        let too_many = second.and(5, 0..u16::try_from(EXPORTS_MAX).unwrap() + 1);
        assert!(too_many.all && too_many.exports.is_empty() && too_many.and(6, [1]).all);
    }
}
