//! Decides which shards of a node have running clocks, by the messages of the other nodes and their
//! times. No clock, no network, no engine here: the caller passes times and gets switches
//! (docs/protocol/raft.md §Heartbeats between nodes).
//!
//! A shard's *clock* is its engine's: a leader's sends heartbeats, a follower's starts elections.
//! An idle shard *hibernates*: its clocks stand still on all nodes, and one heartbeat between two
//! nodes serves all such shards. Shard 0 is not here: it always runs.
//!
//! INVARIANT: a follower's clock stands still only while a live node reports that it leads the
//! shard, in the term the follower knows, or while the follower waits for its turn to stand for
//! election.
//! INVARIANT: nothing here is needed for safety: the engine decides elections and reads by
//! majorities.

mod beat;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use beat::{Beat, BeatReply, Led};

use crate::limits::{ELECTION_HEARTBEATS_MAX, ELECTION_HEARTBEATS_MIN, ELECTIONS_MAX};

/// Configuration of a node's liveness. Times in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// This node.
    pub(crate) me: u64,
    /// Differs at each start of the node.
    pub(crate) start: u64,
    /// All nodes, this one too; every shard has a replica on each, though not all vote.
    pub(crate) members: Vec<u64>,
    /// Shards, shard 0 included.
    pub(crate) shards: usize,
    pub(crate) heartbeat_ms: u64,
    /// An idle shard hibernates after this time; 0: never.
    pub(crate) hibernate_ms: u64,
    /// A node that starts listens for so long before it stands for election.
    pub(crate) listen_ms: u64,
}

/// State of a shard's engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) term: u64,
    pub(crate) leader: Option<u64>,
    /// This node leads.
    pub(crate) leads: bool,
    /// This node votes; else it is a learner, and stands for no election.
    pub(crate) votes: bool,
    /// A leader's: a majority has answered it within the lease.
    pub(crate) holds_lease: bool,
    /// A leader's: all live members have all entries, and they are applied here.
    pub(crate) is_settled: bool,
    /// When the shard was last active.
    pub(crate) active_ms: u64,
}

/// How close a leader is to hibernation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    /// The list of this version has it as hibernating; its clock runs until all live nodes know
    /// it.
    Drowsy {
        version: u64,
    },
    Asleep {
        version: u64,
    },
    /// Its clock runs again. The list still has it as hibernating until a majority has answered
    /// the engine, or for a while.
    Waking {
        since_ms: u64,
    },
}

impl Sleep {
    fn is_listed_asleep(self) -> bool {
        !matches!(self, Self::Awake)
    }
}

#[derive(Clone, Debug, Default)]
struct Group {
    facts: Facts,
    /// Whether its clock runs.
    runs: bool,
    sleep: Sleep,
    /// Since when its clock should run, if it does not.
    wanted_ms: Option<u64>,
    /// When it was allowed to stand for election, and the term before, if it has no leader since.
    stood: Option<(u64, u64)>,
    /// It does not hibernate because of idle time before this.
    quiet_from_ms: u64,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    heard_ms: Option<u64>,
    start: u64,
    /// The shards that it reports to lead.
    leads: BTreeMap<usize, Led>,
    leads_version: u64,
    /// The version of our list that it has.
    acked: u64,
    /// When the heartbeat was sent that it answered last.
    acked_sent_ms: u64,
    /// Shards of our list that it refuses.
    refused: BTreeSet<usize>,
    /// As of the last `advance`.
    was_alive: bool,
}

/// Starts or stops a shard's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switch {
    pub(crate) shard: usize,
    pub(crate) runs: bool,
    /// The clock stops because this node leads the shard and it hibernates.
    pub(crate) hibernates: bool,
}

/// The liveness of a node's shards.
#[derive(Debug)]
pub(crate) struct Liveness {
    setup: Setup,
    began_ms: u64,
    groups: Vec<Group>,
    peers: BTreeMap<u64, Peer>,
    /// Version of our list of led shards.
    version: u64,
    listed: BTreeMap<usize, Led>,
}

impl Liveness {
    pub(crate) fn new(setup: Setup, now_ms: u64) -> Self {
        let others = setup.members.iter().filter(|member| **member != setup.me);
        let peers = others.map(|member| (*member, Peer::default())).collect();
        assert!(setup.members.contains(&setup.me), "a node is one of all");
        let groups = vec![Group { quiet_from_ms: now_ms, ..Group::default() }; setup.shards];
        Self { setup, began_ms: now_ms, groups, peers, version: 1, listed: BTreeMap::new() }
    }

