//! Tests of the commands on a store in memory, without a log.

mod admin;
mod client;
mod data;
mod determinism;
mod exports;
mod fencing;
mod governor;
mod layout;
mod lock;
mod lock_tree;
mod names;
mod once;
mod open;
mod seal;
mod session;
mod waiting;

use mds_namespace::store::mem::MemStore;
use mds_namespace::store::transfer::{self, Pairs};
use mds_namespace::{Caller, Durability, Ino, MetaStore, ROOT_INO, SetAttributes};

use crate::command::client::{ConfirmClient, ExchangeId};
use crate::command::data::{Allocate, Format, MoveToExtents, RegisterDataServer};
use crate::command::layout::{LayoutAnswer, LayoutGet};
use crate::command::namespace::Remove;
use crate::command::open::{Close, How, Open, Opened, Share, Target};
use crate::command::{Command, Outcome, Refusal, StateidValue};
use crate::entry::{Entry, Origin};
use crate::{StateView, query};

const ROOT: Caller = Caller { uid: 0, gid: 0, gids: Vec::new() };
const READ: Share = Share { access: 1, deny: 0 };
const WRITE: Share = Share { access: 2, deny: 0 };
const BOTH: Share = Share { access: 3, deny: 0 };

fn user(uid: u32) -> Caller {
    Caller { uid, gid: uid, gids: Vec::new() }
}

/// A formatted store with a clock that advances by one second a command.
struct Stage {
    store: MemStore,
    now_unix_ns: u64,
    /// The proposing governor.
    governor: u64,
}

impl Stage {
    fn empty() -> Self {
        Self { store: MemStore::new(), now_unix_ns: 1_000_000_000, governor: 0 }
    }

    fn new() -> Self {
        let mut stage = Self::empty();
        let format = Command::Format(Format {
            file_system: [1; 16],
            handle_key: [2; 32],
            cookie_key: [3; 32],
            root_uid: 0,
            root_gid: 0,
            root_mode: 0o777,
        });
        assert_eq!(stage.run(format), Outcome::Done);
        stage
    }

    /// Applies a command, which may name its request.
    fn asked(&mut self, origin: Option<Origin>, command: Command) -> Outcome {
        self.now_unix_ns += 1_000_000_000;
        let (now_unix_ns, governor) = (self.now_unix_ns, self.governor);
        let entry = Entry { now_unix_ns, origin, governor, command };
        let mut txn = self.store.begin().unwrap();
        let outcome = super::apply(&mut *txn, &entry).unwrap();
        txn.commit(Durability::Memory).unwrap();
        outcome
    }

    /// Applies a command; a refused one must have written nothing.
    fn run(&mut self, command: Command) -> Outcome {
        let before = self.dump();
        let outcome = self.asked(None, command);
        if matches!(outcome, Outcome::Refused(_)) {
            assert_eq!(self.dump(), before, "a refused command has written");
        }
        outcome
    }

    fn refused(&mut self, command: Command) -> Refusal {
        match self.run(command) {
            Outcome::Refused(refusal) => refusal,
            outcome => panic!("was not refused: {outcome:?}"),
        }
    }

    fn dump(&self) -> Pairs {
        transfer::export(&*self.store.view().unwrap(), None, usize::MAX).unwrap()
    }

    fn view(&self) -> StateView {
        StateView::new(self.store.view().unwrap())
    }

    /// A confirmed client with this owner.
    fn client(&mut self, owner: &str) -> u64 {
        let answer = match self.run(exchange(owner, 1)) {
            Outcome::Client(answer) => answer,
            outcome => panic!("{outcome:?}"),
        };
        let confirm = ConfirmClient {
            client: answer.client,
            sequence: answer.sequence,
            principal: b"principal".to_vec(),
        };
        assert!(matches!(self.run(Command::ConfirmClient(confirm)), Outcome::Confirmed(_)));
        answer.client
    }

    fn open(&mut self, client: u64, owner: &str, share: Share, target: Target) -> Opened {
        match self.run(open_command(client, owner, ROOT, share, target)) {
            Outcome::Opened(opened) => *opened,
            outcome => panic!("{outcome:?}"),
        }
    }

    fn create(&mut self, client: u64, owner: &str, name: &str) -> Opened {
        self.open(client, owner, BOTH, create_target(name, How::Unchecked))
    }

