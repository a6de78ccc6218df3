//! How far a store has the log: the record that is written with the effects of entries.
//!
//! Spec: docs/formats/state.md.

use mds_namespace::{StoreError, View};
use mds_state::key;
use mds_state::record::VALUE_VERSION;
use serde::{Deserialize, Serialize};

use super::type_config::{LogId, SnapshotMeta, StoredMembership};

/// The position up to which the store has the log, and the state that continues from there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) log_id: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// Time of the last entry. Whichever node leads, it steps back only by a minute or more:
    /// `clocks::following`.
    pub(crate) clock_unix_ns: u64,
}

impl Applied {
    pub(crate) fn load(view: &dyn View) -> Result<Self, StoreError> {
        let Some(bytes) = view.get(key::APPLIED)? else { return Ok(Self::default()) };
        let corrupt = StoreError::Corrupt("applied position");
        let Some((&VALUE_VERSION, rest)) = bytes.split_first() else { return Err(corrupt) };
        match postcard::take_from_bytes(rest) {
            Ok((applied, [])) => Ok(applied),
            Ok(_) | Err(_) => Err(corrupt),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let bytes = postcard::to_extend(self, vec![VALUE_VERSION]).expect("numbers and strings encode");
        assert!(bytes.first() == Some(&VALUE_VERSION), "a record begins with its version");
        bytes
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.log_id, last_membership: self.membership.clone() }
    }
}
