//! A data server that only registers, and files whose bytes are to be on it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use client::control::greeting;
use env::{BoxFuture, Entropy};
use env_transport::{Answer, Call, Connection, Limits, RpcClient, Server, Service, serve};
use parking_lot::Mutex;
use wire_nfs::control::extent::{AtEpoch, Cut, ExtentSize, KnownEpoch, SizeOf, Sizes};
use wire_nfs::control::heartbeat::{Heartbeat, JournalEnd, Renewed, Stat, Usage};
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::{
    ClusterKey, ControlGate, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_args,
    decode_reply, put_reply,
};
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::layout::{Iomode, LENGTH_TO_END};
use wire_nfs::v4::ops::layoutreturn::{self, ReturnFile, ReturnScope};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{getfh, layoutget, lookup, open, putfh, putrootfh};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{AttrValues, Fattr4, Filehandle, Nfsstat4, Op, Stateid};
use wire_rpc::{Credential, accepted_success};
use wire_xdr::{Decode, Encode, Writer};

use super::{Client, Rig};

const EXTENT_BYTES: u64 = 64 << 20;

pub(crate) fn key() -> ClusterKey {
    ClusterKey::new([3; 32])
}

/// The directory of the data server that registers.
const UUID: [u8; 16] = [1; 16];

/// A data server's report about each extent.
pub(crate) type Holds = Arc<Mutex<ExtentSize>>;

/// A data server that reports the given sizes and acknowledges all control calls; its NFS port
/// answers probes.
struct Empty {
    holds: Holds,
    uuid: [u8; 16],
    entropy: Arc<dyn Entropy>,
    gates: Mutex<HashMap<u64, ControlGate>>,
}

impl Empty {
    fn control(&self, procedure: u32, args: Bytes, connection: u64) -> Writer {
        let mut gates = self.gates.lock();
        let gate = gates.entry(connection).or_insert_with(|| {
            let mut nonce = [0; 32];
            self.entropy.fill(&mut nonce);
            ControlGate::new(key(), PROGRAM, NodeKind::Data, nonce)
        });
        if let Some(reply) = gate.handshake(procedure, args.clone()) {
            return reply.expect("a handshake");
        }
        let mut w = Writer::new();
        match Procedure::from_number(procedure) {
            Some(Procedure::Stat) => {
                put_reply(&mut w, &Ok(Stat { uuid: self.uuid, instance: 1, usage: Usage::default() }));
            }
            Some(Procedure::Size) => {
                let asked: SizeOf = decode_args(args).expect("SIZE");
                let sizes = vec![*self.holds.lock(); asked.extents.len()];
                put_reply(&mut w, &Ok(Sizes { sizes }));
            }
            Some(Procedure::Cut) => {
                let asked: Cut = decode_args(args).expect("CUT");
                put_reply(&mut w, &Ok(KnownEpoch { epoch: asked.epoch }));
            }
            Some(Procedure::Fence | Procedure::Prove | Procedure::Drop) => {
                let asked: AtEpoch = decode_args(args).expect("FENCE or DROP");
                put_reply(&mut w, &Ok(KnownEpoch { epoch: asked.epoch }));
            }
            _ => put_reply::<Nothing>(&mut w, &Err(Refusal::Busy)),
        }
        w
    }
}

impl Service for Empty {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let mut reply = accepted_success(call.header.xid);
        if call.header.program == PROGRAM {
            reply.append(self.control(call.header.procedure, call.args.rest(), connection.id()));
        }
        Box::pin(std::future::ready(Answer::Reply(reply)))
    }

    fn closed(&self, connection: u64) {
        self.gates.lock().remove(&connection);
    }
}

/// A data server that only registers and sends one heartbeat, for as long as the value is kept.
pub(crate) async fn data_server(rig: &Rig) -> Server {
    data_server_holding(rig, Holds::default()).await
}

/// The same, with the sizes that it reports.
pub(crate) async fn data_server_holding(rig: &Rig, holds: Holds) -> Server {
    let listening = listen(rig, holds, UUID).await;
    register(rig).await;
    listening
}

/// A data server with this directory, which has not registered, at the same address as the others
/// here.
pub(crate) async fn listen(rig: &Rig, holds: Holds, uuid: [u8; 16]) -> Server {
    let at = SocketAddr::from(([192, 0, 2, 9], 2049));
    let (net, clock) = (rig.env.net.clone(), rig.env.clock.clone());
    let empty = Empty { holds, uuid, entropy: rig.env.entropy.clone(), gates: Mutex::default() };
    serve(net, clock, at, Arc::new(empty), Limits::default()).await.expect("a port")
}

