//! The control port: what metadata servers tell and ask this data server, what homes tell it as
//! their backup, and what others want of its images.
//!
//! INVARIANT: nothing but NULL, HELLO and AUTH is answered, or decoded, on a connection whose other
//! end has not proved what it is; and nothing that such a node may not call
//! (`wire_nfs::control::roles`).
//! Spec: docs/protocol/control.md; docs/protocol/replicate.md; docs/protocol/seal.md.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ds_store::ChangeError;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, Service};
use layout::Epoch;
use parking_lot::Mutex;
use wire_nfs::control::copies::CopySet;
use wire_nfs::control::extent::{AtEpoch, Cut, ExtentName, ExtentSize, KnownEpoch, SizeOf, Sizes};
use wire_nfs::control::groups::{EncodeGroup, GroupSlot};
use wire_nfs::control::heartbeat::Stat;
use wire_nfs::control::images::{Adopt, EndImage, HaveImages, PutImage, ReadImage};
use wire_nfs::control::replicate::{Attach, Flush, ReadData, Replicate, SayAgain};
use wire_nfs::control::{
    ControlGate, Keyring, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_args, put_reply,
};
use wire_rpc::{accepted_success, garbage_args, proc_unavail, prog_mismatch, prog_unavail};
use wire_xdr::{Decode, Encode, Writer, XdrError};

use crate::core::{Core, Judgement};
use crate::extent_name::id_of;
use crate::images::{encode, have, rebuild, serve};
use crate::limits::CUT_SETTLE_MS_MAX;
use crate::{adopt, copies, replica};

/// Answers on the control port.
pub(crate) struct ControlService {
    core: Arc<Core>,
    keys: Keyring,
    /// One for each connection that has said something; the port bounds them.
    gates: Mutex<HashMap<u64, ControlGate>>,
}

impl ControlService {
    pub(crate) fn new(core: Arc<Core>, keys: Keyring) -> Self {
        Self { core, keys, gates: Mutex::default() }
    }

    /// Answers the handshake, or says who is calling.
    fn admit(&self, procedure: u32, args: &Bytes, connection: &Connection) -> Admission {
        let mut gates = self.gates.lock();
        let gate = gates.entry(connection.id()).or_insert_with(|| {
            let mut nonce = [0; 32];
            self.core.env.entropy.fill(&mut nonce);
            ControlGate::new(&self.keys, PROGRAM, NodeKind::Data, nonce)
        });
        if gate.is_shut() {
            return Admission::Close;
        }
        match gate.handshake(procedure, args.clone()) {
            Some(reply) => {
                if gate.peer().is_ok() {
                    connection.prove();
                }
                Admission::Handshake(reply)
            }
            None => match (gate.peer(), Procedure::from_number(procedure)) {
                (Err(refusal), _) => Admission::Refuse(refusal),
                (Ok(_), None) => Admission::Unknown,
                (Ok(_), Some(procedure)) => match gate.admit(procedure) {
                    Ok(_) => Admission::Call(procedure),
                    Err(refusal) => Admission::Refuse(refusal),
                },
            },
        }
    }
}

enum Admission {
    Handshake(Result<Writer, XdrError>),
    Call(Procedure),
    Refuse(Refusal),
    Unknown,
    Close,
}

impl Service for ControlService {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let (header, args) = (call.header, call.args.rest());
        let ready = |answer| -> BoxFuture<'static, Answer> { Box::pin(std::future::ready(answer)) };
        if header.program != PROGRAM {
            return ready(Answer::Reply(prog_unavail(header.xid)));
        }
        if header.version != VERSION {
            return ready(Answer::Reply(prog_mismatch(header.xid, VERSION, VERSION)));
        }
        let procedure = match self.admit(header.procedure, &args, connection) {
            Admission::Handshake(body) => return ready(Answer::Reply(framed(header.xid, body))),
            Admission::Refuse(refusal) => return ready(Answer::Reply(framed(header.xid, refused(refusal)))),
            Admission::Unknown => return ready(Answer::Reply(proc_unavail(header.xid))),
            Admission::Close => return ready(Answer::CloseConnection),
            Admission::Call(procedure) => procedure,
        };
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            let body = carry_out(&core, procedure, args).await;
            Answer::Reply(body.map_or_else(|| proc_unavail(header.xid), |body| framed(header.xid, body)))
        })
    }

    fn closed(&self, connection_id: u64) {
        self.gates.lock().remove(&connection_id);
    }
}

