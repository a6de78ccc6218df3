//! Clients: their records, their end.

use super::*;
use crate::command::client::{ExchangeIdAs, ReclaimComplete, RemoveClient, RemovedClient};
use crate::command::lock::{Lock, Locker, Range};

fn confirm(client: u64, sequence: u32) -> Command {
    Command::ConfirmClient(ConfirmClient { client, sequence, principal: b"principal".to_vec() })
}

fn answer(outcome: Outcome) -> crate::command::client::ClientAnswer {
    match outcome {
        Outcome::Client(answer) => answer,
        outcome => panic!("{outcome:?}"),
    }
}

fn confirmed(outcome: Outcome) -> crate::command::client::Confirmed {
    match outcome {
        Outcome::Confirmed(confirmed) => confirmed,
        outcome => panic!("{outcome:?}"),
    }
}

/// A new client gets the id in the command, or the next free one; a known client keeps its own.
/// Spec: docs/formats/raft_log.md, for the bytes.
#[test]
fn an_id_is_not_counted() {
    let mut stage = Stage::new();
    let asked = |owner: &str, fresh| {
        let Command::ExchangeId(asked) = exchange(owner, 1) else { panic!("as made") };
        Command::ExchangeIdAs(ExchangeIdAs { asked, fresh })
    };
    let one = answer(stage.run(asked("a", 0x81)));
    assert_eq!(one.client, 0x81);
    confirmed(stage.run(confirm(one.client, one.sequence)));
    assert_eq!(answer(stage.run(asked("b", 0x81))).client, 0x82);
    assert_eq!(answer(stage.run(asked("c", 0))).client, 1);
    assert_eq!(answer(stage.run(asked("a", 0x91))).client, 0x81, "a known client keeps its id");
    let bytes = postcard::to_allocvec(&asked("a", 0x81)).unwrap();
    let plain = postcard::to_allocvec(&exchange("a", 1)).unwrap();
    assert_eq!((bytes[0], &bytes[1..plain.len()], &bytes[plain.len()..]), (68, &plain[1..], &[0x81, 1][..]));
}

/// Spec: RFC 8881 §18.35.5 cases 1, 2, 4; §18.36.4.
#[test]
fn client_is_made_confirmed_and_known() {
    let mut stage = Stage::new();
    let first = answer(stage.run(exchange("a", 1)));
    assert!(!first.confirmed);
    let second = answer(stage.run(exchange("a", 1)));
    assert_ne!(second.client, first.client);
    assert_eq!(stage.refused(confirm(first.client, first.sequence)), Refusal::StaleClient);
    assert_eq!(stage.refused(confirm(second.client, second.sequence + 1)), Refusal::Misordered);
    let done = confirmed(stage.run(confirm(second.client, second.sequence)));
    assert_eq!((done.replay, done.dropped.len()), (false, 0));
    assert!(confirmed(stage.run(confirm(second.client, second.sequence))).replay);
    let known = answer(stage.run(exchange("a", 1)));
    assert_eq!((known.client, known.sequence, known.confirmed), (second.client, second.sequence + 1, true));
    assert_eq!(stage.view().clients().unwrap().len(), 1);
}

/// Spec: RFC 8881 §18.35.5 case 5, §18.36.4: the state of the previous incarnation is removed when
/// the new one is confirmed.
#[test]
fn restarted_client_replaces_itself() {
    let mut stage = Stage::new();
    let old = stage.client("a");
    let opened = stage.create(old, "o", "f");
    let ino = opened.inode.ino;
    stage.spread(ino, 2);
    stage.layout_get(old, ino, true, opened.stateid);
    let new = answer(stage.run(exchange("a", 2)));
    assert_eq!(new.replaces, Some(old));
    assert!(stage.view().open(old, ino, opened.stateid).is_ok());
    let done = confirmed(stage.run(confirm(new.client, new.sequence)));
    assert_eq!(done.dropped, [RemovedClient { client: old, wrote: vec![ino] }]);
    assert_eq!(stage.view().client(old).unwrap(), None);
    assert_eq!(stage.view().clients_of_owner(b"a").unwrap().confirmed, Some(new.client));
    assert_eq!(stage.view().shares_of(ino).unwrap().opens, 0);
    // Both extents could be written through the layout.
    let work = stage.view().work(10).unwrap();
    assert!(work.iter().all(|(_, item)| matches!(item, mds_namespace::WorkItem::Fence { .. })));
    assert_eq!(work.len(), 2);
    stage.check();
}

/// Spec: RFC 8881 §18.50.3, §18.51.3.
#[test]
fn destroying_needs_an_idle_client() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let remove = |only_if_idle| Command::RemoveClient(RemoveClient { client, only_if_idle });
    let reclaim = Command::ReclaimComplete(ReclaimComplete { client });
    assert_eq!(stage.run(reclaim.clone()), Outcome::Done);
    assert_eq!(stage.refused(reclaim), Refusal::CompleteAlready);
    let opened = stage.create(client, "o", "f");
    let ino = opened.inode.ino;
    let lock = Lock {
        client,
        ino,
        exclusive: true,
        range: Range { offset_bytes: 0, length_bytes: 1 },
        locker: Locker::New { open: opened.stateid, owner: b"l".to_vec() },
    };
    assert!(matches!(stage.run(Command::Lock(lock)), Outcome::Stateid(_)));
    assert_eq!(stage.refused(remove(true)), Refusal::ClientBusy);
    stage.remove("f");
    assert_eq!(stage.run(remove(false)), Outcome::Removed(RemovedClient { client, wrote: vec![] }));
    assert!(stage.view().inode(ino).is_err());
    assert_eq!(stage.refused(remove(false)), Refusal::StaleClient);
    let idle = stage.client("b");
    let idle = Command::RemoveClient(RemoveClient { client: idle, only_if_idle: true });
    assert!(matches!(stage.run(idle), Outcome::Removed(_)));
    // Nothing of either is left.
    let state: Vec<_> = stage.dump().into_iter().filter(|(key, _)| key.starts_with(b"state/")).collect();
    assert_eq!(state.len(), 1, "{state:?}");
}

/// A READ layout does not mark its file as written.
#[test]
fn reading_client_wrote_nothing() {
    let mut stage = Stage::new();
    let (writer, reader) = (stage.client("a"), stage.client("b"));
    let opened = stage.create(writer, "o", "f");
    stage.spread(opened.inode.ino, 1);
    let reading = stage.open(reader, "o", READ, name_target("f"));
    stage.layout_get(reader, opened.inode.ino, false, reading.stateid);
    let remove = RemoveClient { client: reader, only_if_idle: false };
    let removed = stage.run(Command::RemoveClient(remove));
    assert_eq!(removed, Outcome::Removed(RemovedClient { client: reader, wrote: vec![] }));
    assert_eq!(stage.view().work(10).unwrap(), []);
    stage.check();
}
