//! A command that names its request is carried out once.

use std::collections::BTreeMap;

use mds_namespace::FsError;
use mds_namespace::op::extent::CopyChange;
use wire_session::server::record::CallbackCredential;

use super::determinism::command;
use super::session::{record, resume};
use super::*;
use crate::command::client::ReclaimComplete;
use crate::command::data::{ChangeCopies, Fence, Placing, WorkDone, WriteInline, Written};
use crate::command::layout::{LayoutCommit, LayoutPlace, LayoutReturn, Returned};
use crate::command::lock::{FreeStateid, Lock, Locker, Range, Unlock};
use crate::command::namespace::Create;
use crate::command::open::OpenDowngrade;
use crate::command::session::{CreateSession, DestroySession, SetCallback};
use crate::limits::{COPY_CHANGES_MAX, RECORDED_PER_SLOT_MAX};
use crate::record::{StateKind, other};

/// The first byte of an encoded command: its variant's number.
fn number(command: &Command) -> u8 {
    postcard::to_extend(command, Vec::new()).unwrap()[0]
}

/// Some state of clients 1 to 4, if they have any: client, file, stateid.
fn held(stage: &Stage, kind: StateKind, number: u64) -> Option<(u64, Ino, StateidValue)> {
    let view = stage.view();
    let of =
        |client| view.of_client(client, kind, usize::MAX).unwrap().into_iter().map(move |one| (client, one));
    let all: Vec<_> = (1..5).flat_map(of).collect();
    let at = usize::try_from(number).unwrap().checked_rem(all.len())?;
    let (client, (ino, other)) = all[at];
    Some((client, ino, StateidValue { seqid: 0, other }))
}

/// Commands that `determinism::command` does not make, and some that collide more often.
fn further(stage: &Stage, kind: u8, a: u64, b: u64) -> Command {
    let any = |kind| {
        let none = StateidValue { seqid: 0, other: other(kind, 0, b + 1) };
        held(stage, kind, b).unwrap_or((a % 4 + 1, b % 6 + 2, none))
    };
    let (client, ino, stateid) = any(match kind {
        2 | 3 => StateKind::Lock,
        9 | 17 => StateKind::Layout,
        _ => StateKind::Open,
    });
    let extent = ::layout::ExtentId { ino, index: 0 };
    let session = record(a % 4 + 1, u32::try_from(b % 6 + 1).unwrap(), 7);
    match kind {
        0 => Command::ReclaimComplete(ReclaimComplete { client: a % 4 + 1 }),
        1 => {
            let share = Share { access: u32::try_from(a % 3).unwrap() + 1, deny: 0 };
            Command::OpenDowngrade(OpenDowngrade { client, ino, stateid, share })
        }
        2 => {
            let range = Range { offset_bytes: 0, length_bytes: u64::MAX };
            Command::Unlock(Unlock { client, ino, stateid, range })
        }
        3 => Command::FreeStateid(FreeStateid { client, stateid }),
        4 => mkdir(&format!("d{}", a % 4)),
        5 => Command::WriteInline(WriteInline { ino, offset_bytes: a, data: vec![7; 9], caller: ROOT }),
        6 => Command::Written(Written { ino, end_bytes: a << 10, caller: None }),
        7 => Command::WorkDone(WorkDone { items: vec![a % 8] }),
        8 => Command::Fence(Fence { extent }),
        9 => {
            let (end_bytes, mtime, caller) = (Some(a), None, ROOT);
            Command::LayoutCommit(LayoutCommit { client, ino, stateid, end_bytes, mtime, caller })
        }
        10 => {
            let get = LayoutGet { client, extent, iomode: ::layout::Iomode::ReadWrite, stateid };
            let place = LayoutPlace { get, home: ::layout::DataServerId(1), backups: vec![] };
            let code = a.is_multiple_of(2).then_some(::layout::ec::Profile::TwoPlusOne);
            Placing::Layout(place).under(code)
        }
        11 => Command::CreateSession(CreateSession { record: session, principal: b"principal".to_vec() }),
        12 => resume(session.id),
        13 => {
            let credential = CallbackCredential::None;
            Command::SetCallback(SetCallback { session: session.id, program: 9, credential })
        }
        14 => Command::DestroySession(DestroySession { session: session.id }),
        15 => {
            let range = Range { offset_bytes: a % 50, length_bytes: 10 };
            let locker = Locker::New { open: stateid, owner: vec![7] };
            Command::Lock(Lock { client, ino, exclusive: b.is_multiple_of(2), range, locker })
        }
        16 => Command::Close(Close { client, ino, stateid }),
        17 => {
            let what = Returned::File { ino, iomode: None, whole: true, stateid };
            Command::LayoutReturn(LayoutReturn { client, what })
        }
        18 => layout_get(client, ino, !a.is_multiple_of(3), stateid),
        _ => Command::Format(Format {
            file_system: [1; 16],
            handle_key: [2; 32],
            cookie_key: [3; 32],
            root_uid: 0,
            root_gid: 0,
            root_mode: 0o777,
        }),
    }
}

