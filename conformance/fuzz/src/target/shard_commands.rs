//! The replicated state machine under arbitrary commands: whatever the log holds, applying it
//! panics nowhere and leaves a store whose invariants hold.
//!
//! What a client sends reaches commands nearly unchanged (names, offsets, owners, stateids), so
//! this is hostile input too.
//!
//! Input: entries, each behind its length in one byte or, if that is 255, in the two that follow.

use layout::copies::Copies;
use layout::ec::{CodecId, Draft, Group, GroupId, ImageId, ImageSum, Member, Profile};
use layout::{DataServerId, Epoch, ExtentId, Iomode};
use mds_namespace::op::copies::Adoption;
use mds_namespace::op::extent::CopyChange;
use mds_namespace::op::seal::SealedAs;
use mds_namespace::store::draft::{Part, Write};
use mds_namespace::store::mem::MemStore;
use mds_namespace::{
    Caller, Durability, Kind, MetaStore, SetAttributes, SetTime, Timestamp, invariants, keys,
};
use mds_state::apply::apply;
use mds_state::command::{
    Command, Outcome, StateidValue, admin, client, data, governor, layout as layouts, lock, namespace, open,
    seal, session,
};
use mds_state::export::Export;
use mds_state::record::{StateKind, other};
use mds_state::{Entry, Origin};

use wire_session::server::record::{CallbackCredential, ChannelBounds, SessionRecord, session_id};

use super::log_entry::{entry, entry_bytes};
use super::row::{MemoryBound, Shape, Target};

pub(super) const TARGET: Target = Target {
    name: "shard_commands",
    about: "sequences of arbitrary commands applied to a store, and the store's invariants after them",
    run,
    seeds,
    shape: Shape::Bytes,
    bound: MemoryBound {
        // Each command may leave a handful of records in the store, and the check reads all of it
        // again.
        live_bytes_per_byte: 256,
        live_bytes: 512 * 1024,
        ..MemoryBound::DECODER
    },
    input_bytes_max: 4096,
};

fn run(input: &[u8]) -> usize {
    let store = MemStore::new();
    let mut applied = 0;
    let (mut rest, mut done) = (input, false);
    let mut txn = store.begin().expect("a store in memory does not fail");
    apply(&mut *txn, &at(0, Command::Format(format()))).expect("a store in memory does not fail");
    while let Some((bytes, behind)) = next(rest).filter(|_| !done) {
        rest = behind;
        let Some(entry) = entry(bytes).filter(|entry| !writes_parts(&entry.command)) else { continue };
        // A store that failed ends the replica.
        done = apply(&mut *txn, &entry).is_err();
        assert!(!done, "no command makes the store fail: {entry:?}");
        applied += 1;
    }
    txn.commit(Durability::Memory).expect("a store in memory does not fail");
    let view = store.view().expect("a store in memory does not fail");
    assert_eq!(invariants::check(&*view), Ok(()));
    applied
}

/// Whether a command stores keys and values that its proposer derived from a tree in order: the
/// shard does not check that they form one.
fn writes_parts(command: &Command) -> bool {
    match command {
        Command::Carry(asked) => !asked.writes.is_empty(),
        Command::Intend(asked) => asked.parts.iter().any(|part| part.shard == 0 && !part.writes.is_empty()),
        _ => false,
    }
}

