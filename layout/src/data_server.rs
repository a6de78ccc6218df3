//! The name of a data server within the cluster.
//!
//! Spec: none; docs/protocol/control.md §REGISTER gives it out.

use serde::{Deserialize, Serialize};

/// A data server, as the metadata servers number it. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DataServerId(pub u32);

impl std::fmt::Display for DataServerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
