//! A metadata server that knows REGISTER and HEARTBEAT, and answers as the test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use env::{BoxFuture, Entropy, Env};
use env_transport::{Answer, Call, Connection, Limits, Server, Service, serve};
use wire_nfs::control::copies::Directory;
use wire_nfs::control::extent::{AskFileEnd, FileEnd};
use wire_nfs::control::heartbeat::{Heartbeat, Renewed};
use wire_nfs::control::register::{Register, Registered, SealedKey};
use wire_nfs::control::{
    ClusterKey, ControlGate, NodeKind, Nothing, PROGRAM, Procedure, Refusal, decode_args, put_reply,
};
use wire_rpc::accepted_success;
use wire_xdr::Writer;

pub(crate) const HANDLE_KEY: [u8; 32] = [9; 32];
/// The id that the data server gets.
pub(crate) const SERVER: u32 = 4;
pub(crate) const LEASE_MS: u32 = 3_000;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Behaviour {
    Lease,
    /// REGISTER says who it is, and gives no lease yet.
    NoLeaseYet,
    Refuse(Refusal),
    /// REGISTER is fine, HEARTBEAT is not.
    RefuseHeartbeat(Refusal),
    /// All is well, but nothing may be promised yet.
    NoPromises,
    /// Takes calls and never answers.
    Silent,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) registers: Vec<Register>,
    pub(crate) heartbeats: Vec<Heartbeat>,
    /// The connection of each HEARTBEAT and PROMISE.
    pub(crate) connections: Vec<(Procedure, u64)>,
}

struct Fake {
    key: ClusterKey,
    entropy: Arc<dyn Entropy>,
    gates: Mutex<HashMap<u64, ControlGate>>,
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Seen>,
    file_end: Mutex<Option<u64>>,
}

pub(crate) struct Metadata {
    server: Server,
    fake: Arc<Fake>,
}

impl Metadata {
    pub(crate) async fn start(env: &Env, key: ClusterKey) -> Self {
        let fake = Arc::new(Fake {
            key,
            entropy: env.entropy.clone(),
            gates: Mutex::default(),
            behaviour: Mutex::new(Behaviour::Lease),
            seen: Mutex::default(),
            file_end: Mutex::new(Some(0)),
        });
        let service: Arc<dyn Service> = fake.clone();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server =
            serve(env.net.clone(), env.clock.clone(), address, service, Limits::default()).await.unwrap();
        Self { server, fake }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.fake.behaviour.lock().unwrap() = behaviour;
    }

    /// Every file ends there.
    pub(crate) fn files_end_at(&self, size_bytes: u64) {
        *self.fake.file_end.lock().unwrap() = Some(size_bytes);
    }

    /// Where files end cannot be told.
    pub(crate) fn files_end_nowhere(&self) {
        *self.fake.file_end.lock().unwrap() = None;
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.fake.seen.lock().unwrap())
    }
}

impl Fake {
    fn answer(&self, procedure: u32, args: bytes::Bytes, connection: u64) -> Option<Writer> {
        let mut gates = self.gates.lock().unwrap();
        let gate = gates.entry(connection).or_insert_with(|| {
            let mut nonce = [0; 32];
            self.entropy.fill(&mut nonce);
            ControlGate::new(&self.key, PROGRAM, NodeKind::Metadata, nonce)
        });
        if let Some(reply) = gate.handshake(procedure, args.clone()) {
            return Some(reply.unwrap());
        }
        let peer = gate.peer().unwrap();
        assert_eq!(peer.kind, NodeKind::Data);
        let behaviour = self.behaviour.lock().unwrap().clone();
        let mut w = Writer::new();
        match (Procedure::from_number(procedure).unwrap(), behaviour.clone()) {
            (_, Behaviour::Silent) => return None,
            (
                Procedure::Register,
                Behaviour::Lease
                | Behaviour::NoPromises
                | Behaviour::NoLeaseYet
                | Behaviour::RefuseHeartbeat(_),
            ) => {
                let lease_ms = if matches!(behaviour, Behaviour::NoLeaseYet) { 0 } else { LEASE_MS };
                self.seen.lock().unwrap().registers.push(decode_args(args).unwrap());
                let key = SealedKey::seal(&peer.secret, [3; 16], &HANDLE_KEY);
                put_reply(
                    &mut w,
                    &Ok(Registered {
                        server: SERVER,
                        lease_ms,
                        key,
                        seal_idle_ms: 0,
                        directory: Directory::default(),
                        behind: None,
                    }),
                );
            }
            (Procedure::Heartbeat, Behaviour::Lease | Behaviour::NoPromises) => {
                self.seen.lock().unwrap().connections.push((Procedure::Heartbeat, connection));
                let beat: Heartbeat = decode_args(args).unwrap();
                let lease_ms = if beat.failure.is_empty() { LEASE_MS } else { 0 };
                self.seen.lock().unwrap().heartbeats.push(beat);
                put_reply(&mut w, &Ok(Renewed { lease_ms, seal_idle_ms: 0, directory: None }));
            }
            (Procedure::Promise, Behaviour::Lease) => {
                self.seen.lock().unwrap().connections.push((Procedure::Promise, connection));
                put_reply(&mut w, &Ok(Nothing));
            }
            (Procedure::Promise, Behaviour::NoPromises) => put_reply::<Nothing>(&mut w, &Err(Refusal::Busy)),
            (_, Behaviour::Refuse(refusal)) | (Procedure::Heartbeat, Behaviour::RefuseHeartbeat(refusal)) => {
                put_reply::<Renewed>(&mut w, &Err(refusal));
            }
            (Procedure::Heartbeat, Behaviour::NoLeaseYet) => {
                put_reply::<Renewed>(&mut w, &Err(Refusal::RegisterAgain));
            }
            // It keeps no extents.
            (Procedure::Copies, _) => put_reply::<Nothing>(&mut w, &Err(Refusal::NotHome)),
            (Procedure::FileEnd, _) => {
                decode_args::<AskFileEnd>(args).unwrap();
                let end = self.file_end.lock().unwrap().map(|size_bytes| FileEnd { size_bytes });
                put_reply(&mut w, &end.ok_or(Refusal::Busy));
            }
            (procedure, _) => panic!("a data server does not call {procedure:?}"),
        }
        Some(w)
    }
}

impl Service for Fake {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let body = self.answer(call.header.procedure, call.args.rest(), connection.id());
        Box::pin(async move {
            let Some(body) = body else { std::future::pending().await };
            let mut w = accepted_success(call.header.xid);
            w.append(body);
            Answer::Reply(w)
        })
    }
}