/// Four clients for the commands, and a session for their requests.
fn peopled() -> (Stage, [u8; 16]) {
    let mut stage = Stage::new();
    let keeper = (0..5).map(|number| stage.client(&format!("c{number}"))).last().unwrap();
    let session = stage.session(keeper);
    (stage, session)
}

/// Whether a client's request causes this command; servers cause the others.
fn is_asked_by_clients(number: u8) -> bool {
    matches!(number, 0..=15 | 18 | 22..=24 | 27 | 39..)
}

/// Every command, many times, in every resulting state, is applied once: the second time has the
/// same outcome, and changes nothing.
#[test]
fn every_command_is_carried_out_once() {
    let mut seen: BTreeMap<u8, (u32, u32)> = BTreeMap::new();
    // A plain generator, so that a failure repeats.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    for _ in 0..40 {
        let (mut stage, session) = peopled();
        for step in 0..200_u32 {
            let kind = u8::try_from(draw(50)).unwrap();
            let (a, b) = (draw(64), draw(64));
            let command = if kind < 30 { command(kind, a, b) } else { further(&stage, kind - 30, a, b) };
            let origin = Stage::origin(session, step % 8, step / 8 + 1);
            let first = stage.asked(Some(origin.clone()), command.clone());
            let counts = seen.entry(number(&command)).or_default();
            if matches!(first, Outcome::Refused(_)) {
                counts.1 += 1;
            } else {
                counts.0 += 1;
            }
            if first == Outcome::Refused(Refusal::ContentMoved) {
                continue;
            }
            let after = stage.dump();
            let second = stage.asked(Some(origin.clone()), command.clone());
            assert_eq!(stage.dump(), after, "{command:?} had an effect twice");
            assert_eq!(stage.view().recorded(&origin).unwrap().as_ref(), Some(&second));
            assert_eq!(second, replied(first), "{command:?}");
        }
        stage.check();
        mds_namespace::invariants::check(&*stage.store.view().unwrap()).unwrap();
    }
    let last = number(&further(&Stage::new(), 13, 0, 0));
    let missed: Vec<u8> = (0..=last).filter(|number| !seen.contains_key(number)).collect();
    assert_eq!(missed, [] as [u8; 0], "never tried");
    let refused = seen.iter().filter(|(number, counts)| is_asked_by_clients(**number) && counts.0 == 0);
    assert_eq!(refused.count(), 0, "always refused, among {seen:?}");
}

/// Reduces an outcome to what the reply needs: the rest is work in the store.
fn replied(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Opened(mut opened) => {
            opened.truncated = None;
            Outcome::Opened(opened)
        }
        Outcome::Attributes(mut answer) => {
            answer.truncated = None;
            Outcome::Attributes(answer)
        }
        Outcome::Removed(mut removed) => {
            removed.wrote.clear();
            Outcome::Removed(removed)
        }
        outcome => outcome,
    }
}

fn mkdir(name: &str) -> Command {
    Command::Create(Create {
        caller: ROOT,
        directory: ROOT_INO,
        name: name.as_bytes().to_vec(),
        kind: mds_namespace::Kind::Directory,
        symlink_target: Vec::new(),
        attributes: SetAttributes::default(),
    })
}

fn stage() -> (Stage, [u8; 16]) {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let session = stage.session(client);
    (stage, session)
}

/// A refusal is recorded like any outcome, whatever has changed since.
#[test]
fn a_refusal_stays_a_refusal() {
    let (mut stage, session) = stage();
    let remove = Command::Remove(Remove { caller: ROOT, directory: ROOT_INO, name: b"d".to_vec() });
    let origin = Some(Stage::origin(session, 0, 1));
    let refused = Outcome::Refused(Refusal::Namespace(FsError::NotFound));
    assert_eq!(stage.asked(origin.clone(), remove.clone()), refused);
    assert!(matches!(stage.run(mkdir("d")), Outcome::Entry(_)));
    assert_eq!(stage.asked(origin, remove.clone()), refused);
    assert!(matches!(stage.asked(Some(Stage::origin(session, 0, 2)), remove), Outcome::Entry(_)));
}

#[test]
fn operations_and_slots_are_independent() {
    let (mut stage, session) = stage();
    let first = Stage::origin(session, 0, 7);
    let second = Origin { operation: 2, ..first.clone() };
    let elsewhere = Origin { slot: 1, ..first.clone() };
    let made = stage.asked(Some(first.clone()), mkdir("a"));
    let also = stage.asked(Some(second.clone()), mkdir("b"));
    stage.asked(Some(elsewhere.clone()), mkdir("c"));
    assert_eq!(stage.asked(Some(first.clone()), mkdir("a")), made);
    assert_eq!(stage.asked(Some(second), mkdir("b")), also);
    // The next request on the slot replaces all records of this one.
    stage.asked(Some(Stage::origin(session, 0, 9)), mkdir("d"));
    assert_eq!(stage.view().recorded(&first).unwrap(), None);
    assert!(stage.view().recorded(&elsewhere).unwrap().is_some());
}