    /// Sets the nodes.
    pub(crate) fn set_members(&mut self, members: Vec<u64>) {
        self.peers.retain(|node, _| members.contains(node));
        for node in members.iter().filter(|node| **node != self.setup.me) {
            self.peers.entry(*node).or_default();
        }
        self.setup.members = members;
        assert!(!self.peers.contains_key(&self.setup.me), "a node is no peer of its own");
        assert!(self.peers.len() <= self.setup.members.len(), "peers are members");
    }

    /// How long a node may be silent before it counts as dead.
    pub(crate) fn lease_ms(&self) -> u64 {
        self.setup.heartbeat_ms * ELECTION_HEARTBEATS_MAX
    }

    /// Whether another node sent a message within the lease.
    pub(crate) fn is_alive(&self, node: u64, now_ms: u64) -> bool {
        node == self.setup.me
            || self
                .peers
                .get(&node)
                .and_then(|peer| peer.heard_ms)
                .is_some_and(|heard_ms| now_ms < heard_ms + self.lease_ms())
    }

    /// A node's process has died: the node counts as dead until it sends a message again.
    pub(crate) fn is_gone(&mut self, node: u64) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.heard_ms = None;
        }
    }

    /// Handles a heartbeat.
    pub(crate) fn handle_beat(&mut self, now_ms: u64, beat: &Beat) -> BeatReply {
        let groups = &self.groups;
        let Some(peer) = self.peers.get_mut(&beat.from) else {
            return BeatReply { start: self.setup.start, version: 0, refused: Vec::new() };
        };
        peer.meet(beat.start, now_ms);
        if let Some(leads) = &beat.leads {
            let known = leads.iter().filter(|led| (1..groups.len()).contains(&(led.shard as usize)));
            peer.leads = known.map(|led| (led.shard as usize, *led)).collect();
            peer.leads_version = beat.version;
            assert!(!peer.leads.contains_key(&0), "shard 0 does not hibernate");
        }
        let agrees = |shard: usize, led: &Led| {
            let facts = groups[shard].facts;
            facts.leader == Some(beat.from) && facts.term == led.term
        };
        let refused = peer.leads.iter().filter(|(shard, led)| !agrees(**shard, led));
        let refused = refused.map(|(_, led)| led.shard).collect();
        BeatReply { start: self.setup.start, version: peer.leads_version, refused }
    }

    /// Handles the answer to our heartbeat that was sent at `sent_ms`.
    pub(crate) fn handle_reply(&mut self, now_ms: u64, node: u64, sent_ms: u64, reply: &BeatReply) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.meet(reply.start, now_ms);
        peer.acked = reply.version;
        peer.acked_sent_ms = peer.acked_sent_ms.max(sent_ms);
        peer.refused = reply.refused.iter().map(|shard| *shard as usize).collect();
    }

    /// The next heartbeat for another node.
    pub(crate) fn beat_for(&self, node: u64) -> Beat {
        let is_known = self.peers.get(&node).is_some_and(|peer| peer.acked == self.version);
        let leads = (!is_known).then(|| self.listed.values().copied().collect());
        Beat { from: self.setup.me, start: self.setup.start, version: self.version, leads }
    }

    /// Wakes a hibernating shard for a proposal or a read: its clock runs again.
    pub(crate) fn wake(&mut self, now_ms: u64, shard: usize) -> Option<Switch> {
        let group = self.groups.get_mut(shard)?;
        group.facts.active_ms = now_ms;
        group.quiet_from_ms = now_ms;
        if group.sleep.is_listed_asleep() {
            group.sleep = Sleep::Waking { since_ms: now_ms };
        }
        let is_new = !std::mem::replace(&mut group.runs, true);
        is_new.then_some(Switch { shard, runs: true, hibernates: false })
    }

    /// Whether a majority agrees that this node leads a shard that hibernates.
    pub(crate) fn is_held(&self, now_ms: u64, shard: usize) -> bool {
        let Some(group) = self.groups.get(shard) else { return false };
        let Sleep::Asleep { version } = group.sleep else { return false };
        let agrees = |peer: &&Peer| {
            version <= peer.acked
                && !peer.refused.contains(&shard)
                && now_ms < peer.acked_sent_ms + self.lease_ms()
        };
        self.is_majority(1 + self.peers.values().filter(agrees).count())
    }

    /// Whether to refuse a candidate because the shard has a leader: one that is alive and
    /// hibernates.
    pub(crate) fn has_other_leader(&self, now_ms: u64, shard: usize, candidate: u64) -> bool {
        if self.is_held(now_ms, shard) {
            return true;
        }
        let claim = self.claim(now_ms, shard);
        claim.is_some_and(|(node, led)| node != candidate && led.hibernates)
    }

    /// The number of shards led here that hibernate.
    pub(crate) fn hibernating(&self) -> usize {
        let hibernate = |group: &&Group| matches!(group.sleep, Sleep::Asleep { .. });
        self.groups.iter().filter(hibernate).count()
    }

    /// Takes the engines' states and the time, and returns the clocks to start and stop.
    pub(crate) fn advance(&mut self, now_ms: u64, facts: &[Facts]) -> Vec<Switch> {
        assert!(facts.len() == self.groups.len(), "each shard has its facts");
        let came_back = self.update_peers(now_ms);
        for (group, facts) in self.groups.iter_mut().zip(facts).skip(1) {
            if !facts.leads || facts.term != group.facts.term {
                group.sleep = Sleep::Awake;
            }
            group.facts = *facts;
            if facts.leader.is_some() && group.stood.is_some_and(|(_, term)| term < facts.term) {
                group.stood = None;
            }
        }
        let mut switches = Vec::new();
        for shard in 1..self.groups.len() {
            let is_leader = self.groups[shard].facts.leads;
            let runs =
                if is_leader { self.lead(now_ms, shard, came_back) } else { self.follow(now_ms, shard) };
            let group = &mut self.groups[shard];
            if runs != group.runs {
                group.runs = runs;
                switches.push(Switch { shard, runs, hibernates: is_leader && !runs });
            }
        }
        self.list();
        assert!(switches.len() < self.groups.len(), "shard 0's clock is not switched here");
        debug_assert!(self.lists_sleepers(), "a shard hibernates in the version that lists it");
        switches
    }

    /// Whether shards hibernate in versions of the list that exist.
    fn lists_sleepers(&self) -> bool {
        self.groups.iter().all(|group| match group.sleep {
            Sleep::Drowsy { version } | Sleep::Asleep { version } => version <= self.version,
            Sleep::Awake | Sleep::Waking { .. } => true,
        })
    }

    /// Whether a node came back, or restarted, since the last call.
    fn update_peers(&mut self, now_ms: u64) -> bool {
        let lease_ms = self.lease_ms();
        let mut came_back = false;
        for peer in self.peers.values_mut() {
            let is_alive = peer.heard_ms.is_some_and(|heard_ms| now_ms < heard_ms + lease_ms);
            came_back |= is_alive && !peer.was_alive;
            peer.was_alive = is_alive;
        }
        came_back
    }

    fn is_majority(&self, nodes: usize) -> bool {
        assert!(nodes <= 1 + self.peers.len(), "a majority is of this node and its peers");
        self.setup.members.len() < 2 * nodes
    }

    /// Whether the clock of a shard led here runs.
    fn lead(&mut self, now_ms: u64, shard: usize, came_back: bool) -> bool {
        let (hibernate_ms, lease_ms) = (self.setup.hibernate_ms, self.lease_ms());
        let alive = self.peers.values().filter(|peer| peer.was_alive);
        let is_enough = self.is_majority(1 + alive.clone().count());
        let is_refused = alive.clone().any(|peer| peer.refused.contains(&shard));
        let acked = alive.map(|peer| peer.acked).min().unwrap_or(u64::MAX);
        let next = self.version + 1;
        let group = &mut self.groups[shard];
        let facts = group.facts;
        assert!(facts.leads, "only a leader's shard hibernates by itself");
        let quiet_ms = now_ms.saturating_sub(facts.active_ms.max(group.quiet_from_ms));
        let is_idle = 0 < hibernate_ms && hibernate_ms <= quiet_ms;
        group.sleep = match group.sleep {
            Sleep::Awake if is_idle && facts.is_settled && is_enough => Sleep::Drowsy { version: next },
            Sleep::Waking { since_ms } if facts.holds_lease || since_ms + lease_ms <= now_ms => Sleep::Awake,
            Sleep::Drowsy { version } | Sleep::Asleep { version }
                if !is_idle || !is_enough || came_back || (is_refused && version <= acked) =>
            {
                group.quiet_from_ms = now_ms;
                Sleep::Waking { since_ms: now_ms }
            }
            Sleep::Drowsy { version } if version <= acked && facts.is_settled => Sleep::Asleep { version },
            as_before => as_before,
        };
        group.wanted_ms = None;
        group.stood = None;
        !matches!(group.sleep, Sleep::Asleep { .. })
    }

    /// Whether the clock of a shard that is not led here runs.
    fn follow(&mut self, now_ms: u64, shard: usize) -> bool {
        let facts = self.groups[shard].facts;
        assert!(!facts.leads, "a leader follows no other node");
        let claim = self.claim(now_ms, shard);
        let agrees = |node, led: Led| facts.leader == Some(node) && facts.term == led.term;
        if let Some((node, led)) = claim
            && led.hibernates
            && agrees(node, led)
        {
            let group = &mut self.groups[shard];
            (group.wanted_ms, group.stood) = (None, None);
            return false;
        }
        if self.groups[shard].runs || !facts.votes {
            return true;
        }
        let wanted_ms = *self.groups[shard].wanted_ms.get_or_insert(now_ms);
        let heartbeat_ms = self.setup.heartbeat_ms;
        let wait_ms = match claim {
            // Its leader is alive and sends heartbeats again: the clock runs once they have had
            // time to arrive.
            Some(_) => heartbeat_ms * ELECTION_HEARTBEATS_MIN,
            None => self.rank(now_ms, shard) * self.lease_ms(),
        };
        let listened_ms = if self.peers.is_empty() { 0 } else { self.setup.listen_ms };
        if now_ms < wanted_ms + wait_ms || now_ms < self.began_ms + listened_ms {
            return false;
        }
        if claim.is_none() && !self.peers.is_empty() {
            if ELECTIONS_MAX <= self.standing(now_ms) {
                return false;
            }
            self.groups[shard].stood = Some((now_ms, facts.term));
        }
        self.groups[shard].wanted_ms = None;
        true
    }

    /// Shards that were allowed to stand for election within the lease and have no leader yet.
    fn standing(&self, now_ms: u64) -> usize {
        let lease_ms = self.lease_ms();
        let stands = |group: &&Group| group.stood.is_some_and(|(stood_ms, _)| now_ms < stood_ms + lease_ms);
        self.groups.iter().filter(stands).count()
    }

    /// The live node that reports to lead the shard, in no older term than this node knows.
    fn claim(&self, now_ms: u64, shard: usize) -> Option<(u64, Led)> {
        let term = self.groups.get(shard)?.facts.term;
        let alive = self.peers.iter().filter(|(node, _)| self.is_alive(**node, now_ms));
        let claims = alive.filter_map(|(node, peer)| Some((*node, *peer.leads.get(&shard)?)));
        claims.filter(|(_, led)| term <= led.term).max_by_key(|(_, led)| led.term)
    }

    /// How many nodes are before this one in a shard's line. Its preferred leader is first; dead
    /// nodes do not count.
    fn rank(&self, now_ms: u64, shard: usize) -> u64 {
        // A node that has had no time to send a message yet is not dead.
        let is_young = now_ms < self.began_ms + self.lease_ms();
        let line = line(&self.setup.members, shard);
        let before = line.take_while(|node| *node != self.setup.me);
        let rank = before.filter(|node| is_young || self.is_alive(*node, now_ms)).count();
        assert!(rank <= self.setup.members.len(), "a node waits for other nodes");
        rank as u64
    }

    /// Rebuilds the list of led shards; a changed list gets the next version.
    fn list(&mut self) {
        let led = |(shard, group): (usize, &Group)| {
            let hibernates = group.sleep.is_listed_asleep();
            let number = u32::try_from(shard).expect("shards are few");
            group.facts.leads.then_some((shard, Led { shard: number, term: group.facts.term, hibernates }))
        };
        let listed: BTreeMap<usize, Led> = self.groups.iter().enumerate().skip(1).filter_map(led).collect();
        assert!(!listed.contains_key(&0), "shard 0 does not hibernate");
        if listed != self.listed {
            self.listed = listed;
            self.version += 1;
        }
    }
}

impl Peer {
    /// Records a message of the node; a new start voids what it reported before.
    fn meet(&mut self, start: u64, now_ms: u64) {
        if self.start != start {
            *self = Self { start, ..Self::default() };
        }
        self.heard_ms = self.heard_ms.max(Some(now_ms));
    }
}

/// The nodes in the order in which they should lead a shard. The shard's number gives the first
/// node and the order of the others: the shards of a dead node are spread evenly over all others.
pub(crate) fn line(members: &[u64], shard: usize) -> impl Iterator<Item = u64> {
    let count = members.len().max(1);
    let (first, others) = (shard % count, count - 1);
    let turn = shard / count;
    let rest = (0..others).map(move |at| first + 1 + (at + turn) % others);
    std::iter::once(first).chain(rest).filter_map(move |at| members.get(at % count)).copied()
}

#[cfg(test)]
mod tests;
