//! A replica as its primary sees it, against a replica that forgets, restarts and does not answer.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const NEW: Epoch = Epoch(1);

fn found(instance: u64, theirs: u64, ours: u64) -> Found {
    Found { instance, theirs, ours }
}

fn attached(theirs: u64, ours: u64) -> Member {
    let mut member = Member::new(DataServerId(2), NEW, false, false);
    assert_eq!(member.step(false, 0), Step::Attach);
    member.attach(&found(1, theirs, ours));
    member
}

#[test]
fn what_both_have_needs_nothing() {
    let member = attached(5, 5);
    assert_eq!(member.step(true, 0), Step::Rest);
    assert!(member.is_stable(5) && member.is_idle());
}

#[test]
fn a_replica_behind_catches_up_and_one_ahead_is_told_everything() {
    assert_eq!(attached(3, 5).step(false, 0), Step::Delta { from: 4 });
    let mut ahead = attached(9, 5);
    assert_eq!(ahead.step(false, 0), Step::Overlay { floor: 9 });
    assert!(!ahead.is_stable(1), "its bytes are not ours");
    ahead.begin_overlay();
    ahead.overlaid(10);
    assert_eq!(ahead.step(true, 0), Step::Flush);
    ahead.begin_flush();
    assert!(ahead.is_stable(9) && !ahead.is_stable(10));
    ahead.flushed();
    assert!(ahead.is_stable(10));
}

#[test]
fn a_new_replica_is_told_everything_and_counted_when_it_has_it() {
    let mut member = Member::new(DataServerId(2), Epoch(7), true, true);
    member.attach(&found(1, 0, 5));
    assert_eq!(member.step(false, 0), Step::Overlay { floor: 0 });
    member.begin_overlay();
    member.overlaid(6);
    assert_eq!(member.step(false, 0), Step::Flush, "no request waits, but it is to be counted");
    member.begin_flush();
    assert_eq!(member.step(false, 0), Step::Rest);
    member.flushed();
    assert_eq!(member.step(false, 0), Step::Filled);
    assert!(!member.is_stable(1), "the metadata servers do not know yet");
    member.told(Epoch(7), false);
    assert!(member.is_stable(7));
}

#[test]
fn a_replica_named_by_a_handle_alone_is_asked_about() {
    let mut member = Member::new(DataServerId(2), Epoch(0), true, false);
    assert_eq!(member.step(false, 0), Step::Ask);
    member.told(Epoch(3), true);
    assert_eq!(member.step(false, 0), Step::Attach);
}

#[test]
fn silence_ends_in_a_loss_and_an_answer_in_time_does_not() {
    let mut member = attached(1, 1);
    assert_eq!(member.sends(2), Some(1));
    member.missed(2);
    member.failed(Step::Rest, Fault::Silent, 1_000);
    assert_eq!(member.step(false, 1_000), Step::Attach);
    assert_eq!(member.step(false, 999 + REPLICA_STALL_MS_MAX), Step::Attach);
    assert_eq!(member.step(false, 1_000 + REPLICA_STALL_MS_MAX), Step::Lost);
    member.attach(&found(1, 1, 2));
    assert_eq!(member.step(false, 1_001 + REPLICA_STALL_MS_MAX), Step::Delta { from: 2 });
    assert_eq!(
        member.step(false, 1_000 + 2 * REPLICA_STALL_MS_MAX),
        Step::Lost,
        "it answers and keeps nothing"
    );
}

/// Origin: `sim --seed 3112 --minutes 3 -- --cuts --linux`.
#[test]
fn a_replica_that_the_log_keeps_is_tried_again() {
    let mut member = attached(1, 1);
    member.failed(Step::Rest, Fault::Silent, 1_000);
    let lost_ms = 1_000 + 2 * REPLICA_STALL_MS_MAX;
    assert_eq!(member.step(false, lost_ms), Step::Lost);
    member.kept();
    assert_eq!(member.step(false, lost_ms), Step::Attach);
    member.failed(Step::Attach, Fault::Silent, lost_ms);
    assert_eq!(member.step(false, lost_ms + REPLICA_STALL_MS_MAX), Step::Lost, "it is said again");
}

#[test]
fn a_restart_brings_back_what_was_not_flushed() {
    let mut member = attached(1, 1);
    for sequence in 2..6 {
        member.sends(sequence);
        member.took(sequence, sequence == 2);
    }
    member.begin_flush();
    member.sends(6);
    member.took(6, false);
    member.failed(Step::Flush, Fault::Restarted, 0);
    assert_eq!(member.step(true, 0), Step::Attach);
    member.attach(&found(2, 4, 6));
    assert_eq!(member.step(true, 0), Step::Delta { from: 3 });
}

/// Another record finds that the replica is silent while the driver is about to begin.
#[test]
fn what_could_not_begin_is_done_when_the_replica_is_back() {
    let mut member = attached(1, 3);
    assert_eq!(member.step(true, 0), Step::Delta { from: 2 });
    member.failed(Step::Rest, Fault::Silent, 0);
    assert_eq!(member.begin_delta(), None);
    assert_eq!(member.step(true, 0), Step::Attach);
    member.attach(&found(1, 1, 3));
    assert_eq!(member.step(true, 0), Step::Delta { from: 2 });
    assert_eq!(member.begin_delta(), Some(1));
    member.caught_up(2);
    member.failed(Step::Rest, Fault::Silent, 0);
    assert_eq!(member.begin_flush(), None);
    member.attach(&found(1, 3, 3));
    assert_eq!(member.step(true, 0), Step::Delta { from: 2 }, "what was not flushed may be gone");
}