fn framed(xid: u32, body: Result<Writer, XdrError>) -> Writer {
    let Ok(body) = body else { return garbage_args(xid) };
    let mut w = accepted_success(xid);
    w.append(body);
    w
}

fn refused(refusal: Refusal) -> Result<Writer, XdrError> {
    let mut w = Writer::new();
    put_reply::<Nothing>(&mut w, &Err(refusal));
    Ok(w)
}

/// Runs a procedure that the caller may call; `None` if it is not one that a data server has.
async fn carry_out(core: &Arc<Core>, procedure: Procedure, args: Bytes) -> Option<Result<Writer, XdrError>> {
    if procedure.link() == Some((NodeKind::Data, NodeKind::Data)) {
        return by_a_neighbour(core, procedure, args).await;
    }
    Some(match procedure {
        Procedure::Fence => {
            respond(args, async |ask: AtEpoch| {
                known(core, core.store.fence(id_of(ask.extent), Epoch(ask.epoch)).await)
            })
            .await
        }
        Procedure::Cut => respond(args, async |ask: Cut| cut(core, &ask).await).await,
        Procedure::Prove => respond(args, async |ask: AtEpoch| prove(core, &ask).await).await,
        Procedure::Drop => {
            respond(args, async |ask: AtEpoch| {
                let dropped = known(core, core.store.drop_extent(id_of(ask.extent), Epoch(ask.epoch)).await)?;
                let server = core.server().map(|own| own.0);
                tracing::debug!(server, extent = %id_of(ask.extent), asked = ask.epoch, known = dropped.epoch, "dropped");
                // One from an earlier stay changed nothing: we may be home again, and owe backups
                // what was written since.
                if dropped.epoch == ask.epoch {
                    core.copies.forget(id_of(ask.extent));
                }
                Ok(dropped)
            })
            .await
        }
        Procedure::Keep => {
            respond(args, async |set: CopySet| {
                home_here(core, &set)?;
                copies::keep(core, &set);
                Ok(Nothing)
            })
            .await
        }
        Procedure::Encode => respond(args, async |ask: EncodeGroup| encode::run(core, ask).await).await,
        Procedure::Rebuild => respond(args, async |ask: GroupSlot| rebuild::run(core, ask).await).await,
        Procedure::Adopt => respond(args, async |ask: Adopt| adopt::run(core, &ask).await).await,
        Procedure::Have => respond(args, async |ask: HaveImages| have::run(core, ask).await).await,
        Procedure::Size => respond(args, async |ask: SizeOf| Ok(sizes(core, &ask))).await,
        Procedure::Stat => respond(args, async |_: Nothing| Ok(stat(core))).await,
        _ => return None,
    })
}

/// What another data server asks, of us as its backup or of our images.
async fn by_a_neighbour(
    core: &Arc<Core>,
    procedure: Procedure,
    args: Bytes,
) -> Option<Result<Writer, XdrError>> {
    // A replica that lacks something, or may, must not count as one that has it, nor give it to
    // others.
    let is_of_journal =
        !matches!(procedure, Procedure::ReadImage | Procedure::PutImage | Procedure::EndImage);
    match core.judgement() {
        Judgement::Unknown if is_of_journal => return Some(refused(Refusal::Busy)),
        Judgement::Behind if is_of_journal => return Some(refused(Refusal::Io)),
        Judgement::Complete | Judgement::Unknown | Judgement::Behind => {}
    }
    Some(match procedure {
        Procedure::Attach => respond(args, async |ask: Attach| replica::attach(core, ask).await).await,
        Procedure::Replicate => {
            respond(args, async |record: Replicate| replica::replicate(core, record).await).await
        }
        Procedure::Flush => respond(args, async |ask: Flush| replica::flush(core, ask).await).await,
        Procedure::ReadData => respond(args, async |ask: ReadData| replica::read_data(core, ask).await).await,
        Procedure::SayAgain => respond(args, async |ask: SayAgain| replica::say_again(core, ask).await).await,
        Procedure::ReadImage => respond(args, async |ask: ReadImage| serve::read(core, ask).await).await,
        Procedure::PutImage => respond(args, async |ask: PutImage| serve::put(core, ask).await).await,
        Procedure::EndImage => respond(args, async |ask: EndImage| serve::end(core, ask).await).await,
        _ => return None,
    })
}

