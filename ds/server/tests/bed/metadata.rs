//! A metadata server that knows REGISTER and HEARTBEAT, and answers as the test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use env::{BoxFuture, Clock, Entropy, Env};
use env_transport::{Answer, Call, Connection, Limits, Server, Service, serve};
use wire_nfs::control::auth::ConnectionSecret;
use wire_nfs::control::copies::Directory;
use wire_nfs::control::extent::{AskFileEnd, FileEnd};
use wire_nfs::control::handles::{Admitted, AdmittedBy, AskHeld, HandleKeys, Held, NumberedKey};
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
    /// How often it was asked of layouts.
    pub(crate) helds: usize,
    /// How many calls hang, or did until they were given up.
    pub(crate) unanswered: usize,
}

/// What handles are judged by.
#[derive(Default)]
struct Judging {
    /// The clock that handles are made by goes.
    time_goes: bool,
    /// No layout is held.
    is_all_gone: bool,
    /// It is not said of layouts whether they are held.
    is_silent: bool,
    /// What is said of layouts is not what was asked.
    is_senseless: bool,
    /// These are not answered at all.
    unanswered: Vec<Procedure>,
    /// Version of the exports, above the first, and their networks.
    exports: (u64, Vec<String>),
}

struct Fake {
    key: ClusterKey,
    entropy: Arc<dyn Entropy>,
    gates: Mutex<HashMap<u64, ControlGate>>,
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Seen>,
    file_end: Mutex<Option<u64>>,
    clock: Arc<dyn Clock>,
    judging: Mutex<Judging>,
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
            clock: env.clock.clone(),
            judging: Mutex::default(),
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

    /// From now on handles grow old.
    pub(crate) fn tell_time(&self) {
        self.fake.judging.lock().unwrap().time_goes = true;
    }

    /// All layouts are held, or none.
    pub(crate) fn hold(&self, held: bool) {
        self.fake.judging.lock().unwrap().is_all_gone = !held;
    }

    /// Whether layouts are held cannot be told.
    pub(crate) fn say_nothing_of_layouts(&self, is_silent: bool) {
        self.fake.judging.lock().unwrap().is_silent = is_silent;
    }

    /// What is said of layouts is not what was asked.
    pub(crate) fn talk_nonsense_of_layouts(&self) {
        self.fake.judging.lock().unwrap().is_senseless = true;
    }

    /// Calls of these procedures hang.
    pub(crate) fn leave_unanswered(&self, procedures: &[Procedure]) {
        self.fake.judging.lock().unwrap().unanswered = procedures.to_vec();
    }

    /// The export has these clients.
    pub(crate) fn admit(&self, networks: &[&str]) {
        let mut judging = self.fake.judging.lock().unwrap();
        judging.exports =
            (judging.exports.0 + 1, networks.iter().map(|network| (*network).to_owned()).collect());
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
    fn renewed(&self) -> Renewed {
        let judging = self.judging.lock().unwrap();
        let clock_ms = if judging.time_goes { self.clock.monotonic_ms() } else { 0 };
        Renewed { clock_ms, exports: 1 + judging.exports.0, ..renewed(LEASE_MS) }
    }

    fn hangs(&self, procedure: u32) -> bool {
        let hangs = self.judging.lock().unwrap().unanswered.iter().any(|one| one.number() == procedure);
        self.seen.lock().unwrap().unanswered += usize::from(hangs);
        hangs
    }

    fn tell_exports(&self, w: &mut Writer) {
        let (version, networks) = self.judging.lock().unwrap().exports.clone();
        let exports = vec![AdmittedBy { export: 0, networks }];
        put_reply(w, &Ok(Admitted { version: 1 + version, exports }));
    }

    fn tell_held(&self, args: bytes::Bytes, w: &mut Writer) {
        let (asked, judging): (AskHeld, _) = (decode_args(args).unwrap(), self.judging.lock().unwrap());
        self.seen.lock().unwrap().helds += 1;
        let count = if judging.is_senseless { 0 } else { asked.holders.len() };
        let held = Held { held: vec![!judging.is_all_gone; count] };
        put_reply(w, &if judging.is_silent { Err(Refusal::Busy) } else { Ok(held) });
    }

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
                let keys = sealed_keys(&peer.secret);
                put_reply(
                    &mut w,
                    &Ok(Registered {
                        server: SERVER,
                        lease_ms,
                        keys,
                        clock_ms: self.renewed().clock_ms,
                        exports: self.renewed().exports,
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
                put_reply(&mut w, &Ok(Renewed { lease_ms, ..self.renewed() }));
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
            // It does not know what time it is.
            (Procedure::Clock, _) => put_reply::<Nothing>(&mut w, &Err(Refusal::Busy)),
            (Procedure::Admitted, _) => self.tell_exports(&mut w),
            (Procedure::Held, _) => self.tell_held(args, &mut w),
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

/// The handle key, as its first version.
pub(crate) fn sealed_keys(secret: &ConnectionSecret) -> HandleKeys {
    let key = SealedKey::seal(secret, [3; 16], &HANDLE_KEY);
    HandleKeys { version: 1, keys: vec![NumberedKey { number: 0, key }] }
}

/// Nothing is new but the lease. The clock that handles are made by stands still: they never grow
/// old.
pub(crate) fn renewed(lease_ms: u32) -> Renewed {
    Renewed { lease_ms, seal_idle_ms: 0, directory: None, clock_ms: 0, exports: 1, keys: None }
}

/// One export, for everybody.
pub(crate) fn admitted() -> Admitted {
    Admitted { version: 1, exports: vec![AdmittedBy { export: 0, networks: vec![] }] }
}

impl Service for Fake {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let procedure = call.header.procedure;
        let body = if self.hangs(procedure) {
            None
        } else {
            self.answer(procedure, call.args.rest(), connection.id())
        };
        Box::pin(async move {
            let Some(body) = body else { std::future::pending().await };
            let mut w = accepted_success(call.header.xid);
            w.append(body);
            Answer::Reply(w)
        })
    }
}
