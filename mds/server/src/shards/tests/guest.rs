//! Clients with sessions, and directories to open files in.

use mds_namespace::{Caller, Ino, Kind, ROOT_INO, SetAttributes, shard_of};
use mds_state::command::client::ExchangeId;
use mds_state::command::open::{How, Open, Share, Target};
use mds_state::command::session::CreateSession;
use mds_state::{Command, Origin, Outcome, Refusal, StateidValue};
use wire_session::server::record::{ChannelBounds, SessionRecord, session_id};

use super::{Shards, create};

/// A client with a session.
pub(crate) struct Guest {
    pub(crate) client: u64,
    pub(crate) session: [u8; 16],
    pub(crate) sequence: u32,
}

impl Guest {
    /// The origin of a further request on slot 0.
    pub(crate) fn origin(&mut self) -> Origin {
        self.sequence += 1;
        let (session, sequence) = (self.session, self.sequence);
        Origin { session, slot: 0, sequence, operation: 1, request: u64::from(sequence), tenure: 1 }
    }

    pub(crate) async fn open(
        &mut self,
        shards: &Shards,
        directory: Ino,
    ) -> Result<(Ino, StateidValue), Refusal> {
        match shards.propose(Some(self.origin()), open(self.client, directory)).await {
            Ok(Outcome::Opened(opened)) => Ok((opened.inode.ino, opened.stateid)),
            Ok(Outcome::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }
}

/// Opens a file, and denies all others.
pub(crate) fn open(client: u64, directory: Ino) -> Command {
    let attributes = SetAttributes { mode: Some(0o666), ..SetAttributes::default() };
    Command::Open(Open {
        client,
        owner: b"opener".to_vec(),
        caller: Caller::default(),
        share: Share { access: 3, deny: 3 },
        target: Target::Create { directory, name: b"file".to_vec(), how: How::Unchecked, attributes },
    })
}

pub(crate) fn exchange(owner: &str, principal: &str) -> Command {
    Command::ExchangeId(ExchangeId {
        owner: owner.into(),
        verifier: [7; 8],
        principal: principal.into(),
        update: false,
        implementation: String::new(),
    })
}

pub(crate) fn create_session(client: u64, sequence: u32) -> Command {
    let bounds = ChannelBounds {
        request_bytes_max: 4096,
        response_bytes_max: 4096,
        response_cached_bytes_max: 4096,
        operations_max: 8,
        requests_max: 8,
    };
    let record = SessionRecord {
        id: session_id(client, sequence, 9),
        client,
        sequence,
        minor_version: 2,
        fore: bounds,
        back: bounds,
        back_wanted: false,
        program: 0,
        credential: None,
    };
    Command::CreateSession(CreateSession { record, principal: b"one".to_vec() })
}

pub(crate) async fn guest(shards: &Shards, owner: &str) -> Guest {
    let known = shards.propose(None, exchange(owner, "one")).await;
    let Ok(Outcome::Client(answer)) = known else { panic!("{known:?}") };
    let made = shards.propose(None, create_session(answer.client, answer.sequence)).await;
    let Ok(Outcome::SessionCreated(made)) = made else { panic!("{made:?}") };
    Guest { client: answer.client, session: made.record.id, sequence: 0 }
}

/// Creates a directory in a shard.
pub(crate) async fn directory(shards: &Shards, shard: u16) -> Ino {
    for turn in 0..1_000 {
        let name = format!("directory-{shard}-{turn}");
        match shards.propose(None, create(ROOT_INO, &name, Kind::Directory)).await {
            Ok(Outcome::Entry(entry)) if shard_of(entry.inode.ino) == shard => return entry.inode.ino,
            Ok(Outcome::Entry(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("none in a thousand");
}