/// The next entry's bytes, and what is behind it.
fn next(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = rest.split_first()?;
    if *length < u8::MAX {
        return rest.split_at_checked(usize::from(*length));
    }
    let (length, rest) = rest.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn at(second: u64, command: Command) -> Entry {
    Entry { now_unix_ns: second * 1_000_000_000, origin: None, governor: 0, command }
}

fn format() -> data::Format {
    data::Format {
        file_system: [1; 16],
        handle_key: [2; 32],
        cookie_key: [3; 32],
        root_uid: 0,
        root_gid: 0,
        root_mode: 0o755,
    }
}

const CLIENT: u64 = 1;
/// Inode of the first file that the commands below make; the root has the number before it.
const FILE: u64 = 2;

fn stateid(kind: StateKind, counter: u64) -> StateidValue {
    StateidValue { seqid: 1, other: other(kind, 0, counter) }
}

/// The life of a client and a few files, one command of each kind at least, each of them valid
/// after those before it.
pub(super) fn commands() -> Vec<Entry> {
    let commands = [
        client_begins(),
        file_is_made(),
        content_moves(),
        extent_is_sealed(),
        names_change(),
        shards_are_governed(),
        all_ends(),
    ]
    .concat();
    let entries = (1..).zip(commands).map(|(second, command)| at(second, command));
    let mut live = false;
    let asked = (1..).zip(entries).map(|(sequence, entry)| {
        let was_live = live;
        match entry.command {
            Command::TakeUpSession(_) => live = true,
            Command::DestroySession(_) => live = false,
            _ => {}
        }
        if was_live && live { in_session(sequence, entry) } else { entry }
    });
    asked.collect()
}

fn shards_are_governed() -> Vec<Command> {
    let id = governor::IntentId { term: 1, number: 1 };
    let writes = vec![Write { key: keys::orphan(1 << 50).to_vec(), value: None }];
    let parts = vec![Part { shard: 4, writes }];
    vec![
        Command::Govern(governor::Govern),
        Command::ReserveInodes(governor::ReserveInodes { count: 2 }),
        Command::Intend(governor::Intend { id, parts, outcome: Box::new(Outcome::Done) }),
        Command::Carry(governor::Carry { writes: Vec::new() }),
        Command::Reap(governor::Reap { ino: 1 }),
        Command::Settle(governor::Settle { id }),
    ]
}

fn client_begins() -> Vec<Command> {
    let (owner, principal) = (b"owner".to_vec(), b"who".to_vec());
    vec![
        Command::ExchangeId(client::ExchangeId {
            owner,
            verifier: [1; 8],
            principal: principal.clone(),
            update: false,
            implementation: "linux".into(),
        }),
        Command::ExchangeIdAs(client::ExchangeIdAs {
            asked: client::ExchangeId {
                owner: b"other owner".to_vec(),
                verifier: [2; 8],
                principal: principal.clone(),
                update: false,
                implementation: String::new(),
            },
            fresh: 7,
        }),
        Command::ExchangeIdFrom(client::ExchangeIdFrom {
            asked: client::ExchangeIdAs {
                asked: client::ExchangeId {
                    owner: b"a third owner".to_vec(),
                    verifier: [3; 8],
                    principal: principal.clone(),
                    update: false,
                    implementation: String::new(),
                },
                fresh: 8,
            },
            address: [9; 16],
        }),
        Command::ConfirmClient(client::ConfirmClient { client: CLIENT, sequence: 1, principal }),
        Command::ReclaimComplete(client::ReclaimComplete { client: CLIENT }),
        Command::CreateSession(session::CreateSession {
            record: session_record(),
            principal: b"who".to_vec(),
        }),
        Command::TakeUpSession(session::TakeUpSession { session: session_record().id }),
        Command::SetCallback(session::SetCallback {
            session: session_record().id,
            program: 9,
            credential: CallbackCredential::None,
        }),
        server_registers(1),
        server_has_a_name(server_registers(2)),
    ]
}

pub(super) fn session_record() -> SessionRecord {
    let bounds = ChannelBounds {
        request_bytes_max: 4096,
        response_bytes_max: 4096,
        response_cached_bytes_max: 4096,
        operations_max: 8,
        requests_max: 8,
    };
    SessionRecord {
        id: session_id(CLIENT, 2, 7),
        client: CLIENT,
        sequence: 2,
        minor_version: 1,
        fore: bounds,
        back: bounds,
        back_wanted: true,
        program: 1,
        credential: None,
    }
}

/// The same, asked in the session: what is carried out is recorded.
fn in_session(sequence: u32, entry: Entry) -> Entry {
    let (session, tenure) = (session_record().id, 2);
    let origin = Origin { session, slot: sequence % 8, sequence, operation: 1, request: 5, tenure };
    Entry { origin: Some(origin), ..entry }
}

fn server_registers(number: u8) -> Command {
    Command::RegisterDataServer(data::RegisterDataServer {
        uuid: [number; 16],
        addresses: vec![format!("10.0.0.{number}.8.1")],
        control: format!("10.0.0.{number}:9"),
        capacity_bytes: 1 << 40,
        zone: String::new(),
        rack: String::new(),
        host: String::new(),
    })
}

fn server_has_a_name(registers: Command) -> Command {
    match registers {
        Command::RegisterDataServer(server) => {
            Command::RegisterNamed(data::RegisterNamed { server, name: "rack1-a".to_owned() })
        }
        other => other,
    }
}

fn file_is_made() -> Vec<Command> {
    let open = |access, target| {
        Command::Open(open::Open {
            client: CLIENT,
            owner: b"opener".to_vec(),
            caller: Caller::default(),
            share: open::Share { access, deny: 0 },
            target,
        })
    };
    let (directory, name) = (mds_namespace::ROOT_INO, b"file".to_vec());
    let attributes = SetAttributes { mode: Some(0o644), size_bytes: Some(0), ..SetAttributes::default() };
    vec![
        open(
            3,
            open::Target::Create { directory, name: name.clone(), how: open::How::Unchecked, attributes },
        ),
        open(1, open::Target::Name { directory, name }),
        Command::Lock(lock::Lock {
            client: CLIENT,
            ino: FILE,
            exclusive: true,
            range: lock::Range { offset_bytes: 10, length_bytes: 10 },
            locker: lock::Locker::New {
                open: StateidValue { seqid: 2, ..stateid(StateKind::Open, 1) },
                owner: b"l".to_vec(),
            },
        }),
        Command::Unlock(lock::Unlock {
            client: CLIENT,
            ino: FILE,
            stateid: stateid(StateKind::Lock, 2),
            range: lock::Range { offset_bytes: 0, length_bytes: u64::MAX },
        }),
        Command::WriteInline(data::WriteInline {
            ino: FILE,
            offset_bytes: 3,
            data: b"bytes".to_vec(),
            caller: Caller::default(),
        }),
    ]
}

fn content_moves() -> Vec<Command> {
    let extent = ExtentId { ino: FILE, index: 0 };
    vec![
        Command::Allocate(data::Allocate { extent, home: DataServerId(1), backups: vec![] }),
        Command::ChangeCopies(data::ChangeCopies {
            changes: vec![CopyChange {
                extent,
                epoch: Epoch(1),
                copies: Copies { home: DataServerId(1), backups: vec![(DataServerId(2), true)] },
            }],
        }),
        Command::MoveToExtents(data::MoveToExtents { ino: FILE, change: 2 }),
        Command::LayoutThrough(layouts::LayoutThrough {
            export: 0,
            version: 1,
            what: layouts::Granting::Read(layouts::LayoutGet {
                client: CLIENT,
                extent,
                iomode: Iomode::Read,
                stateid: StateidValue { seqid: 2, ..stateid(StateKind::Open, 1) },
            }),
        }),
        Command::LayoutGet(layouts::LayoutGet {
            client: CLIENT,
            extent,
            iomode: Iomode::ReadWrite,
            stateid: StateidValue { seqid: 2, ..stateid(StateKind::Open, 1) },
        }),
        Command::LayoutCommit(layouts::LayoutCommit {
            client: CLIENT,
            ino: FILE,
            stateid: stateid(StateKind::Layout, 3),
            end_bytes: Some(5000),
            mtime: None,
            caller: Caller::default(),
        }),
        Command::LayoutRecall(layouts::LayoutRecall { ino: FILE, iomode: None, except_client: None }),
        Command::LayoutReturn(layouts::LayoutReturn {
            client: CLIENT,
            what: layouts::Returned::File {
                ino: FILE,
                iomode: None,
                whole: true,
                stateid: StateidValue { seqid: 2, ..stateid(StateKind::Layout, 3) },
            },
        }),
        Command::Written(data::Written { ino: FILE, end_bytes: 9000, caller: None }),
        Command::WrittenAt(data::WrittenAt {
            ino: FILE,
            end_bytes: 9600,
            caller: Caller::default(),
            extents: vec![(0, Epoch(2))],
        }),
        Command::Measured(data::Measured { extent, epoch: Epoch(2), end_bytes: 9500 }),
        Command::Fence(data::Fence { extent }),
        Command::WorkDone(data::WorkDone { items: vec![0, 1] }),
    ]
}

fn extent_is_sealed() -> Vec<Command> {
    let extent = ExtentId { ino: FILE, index: 0 };
    let (one, two) = (DataServerId(1), DataServerId(2));
    let copies = |group, image| {
        let member = Member { image: ImageId([image; 16]), extent, bytes: 10, sum: ImageSum([1; 32]) };
        let draft = Draft {
            group: GroupId(group),
            profile: Profile::OneCopy,
            codec: CodecId::Copies,
            members: vec![Some(member)],
            parity: vec![],
        };
        let shape = draft.shape(&[]).expect("one copy has no parity");
        let record = Group::new(shape, vec![Some(one)]).expect("the image has a home").encode();
        let (epoch, content_bytes, root) = (Epoch(3), 9, [1; 32]);
        let how = SealedAs { epoch, sequence: u64::from(image), content_bytes, root, from: None };
        Command::MakeGroup(seal::MakeGroup { record, sealed_as: vec![how] })
    };
    vec![
        Command::TakeGroup,
        Command::TakeGroup,
        copies(1, 8),
        copies(2, 9),
        Command::UseImages(seal::UseImages {
            used: vec![seal::UsedImage { extent, image: [9; 16], server: one, above: 4 }],
        }),
        Command::RehomeImage(seal::RehomeImage { group: 2, slot: 0, from: one, to: two }),
        Command::ThawExtent(seal::ThawExtent { extent, server: one, sequence: 9 }),
        Command::AdoptExtents(seal::AdoptExtents {
            adoptions: vec![Adoption { extent, epoch: Epoch(3), home: two }],
        }),
        Command::DrainDataServer(admin::DrainDataServer { server: one, drain: true }),
        Command::HandOver(admin::HandOver {
            changes: vec![CopyChange {
                extent,
                epoch: Epoch(4),
                copies: Copies { home: two, backups: vec![] },
            }],
        }),
        Command::WaitNoLonger(admin::WaitNoLonger { items: vec![1, 2, 3] }),
        Command::RemoveDataServer(admin::RemoveDataServer { server: one }),
        Command::SetExports(admin::SetExports { replaces: 0, exports: vec![Export::everything()] }),
        Command::ReplaceExports(admin::SetExports {
            replaces: 1,
            exports: vec![Export { read_only: true, ..Export::everything() }],
        }),
        Command::ReplaceExportsWhole(admin::SetExportsWhole {
            replaces: 2,
            exports: vec![Export::any_port()],
        }),
        Command::FenceExports(admin::FenceExports { all: false, exports: vec![0], from: extent }),
        Command::ExportsFenced(admin::ExportsFenced { version: 2, layouts: 1, extents: 1 }),
    ]
}

fn names_change() -> Vec<Command> {
    let (caller, directory) = (Caller::default(), mds_namespace::ROOT_INO);
    let create = |name: &[u8], kind, target: &[u8]| {
        Command::Create(namespace::Create {
            caller: Caller::default(),
            directory,
            name: name.to_vec(),
            kind,
            symlink_target: target.to_vec(),
            attributes: SetAttributes::default(),
        })
    };
    let attributes = SetAttributes {
        size_bytes: Some(100),
        mtime: Some(SetTime::At(Timestamp { seconds: 5, nanos: 6 })),
        ..SetAttributes::default()
    };
    vec![
        create(b"dir", Kind::Directory, b""),
        create(b"link", Kind::Symlink, b"target"),
        create(b"device", Kind::Block { major: 8, minor: 1 }, b""),
        Command::Link(namespace::Link {
            caller: caller.clone(),
            ino: FILE,
            directory: 3,
            name: b"second".to_vec(),
        }),
        Command::Rename(namespace::Rename {
            caller: caller.clone(),
            from_directory: directory,
            from_name: b"link".to_vec(),
            to_directory: 3,
            to_name: b"second".to_vec(),
        }),
        Command::SetAttributes(namespace::SetAttributesOf {
            caller: caller.clone(),
            ino: FILE,
            attributes,
            by_write_open: false,
        }),
        Command::Remove(namespace::Remove { caller, directory, name: b"file".to_vec() }),
    ]
}

fn all_ends() -> Vec<Command> {
    let open = StateidValue { seqid: 2, ..stateid(StateKind::Open, 1) };
    vec![
        Command::OpenDowngrade(open::OpenDowngrade {
            client: CLIENT,
            ino: FILE,
            stateid: open,
            share: open::Share { access: 1, deny: 0 },
        }),
        Command::FreeStateid(lock::FreeStateid {
            client: CLIENT,
            stateid: StateidValue { seqid: 2, ..stateid(StateKind::Lock, 2) },
        }),
        Command::Close(open::Close { client: CLIENT, ino: FILE, stateid: StateidValue { seqid: 3, ..open } }),
        Command::DestroySession(session::DestroySession { session: session_record().id }),
        Command::RemoveClient(client::RemoveClient { client: CLIENT, only_if_idle: false }),
        Command::Format(format()),
    ]
}

fn framed(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for bytes in entries.iter().map(entry_bytes) {
        match u8::try_from(bytes.len()) {
            Ok(length) if length < u8::MAX => out.push(length),
            _ => {
                out.push(u8::MAX);
                out.extend_from_slice(&u16::try_from(bytes.len()).expect("commands are short").to_be_bytes());
            }
        }
        out.extend_from_slice(&bytes);
    }
    out
}

fn seeds() -> Vec<Vec<u8>> {
    let all = commands();
    let mut seeds: Vec<Vec<u8>> = all.iter().map(|entry| framed(std::slice::from_ref(entry))).collect();
    seeds.extend((1..=all.len()).map(|count| framed(&all[..count])));
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seeds go deep: what they tell is carried out, but for what is refused on purpose.
    #[test]
    fn the_commands_are_carried_out() {
        let store = MemStore::new();
        let mut txn = store.begin().unwrap();
        apply(&mut *txn, &at(0, Command::Format(format()))).unwrap();
        let mut refused = Vec::new();
        for entry in commands() {
            if let Outcome::Refused(refusal) = apply(&mut *txn, &entry).unwrap() {
                refused.push(format!("{refusal:?}: {:?}", entry.command));
            }
        }
        assert!(refused.is_empty(), "{refused:#?}");
    }
}
