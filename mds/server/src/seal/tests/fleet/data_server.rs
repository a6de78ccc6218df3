//! The data servers of a [`super::Fleet`]: the calls they get, and their replies.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, Service};
use layout::ec::{Draft, Group, ImageRef, ImageSum};
use parking_lot::Mutex;
use wire_nfs::control::copies::CopySet;
use wire_nfs::control::extent::{AtEpoch, Cut, ExtentName, ExtentSize, KnownEpoch, SizeOf, Sizes};
use wire_nfs::control::groups::{EncodeGroup, EncodedGroup, GroupSlot};
use wire_nfs::control::heartbeat::{Stat, Usage};
use wire_nfs::control::images::{Adopt, HadImages, HaveImages};
use wire_nfs::control::{
    ClusterKey, ControlGate, NodeKind, Nothing, PROGRAM, Procedure, Refusal, decode_args, put_reply,
};
use wire_rpc::accepted_success;
use wire_xdr::Writer;

use super::KEY;
use super::uuid;

/// Calls to the data servers, and their settings.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) encoded: usize,
    pub(super) last_parity: [u8; 16],
    pub(super) rebuilt: Vec<(u32, u32)>,
    pub(super) adopted: Vec<(u32, Adopt)>,
    pub(super) fails: bool,
    /// The ENCODE of this number, and those after it, fail.
    pub(super) encoding_fails_from: Option<usize>,
    /// Calls about extents: FENCE, DROP and KEEP.
    pub(super) told: Vec<(u32, Procedure, ExtentName, u64)>,
    /// These servers refuse DROP as busy.
    pub(super) busy: BTreeSet<u32>,
    pub(super) silent: BTreeSet<u32>,
    /// These cannot read what they are to serve.
    pub(super) unreadable: BTreeSet<u32>,
    /// Version of the handle keys that a data server reports, if not the first.
    pub(super) keys: BTreeMap<u32, u64>,
    /// Number of queries for its images, by server.
    pub(super) counted: BTreeMap<u32, usize>,
    /// Images that a data server lost, and whether it cannot report.
    pub(super) lost: BTreeMap<u32, (BTreeSet<[u8; 16]>, bool)>,
    /// Reported usage of some servers.
    pub(super) usage: BTreeMap<u32, Usage>,
    /// Reported size of each extent.
    pub(super) held_bytes: u32,
    /// No server reports any sizes.
    pub(super) sizes_unknown: bool,
    /// Extents below this index are reported as empty.
    pub(super) held_from: u32,
}

/// A data server that holds nothing.
pub(super) struct DataServer {
    pub(super) id: u32,
    pub(super) asked: Arc<Mutex<Asked>>,
    pub(super) gates: Mutex<HashMap<u64, ControlGate>>,
}

impl Service for DataServer {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        if call.header.program == wire_nfs::v3::PROGRAM {
            // The probe: whether clients get an answer.
            return Box::pin(std::future::ready(Answer::Reply(accepted_success(call.header.xid))));
        }
        let args = call.args.rest();
        let mut gates = self.gates.lock();
        let nonce = [9; 32];
        let gate = gates
            .entry(connection.id())
            .or_insert_with(|| ControlGate::new(ClusterKey::new(KEY), PROGRAM, NodeKind::Data, nonce));
        let body = match gate.handshake(call.header.procedure, args.clone()) {
            Some(body) => body.unwrap(),
            None => self.answer(Procedure::from_number(call.header.procedure).unwrap(), args),
        };
        let mut reply = accepted_success(call.header.xid);
        reply.append(body);
        Box::pin(std::future::ready(Answer::Reply(reply)))
    }

    fn closed(&self, _: u64) {}
}

/// Puts a data server into a set, or takes it out.
pub(super) fn toggle(set: &mut BTreeSet<u32>, id: u32, is_in: bool) {
    if is_in {
        set.insert(id);
    } else {
        set.remove(&id);
    }
}

impl Asked {
    /// Why a server refuses to drop an extent, or to prove that it has one; `None` if it does not.
    fn refusal(&self, procedure: Procedure, server: u32) -> Option<Refusal> {
        match procedure {
            Procedure::Drop if self.busy.contains(&server) => Some(Refusal::Busy),
            Procedure::Prove if self.unreadable.contains(&server) => Some(Refusal::Io),
            _ => None,
        }
    }
}

