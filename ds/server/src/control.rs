//! The control port: what metadata servers tell and ask this data server, what primaries tell it as
//! their replica, and what other data servers want of its images.
//!
//! INVARIANT: on a connection whose other end has not proved what it is, only NULL, HELLO and AUTH
//! are answered, or decoded; and nothing that such a node may not call
//! (`wire_nfs::control::roles`).
//! Spec: docs/protocol/control.md; docs/protocol/replicate.md; docs/protocol/seal.md.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ds_store::{ChangeError, Store};
use env::{BoxFuture, Entropy};
use env_transport::{Answer, Call, Connection, Service};
use layout::Epoch;
use parking_lot::Mutex;
use wire_nfs::control::copies::CopySet;
use wire_nfs::control::extent::{AtEpoch, Cut, ExtentName, ExtentSize, KnownEpoch, SizeOf, Sizes};
use wire_nfs::control::heartbeat::Stat;
use wire_nfs::control::images::{Adopt, HadImages, HaveImages};
use wire_nfs::control::{
    ControlGate, Keyring, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_args, put_reply,
};
use wire_rpc::{accepted_success, garbage_args, proc_unavail, prog_mismatch, prog_unavail};
use wire_xdr::{Decode, Encode, Writer, XdrError};

use crate::adopt::adopt_extent;
use crate::copies::Replication;
use crate::directory::Directory;
use crate::images::have::check_presence;
use crate::images::serve::ImageService;
use crate::images::work::ImageWork;
use crate::judgement::{Judgement, StoreJudgement};
use crate::lease::Serving;
use crate::limits::CUT_SETTLE_MS_MAX;
use crate::link::extent_id;
use crate::replica::Replica;
use crate::seal::known::Shown;
use crate::usage::UsageReport;

/// Answers on the control port.
pub(crate) struct ControlService {
    calls: Arc<ControlCalls>,
    entropy: Arc<dyn Entropy>,
    keys: Keyring,
    /// One for each connection on which a call came; the port bounds them.
    gates: Mutex<HashMap<u64, ControlGate>>,
}

/// What the calls of other nodes work on.
pub(crate) struct ControlCalls {
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) judgement: Arc<StoreJudgement>,
    pub(crate) replication: Arc<Replication>,
    pub(crate) replica: Replica,
    pub(crate) work: Arc<ImageWork>,
    pub(crate) images: ImageService,
    pub(crate) shown: Arc<Shown>,
    pub(crate) usage: Arc<UsageReport>,
    /// Wall clock of the start, nanoseconds since 1970.
    pub(crate) started_unix_ns: u64,
}

impl ControlService {
    pub(crate) fn new(calls: ControlCalls, entropy: Arc<dyn Entropy>, keys: Keyring) -> Self {
        Self { calls: Arc::new(calls), entropy, keys, gates: Mutex::default() }
    }

