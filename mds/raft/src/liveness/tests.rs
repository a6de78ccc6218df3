//! Nodes' liveness against a model of engines and a network that loses messages on request.

use super::*;
use crate::limits::LISTEN_HEARTBEATS;

const HEARTBEAT_MS: u64 = 100;
const HIBERNATE_MS: u64 = 3_000;
const LEASE_MS: u64 = HEARTBEAT_MS * ELECTION_HEARTBEATS_MAX;

/// One node's engine of one shard, as far as liveness can see it.
#[derive(Clone, Copy, Debug, Default)]
struct Engine {
    term: u64,
    leader: Option<u64>,
    runs: bool,
    hibernates: bool,
    heard_ms: Option<u64>,
    active_ms: u64,
}

struct Model {
    now_ms: u64,
    shards: usize,
    nodes: BTreeMap<u64, (Liveness, Vec<Engine>)>,
    starts: u64,
    down: BTreeSet<u64>,
    /// Cut off from all others.
    alone: BTreeSet<u64>,
    elections: Vec<(u64, usize, u64)>,
    /// Nodes that have no vote in a shard.
    learn: BTreeSet<(u64, usize)>,
    lists_sent: usize,
    hibernate_ms: u64,
}

impl Model {
    fn new(nodes: u64, shards: usize) -> Self {
        let mut model = Self {
            now_ms: 10_000,
            shards,
            nodes: BTreeMap::new(),
            starts: 0,
            down: BTreeSet::new(),
            alone: BTreeSet::new(),
            elections: Vec::new(),
            learn: BTreeSet::new(),
            lists_sent: 0,
            hibernate_ms: HIBERNATE_MS,
        };
        (1..=nodes).for_each(|node| {
            let liveness = model.liveness(node, nodes);
            model.nodes.insert(node, (liveness, vec![Engine::default(); shards]));
        });
        model
    }

    fn liveness(&mut self, me: u64, nodes: u64) -> Liveness {
        self.starts += 1;
        let setup = Setup {
            me,
            start: self.starts,
            members: (1..=nodes).collect(),
            shards: self.shards,
            heartbeat_ms: HEARTBEAT_MS,
            hibernate_ms: self.hibernate_ms,
            listen_ms: HEARTBEAT_MS * LISTEN_HEARTBEATS,
        };
        Liveness::new(setup, self.now_ms)
    }

    /// A node's process dies and starts at once: it keeps only terms and votes.
    fn restart(&mut self, node: u64) {
        let fresh = self.liveness(node, self.nodes.len() as u64);
        let (liveness, engines) = self.nodes.get_mut(&node).unwrap();
        *liveness = fresh;
        for engine in engines {
            let leader = engine.leader.filter(|leader| *leader != node);
            *engine = Engine { term: engine.term, leader, active_ms: self.now_ms, ..Engine::default() };
        }
        self.down.remove(&node);
    }

    fn reach(&self, a: u64, b: u64) -> bool {
        a == b || [a, b].iter().all(|node| !self.down.contains(node) && !self.alone.contains(node))
    }

    fn up(&self) -> Vec<u64> {
        self.nodes.keys().copied().filter(|node| !self.down.contains(node)).collect()
    }

    fn engine(&self, node: u64, shard: usize) -> Engine {
        self.nodes[&node].1[shard]
    }

    fn leads(&self, node: u64, shard: usize) -> bool {
        self.engine(node, shard).leader == Some(node)
    }

    /// Advances by one heartbeat's time.
    fn step(&mut self) {
        self.now_ms += HEARTBEAT_MS;
        let up = self.up();
        for node in &up {
            self.advance(*node);
        }
        for from in &up {
            for to in &up {
                if to == from || !self.reach(*from, *to) {
                    continue;
                }
                let beat = self.nodes[from].0.beat_for(*to);
                self.lists_sent += usize::from(beat.leads.is_some());
                let reply = self.nodes.get_mut(to).unwrap().0.handle_beat(self.now_ms, &beat);
                self.nodes.get_mut(from).unwrap().0.handle_reply(self.now_ms, *to, self.now_ms, &reply);
            }
        }
        for shard in 1..self.shards {
            up.iter().for_each(|node| self.send_heartbeats(*node, shard));
            up.iter().for_each(|node| self.maybe_elect(*node, shard));
        }
    }

