//! What modelled metadata servers with a log of their own have in common: the handshake, who has
//! registered, and leases that last.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use wire_nfs::control::copies::{Directory, Listed};
use wire_nfs::control::extent::{AskFileEnd, FileEnd};
use wire_nfs::control::handles::{AskHeld, HandleKeys, Held};
use wire_nfs::control::heartbeat::{Heartbeat, JournalEnd, Renewed};
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::{
    ControlGate, NodeKind, Nothing, PROGRAM, Procedure, Refusal, decode_args, put_reply,
};
use wire_xdr::Writer;

use super::cluster_key;
use super::metadata::{admitted, renewed, sealed_keys};

/// Leases outlive every test, unless it says otherwise.
const LEASE_MS: u32 = 600_000;

/// Data servers, numbered as they come.
#[derive(Default)]
pub(crate) struct Roster {
    gates: HashMap<u64, ControlGate>,
    pub(crate) addresses: BTreeMap<u32, String>,
    pub(crate) ids: HashMap<[u8; 16], u32>,
    /// How long extents rest before they are sealed; 0: never.
    pub(crate) seal_idle_ms: u32,
    /// How long leases are, if not very long.
    pub(crate) lease_ms: Option<u32>,
    /// Servers that have something to do before they get a lease.
    pub(crate) held: BTreeSet<u32>,
    /// Servers that have reported that their disks failed, and with which words.
    pub(crate) failed: BTreeMap<u32, String>,
    /// Whether stores are judged by how far they went, and how far that is.
    pub(crate) judges: bool,
    pub(crate) marks: HashMap<[u8; 16], JournalEnd>,
    /// Servers that came back with less.
    pub(crate) behind: BTreeSet<u32>,
    /// It does not hear that disks have failed.
    pub(crate) is_deaf: bool,
}

impl Roster {
    /// Answers the handshake, REGISTER, HEARTBEAT and FILE_END; `None` for whatever else is asked
    /// by who has proved who it is.
    pub(crate) fn answer(&mut self, procedure: u32, args: &Bytes, connection: u64) -> Option<Writer> {
        let gate = self
            .gates
            .entry(connection)
            .or_insert_with(|| ControlGate::new(cluster_key(), PROGRAM, NodeKind::Metadata, [8; 32]));
        if let Some(reply) = gate.handshake(procedure, args.clone()) {
            return Some(reply.unwrap());
        }
        let secret = gate.peer().unwrap().secret.clone();
        let (mut w, seal_idle_ms) = (Writer::new(), self.seal_idle_ms);
        let lease_ms = self.lease_ms.unwrap_or(LEASE_MS);
        match Procedure::from_number(procedure).unwrap() {
            Procedure::Register => {
                let registered = self.register(decode_args(args.clone()).unwrap(), sealed_keys(&secret));
                put_reply(&mut w, &Ok(registered));
            }
            Procedure::Heartbeat => {
                let beat: Heartbeat = decode_args(args.clone()).unwrap();
                if self.held.contains(&beat.server) || self.behind.contains(&beat.server) {
                    put_reply::<Renewed>(&mut w, &Err(Refusal::RegisterAgain));
                    return Some(w);
                }
                let mark = self.marks.entry(beat.uuid).or_default();
                *mark = (*mark).max(beat.durable);
                if !beat.failure.is_empty() && !self.is_deaf {
                    self.failed.insert(beat.server, beat.failure);
                }
                let lease_ms = if self.failed.contains_key(&beat.server) { 0 } else { lease_ms };
                let directory = Some(self.directory());
                put_reply(&mut w, &Ok(Renewed { seal_idle_ms, directory, ..renewed(lease_ms) }));
            }
            // Longer than anything that is asked for: what is not held is a hole.
            Procedure::FileEnd => {
                let asked: AskFileEnd = decode_args(args.clone()).unwrap();
                let size_bytes = (u64::from(asked.extent.index) + 1) * layout::EXTENT_BYTES;
                put_reply(&mut w, &Ok(FileEnd { size_bytes }));
            }
            // It does not know what time it is.
            Procedure::Clock => put_reply::<Nothing>(&mut w, &Err(Refusal::Busy)),
            Procedure::Admitted => put_reply(&mut w, &Ok(admitted())),
            Procedure::Held => {
                let asked: AskHeld = decode_args(args.clone()).unwrap();
                put_reply(&mut w, &Ok(Held { held: vec![true; asked.holders.len()] }));
            }
            Procedure::Promise => put_reply(&mut w, &Ok(Nothing)),
            _ => return None,
        }
        Some(w)
    }

    fn register(&mut self, register: Register, keys: HandleKeys) -> Registered {
        let next = u32::try_from(self.ids.len()).unwrap() + 1;
        let server = *self.ids.entry(register.uuid).or_insert(next);
        self.addresses.insert(server, register.control);
        self.failed.remove(&server);
        let mark = self.marks.get(&register.uuid).copied().unwrap_or_default();
        let behind = Some(mark).filter(|mark| self.judges && register.found < *mark);
        if behind.is_some() {
            self.behind.insert(server);
        } else {
            self.behind.remove(&server);
            self.marks.insert(register.uuid, mark.max(register.found));
        }
        let is_held = self.held.contains(&server) || behind.is_some();
        Registered {
            server,
            lease_ms: if is_held { 0 } else { self.lease_ms.unwrap_or(LEASE_MS) },
            keys,
            clock_ms: 0,
            exports: 1,
            seal_idle_ms: self.seal_idle_ms,
            directory: self.directory(),
            behind,
        }
    }

    fn directory(&self) -> Directory {
        let listed = |(id, at): (&u32, &String)| Listed { server: *id, control: at.clone() };
        Directory {
            version: self.addresses.len() as u64,
            servers: self.addresses.iter().map(listed).collect(),
        }
    }
}