/// Registers it, and sends one heartbeat.
pub(crate) async fn register(rig: &Rig) {
    let hello = greeting(key(), PROGRAM, (NodeKind::Data, NodeKind::Metadata), rig.env.entropy.clone());
    let to = rig.server.as_ref().expect("it runs").control_address();
    let (net, clock) = (rig.env.net.clone(), rig.env.clock.clone());
    let rpc = RpcClient::new(net, clock, to, Limits::default()).with_hello(hello);
    let register = Register {
        uuid: UUID,
        instance: 1,
        addresses: vec!["192.0.2.9.8.1".to_owned()],
        control: "192.0.2.9:2049".to_owned(),
        capacity_bytes: 1 << 40,
        used_bytes: 0,
        zone: String::new(),
        rack: String::new(),
        host: String::new(),
        name: String::new(),
        found: JournalEnd::default(),
        is_loss_accepted: false,
    };
    let usage = Usage { capacity_bytes: 1 << 40, ..Usage::default() };
    for _ in 0..600 {
        // A new leader waits for leases that another may have granted.
        if let Ok(Registered { server, lease_ms: 1.., .. }) = ask(&rpc, Procedure::Register, &register).await
        {
            let beat = Heartbeat {
                server,
                uuid: UUID,
                usage,
                directory: 0,
                instance: 1,
                failure: String::new(),
                durable: JournalEnd::default(),
                keys: 0,
            };
            if ask::<Renewed>(&rpc, Procedure::Heartbeat, &beat).await.is_ok() {
                return;
            }
        }
        rig.env.clock.sleep_ms(50).await;
    }
    panic!("it gets no lease");
}

async fn ask<R: Decode>(rpc: &RpcClient, procedure: Procedure, args: &impl Encode) -> Result<R, Refusal> {
    let mut w = Writer::new();
    args.encode(&mut w);
    let reply = rpc.call(PROGRAM, VERSION, procedure.number(), &Credential::None, w, 10_000).await;
    decode_reply(reply.expect("an answer").rest()).expect("a reply")
}

fn name(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Opens a file through an export, for reading and writing, and creates it if needed.
pub(crate) async fn open_through(
    client: &mut Client,
    export: &'static str,
    file: &'static str,
) -> (Filehandle, Stateid) {
    open_for(client, export, file, share::ACCESS_BOTH).await
}

/// The same, with `share_access`.
pub(crate) async fn open_for(
    client: &mut Client,
    export: &'static str,
    file: &'static str,
    share_access: u32,
) -> (Filehandle, Stateid) {
    let attributes = Fattr4::from_values(&AttrValues { mode: Some(0o666), ..AttrValues::default() });
    let args = open::Args {
        seqid: 0,
        share_access,
        share_deny: share::DENY_NONE,
        owner: StateOwner { clientid: client.clientid, owner: name("owner") },
        how: OpenHow::Create(CreateHow::Unchecked(attributes)),
        claim: Claim::Null(name(file)),
    };
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            c.op(Op::Lookup, &lookup::Args { name: name(export) });
            c.op(Op::Open, &args);
            c.op(Op::Getfh, &getfh::Args);
        })
        .await
        .ok(4);
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    let _: lookup::ResOk = reply.next(Op::Lookup);
    let opened: open::ResOk = reply.next(Op::Open);
    let at: getfh::ResOk = reply.next(Op::Getfh);
    (at.filehandle, Stateid { seqid: 0, ..opened.stateid })
}

/// Gets a layout of one extent.
pub(crate) async fn layout_of(
    client: &mut Client,
    (handle, stateid): &(Filehandle, Stateid),
    index: u64,
    iomode: Iomode,
) -> Stateid {
    let got = ask_for_layout(client, (handle, stateid), index, iomode).await;
    got.expect("LAYOUTGET")
}

/// The same, or the status of its refusal.
pub(crate) async fn ask_for_layout(
    client: &mut Client,
    (handle, stateid): (&Filehandle, &Stateid),
    index: u64,
    iomode: Iomode,
) -> Result<Stateid, Nfsstat4> {
    let asked = |args: &mut layoutget::Args| (args.iomode, args.offset) = (iomode, index * EXTENT_BYTES);
    layout_get(client, (handle, stateid), asked).await.map(|got| got.stateid)
}

/// LAYOUTGET of the first extent for writing, as modified by `change`.
pub(crate) async fn layout_get(
    client: &mut Client,
    (handle, stateid): (&Filehandle, &Stateid),
    change: impl FnOnce(&mut layoutget::Args),
) -> Result<layoutget::ResOk, Nfsstat4> {
    let mut args = layoutget::Args {
        signal_layout_avail: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::ReadWrite,
        offset: 0,
        length: LENGTH_TO_END,
        min_length: 4096,
        stateid: *stateid,
        maxcount: 4096,
    };
    change(&mut args);
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: handle.clone() });
            c.op(Op::Layoutget, &args);
        })
        .await;
    if reply.status != Nfsstat4::Ok {
        return Err(reply.status);
    }
    let _: putfh::ResOk = reply.next(Op::Putfh);
    Ok(reply.next(Op::Layoutget))
}

/// Returns the whole layout of a file; returns the flags of SEQUENCE, and the status.
pub(crate) async fn give_back(
    client: &mut Client,
    filehandle: &Filehandle,
    stateid: Stateid,
) -> (u32, Nfsstat4) {
    let file = ReturnFile { offset: 0, length: LENGTH_TO_END, stateid, body: Bytes::from_static(&[0; 8]) };
    let args = layoutreturn::Args {
        reclaim: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::Any,
        scope: ReturnScope::File(file),
    };
    client.sequence += 1;
    let (flags, reply) = client
        .flagged(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: filehandle.clone() });
            c.op(Op::Layoutreturn, &args);
        })
        .await;
    (flags, reply.status)
}