async fn respond<A: Decode, R: Encode>(
    args: Bytes,
    run: impl AsyncFnOnce(A) -> Result<R, Refusal>,
) -> Result<Writer, XdrError> {
    let reply = run(decode_args(args)?).await;
    let mut w = Writer::new();
    put_reply(&mut w, &reply);
    Ok(w)
}

/// A CUT is done when the backups have done it.
async fn cut(core: &Arc<Core>, ask: &Cut) -> Result<KnownEpoch, Refusal> {
    let extent = id_of(ask.extent);
    let kept = match &ask.copies {
        Some(set) => {
            home_here(core, set)?;
            copies::keep(core, set)
        }
        None => None,
    };
    if let Some(kept) = &kept {
        kept.opened(core).await.map_err(|_| Refusal::Busy)?;
    }
    let (own, keep_bytes) = (Arc::clone(core), ask.keep_bytes);
    // Backups cut while the journal takes it here. Only now: one that joined before must get the
    // record.
    let send = move |sequence| {
        if let Some(kept) = own.copies.find(extent) {
            kept.send_cut(&own, sequence, keep_bytes);
        }
    };
    let done = known(core, core.store.cut_beside(extent, Epoch(ask.epoch), keep_bytes, send).await)?;
    if let Some(kept) = core.copies.find(extent) {
        let upto = core.store.sequence(extent);
        kept.settle(core, upto, CUT_SETTLE_MS_MAX).await.map_err(|_| Refusal::Busy)?;
    }
    Ok(done)
}

/// Nobody forgets what we are to serve before we have shown that it is here and that the disk gives
/// it: a disk that refuses reads would be met by a client's READ only, when there is no other copy
/// any more. The start of an extent's data stands for the rest: a failover must not wait for all of
/// them to be read.
async fn prove(core: &Core, ask: &AtEpoch) -> Result<KnownEpoch, Refusal> {
    match core.judgement() {
        Judgement::Unknown => return Err(Refusal::Busy),
        Judgement::Behind => return Err(Refusal::Io),
        Judgement::Complete if core.has_failed() => return Err(Refusal::Io),
        Judgement::Complete => {}
    }
    let extent = id_of(ask.extent);
    // First: what the home before may still say while this is read is refused.
    let proved = known(core, core.store.fence(extent, Epoch(ask.epoch)).await)?;
    let checked = core.store.check(extent, 0).await;
    if checked.bad.is_empty() { Ok(proved) } else { Err(Refusal::Io) }
}

fn home_here(core: &Core, set: &CopySet) -> Result<(), Refusal> {
    if core.server().is_some_and(|own| own.0 == set.home) { Ok(()) } else { Err(Refusal::NotHome) }
}

fn known(core: &Core, outcome: Result<Epoch, ChangeError>) -> Result<KnownEpoch, Refusal> {
    outcome.map(|epoch| KnownEpoch { epoch: epoch.0 }).map_err(|error| {
        core.note(&error);
        match error {
            ChangeError::Range | ChangeError::Stale { .. } => Refusal::Invalid,
            ChangeError::Busy | ChangeError::NoSpace | ChangeError::Closed => Refusal::Busy,
            ChangeError::Failed(_) => Refusal::Io,
        }
    })
}

fn sizes(core: &Core, ask: &SizeOf) -> Sizes {
    let size_of = |name: &ExtentName| {
        let size = core.store.size(id_of(*name));
        ExtentSize {
            end_bytes: size.end_bytes,
            held_bytes: size.held_bytes,
            epoch: size.epoch.0,
            mtime_unix_ns: match size.mtime_unix_ns {
                // Written before the start, at a time that is not kept: no later than that, at
                // least.
                0 if size.change != 0 => core.started_unix_ns,
                known => known,
            },
            change: size.change,
        }
    };
    Sizes { sizes: ask.extents.iter().map(size_of).collect() }
}

fn stat(core: &Core) -> Stat {
    Stat { uuid: core.store.uuid(), instance: core.store.instance(), usage: core.usage() }
}
