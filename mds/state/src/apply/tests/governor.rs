//! Which node may propose to a shard, and acts on several.
//!
//! Spec: docs/protocol/shards.md.

use mds_namespace::op::create::{NewObject, create};
use mds_namespace::op::rename::{Place, rename};
use mds_namespace::store::draft::{Draft, Part};
use mds_namespace::store::spread::SpreadView;
use mds_namespace::{Kind, Timestamp, inode_table, shard_of};

use super::*;
use crate::command::data::WorkDone;
use crate::command::governor::{
    Carry, ForgetClient, ForgetSession, FormatShard, Govern, Intend, IntentId, Reap, ReserveInodes, Settle,
};
use crate::key;
use crate::limits::{INTENTS_MAX, RESERVED_INODES_MAX};

const TERM: u64 = 5;
const NOTHING: Command = Command::WorkDone(WorkDone { items: Vec::new() });

/// A shard, governed in [`TERM`].
fn shard(number: u16) -> Stage {
    if number == 0 {
        return Stage::new();
    }
    let mut stage = Stage::empty();
    let format =
        FormatShard { shard: number, file_system: [1; 16], handle_key: [2; 32], cookie_key: [3; 32] };
    assert_eq!(stage.run(Command::FormatShard(format.clone())), Outcome::Done);
    stage.governor = TERM;
    assert_eq!(stage.run(Command::Govern(Govern)), Outcome::Done);
    assert_eq!(stage.run(Command::FormatShard(format)), Outcome::Done, "again");
    stage
}

#[test]
fn only_the_last_governor_may_propose() {
    let mut stage = shard(3);
    assert_eq!(stage.run(NOTHING), Outcome::Done);
    for other in [0, TERM - 1, TERM + 1] {
        stage.governor = other;
        assert_eq!(stage.refused(NOTHING), Refusal::Superseded, "{other}");
    }
    stage.governor = TERM - 1;
    assert_eq!(stage.refused(Command::Govern(Govern)), Refusal::Superseded);
    stage.governor = TERM + 1;
    assert_eq!(stage.run(Command::Govern(Govern)), Outcome::Done);
    assert_eq!(stage.run(Command::Govern(Govern)), Outcome::Done, "again");
    assert_eq!(stage.run(NOTHING), Outcome::Done);
    stage.governor = TERM;
    assert_eq!(stage.refused(NOTHING), Refusal::Superseded);
}

#[test]
fn the_first_shard_is_governed_by_its_leader() {
    let mut stage = Stage::new();
    assert_eq!(stage.run(NOTHING), Outcome::Done);
    let before = stage.dump();
    assert_eq!(stage.run(Command::Govern(Govern)), Outcome::Done);
    assert_eq!(stage.dump(), before);
    stage.governor = 1;
    assert_eq!(stage.refused(NOTHING), Refusal::Superseded);
    assert!(matches!(
        Stage::empty().run(Command::FormatShard(FormatShard {
            shard: 0,
            file_system: [1; 16],
            handle_key: [2; 32],
            cookie_key: [3; 32]
        })),
        Outcome::Refused(_)
    ));
}

#[test]
fn numbers_are_of_the_shard() {
    let mut stage = shard(3);
    let reserve = |count| Command::ReserveInodes(ReserveInodes { count });
    assert_eq!(stage.run(reserve(10)), Outcome::Reserved(3 << 48 | 1));
    assert_eq!(stage.run(reserve(1)), Outcome::Reserved(3 << 48 | 11));
    for bad in [0, RESERVED_INODES_MAX + 1] {
        assert!(matches!(stage.run(reserve(bad)), Outcome::Refused(_)));
    }
    assert_eq!(stage.run(Command::TakeGroup), Outcome::Group(3 << 48 | 1));
}

/// Three shards, and the governor's commands to them.
struct Cluster {
    shards: Vec<Stage>,
    begun: u64,
}

impl Cluster {
    fn new() -> Self {
        Self { shards: (0..3).map(shard).collect(), begun: 0 }
    }

