//! OPENs and OPEN_DOWNGRADEs under way, by file: while there is one, a CLOSE of that file waits for
//! its outcome.
//!
//! A CLOSE that is answered early (docs/adr/0004-close-is-not-waited-for.md) is checked against a
//! view. An OPEN of the same owner that is queued in the log and not applied yet moves the stateid:
//! the CLOSE would be refused after its reply.
//!
//! QUIRK(linux): a client whose CLOSE succeeded takes the OPEN's stateid, with a sequence other
//! than 1, for one of several replies out of order: it waits five seconds for the others, and every
//! OPEN of the file with it. Shown by the shell line `four-appenders-beside-fsync`.
//!
//! INVARIANT: each request under way has one entry, which ends with it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use mds_namespace::Ino;
use parking_lot::Mutex;

/// Requests under way on this node.
#[derive(Clone, Default)]
pub(crate) struct Opening {
    under_way: Arc<Mutex<UnderWay>>,
}

#[derive(Default)]
struct UnderWay {
    files: HashMap<Ino, u32>,
    /// Names, in their directories, that lead to no file yet.
    names: HashMap<(Ino, Vec<u8>), u32>,
    /// OPENs of names that another OPEN may have created meanwhile: their files are unknown.
    unknown: u32,
}

enum Subject {
    File(Ino),
    Name((Ino, Vec<u8>)),
    Unknown((Ino, Vec<u8>)),
}

/// A request under way, until it is dropped.
pub(crate) struct UnderWayOpen {
    opening: Opening,
    subject: Subject,
}

impl Opening {
    /// Registers an OPEN or OPEN_DOWNGRADE of this file.
    pub(crate) fn begin_open(&self, ino: Ino) -> UnderWayOpen {
        count_up(&mut self.under_way.lock().files, ino);
        UnderWayOpen { opening: self.clone(), subject: Subject::File(ino) }
    }

    /// Registers an OPEN of a name without a file.
    pub(crate) fn begin_new(&self, directory: Ino, name: &[u8]) -> UnderWayOpen {
        let key = (directory, name.to_vec());
        let mut under_way = self.under_way.lock();
        let may_be_there = under_way.names.contains_key(&key);
        count_up(&mut under_way.names, key.clone());
        let subject = if may_be_there {
            under_way.unknown += 1;
            Subject::Unknown(key)
        } else {
            Subject::Name(key)
        };
        UnderWayOpen { opening: self.clone(), subject }
    }

    /// Whether a request under way may move the stateids of a file.
    pub(crate) fn is_under_way(&self, ino: Ino) -> bool {
        let under_way = self.under_way.lock();
        0 < under_way.unknown || under_way.files.contains_key(&ino)
    }
}

impl Drop for UnderWayOpen {
    fn drop(&mut self) {
        let mut under_way = self.opening.under_way.lock();
        match &self.subject {
            Subject::File(ino) => count_down(&mut under_way.files, ino),
            Subject::Name(key) => count_down(&mut under_way.names, key),
            Subject::Unknown(key) => {
                count_down(&mut under_way.names, key);
                under_way.unknown -= 1;
            }
        }
    }
}

fn count_up<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    *counts.entry(key).or_default() += 1;
}

fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    let count = counts.get_mut(key).expect("each was counted");
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_quiet_when_its_last_request_ends() {
        let opening = Opening::default();
        let (one, two) = (opening.begin_open(7), opening.begin_open(7));
        drop(one);
        assert!(opening.is_under_way(7) && !opening.is_under_way(8));
        drop(two);
        assert!(!opening.is_under_way(7));
        assert!(opening.under_way.lock().files.is_empty());
    }

    #[test]
    fn a_second_open_of_a_name_that_is_being_created_may_be_of_any_file() {
        let opening = Opening::default();
        let creating = opening.begin_new(1, b"f");
        let _other = opening.begin_new(1, b"g");
        assert!(!opening.is_under_way(7), "a file that is there is not being created");
        let second = opening.begin_new(1, b"f");
        drop(creating);
        assert!(opening.is_under_way(7));
        let _third = opening.begin_new(1, b"f");
        drop(second);
        assert!(opening.is_under_way(7));
    }
}