/// A command is too late after the client has moved on, or after another server resumed the
/// session.
#[test]
fn late_commands_are_refused() {
    let (mut stage, session) = stage();
    let too_late = Outcome::Refused(Refusal::Superseded);
    stage.asked(Some(Stage::origin(session, 0, 5)), mkdir("a"));
    let before = stage.dump();
    for behind in [4, 3, 5_u32.wrapping_add(u32::MAX / 2 + 1)] {
        assert_eq!(stage.asked(Some(Stage::origin(session, 0, behind)), mkdir("b")), too_late);
    }
    let false_retry = Origin { request: 99, ..Stage::origin(session, 0, 5) };
    assert_eq!(stage.asked(Some(false_retry), mkdir("b")), Outcome::Refused(Refusal::FalseRetry));
    for (session, slot) in [([9; 16], 0), (session, 8)] {
        let unknown = stage.asked(Some(Stage::origin(session, slot, 1)), mkdir("b"));
        assert_eq!(unknown, Outcome::Refused(Refusal::UnknownSession));
    }
    assert_eq!(stage.dump(), before);
    stage.run(resume(session));
    let before = stage.dump();
    assert_eq!(stage.asked(Some(Stage::origin(session, 0, 6)), mkdir("b")), too_late);
    assert_eq!(stage.dump(), before);
    let held = Origin { tenure: 2, ..Stage::origin(session, 0, 5) };
    assert!(matches!(stage.asked(Some(held.clone()), mkdir("a")), Outcome::Entry(_)), "it is recorded");
    let held = Origin { tenure: 2, ..Stage::origin(session, 0, 6) };
    assert!(matches!(stage.asked(Some(held), mkdir("b")), Outcome::Entry(_)));
}

/// The number wraps; half of the number space counts as earlier.
#[test]
fn sequences_wrap() {
    let (mut stage, session) = stage();
    stage.asked(Some(Stage::origin(session, 0, u32::MAX)), mkdir("a"));
    assert!(matches!(stage.asked(Some(Stage::origin(session, 0, 0)), mkdir("b")), Outcome::Entry(_)));
    let late = stage.asked(Some(Stage::origin(session, 0, u32::MAX)), mkdir("c"));
    assert_eq!(late, Outcome::Refused(Refusal::Superseded));
}

/// A command that must be planned again leaves no record: its operation comes with another command.
#[test]
fn moved_content_is_not_recorded() {
    let (mut stage, session) = stage();
    let client = stage.view().session(&session).unwrap().unwrap().record.client;
    let ino = stage.create(client, "o", "f").inode.ino;
    stage.spread(ino, 1);
    let origin = Stage::origin(session, 0, 1);
    let write = WriteInline { ino, offset_bytes: 0, data: vec![1], caller: ROOT };
    let before = stage.dump();
    let moved = stage.asked(Some(origin.clone()), Command::WriteInline(write));
    assert_eq!((moved, stage.dump()), (Outcome::Refused(Refusal::ContentMoved), before));
    let written = Command::Written(Written { ino, end_bytes: 1, caller: None });
    assert!(matches!(stage.asked(Some(origin), written), Outcome::Inode(_)));
}

/// Of a too long outcome only the execution is recorded.
#[test]
fn records_are_bounded() {
    let (mut stage, session) = stage();
    let client = stage.view().session(&session).unwrap().unwrap().record.client;
    let ino = stage.create(client, "o", "f").inode.ino;
    stage.spread(ino, u32::try_from(COPY_CHANGES_MAX).unwrap());
    let change = |index| CopyChange {
        extent: ::layout::ExtentId { ino, index },
        epoch: ::layout::Epoch(99),
        copies: ::layout::copies::Copies { home: ::layout::DataServerId(1), backups: vec![] },
    };
    let changes = (0..).take(COPY_CHANGES_MAX).map(change).collect();
    let long = Command::ChangeCopies(ChangeCopies { changes });
    let origin = Stage::origin(session, 0, 1);
    assert!(matches!(stage.asked(Some(origin.clone()), long.clone()), Outcome::Copies(_)));
    assert_eq!(stage.asked(Some(origin), long), Outcome::Done);
    let most = u32::try_from(RECORDED_PER_SLOT_MAX).unwrap();
    let outcomes: Vec<Outcome> = (0..=most)
        .map(|operation| {
            stage.asked(Some(Origin { operation, ..Stage::origin(session, 0, 2) }), Command::TakeGroup)
        })
        .collect();
    assert!(outcomes[..RECORDED_PER_SLOT_MAX].iter().all(|outcome| matches!(outcome, Outcome::Group(_))));
    assert_eq!(outcomes.last(), Some(&Outcome::Refused(Refusal::TableFull)));
}