    fn advance(&mut self, node: u64) {
        let (now_ms, shards) = (self.now_ms, self.shards);
        let facts: Vec<Facts> = (0..shards)
            .map(|shard| {
                let engine = self.engine(node, shard);
                let others = self.nodes.keys().filter(|other| **other != node);
                let reached = others.filter(|other| {
                    self.reach(node, **other) && self.engine(**other, shard).term <= engine.term
                });
                let leads = engine.leader == Some(node);
                Facts {
                    term: engine.term,
                    leader: engine.leader,
                    leads,
                    votes: !self.learn.contains(&(node, shard)),
                    holds_lease: leads && engine.runs && self.nodes.len() < 2 * (1 + reached.count()),
                    is_settled: leads,
                    active_ms: engine.active_ms,
                }
            })
            .collect();
        let (liveness, engines) = self.nodes.get_mut(&node).unwrap();
        for switch in liveness.advance(now_ms, &facts) {
            assert_ne!(switch.shard, 0, "liveness does not drive shard 0");
            engines[switch.shard].runs = switch.runs;
            engines[switch.shard].hibernates = switch.hibernates;
        }
        assert!(liveness.standing(now_ms) <= ELECTIONS_MAX);
    }

    fn send_heartbeats(&mut self, node: u64, shard: usize) {
        let leader = self.engine(node, shard);
        if leader.leader != Some(node) || !leader.runs {
            return;
        }
        let others: Vec<u64> = self.nodes.keys().copied().filter(|other| self.reach(node, *other)).collect();
        let higher = others.iter().map(|other| self.engine(*other, shard).term).max();
        if higher.is_some_and(|term| leader.term < term) {
            self.nodes.get_mut(&node).unwrap().1[shard].leader = None;
            return;
        }
        for other in others {
            let engine = &mut self.nodes.get_mut(&other).unwrap().1[shard];
            engine.term = leader.term;
            engine.leader = Some(node);
            engine.heard_ms = Some(self.now_ms);
        }
    }

    /// A follower whose clock runs and which received nothing for an election time requests votes.
    fn maybe_elect(&mut self, node: u64, shard: usize) {
        let engine = self.engine(node, shard);
        let lapsed =
            |engine: Engine| engine.heard_ms.is_none_or(|heard_ms| heard_ms + LEASE_MS / 2 < self.now_ms);
        let votes = |node: u64| !self.learn.contains(&(node, shard));
        if engine.leader == Some(node) || !engine.runs || !lapsed(engine) || !votes(node) {
            return;
        }
        let grants = |other: &&u64| {
            let (liveness, engines) = &self.nodes[*other];
            **other == node
                || self.reach(node, **other)
                    && engines[shard].term <= engine.term
                    && lapsed(engines[shard])
                    && !liveness.has_other_leader(self.now_ms, shard, node)
        };
        let granted: Vec<u64> =
            self.nodes.keys().filter(|node| votes(**node)).filter(grants).copied().collect();
        if self.nodes.keys().filter(|node| votes(**node)).count() < 2 * granted.len() {
            let term = engine.term + 1;
            self.elections.push((node, shard, term));
            for other in granted {
                let engine = &mut self.nodes.get_mut(&other).unwrap().1[shard];
                *engine = Engine { term, leader: None, ..*engine };
            }
            let engine = &mut self.nodes.get_mut(&node).unwrap().1[shard];
            *engine = Engine { leader: Some(node), active_ms: self.now_ms, ..*engine };
            self.send_heartbeats(node, shard);
        }
    }

    fn pass(&mut self, ms: u64) {
        (0..ms / HEARTBEAT_MS).for_each(|_| self.step());
    }

    fn running(&self) -> usize {
        let engines = self.up().into_iter().flat_map(|node| self.nodes[&node].1[1..].iter());
        engines.filter(|engine| engine.runs).count()
    }

    fn assert_led(&self) {
        for shard in 1..self.shards {
            let leaders = self.up().into_iter().filter(|node| self.leads(*node, shard)).count();
            assert_eq!(leaders, 1, "shard {shard}");
        }
    }

    /// A proposal at the shard's leader.
    fn propose(&mut self, shard: usize) -> u64 {
        let leader = self.up().into_iter().find(|node| self.leads(*node, shard)).unwrap();
        let now_ms = self.now_ms;
        let (liveness, engines) = self.nodes.get_mut(&leader).unwrap();
        engines[shard].active_ms = now_ms;
        if engines[shard].hibernates {
            let switch = liveness.wake(now_ms, shard).unwrap();
            assert_eq!(switch, Switch { shard, runs: true, hibernates: false });
            (engines[shard].runs, engines[shard].hibernates) = (true, false);
            // The engine queries a majority at once.
            self.send_heartbeats(leader, shard);
        }
        leader
    }
}

