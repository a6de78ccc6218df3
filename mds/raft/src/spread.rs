//! Chooses the shard whose leadership to hand over next, so that each node leads its own shards.
//! Sans-io.
//!
//! INVARIANT: a shard is handed over only to a node that is alive, was so for a while, and has all
//! entries.

use std::collections::BTreeMap;

use crate::limits::{SPREAD_ALIVE_MS, SPREAD_RETRY_MS};
use crate::liveness::line;

/// A shard led here.
#[derive(Clone, Debug)]
pub(crate) struct Led {
    pub(crate) shard: usize,
    /// Nodes that have all its entries.
    pub(crate) caught_up: Vec<u64>,
}

/// The state of other nodes and earlier attempts.
#[derive(Debug)]
pub(crate) struct Spread {
    me: u64,
    /// Since when each other node has been alive.
    alive_since_ms: BTreeMap<u64, u64>,
    /// When a shard was last handed over, or an attempt was made.
    tried_ms: BTreeMap<usize, u64>,
}

impl Spread {
    pub(crate) fn new(me: u64) -> Self {
        Self { me, alive_since_ms: BTreeMap::new(), tried_ms: BTreeMap::new() }
    }

    /// The next shard to hand over, and the receiving node: at most one each call.
    pub(crate) fn next(
        &mut self,
        now_ms: u64,
        members: &[u64],
        alive: &[u64],
        led: impl Iterator<Item = Led>,
    ) -> Option<(usize, u64)> {
        self.alive_since_ms.retain(|node, _| alive.contains(node));
        for node in alive {
            self.alive_since_ms.entry(*node).or_insert(now_ms);
        }
        self.tried_ms.retain(|_, tried_ms| now_ms < *tried_ms + SPREAD_RETRY_MS);
        let (me, settled) = (self.me, |node: u64| {
            self.alive_since_ms.get(&node).is_some_and(|since_ms| since_ms + SPREAD_ALIVE_MS <= now_ms)
        });
        let due = led.filter(|led| !self.tried_ms.contains_key(&led.shard)).find_map(|led| {
            // The first live node in line; none behind this node.
            let mut line = line(members, led.shard).take_while(|node| *node != me);
            let to = line.find(|node| settled(*node))?;
            led.caught_up.contains(&to).then_some((led.shard, to))
        });
        if let Some((shard, to)) = due {
            assert!(to != me, "a shard is handed to another node");
            assert!(alive.contains(&to), "a shard is handed to a live node");
            self.tried_ms.insert(shard, now_ms);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(shards: &[usize], caught_up: &[u64]) -> Vec<Led> {
        shards.iter().map(|shard| Led { shard: *shard, caught_up: caught_up.to_vec() }).collect()
    }

    fn handed(spread: &mut Spread, now_ms: u64, alive: &[u64], all: &[Led]) -> Option<(usize, u64)> {
        spread.next(now_ms, &[1, 2, 3], alive, all.iter().cloned())
    }

    #[test]
    fn shards_go_to_their_preferred_leaders_one_at_a_time() {
        let mut spread = Spread::new(1);
        // Shard 3 is this node's own; 1 is node 2's, 2 node 3's.
        let all = led(&[1, 2, 3, 4], &[2, 3]);
        assert_eq!(handed(&mut spread, 0, &[1, 2, 3], &all), None, "they are up only since now");
        let settled_ms = SPREAD_ALIVE_MS;
        assert_eq!(handed(&mut spread, settled_ms, &[1, 2, 3], &all), Some((1, 2)));
        assert_eq!(handed(&mut spread, settled_ms, &[1, 2, 3], &all), Some((2, 3)));
        assert_eq!(handed(&mut spread, settled_ms, &[1, 2, 3], &all), Some((4, 2)));
        assert_eq!(handed(&mut spread, settled_ms, &[1, 2, 3], &all), None);
        // The attempt failed: again, later.
        let later_ms = settled_ms + SPREAD_RETRY_MS;
        assert_eq!(handed(&mut spread, later_ms - 1, &[1, 2, 3], &all), None);
        assert_eq!(handed(&mut spread, later_ms, &[1, 2, 3], &all), Some((1, 2)));
    }

    #[test]
    fn not_to_dead_lagging_or_just_restarted_nodes() {
        let mut spread = Spread::new(1);
        let settled_ms = SPREAD_ALIVE_MS;
        assert_eq!(handed(&mut spread, 0, &[1, 3], &led(&[1, 2], &[2, 3])), None);
        // Node 2 is dead, and for shard 1 node 3 is next; shard 2 is node 3's, which lacks entries,
        // and then this node's.
        assert_eq!(handed(&mut spread, settled_ms, &[1, 3], &led(&[1, 2], &[2])), None);
        assert_eq!(handed(&mut spread, settled_ms, &[1, 3], &led(&[2, 3], &[3])), Some((2, 3)));
        // A node that was away must be back for a while.
        assert_eq!(handed(&mut spread, settled_ms + 1, &[1, 2, 3], &led(&[1], &[2])), None);
        assert_eq!(handed(&mut spread, settled_ms + 2, &[1, 3], &led(&[1], &[2])), None);
        let back_ms = settled_ms + 3;
        assert_eq!(handed(&mut spread, back_ms, &[1, 2, 3], &led(&[1], &[2])), None);
        assert_eq!(handed(&mut spread, back_ms + SPREAD_ALIVE_MS - 1, &[1, 2, 3], &led(&[1], &[2])), None);
        assert_eq!(
            handed(&mut spread, back_ms + SPREAD_ALIVE_MS, &[1, 2, 3], &led(&[1], &[2])),
            Some((1, 2))
        );
    }
}
