//! Addresses that belong here and cannot be taken: another node leads instead, one that can.
//!
//! Time and what is so in, whom not to ask out: it touches nothing.
//!
//! Spec: docs/protocol/addresses.md §1.

use crate::limits::{ADDRESS_PASS_ON_AGAIN_MS, ADDRESS_UNTAKEN_MS_MAX};

/// For how long, and who was asked to lead instead.
#[derive(Debug, Default)]
pub(crate) struct Untaken {
    since_ms: Option<u64>,
    /// They may be no better off, and give the lead back: then it is the next one's turn.
    asked: Vec<u64>,
    asked_ms: u64,
    /// Nobody is asked before.
    again_ms: u64,
}

impl Untaken {
    /// Whether another node is to lead now, and which ones are not to be asked.
    pub(crate) fn look(&mut self, is_untaken: bool, now_ms: u64) -> Option<&[u64]> {
        if !is_untaken {
            self.since_ms = None;
            if self.again_ms == u64::MAX {
                self.again_ms = 0;
            }
            return None;
        }
        if self.since_ms.is_none() && self.asked_ms + ADDRESS_PASS_ON_AGAIN_MS <= now_ms {
            // That was another time.
            self.asked.clear();
        }
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let is_due = (since_ms + ADDRESS_UNTAKEN_MS_MAX).max(self.again_ms) <= now_ms;
        is_due.then_some(&self.asked[..])
    }

    /// This node was asked to lead; or there was none to be asked. `has_some`: this node has others of the addresses.
    pub(crate) fn asked(&mut self, node: Option<u64>, has_some: bool, now_ms: u64) {
        self.asked_ms = now_ms;
        match node {
            Some(node) => self.asked.push(node),
            // Nobody was there: somebody may be soon.
            None if self.asked.is_empty() => self.again_ms = now_ms + ADDRESS_UNTAKEN_MS_MAX,
            // Nodes that cannot take it either are not to pass the lead round and round, least of all with addresses that can be had.
            None => {
                self.again_ms = if has_some { u64::MAX } else { now_ms + ADDRESS_PASS_ON_AGAIN_MS };
                self.asked.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE_MS: u64 = ADDRESS_UNTAKEN_MS_MAX;

    #[test]
    fn it_takes_a_while_without_a_break() {
        let mut untaken = Untaken::default();
        assert_eq!(untaken.look(true, 100_000), None);
        assert_eq!(untaken.look(true, 100_000 + PATIENCE_MS - 1), None);
        assert_eq!(untaken.look(false, 100_000 + PATIENCE_MS), None);
        assert_eq!(untaken.look(true, 100_001 + PATIENCE_MS), None);
        assert_eq!(untaken.look(true, 100_001 + 2 * PATIENCE_MS), Some(&[][..]));
    }

    #[test]
    fn each_is_asked_once_and_then_none_for_a_while() {
        let mut untaken = Untaken::default();
        let mut now_ms = 100_000;
        // Each of two others gives the lead back.
        for asked in [&[][..], &[2]] {
            assert_eq!(untaken.look(true, now_ms), None, "it leads again");
            now_ms += PATIENCE_MS;
            assert_eq!(untaken.look(true, now_ms), Some(asked));
            untaken.asked(Some(2 + asked.len() as u64), false, now_ms);
            untaken.look(false, now_ms + 1);
            now_ms += PATIENCE_MS;
        }
        untaken.look(true, now_ms);
        now_ms += PATIENCE_MS;
        assert_eq!(untaken.look(true, now_ms), Some(&[2, 3][..]));
        untaken.asked(None, false, now_ms);
        assert_eq!(untaken.look(true, now_ms + ADDRESS_PASS_ON_AGAIN_MS - 1), None);
        assert_eq!(untaken.look(true, now_ms + ADDRESS_PASS_ON_AGAIN_MS), Some(&[][..]));
    }

    #[test]
    fn when_nobody_is_there_it_is_looked_again_soon() {
        let mut untaken = Untaken::default();
        untaken.look(true, 100_000);
        let now_ms = 100_000 + PATIENCE_MS;
        assert_eq!(untaken.look(true, now_ms), Some(&[][..]));
        untaken.asked(None, false, now_ms);
        assert_eq!(untaken.look(true, now_ms + PATIENCE_MS - 1), None);
        assert_eq!(untaken.look(true, now_ms + PATIENCE_MS), Some(&[][..]));
    }

    #[test]
    fn who_was_asked_long_ago_is_asked_again() {
        let mut untaken = Untaken::default();
        untaken.asked(Some(2), false, 100_000);
        let now_ms = 100_000 + ADDRESS_PASS_ON_AGAIN_MS;
        assert_eq!(untaken.look(true, now_ms), None);
        assert_eq!(untaken.look(true, now_ms + PATIENCE_MS), Some(&[][..]));
    }

    /// An address that nobody can take does not move those about that somebody has.
    #[test]
    fn who_has_another_address_asks_once_only() {
        let mut untaken = Untaken::default();
        untaken.look(true, 100_000);
        untaken.asked(Some(2), true, 105_000);
        untaken.asked(None, true, 106_000);
        assert_eq!(untaken.look(true, 100_000_000), None);
        assert_eq!(untaken.look(false, 100_000_001), None);
        assert_eq!(untaken.look(true, 100_000_002), None);
        assert_eq!(untaken.look(true, 100_000_002 + PATIENCE_MS), Some(&[][..]), "another time");
    }
}