#[test]
fn all_are_led_in_line_and_then_hibernate() {
    let mut model = Model::new(3, 256);
    model.pass(2_000);
    model.assert_led();
    for shard in 1..256 {
        let first = line(&[1, 2, 3], shard).next().unwrap();
        assert!(model.leads(first, shard), "shard {shard}");
    }
    assert_eq!(model.elections.len(), 255, "one each");
    model.pass(HIBERNATE_MS + 1_000);
    assert_eq!(model.running(), 0, "all clocks stand still");
    let (lists, now_ms) = (model.lists_sent, model.now_ms);
    model.pass(60_000);
    assert_eq!((model.running(), model.lists_sent - lists, model.elections.len()), (0, 0, 255));
    for shard in 1..256 {
        let leader = line(&[1, 2, 3], shard).next().unwrap();
        assert!(model.nodes[&leader].0.is_held(now_ms + 60_000, shard));
    }
    assert_eq!(model.nodes[&1].0.hibernating(), 85);
}

#[test]
fn lines_are_fair() {
    assert_eq!(line(&[7], 5).collect::<Vec<_>>(), [7]);
    let lines: Vec<Vec<u64>> = (0..6).map(|shard| line(&[1, 2, 3], shard).collect()).collect();
    assert_eq!(lines, [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 3, 2], [2, 1, 3], [3, 2, 1]]);
    for members in [&[1, 2, 3, 4, 5][..], &[1, 2, 3, 4, 5, 6, 7], &[1, 2]] {
        for shard in 0..100 {
            let all: BTreeSet<u64> = line(members, shard).collect();
            assert_eq!(all.into_iter().collect::<Vec<_>>(), members, "each once");
        }
    }
}

#[test]
fn without_hibernation_clocks_run() {
    let mut model = Model::new(3, 8);
    for (liveness, _) in model.nodes.values_mut() {
        liveness.setup.hibernate_ms = 0;
    }
    model.pass(20_000);
    model.assert_led();
    assert_eq!(model.running(), 3 * 7);
}

#[test]
fn shards_of_a_node_that_dies_are_led_by_the_next_and_no_others_move() {
    let mut model = Model::new(3, 256);
    model.pass(8_000);
    let before = model.elections.len();
    model.down.insert(1);
    model.pass(LEASE_MS - HEARTBEAT_MS);
    assert_eq!(model.running(), 0, "it may come back");
    model.pass(3_000);
    model.assert_led();
    for shard in 1..256 {
        let next = line(&[1, 2, 3], shard).find(|node| *node != 1).unwrap();
        assert!(model.leads(next, shard), "shard {shard}");
    }
    assert_eq!(model.elections.len(), before + 85);
    model.pass(HIBERNATE_MS + 1_000);
    assert_eq!(model.running(), 0, "two of three are enough to hibernate");
    // The node comes back: its leaders wake, so that it gets missing entries, and no leader is
    // voted out.
    model.restart(1);
    model.pass(1_000);
    assert_ne!(model.running(), 0);
    model.pass(HIBERNATE_MS + 3_000);
    assert_eq!((model.running(), model.elections.len()), (0, before + 85));
    model.assert_led();
}

/// Of four nodes three vote in each shard. When one dies, elections of the voters do not wait for a
/// learner.
#[test]
fn a_learner_stands_for_no_election() {
    let mut model = Model::new(4, 256);
    model.learn = (1..256).map(|shard| (line(&[1, 2, 3, 4], shard).nth(3).unwrap(), shard)).collect();
    model.pass(2_000);
    model.assert_led();
    let before = model.elections.len();
    model.down.insert(1);
    let began_ms = model.now_ms;
    while (1..256).any(|shard| (2..=4).all(|node| !model.leads(node, shard))) {
        model.pass(HEARTBEAT_MS);
        assert!(model.now_ms < began_ms + 4 * LEASE_MS, "{} elections", model.elections.len() - before);
    }
    assert!(model.elections.iter().all(|(node, shard, _)| !model.learn.contains(&(*node, *shard))));
}