impl DataServer {
    fn answer(&self, procedure: Procedure, args: Bytes) -> Writer {
        let mut w = Writer::new();
        let mut asked = self.asked.lock();
        match procedure {
            Procedure::Encode => {
                let ask: EncodeGroup = decode_args(args).unwrap();
                let draft = Draft::decode(&ask.draft).unwrap();
                assert_eq!(ask.parity[0], self.id, "the first parity server makes it");
                put_reply(&mut w, &encoded(&mut asked, draft));
            }
            Procedure::Rebuild => {
                let ask: GroupSlot = decode_args(args).unwrap();
                let group = Group::decode(&ask.record).unwrap();
                let (image, _) = group.shape().image(ask.slot as usize).unwrap();
                asked.rebuilt.push((self.id, ask.slot));
                asked.lost.entry(self.id).or_default().0.remove(&image.0);
                put_reply(&mut w, &Ok(Nothing));
            }
            Procedure::Adopt => {
                let ask: Adopt = decode_args(args).unwrap();
                ImageRef::decode(&ask.image).unwrap();
                let reply =
                    if asked.fails { Err(Refusal::Busy) } else { Ok(KnownEpoch { epoch: ask.epoch }) };
                asked.adopted.push((self.id, ask));
                put_reply(&mut w, &reply);
            }
            Procedure::Fence | Procedure::Prove | Procedure::Drop => {
                let ask: AtEpoch = decode_args(args).unwrap();
                asked.told.push((self.id, procedure, ask.extent, ask.epoch));
                let refused = asked.refusal(procedure, self.id);
                let reply = refused.map_or(Ok(KnownEpoch { epoch: ask.epoch }), Err);
                put_reply(&mut w, &reply);
            }
            Procedure::Cut => {
                let ask: Cut = decode_args(args).unwrap();
                asked.told.push((self.id, procedure, ask.extent, ask.epoch));
                put_reply(&mut w, &Ok(KnownEpoch { epoch: ask.epoch }));
            }
            Procedure::Keep => {
                let ask: CopySet = decode_args(args).unwrap();
                asked.told.push((self.id, procedure, ask.extent, ask.epoch));
                put_reply(&mut w, &Ok(Nothing));
            }
            Procedure::Have => {
                let ask: HaveImages = decode_args(args).unwrap();
                assert_eq!(ask.server, self.id);
                *asked.counted.entry(self.id).or_default() += 1;
                let (lost, cannot_tell) = asked.lost.get(&self.id).cloned().unwrap_or_default();
                let have = ask.images.iter().map(|one| !lost.contains(&one.image)).collect();
                let reply = if cannot_tell { Err(Refusal::Busy) } else { Ok(HadImages { have }) };
                put_reply(&mut w, &reply);
            }
            Procedure::Stat => {
                put_reply(&mut w, &Ok(Stat { uuid: uuid(self.id), instance: 1, usage: Usage::default() }));
            }
            Procedure::Size => {
                let ask: SizeOf = decode_args(args).unwrap();
                let size = |extent: &ExtentName| {
                    let held_bytes = if extent.index < asked.held_from { 0 } else { asked.held_bytes };
                    ExtentSize { end_bytes: held_bytes, held_bytes, epoch: 1, mtime_unix_ns: 0, change: 1 }
                };
                let sizes = Sizes { sizes: ask.extents.iter().map(size).collect() };
                put_reply(&mut w, &if asked.sizes_unknown { Err(Refusal::Busy) } else { Ok(sizes) });
            }
            _ => put_reply::<Nothing>(&mut w, &Err(Refusal::Busy)),
        }
        w
    }
}

fn encoded(asked: &mut Asked, draft: Draft) -> Result<EncodedGroup, Refusal> {
    asked.encoded += 1;
    asked.last_parity = draft.parity[0].0;
    let sums = vec![ImageSum([1; 32]); draft.parity.len()];
    let shape = Bytes::from(draft.shape(&sums).unwrap().encode());
    let fails = asked.fails || asked.encoding_fails_from.is_some_and(|from| from <= asked.encoded);
    if fails { Err(Refusal::NoImage) } else { Ok(EncodedGroup { shape }) }
}
