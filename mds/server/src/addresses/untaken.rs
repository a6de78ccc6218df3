//! Addresses that belong here and cannot be configured: leadership passes to a node that can.
//!
//! Time and facts go in, a list of nodes to skip comes out: no I/O happens here.
//!
//! Spec: docs/protocol/addresses.md §1.

use crate::limits::{ADDRESS_PASS_ON_AGAIN_MS, ADDRESS_UNTAKEN_MS_MAX};

/// How long addresses are missing, and which nodes were asked to lead instead.
#[derive(Debug, Default)]
pub(crate) struct Untaken {
    since_ms: Option<u64>,
    /// These nodes may fail too and hand leadership back: then the next one is asked.
    asked: Vec<u64>,
    asked_ms: u64,
    /// Earliest time of the next attempt.
    again_ms: u64,
}

impl Untaken {
    /// Whether another node should lead now, and which nodes to skip.
    pub(crate) fn next_due(&mut self, is_untaken: bool, now_ms: u64) -> Option<&[u64]> {
        if !is_untaken {
            self.since_ms = None;
            if self.again_ms == u64::MAX {
                self.again_ms = 0;
            }
            return None;
        }
        if self.since_ms.is_none() && self.asked_ms + ADDRESS_PASS_ON_AGAIN_MS <= now_ms {
            // The earlier attempts belong to an older failure.
            self.asked.clear();
        }
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let is_due = (since_ms + ADDRESS_UNTAKEN_MS_MAX).max(self.again_ms) <= now_ms;
        is_due.then_some(&self.asked[..])
    }

    /// Records that `node` was asked to lead, or that none could be asked. `has_some`: this node
    /// holds other addresses of the cluster.
    pub(crate) fn asked(&mut self, node: Option<u64>, has_some: bool, now_ms: u64) {
        self.asked_ms = now_ms;
        match node {
            Some(node) => self.asked.push(node),
            // No other node was up: one may be soon.
            None if self.asked.is_empty() => self.again_ms = now_ms + ADDRESS_UNTAKEN_MS_MAX,
            // Nodes that cannot take it either do not pass leadership in circles, least of all
            // while other addresses work.
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
    fn leadership_passes_after_an_uninterrupted_failure() {
        let mut untaken = Untaken::default();
        assert_eq!(untaken.next_due(true, 100_000), None);
        assert_eq!(untaken.next_due(true, 100_000 + PATIENCE_MS - 1), None);
        assert_eq!(untaken.next_due(false, 100_000 + PATIENCE_MS), None);
        assert_eq!(untaken.next_due(true, 100_001 + PATIENCE_MS), None);
        assert_eq!(untaken.next_due(true, 100_001 + 2 * PATIENCE_MS), Some(&[][..]));
    }

    #[test]
    fn each_is_asked_once_and_then_none_for_a_while() {
        let mut untaken = Untaken::default();
        let mut now_ms = 100_000;
        // Each of two others gives the lead back.
        for asked in [&[][..], &[2]] {
            assert_eq!(untaken.next_due(true, now_ms), None, "it leads again");
            now_ms += PATIENCE_MS;
            assert_eq!(untaken.next_due(true, now_ms), Some(asked));
            untaken.asked(Some(2 + asked.len() as u64), false, now_ms);
            untaken.next_due(false, now_ms + 1);
            now_ms += PATIENCE_MS;
        }
        untaken.next_due(true, now_ms);
        now_ms += PATIENCE_MS;
        assert_eq!(untaken.next_due(true, now_ms), Some(&[2, 3][..]));
        untaken.asked(None, false, now_ms);
        assert_eq!(untaken.next_due(true, now_ms + ADDRESS_PASS_ON_AGAIN_MS - 1), None);
        assert_eq!(untaken.next_due(true, now_ms + ADDRESS_PASS_ON_AGAIN_MS), Some(&[][..]));
    }

    #[test]
    fn without_another_node_it_is_tried_again_soon() {
        let mut untaken = Untaken::default();
        untaken.next_due(true, 100_000);
        let now_ms = 100_000 + PATIENCE_MS;
        assert_eq!(untaken.next_due(true, now_ms), Some(&[][..]));
        untaken.asked(None, false, now_ms);
        assert_eq!(untaken.next_due(true, now_ms + PATIENCE_MS - 1), None);
        assert_eq!(untaken.next_due(true, now_ms + PATIENCE_MS), Some(&[][..]));
    }

    #[test]
    fn a_node_that_was_asked_long_ago_is_asked_again() {
        let mut untaken = Untaken::default();
        untaken.asked(Some(2), false, 100_000);
        let now_ms = 100_000 + ADDRESS_PASS_ON_AGAIN_MS;
        assert_eq!(untaken.next_due(true, now_ms), None);
        assert_eq!(untaken.next_due(true, now_ms + PATIENCE_MS), Some(&[][..]));
    }

    /// An address that no node can take does not move the addresses that a node holds.
    #[test]
    fn a_node_with_another_address_asks_once_only() {
        let mut untaken = Untaken::default();
        untaken.next_due(true, 100_000);
        untaken.asked(Some(2), true, 105_000);
        untaken.asked(None, true, 106_000);
        assert_eq!(untaken.next_due(true, 100_000_000), None);
        assert_eq!(untaken.next_due(false, 100_000_001), None);
        assert_eq!(untaken.next_due(true, 100_000_002), None);
        assert_eq!(untaken.next_due(true, 100_000_002 + PATIENCE_MS), Some(&[][..]), "another time");
    }
}