#[test]
fn a_restarted_node_leads_nothing() {
    let mut model = Model::new(3, 32);
    model.pass(8_000);
    assert_eq!(model.running(), 0);
    let before = model.elections.len();
    model.restart(2);
    model.pass(3_000);
    model.assert_led();
    let elected = &model.elections[before..];
    assert_eq!(elected.len(), 11, "what it led, and nothing else: {elected:?}");
    model.pass(HIBERNATE_MS + 2_000);
    assert_eq!(model.running(), 0);
}

#[test]
fn proposal_wakes_one_shard_without_an_election() {
    let mut model = Model::new(3, 16);
    model.pass(8_000);
    let before = model.elections.len();
    let leader = model.propose(5);
    assert!(model.engine(leader, 5).runs);
    model.pass(1_000);
    assert_eq!(model.running(), 3, "its clocks, and no others");
    for _ in 0..30 {
        model.propose(5);
        model.pass(1_000);
        assert_eq!(model.running(), 3);
    }
    model.pass(HIBERNATE_MS + 1_000);
    assert_eq!((model.running(), model.elections.len()), (0, before));
}

#[test]
fn node_that_is_cut_off_changes_nothing() {
    let mut model = Model::new(3, 32);
    model.pass(8_000);
    let before = model.elections.len();
    model.alone.insert(3);
    model.pass(LEASE_MS + 5_000);
    // Its shards have other leaders now; it cannot know, but no majority confirms its lead.
    let lost = model.elections.len() - before;
    assert_eq!(lost, 10);
    for shard in (1..32).filter(|shard| model.leads(3, *shard)) {
        assert!(!model.nodes[&3].0.is_held(model.now_ms, shard), "shard {shard}");
        assert!(model.engine(3, shard).runs, "its clock must run to notice");
    }
    assert!((1..32).all(|shard| model.engine(3, shard).runs));
    model.alone.clear();
    model.pass(HIBERNATE_MS + 5_000);
    model.assert_led();
    assert_eq!((model.running(), model.elections.len()), (0, before + lost));
}

/// All nodes die and come back; then two of three, again and again.
#[test]
fn recovers_from_any_deaths() {
    let mut model = Model::new(3, 64);
    model.pass(8_000);
    (1..=3).for_each(|node| model.restart(node));
    model.pass(3_000);
    model.assert_led();
    for round in 0..12 {
        let node = round % 3 + 1;
        model.down.extend([node, node % 3 + 1]);
        model.pass(500 * round);
        model.restart(node);
        model.pass(300 * (round % 4));
        model.restart(node % 3 + 1);
        model.pass(12_000);
        model.assert_led();
        assert_eq!(model.running(), 0, "round {round}");
    }
}

#[test]
fn one_node_alone_leads_all() {
    let mut model = Model::new(1, 16);
    model.pass(1_000);
    model.assert_led();
    model.pass(HIBERNATE_MS + 1_000);
    assert_eq!(model.running(), 0);
    assert!(model.nodes[&1].0.is_held(model.now_ms, 3));
}

/// A follower that knows of a later term does not agree to sleep, and the leader wakes.
#[test]
fn a_follower_with_a_later_term_refuses() {
    let mut model = Model::new(3, 8);
    model.pass(8_000);
    let leader = (1..=3).find(|node| model.leads(*node, 4)).unwrap();
    let other = leader % 3 + 1;
    model.nodes.get_mut(&other).unwrap().1[4].term += 5;
    model.pass(500);
    assert!(!model.leads(leader, 4) || model.engine(leader, 4).runs);
    model.pass(HIBERNATE_MS + 4_000);
    model.assert_led();
    assert_eq!(model.running(), 0);
}

#[test]
fn strangers_and_unknown_shards_are_ignored() {
    let mut model = Model::new(3, 4);
    model.pass(500);
    let leads =
        vec![Led { shard: 0, term: 9, hibernates: true }, Led { shard: 400, term: 9, hibernates: true }];
    let beat = Beat { from: 77, start: 5, version: 1, leads: Some(leads) };
    let liveness = &mut model.nodes.get_mut(&1).unwrap().0;
    assert_eq!(liveness.handle_beat(10_600, &beat).version, 0);
    assert!(!liveness.is_alive(77, 10_600));
    assert_eq!(liveness.handle_beat(10_600, &Beat { from: 2, ..beat }).refused, Vec::<u32>::new());
    assert_eq!(liveness.wake(10_600, 400), None);
}