    /// Answers the handshake, or says what may be called.
    fn admit_call(&self, procedure: u32, args: &Bytes, connection: &Connection) -> Admission {
        let mut gates = self.gates.lock();
        let gate = gates.entry(connection.id()).or_insert_with(|| {
            let mut nonce = [0; 32];
            self.entropy.fill(&mut nonce);
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
                    Ok(_) => {
                        assert!(gate.peer().is_ok(), "only a node that has proved itself calls");
                        Admission::Call(procedure)
                    }
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
        let procedure = match self.admit_call(header.procedure, &args, connection) {
            Admission::Handshake(body) => return ready(Answer::Reply(framed(header.xid, body))),
            Admission::Refuse(refusal) => return ready(Answer::Reply(framed(header.xid, refused(refusal)))),
            Admission::Unknown => return ready(Answer::Reply(proc_unavail(header.xid))),
            Admission::Close => return ready(Answer::CloseConnection),
            Admission::Call(procedure) => procedure,
        };
        let calls = Arc::clone(&self.calls);
        Box::pin(async move {
            let body = calls.carry_out(procedure, args).await;
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

/// Decodes arguments, carries a call out, and encodes its result.
async fn respond<A: Decode, R: Encode>(
    args: Bytes,
    act: impl AsyncFnOnce(A) -> Result<R, Refusal>,
) -> Result<Writer, XdrError> {
    let reply = act(decode_args(args)?).await;
    let mut w = Writer::new();
    put_reply(&mut w, &reply);
    Ok(w)
}

impl ControlCalls {
    /// Carries out a procedure that the caller may call; `None` if it is not one that a data server
    /// has.
    async fn carry_out(&self, procedure: Procedure, args: Bytes) -> Option<Result<Writer, XdrError>> {
        if procedure.link() == Some((NodeKind::Data, NodeKind::Data)) {
            return self.carry_out_for_neighbour(procedure, args).await;
        }
        Some(match procedure {
            Procedure::Fence => {
                respond(args, async |ask: AtEpoch| {
                    self.epoch_of(self.store.fence(extent_id(ask.extent), Epoch(ask.epoch)).await)
                })
                .await
            }
            Procedure::Cut => respond(args, async |ask| self.cut_extent(&ask).await).await,
            Procedure::Prove => respond(args, async |ask| self.prove_extent(&ask).await).await,
            Procedure::Drop => respond(args, async |ask| self.drop_extent(&ask).await).await,
            Procedure::Keep => {
                respond(args, async |set: CopySet| {
                    self.check_primary(&set)?;
                    self.replication.adopt_set(&set);
                    Ok(Nothing)
                })
                .await
            }
            Procedure::Encode => respond(args, async |ask| self.work.encode_group(ask).await).await,
            Procedure::Rebuild => respond(args, async |ask| self.work.rebuild_slot(ask).await).await,
            Procedure::Adopt => respond(args, async |ask| self.adopt(&ask).await).await,
            Procedure::Have => respond(args, async |ask| self.check_images(&ask).await).await,
            Procedure::Size => respond(args, async |ask: SizeOf| Ok(self.sizes(&ask))).await,
            Procedure::Stat => respond(args, async |_: Nothing| Ok(self.stat())).await,
            _ => return None,
        })
    }

    /// Carries out what another data server asks, of this one as its replica or of the images here.
    async fn carry_out_for_neighbour(
        &self,
        procedure: Procedure,
        args: Bytes,
    ) -> Option<Result<Writer, XdrError>> {
        // A replica that lacks something, or may, must not count as one that has it, nor give it to
        // others.
        let is_of_journal =
            !matches!(procedure, Procedure::ReadImage | Procedure::PutImage | Procedure::EndImage);
        match self.judgement.current() {
            Judgement::Unknown if is_of_journal => return Some(refused(Refusal::Busy)),
            Judgement::Behind if is_of_journal => return Some(refused(Refusal::Io)),
            Judgement::Complete | Judgement::Unknown | Judgement::Behind => {}
        }
        let (replica, images) = (&self.replica, &self.images);
        Some(match procedure {
            Procedure::Attach => respond(args, async |ask| replica.attach_extent(ask).await).await,
            Procedure::Replicate => respond(args, async |record| replica.take_record(record).await).await,
            Procedure::Flush => respond(args, async |ask| replica.flush_records(ask).await).await,
            Procedure::ReadData => respond(args, async |ask| replica.read_data(ask).await).await,
            Procedure::SayAgain => respond(args, async |ask| replica.resend_all(ask).await).await,
            Procedure::ReadImage => respond(args, async |ask| images.read_image(ask).await).await,
            Procedure::PutImage => respond(args, async |ask| images.put_image(ask).await).await,
            Procedure::EndImage => respond(args, async |ask| images.end_image(ask).await).await,
            _ => return None,
        })
    }

    /// DROP: forgets an extent.
    async fn drop_extent(&self, ask: &AtEpoch) -> Result<KnownEpoch, Refusal> {
        let extent = extent_id(ask.extent);
        let dropped = self.epoch_of(self.store.drop_extent(extent, Epoch(ask.epoch)).await)?;
        assert!(ask.epoch <= dropped.epoch, "a DROP raises the epoch to its own, at least");
        let server = self.directory.own().map(|own| own.0);
        tracing::debug!(server, %extent, asked = ask.epoch, known = dropped.epoch, "dropped");
        // A DROP from an earlier stay changed nothing: this server may be primary again, and owe
        // replicas what was written since.
        if dropped.epoch == ask.epoch {
            self.replication.table.forget(extent);
        }
        Ok(dropped)
    }

    /// CUT: shortens an extent. It is done when the replicas have done it.
    async fn cut_extent(&self, ask: &Cut) -> Result<KnownEpoch, Refusal> {
        let (extent, replication) = (extent_id(ask.extent), &self.replication);
        let kept = match &ask.copies {
            Some(set) => {
                self.check_primary(set)?;
                replication.adopt_set(set)
            }
            None => None,
        };
        if let Some(kept) = &kept {
            kept.wait_for_open(replication).await.map_err(|_| Refusal::Busy)?;
        }
        let (sender, keep_bytes) = (Arc::clone(replication), ask.keep_bytes);
        // Replicas cut while the journal takes the CUT here. Only now: a replica that joined before
        // must get the record.
        let send = move |sequence| {
            if let Some(kept) = sender.table.find(extent) {
                kept.send_cut(&sender, sequence, keep_bytes);
            }
        };
        let done = self.epoch_of(self.store.cut_beside(extent, Epoch(ask.epoch), keep_bytes, send).await)?;
        if let Some(kept) = replication.table.find(extent) {
            let upto = self.store.sequence(extent);
            kept.settle(replication, upto, CUT_SETTLE_MS_MAX).await.map_err(|_| Refusal::Busy)?;
        }
        Ok(done)
    }

    /// PROVE: shows that an extent which this server is to serve is here and that the disk gives
    /// it, before any other server forgets it: else a client's READ would be the first to meet a
    /// disk that refuses reads, when there is no other copy any more. The start of an extent's data
    /// stands for the rest: a failover must not wait for all of them to be read.
    async fn prove_extent(&self, ask: &AtEpoch) -> Result<KnownEpoch, Refusal> {
        match self.judgement.current() {
            Judgement::Unknown => return Err(Refusal::Busy),
            Judgement::Behind => return Err(Refusal::Io),
            Judgement::Complete if self.serving.has_failed() => return Err(Refusal::Io),
            Judgement::Complete => {}
        }
        let extent = extent_id(ask.extent);
        // First: what the former primary may still say while this is read is refused.
        let proved = self.epoch_of(self.store.fence(extent, Epoch(ask.epoch)).await)?;
        let checked = self.store.check(extent, 0).await;
        if checked.bad.is_empty() { Ok(proved) } else { Err(Refusal::Io) }
    }

    async fn adopt(&self, ask: &Adopt) -> Result<KnownEpoch, Refusal> {
        let images = (self.images.shelf(), &*self.shown);
        adopt_extent(&self.store, &self.serving, &self.replication.table, images, ask).await
    }

    async fn check_images(&self, ask: &HaveImages) -> Result<HadImages, Refusal> {
        check_presence(self.images.shelf(), &self.serving, &self.directory, ask).await
    }

    fn check_primary(&self, set: &CopySet) -> Result<(), Refusal> {
        if self.directory.is_own(set.home) { Ok(()) } else { Err(Refusal::NotHome) }
    }

    fn epoch_of(&self, outcome: Result<Epoch, ChangeError>) -> Result<KnownEpoch, Refusal> {
        outcome.map(|epoch| KnownEpoch { epoch: epoch.0 }).map_err(|error| {
            self.serving.note_error(&error);
            match error {
                ChangeError::Range | ChangeError::Stale { .. } => Refusal::Invalid,
                ChangeError::Busy | ChangeError::NoSpace | ChangeError::Closed => Refusal::Busy,
                ChangeError::Failed(_) => Refusal::Io,
            }
        })
    }

    /// SIZE: how far extents reach.
    fn sizes(&self, ask: &SizeOf) -> Sizes {
        let size_of = |name: &ExtentName| {
            let size = self.store.size(extent_id(*name));
            ExtentSize {
                end_bytes: size.end_bytes,
                held_bytes: size.held_bytes,
                epoch: size.epoch.0,
                mtime_unix_ns: match size.mtime_unix_ns {
                    // Written before the start, at a time that is not kept: no later than that, at
                    // least.
                    0 if size.change != 0 => self.started_unix_ns,
                    known => known,
                },
                change: size.change,
            }
        };
        let sizes: Vec<ExtentSize> = ask.extents.iter().map(size_of).collect();
        assert_eq!(sizes.len(), ask.extents.len(), "each extent that was named has a size");
        Sizes { sizes }
    }

    fn stat(&self) -> Stat {
        Stat { uuid: self.store.uuid(), instance: self.store.instance(), usage: self.usage.gather() }
    }
}
