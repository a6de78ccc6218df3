//! A metadata server with one extent: it keeps the set of its copies, and decides by
//! `layout::copies`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, Service};
use layout::copies::{Domain, Place, Wish, plan};
use layout::{Backup, DataServerId, Epoch};
use wire_nfs::control::copies::{AskCopies, CopySet, KeptBy, Word};
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::{Procedure, Refusal, decode_args, put_reply};
use wire_rpc::accepted_success;
use wire_xdr::Writer;

use crate::bed::EXTENT;
use crate::bed::roster::Roster;

/// The set of the one extent, and who is there.
pub(crate) struct Log {
    pub(crate) home: DataServerId,
    pub(crate) backups: Vec<Backup>,
    pub(crate) epoch: Epoch,
    pub(crate) alive: BTreeSet<u32>,
    pub(crate) roster: Roster,
}

impl Log {
    fn places(&self) -> Vec<Place> {
        let place = |id: &u32| {
            let up = self.alive.contains(id);
            let (id, domain) = (DataServerId(*id), Domain::default());
            Place { id, domain, free_bytes: 1 << 30, fit: up, up, dead: !up }
        };
        self.roster.addresses.keys().map(place).collect()
    }

    pub(crate) fn replan(&mut self, copies: usize, lost: Option<DataServerId>) {
        let now = layout::copies::Copies {
            home: self.home,
            backups: self.backups.iter().map(|one| (one.server, one.filling)).collect(),
        };
        let wish = Wish { copies, lost, bury: true, ..Wish::NONE };
        let Some(next) = plan(&now, &self.places(), &wish, 0) else { return };
        self.epoch = self.epoch.next();
        let epoch = self.epoch;
        let before = std::mem::take(&mut self.backups);
        let since = |server| before.iter().find(|one| one.server == server).map_or(epoch, |one| one.since);
        let backup = |(server, filling): &(DataServerId, bool)| Backup {
            server: *server,
            since: since(*server),
            filling: *filling,
        };
        self.backups = next.backups.iter().map(backup).collect();
        self.home = next.home;
    }

    pub(crate) fn set(&self) -> CopySet {
        let kept = |one: &Backup| KeptBy { server: one.server.0, since: one.since.0, filling: one.filling };
        CopySet {
            extent: ExtentName { ino: EXTENT.ino, index: EXTENT.index },
            epoch: self.epoch.0,
            home: self.home.0,
            backups: self.backups.iter().map(kept).collect(),
        }
    }

    fn hear(&mut self, ask: &AskCopies) -> Result<CopySet, Refusal> {
        if ask.server != self.home.0 {
            return Err(Refusal::NotHome);
        }
        match ask.word {
            Word::Ask | Word::Seal | Word::Who => {}
            Word::Lost => self.replan(2, Some(DataServerId(ask.backup))),
            Word::Filled => {
                let fits = |one: &&mut Backup| one.server.0 == ask.backup && one.since.0 == ask.since;
                if let Some(one) = self.backups.iter_mut().find(fits) {
                    one.filling = false;
                    self.epoch = self.epoch.next();
                }
            }
        }
        Ok(self.set())
    }
}

pub(crate) struct Metadata {
    pub(crate) log: Arc<Mutex<Log>>,
}

impl Metadata {
    fn answer(&self, procedure: u32, args: Bytes, connection: u64) -> Writer {
        let mut log = self.log.lock().unwrap();
        if let Some(w) = log.roster.answer(procedure, &args, connection) {
            return w;
        }
        let mut w = Writer::new();
        match Procedure::from_number(procedure).unwrap() {
            Procedure::Copies => put_reply(&mut w, &log.hear(&decode_args(args).unwrap())),
            other => panic!("a data server does not call {other:?}"),
        }
        w
    }
}

impl Service for Metadata {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let body = self.answer(call.header.procedure, call.args.rest(), connection.id());
        let mut w = accepted_success(call.header.xid);
        w.append(body);
        Box::pin(std::future::ready(Answer::Reply(w)))
    }
}