#[test]
fn a_full_replica_is_replaced_only_while_it_is_filled() {
    let mut member = attached(1, 1);
    member.failed(Step::Rest, Fault::Full, 0);
    assert!(member.full && member.step(false, 0) != Step::Lost, "the writer is told");
    let mut member = Member::new(DataServerId(2), NEW, true, true);
    member.failed(Step::Attach, Fault::Full, 0);
    assert_eq!(member.step(false, 0), Step::Lost);
}

/// A replica that keeps sets of sequences: what it has, and what is on its stable storage.
#[derive(Default)]
struct Replica {
    instance: u64,
    has: BTreeSet<u64>,
    stable: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
enum Event {
    /// A WRITE; its record arrives or not, and the answer to it does or not.
    Write { stable: bool, arrives: bool, answered: bool },
    /// The driver does one step; the call arrives and is answered, or not.
    Step { arrives: bool, answered: bool },
    /// The replica loses all that is not stable.
    Crash,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let often = || prop::bool::weighted(0.8);
    let event = prop_oneof![
        4 => (any::<bool>(), often(), often()).prop_map(|(stable, arrives, answered)| Event::Write { stable, arrives, answered }),
        6 => (often(), often()).prop_map(|(arrives, answered)| Event::Step { arrives, answered }),
        1 => Just(Event::Crash),
    ];
    prop::collection::vec(event, 1..80)
}

struct Run {
    member: Member,
    replica: Replica,
    ours: u64,
}

impl Run {
    fn write(&mut self, stable: bool, arrives: bool, answered: bool) {
        self.ours += 1;
        let sequence = self.ours;
        let Some(instance) = self.member.sends(sequence) else { return };
        let taken = arrives && instance == self.replica.instance;
        if taken {
            self.replica.has.insert(sequence);
            if stable {
                self.replica.stable.insert(sequence);
            }
        }
        match (taken, answered) {
            (true, true) => self.member.took(sequence, stable),
            (false, true) if arrives => {
                self.member.missed(sequence);
                self.member.failed(Step::Rest, Fault::Restarted, 0);
            }
            _ => {
                self.member.missed(sequence);
                self.member.failed(Step::Rest, Fault::Silent, 0);
            }
        }
    }

    fn step(&mut self, arrives: bool, answered: bool) {
        let step = self.member.step(true, 0);
        let ours = self.ours;
        let good = match step {
            Step::Attach => {
                if arrives && answered {
                    let theirs = self.replica.has.last().copied().unwrap_or(0);
                    self.member.attach(&found(self.replica.instance, theirs, ours));
                    return;
                }
                Some(false)
            }
            Step::Delta { from } => {
                self.member.begin_delta();
                self.check();
                self.call(arrives).then(|| self.replica.has.extend(from..=ours)).map(|()| answered)
            }
            Step::Overlay { .. } => {
                self.member.begin_overlay();
                self.check();
                self.call(arrives).then(|| self.replica.has.extend(1..=ours)).map(|()| answered)
            }
            Step::Flush => {
                self.member.begin_flush();
                self.check();
                let has = self.replica.has.clone();
                self.call(arrives).then(|| self.replica.stable.extend(has)).map(|()| answered)
            }
            Step::Rest | Step::Ask | Step::Lost | Step::Filled => return,
        };
        match (good, step) {
            (Some(true), Step::Delta { from }) => self.member.caught_up(from),
            (Some(true), Step::Overlay { .. }) => self.member.overlaid(1),
            (Some(true), Step::Flush) => self.member.flushed(),
            (None, _) if arrives => self.member.failed(step, Fault::Restarted, 0),
            _ => self.member.failed(step, Fault::Silent, 0),
        }
    }

    /// What is called stable is, also while a call is under way.
    fn check(&self) {
        for sequence in 1..=self.ours {
            let lacks = !self.replica.stable.contains(&sequence);
            assert!(!(lacks && self.member.is_stable(sequence)), "{sequence} of {}", self.ours);
        }
    }

    /// Whether a call that arrives is one to this start of the replica.
    fn call(&self, arrives: bool) -> bool {
        arrives && self.member.instance() == Some(self.replica.instance)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However many records are lost on the way, and however often the replica forgets what it had
    /// not made stable: what is called stable is.
    #[test]
    fn what_is_called_stable_is(events in events()) {
        let replica = Replica { instance: 1, ..Replica::default() };
        let mut run = Run { member: Member::new(DataServerId(2), NEW, false, false), replica, ours: 0 };
        for event in events {
            match event {
                Event::Write { stable, arrives, answered } => run.write(stable, arrives, answered),
                Event::Step { arrives, answered } => run.step(arrives, answered),
                Event::Crash => {
                    run.replica.has = run.replica.stable.clone();
                    run.replica.instance += 1;
                }
            }
            run.check();
        }
        // Once calls come through, everything gets there.
        for _ in 0..8 {
            run.step(true, true);
        }
        prop_assert!(run.member.is_stable(run.ours));
        prop_assert_eq!(run.replica.stable.len() as u64, run.ours);
    }
}
