//! The keys that a node holds at one time, and the same while they are replaced: one with which it
//! opens connections, and one at most that it takes besides.
//!
//! INVARIANT: both keys of a ring are for the same role, and are not the same.
//! INVARIANT: a ring takes the place of another only if they have a key in common: a file of
//! another cluster cuts no node off.
//! Spec: docs/protocol/control.md §1, docs/formats/key.md.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::keys::ClusterKey;

/// What a node holds at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    active: ClusterKey,
    accepted: Option<Accepted>,
}

/// The key that a node takes besides the active one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is to become the active one.
    Next(ClusterKey),
    /// It was the active one.
    Before(ClusterKey),
}

impl Accepted {
    /// The key, whichever it is.
    #[must_use]
    pub fn key(&self) -> &ClusterKey {
        match self {
            Self::Next(key) | Self::Before(key) => key,
        }
    }
}

/// Why two keys make no ring, or a ring does not take the place of another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The keys are for different roles.
    #[error("one key is for {one}, the other for {other}")]
    Roles {
        /// What the one's holder can be.
        one: String,
        /// And the other's.
        other: String,
    },
    /// Both are the same key.
    #[error("the active and the accepted key are the same")]
    Equal,
    /// No key of the new ring is in the one before.
    #[error("it has no key in common with what is held: it is taken at the next start only")]
    Strange,
}

impl Ring {
    /// One key, which opens connections and is alone taken.
    #[must_use]
    pub fn one(active: ClusterKey) -> Self {
        Self { active, accepted: None }
    }

    /// Two keys.
    ///
    /// # Errors
    /// [`RingError::Roles`], [`RingError::Equal`].
    pub fn two(active: ClusterKey, accepted: Accepted) -> Result<Self, RingError> {
        same_role(&active, accepted.key())?;
        if active == *accepted.key() {
            return Err(RingError::Equal);
        }
        Ok(Self { active, accepted: Some(accepted) })
    }

    /// The key with which connections are opened.
    #[must_use]
    pub fn active(&self) -> &ClusterKey {
        &self.active
    }

    /// The other one that is taken.
    #[must_use]
    pub fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// All keys under which a connection is taken: the active one first.
    pub fn keys(&self) -> impl Iterator<Item = &ClusterKey> {
        std::iter::once(&self.active).chain(self.accepted.as_ref().map(Accepted::key))
    }

    /// Whether a connection under this key is taken.
    #[must_use]
    pub fn has(&self, key: &ClusterKey) -> bool {
        self.keys().any(|held| held == key)
    }

    /// What each key gives by `derive`, in the same places. `None` if one gives nothing, or the two
    /// no ring.
    #[must_use]
    pub fn derived(&self, derive: impl Fn(&ClusterKey) -> Option<ClusterKey>) -> Option<Self> {
        let active = derive(&self.active)?;
        match &self.accepted {
            None => Some(Self::one(active)),
            Some(Accepted::Next(key)) => Self::two(active, Accepted::Next(derive(key)?)).ok(),
            Some(Accepted::Before(key)) => Self::two(active, Accepted::Before(derive(key)?)).ok(),
        }
    }
}

fn same_role(one: &ClusterKey, other: &ClusterKey) -> Result<(), RingError> {
    let (one, other) = (one.role(), other.role());
    if one == other { Ok(()) } else { Err(RingError::Roles { one, other }) }
}

/// The ring that all connections of a node share. Each connection looks at its start, and a
/// callee's also later.
#[derive(Clone)]
pub struct Keyring(Arc<Shared>);

struct Shared {
    ring: RwLock<Arc<Ring>>,
    /// Changes with the ring.
    version: AtomicU64,
    /// Changes with the active key.
    active_version: AtomicU64,
}

impl Keyring {
    /// The ring as it is now.
    #[must_use]
    pub fn held(&self) -> Arc<Ring> {
        Arc::clone(&self.0.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another number for each ring that was held: what was judged by the ring is to be judged
    /// again.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Another number for each key that was active: a connection that was opened before is under
    /// another key.
    #[must_use]
    pub fn active_version(&self) -> u64 {
        self.0.active_version.load(Ordering::Acquire)
    }

    /// Holds another ring from now on; says whether it differs.
    ///
    /// # Errors
    /// [`RingError::Roles`], [`RingError::Strange`]: what was held is kept.
    pub fn replace(&self, ring: Ring) -> Result<bool, RingError> {
        let mut held = self.0.ring.write().unwrap_or_else(PoisonError::into_inner);
        same_role(ring.active(), held.active())?;
        if !ring.keys().any(|key| held.has(key)) {
            return Err(RingError::Strange);
        }
        if ring == **held {
            return Ok(false);
        }
        let is_active_other = ring.active != held.active;
        *held = Arc::new(ring);
        // A reader of the new number finds the new ring.
        self.0.version.fetch_add(1, Ordering::Release);
        if is_active_other {
            self.0.active_version.fetch_add(1, Ordering::Release);
        }
        Ok(true)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({:?})", self.held())
    }
}

impl From<Ring> for Keyring {
    fn from(ring: Ring) -> Self {
        let ring = RwLock::new(Arc::new(ring));
        Self(Arc::new(Shared { ring, version: AtomicU64::new(0), active_version: AtomicU64::new(0) }))
    }
}

impl From<ClusterKey> for Keyring {
    fn from(key: ClusterKey) -> Self {
        Ring::one(key).into()
    }
}

impl From<&ClusterKey> for Keyring {
    fn from(key: &ClusterKey) -> Self {
        key.clone().into()
    }
}

impl From<&Self> for Keyring {
    fn from(keyring: &Self) -> Self {
        keyring.clone()
    }
}

#[cfg(test)]
mod tests;