    fn close(&mut self, client: u64, ino: Ino, stateid: StateidValue) -> StateidValue {
        match self.run(Command::Close(Close { client, ino, stateid })) {
            Outcome::Stateid(stateid) => stateid,
            outcome => panic!("{outcome:?}"),
        }
    }

    fn remove(&mut self, name: &str) {
        let remove = Remove { caller: ROOT, directory: ROOT_INO, name: name.as_bytes().to_vec() };
        assert!(matches!(self.run(Command::Remove(remove)), Outcome::Entry(_)));
    }

    /// Gives the file `extents` extents on data server 1 and moves its content there.
    fn spread(&mut self, ino: Ino, extents: u32) {
        let register = RegisterDataServer {
            uuid: [5; 16],
            addresses: vec!["127.0.0.1.8.1".to_owned()],
            control: "127.0.0.1:7".to_owned(),
            capacity_bytes: 1 << 40,
            zone: String::new(),
            rack: String::new(),
            host: String::new(),
        };
        assert!(matches!(self.run(Command::RegisterDataServer(register)), Outcome::DataServer(_)));
        for index in 0..extents {
            let extent = ::layout::ExtentId { ino, index };
            let allocate = Allocate { extent, home: ::layout::DataServerId(1), backups: vec![] };
            assert!(matches!(self.run(Command::Allocate(allocate)), Outcome::Extent(_)));
        }
        let change = self.view().inode(ino).unwrap().change;
        let moved = self.run(Command::MoveToExtents(MoveToExtents { ino, change }));
        assert!(matches!(moved, Outcome::Inode(_)), "{moved:?}");
    }

    fn layout_get(&mut self, client: u64, ino: Ino, writes: bool, stateid: StateidValue) -> LayoutAnswer {
        match self.run(layout_get(client, ino, writes, stateid)) {
            Outcome::Layout(answer) => answer,
            outcome => panic!("{outcome:?}"),
        }
    }

    /// Checks the rules between keys of docs/formats/state.md.
    fn check(&self) {
        let view = self.view();
        let mut totals = std::collections::BTreeMap::new();
        for client in view.clients().unwrap() {
            let id = client.record.client;
            let tally = view.tally(id).unwrap();
            totals.insert(id, (0, 0, 0));
            for (kind, count) in [
                (crate::record::StateKind::Open, tally.opens),
                (crate::record::StateKind::Lock, tally.locks),
                (crate::record::StateKind::Layout, tally.layouts),
            ] {
                let entries = view.of_client(id, kind, usize::MAX).unwrap();
                assert_eq!(entries.len(), count as usize, "{kind:?} of {id}");
                for (ino, other) in entries {
                    let target = view.stateid(&other).unwrap().unwrap();
                    assert_eq!((target.kind, target.ino, target.client), (kind, ino, id));
                    let current = StateidValue { seqid: 0, other };
                    assert_eq!(view.test_stateid(id, current), Ok(kind));
                    if kind == crate::record::StateKind::Lock {
                        let lock = query::lock(view.namespace(), id, ino, current).unwrap();
                        let under = StateidValue { seqid: 0, other: lock.open };
                        query::open(view.namespace(), id, ino, under).unwrap();
                    }
                }
            }
        }
    }
}

fn exchange(owner: &str, verifier: u8) -> Command {
    Command::ExchangeId(ExchangeId {
        owner: owner.as_bytes().to_vec(),
        verifier: [verifier; 8],
        principal: b"principal".to_vec(),
        update: false,
        implementation: "test".to_owned(),
    })
}

fn open_command(client: u64, owner: &str, caller: Caller, share: Share, target: Target) -> Command {
    Command::Open(Open { client, owner: owner.as_bytes().to_vec(), caller, share, target })
}

fn create_target(name: &str, how: How) -> Target {
    let attributes = SetAttributes { mode: Some(0o644), ..SetAttributes::default() };
    Target::Create { directory: ROOT_INO, name: name.as_bytes().to_vec(), how, attributes }
}

fn name_target(name: &str) -> Target {
    Target::Name { directory: ROOT_INO, name: name.as_bytes().to_vec() }
}

fn handle_target(ino: Ino) -> Target {
    Target::Handle { ino, reclaim: false }
}

fn layout_get(client: u64, ino: Ino, writes: bool, stateid: StateidValue) -> Command {
    let iomode = if writes { ::layout::Iomode::ReadWrite } else { ::layout::Iomode::Read };
    Command::LayoutGet(LayoutGet { client, extent: ::layout::ExtentId { ino, index: 0 }, iomode, stateid })
}