    fn view(&self) -> SpreadView<'_> {
        SpreadView::new(3, Box::new(|number| self.shards[usize::from(number)].store.view()), key::belongs)
    }

    fn at(&mut self, shard: u16) -> &mut Stage {
        &mut self.shards[usize::from(shard)]
    }

    fn draft<T>(
        &mut self,
        new_in: u16,
        act: impl FnOnce(&mut Draft<'_>) -> Result<T, mds_namespace::FsError>,
    ) -> (Vec<Part>, T) {
        let reserve = Command::ReserveInodes(ReserveInodes { count: 1 });
        let Outcome::Reserved(number) = self.at(new_in).run(reserve) else { panic!("a number") };
        let view = self.view();
        let mut draft = Draft::new(&view, Some(number)).unwrap();
        let done = act(&mut draft).unwrap();
        (draft.parts().unwrap(), done)
    }

    fn intend(&mut self, parts: Vec<Part>, outcome: Outcome) -> Intend {
        self.begun += 1;
        Intend { id: IntentId { term: TERM, number: self.begun }, parts, outcome: Box::new(outcome) }
    }

    /// The recovery of a new governor.
    fn recover(&mut self) {
        for shard in 0..3 {
            let intents = self.at(shard).view().intents().unwrap();
            for (id, intent) in intents {
                for part in intent.parts {
                    let carry = Command::Carry(Carry { writes: part.writes });
                    assert_eq!(self.at(part.shard).run(carry), Outcome::Done);
                }
                assert_eq!(self.at(shard).run(Command::Settle(Settle { id })), Outcome::Done);
            }
            assert_eq!(self.at(shard).view().intents().unwrap(), []);
        }
    }

    fn make_directory(&mut self, directory: Ino, name: &str, new_in: u16) -> Ino {
        let attributes = SetAttributes { mode: Some(0o777), ..SetAttributes::default() };
        let (parts, made) = self.draft(new_in, |draft| {
            let new = NewObject {
                kind: Kind::Directory,
                symlink_target: b"",
                attributes: &attributes,
                verifier: None,
            };
            create(draft, &ROOT, directory, name.as_bytes(), &new, Timestamp::default())
        });
        let intend = self.intend(parts, Outcome::Done);
        assert_eq!(self.at(shard_of(directory)).run(Command::Intend(intend)), Outcome::Done);
        self.recover();
        made.inode.ino
    }
}

/// The governor dies behind the first step: the next one completes the act, and a resent request
/// has its outcome.
#[test]
fn an_act_that_was_begun_is_completed() {
    let mut cluster = Cluster::new();
    let (a, b) = (cluster.make_directory(ROOT_INO, "a", 1), cluster.make_directory(ROOT_INO, "b", 2));
    let moved = cluster.make_directory(a, "x", 0);
    assert_eq!([a, b, moved].map(shard_of), [1, 2, 0]);
    let (parts, ()) = cluster.draft(0, |draft| {
        let (from, to) = (Place { directory: a, name: b"x" }, Place { directory: b, name: b"y" });
        rename(draft, &ROOT, from, to, Timestamp::default()).map(drop)
    });
    assert_eq!(parts.iter().map(|part| part.shard).collect::<Vec<_>>(), [0, 1, 2]);
    let intend = cluster.intend(parts, Outcome::Reserved(77));
    let origin = Origin { session: [9; 16], slot: 1, sequence: 4, operation: 2, request: 8, tenure: 1 };
    let asked =
        |cluster: &mut Cluster| cluster.at(1).asked(Some(origin.clone()), Command::Intend(intend.clone()));
    assert_eq!(asked(&mut cluster), Outcome::Reserved(77));
    let begun = cluster.at(1).dump();
    assert_eq!(asked(&mut cluster), Outcome::Reserved(77));
    assert_eq!(cluster.at(1).dump(), begun);
    // The two shards differ for now: locks hide this from clients.
    assert_eq!(inode_table::inode(&cluster.view(), a).unwrap().size_bytes, 0);
    assert_eq!(inode_table::inode(&cluster.view(), b).unwrap().size_bytes, 0);
    for stage in &mut cluster.shards[1..] {
        stage.governor = TERM + 1;
        assert_eq!(stage.run(Command::Govern(Govern)), Outcome::Done);
    }
    cluster.recover();
    let view = cluster.view();
    assert_eq!(inode_table::inode(&view, b).unwrap().size_bytes, 1);
    assert_eq!(inode_table::inode(&view, moved).unwrap().parent, b);
    assert!(mds_namespace::op::lookup::lookup(&view, &ROOT, b, b"y").is_ok_and(|inode| inode.ino == moved));
    drop(view);
    assert_eq!(asked(&mut cluster), Outcome::Reserved(77), "resent after all that");
}

