//! The key under which data-server handles are sealed, and the keys that still open them.
//!
//! A key replaces another in three steps, each an entry in the log. It is added, so that data
//! servers learn it; it is used, so that handles are sealed under it; the previous key is dropped,
//! so that handles under it are refused.
//!
//! Spec: docs/formats/state.md; docs/formats/ds_handle.md.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a key.
pub const HANDLE_KEY_BYTES: usize = 32;

/// A handle key that replaced another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaterKey {
    /// The key's number in handles; never 0, which is the first key's.
    pub number: u8,
    /// The key. Never printed.
    pub bytes: [u8; HANDLE_KEY_BYTES],
}

impl fmt::Debug for LaterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaterKey({}, ..)", self.number)
    }
}

/// The handle keys that are good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleKeys {
    /// A command that adds or drops a key raises it, and data servers fetch the keys again. Never
    /// 0.
    pub version: u64,
    /// Number of the key that handles are sealed under.
    pub used: u8,
    /// The key with which the file system was made is good.
    pub is_first_good: bool,
    /// Keys that came later and are good, the oldest first.
    pub later: Vec<LaterKey>,
}

/// The keys of a file system whose key was never replaced.
impl Default for HandleKeys {
    fn default() -> Self {
        Self { version: 1, used: 0, is_first_good: true, later: Vec::new() }
    }
}

/// Progress of the replacement of a handle key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// No replacement is under way: one key is good.
    None,
    /// Data servers learn the new key.
    Spreading,
    /// The new key is used, and the previous one is still good.
    Leaving,
}

impl HandleKeys {
    /// The progress of a replacement.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        match (self.count(), self.used == self.newest()) {
            (1, _) => Rotation::None,
            (_, false) => Rotation::Spreading,
            (_, true) => Rotation::Leaving,
        }
    }

    /// The number of good keys.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.is_first_good) + self.later.len()
    }

    /// Number of the key that was added last.
    #[must_use]
    pub fn newest(&self) -> u8 {
        self.later.last().map_or(0, |key| key.number)
    }

    /// Adds a key, if none is being replaced.
    #[must_use]
    pub fn added(&self, bytes: [u8; HANDLE_KEY_BYTES]) -> Option<Self> {
        if self.rotation() != Rotation::None {
            return None;
        }
        // Only the key in use exists, so no number is assigned twice.
        let number = self.newest().checked_add(1).unwrap_or(1);
        let mut later = self.later.clone();
        later.push(LaterKey { number, bytes });
        assert!(number != 0, "the first key keeps its number");
        assert!(number != self.used, "a new key has a new number");
        Some(Self { version: self.version + 1, later, ..*self })
    }

    /// Uses the new key, if there is an unused one.
    #[must_use]
    pub fn using_newest(&self) -> Option<Self> {
        let used = self.newest();
        (self.rotation() == Rotation::Spreading).then(|| Self { used, ..self.clone() })
    }

    /// Drops the key that is no longer used, if there is one.
    #[must_use]
    pub fn without_old(&self) -> Option<Self> {
        if self.rotation() != Rotation::Leaving {
            return None;
        }
        let in_use = self.later.iter().filter(|key| key.number == self.used);
        let later: Vec<LaterKey> = in_use.cloned().collect();
        assert!(later.len() == 1, "the key in use stays");
        Some(Self { version: self.version + 1, is_first_good: false, later, ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_added_used_and_the_one_before_dropped() {
        let mut keys = HandleKeys::default();
        for turn in 1..=600_u64 {
            assert_eq!((keys.rotation(), keys.count()), (Rotation::None, 1));
            assert_eq!((keys.using_newest(), keys.without_old()), (None, None));
            let bytes = [u8::try_from(turn % 251).unwrap(); 32];
            let added = keys.added(bytes).unwrap();
            assert_eq!((added.rotation(), added.used, added.count()), (Rotation::Spreading, keys.used, 2));
            assert_ne!(added.newest(), 0, "the first key keeps its number");
            assert_ne!(added.newest(), keys.used);
            assert_eq!((added.added(bytes), added.without_old()), (None, None));
            let using = added.using_newest().unwrap();
            assert_eq!((using.rotation(), using.version), (Rotation::Leaving, added.version));
            assert_eq!((using.added(bytes), using.using_newest()), (None, None));
            keys = using.without_old().unwrap();
            assert_eq!(keys.version, 1 + 2 * turn);
            assert!(!keys.is_first_good);
            assert_eq!(keys.later, [LaterKey { number: keys.used, bytes }]);
        }
    }

    #[test]
    fn no_key_is_printed() {
        let keys = HandleKeys::default().added([0xaa; 32]).unwrap();
        assert!(!format!("{keys:?}").contains("170"));
    }
}
