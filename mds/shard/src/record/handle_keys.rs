//! Under which keys data-server handles are sealed, and which are still opened.
//!
//! A key takes the place of another in three steps, each an entry in the log: it is added, so that data servers learn it; it is used,
//! so that handles are sealed under it; the one before is dropped, so that what was sealed under that is good no more.
//!
//! Spec: docs/formats/state.md; docs/formats/ds_handle.md.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a key.
pub const HANDLE_KEY_BYTES: usize = 32;

/// A handle key that took the place of another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaterKey {
    /// How handles name it; never 0, which is the first key's.
    pub number: u8,
    /// The key. Never shown.
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
    /// A command that adds or drops a key raises it, and data servers learn the keys anew. Never 0.
    pub version: u64,
    /// Number of the key that handles are sealed under.
    pub used: u8,
    /// The key with which the file system was made is good.
    pub is_first_good: bool,
    /// Keys that came later and are good, the oldest first.
    pub later: Vec<LaterKey>,
}

/// Those of a file system whose key was never replaced.
impl Default for HandleKeys {
    fn default() -> Self {
        Self { version: 1, used: 0, is_first_good: true, later: Vec::new() }
    }
}

/// How far the replacement of a handle key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// None is under way: one key is good.
    None,
    /// Data servers learn the new key.
    Spreading,
    /// The new key is used, and the one before is still good.
    Leaving,
}

impl HandleKeys {
    /// How far a replacement is.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        match (self.count(), self.used == self.newest()) {
            (1, _) => Rotation::None,
            (_, false) => Rotation::Spreading,
            (_, true) => Rotation::Leaving,
        }
    }

    /// Keys that are good.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.is_first_good) + self.later.len()
    }

    /// Number of the key that was added last.
    #[must_use]
    pub fn newest(&self) -> u8 {
        self.later.last().map_or(0, |key| key.number)
    }

    /// With another key, if none is being replaced.
    #[must_use]
    pub fn added(&self, bytes: [u8; HANDLE_KEY_BYTES]) -> Option<Self> {
        if self.rotation() != Rotation::None {
            return None;
        }
        // Only the key in use is there, so no number is taken twice.
        let number = self.newest().checked_add(1).unwrap_or(1);
        let mut later = self.later.clone();
        later.push(LaterKey { number, bytes });
        Some(Self { version: self.version + 1, later, ..*self })
    }

    /// With the new key in use, if there is one that is not.
    #[must_use]
    pub fn using_newest(&self) -> Option<Self> {
        let used = self.newest();
        (self.rotation() == Rotation::Spreading).then(|| Self { used, ..self.clone() })
    }

    /// Without the key that is not used any more, if there is one.
    #[must_use]
    pub fn without_old(&self) -> Option<Self> {
        if self.rotation() != Rotation::Leaving {
            return None;
        }
        let later = self.later.iter().filter(|key| key.number == self.used).cloned().collect();
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