#[test]
fn a_shard_keeps_a_bounded_number_of_intents() {
    let mut cluster = Cluster::new();
    for _ in 0..INTENTS_MAX {
        let intend = cluster.intend(Vec::new(), Outcome::Done);
        assert_eq!(cluster.at(2).run(Command::Intend(intend)), Outcome::Done);
    }
    let one_more = cluster.intend(Vec::new(), Outcome::Done);
    assert_eq!(cluster.at(2).refused(Command::Intend(one_more.clone())), Refusal::TableFull);
    let id = IntentId { term: TERM, number: 1 };
    assert_eq!(cluster.at(2).run(Command::Settle(Settle { id })), Outcome::Done);
    assert_eq!(cluster.at(2).run(Command::Settle(Settle { id })), Outcome::Done, "again");
    assert_eq!(cluster.at(2).run(Command::Intend(one_more)), Outcome::Done);
}

#[test]
fn clients_and_sessions_leave_nothing() {
    let mut stage = shard(2);
    // Directories are made as parts.
    let mut cluster = Cluster::new();
    let directory = cluster.make_directory(ROOT_INO, "d", 2);
    std::mem::swap(&mut stage, cluster.at(2));
    let before = stage.dump();
    let session = |sequence: u8| {
        let mut id = [0; 16];
        id[7] = 42;
        id[11] = sequence;
        id
    };
    let origin = |sequence| Origin {
        session: session(sequence),
        slot: 0,
        sequence: 1,
        operation: 0,
        request: 1,
        tenure: 1,
    };
    let open = |name: &str| {
        let mut target = create_target(name, How::Unchecked);
        let Target::Create { directory: at, .. } = &mut target else { panic!("it creates") };
        *at = directory;
        open_command(42, "owner", ROOT, BOTH, target)
    };
    let Outcome::Opened(opened) = stage.asked(Some(origin(1)), open("f")) else { panic!("opened") };
    assert_eq!(shard_of(opened.inode.ino), 2);
    assert_eq!(opened.stateid.other[2..4], [0, 2], "a stateid contains its shard");
    assert!(matches!(stage.asked(Some(origin(2)), open("f")), Outcome::Opened(_)));
    let recorded =
        |stage: &Stage| stage.dump().iter().filter(|(key, _)| key.starts_with(b"state/slot/")).count();
    assert_eq!(recorded(&stage), 2);
    assert_eq!(stage.run(Command::ForgetSession(ForgetSession { session: session(1) })), Outcome::Done);
    assert_eq!(recorded(&stage), 1);
    let remove = Remove { caller: ROOT, directory, name: b"f".to_vec() };
    assert!(matches!(stage.run(Command::Remove(remove)), Outcome::Entry(_)));
    assert_eq!(stage.run(Command::Reap(Reap { ino: opened.inode.ino })), Outcome::Done);
    assert!(stage.view().inode(opened.inode.ino).is_ok(), "it is open");
    assert!(matches!(stage.run(Command::ForgetClient(ForgetClient { client: 42 })), Outcome::Removed(_)));
    assert_eq!(recorded(&stage), 0);
    assert!(stage.view().inode(opened.inode.ino).is_err());
    let left = |pairs: &Pairs| pairs.iter().filter(|(key, _)| key.starts_with(b"state/")).count();
    // Only the counter of stateids stays.
    assert_eq!(left(&stage.dump()), left(&before) + 1);
    let mut first = Stage::new();
    assert!(matches!(first.run(Command::ForgetClient(ForgetClient { client: 1 })), Outcome::Refused(_)));
}
