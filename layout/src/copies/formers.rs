//! Former servers of an extent: they keep their bytes until a new primary has proved itself.
//!
//! Spec: docs/protocol/replicate.md §4.

use serde::{Deserialize, Serialize};

use super::copy_set::BACKUPS_MAX;
use crate::data_server::DataServerId;

/// Servers that held everything when the primary last showed what it has, and are in the set no
/// more: they keep their bytes, and serve none, until a new primary has shown that it has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Formers([Option<DataServerId>; BACKUPS_MAX]);

impl Formers {
    /// No servers.
    pub const NONE: Self = Self([None; BACKUPS_MAX]);

    /// These servers; `None` if they are more than a set has replicas.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = DataServerId>) -> Option<Self> {
        let mut formers = Self::default();
        for (place, server) in servers.into_iter().enumerate() {
            *formers.0.get_mut(place)? = Some(server);
        }
        Some(formers)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = DataServerId> + '_ {
        self.0.iter().flatten().copied()
    }

    /// Whether a server is one of them.
    #[must_use]
    pub fn contains(&self, server: DataServerId) -> bool {
        self.iter().any(|one| one == server)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Those that are left without this one.
    #[must_use]
    pub fn without(&self, server: DataServerId) -> Self {
        Self::new(self.iter().filter(|one| *one != server)).expect("no more than before")
    }
}
