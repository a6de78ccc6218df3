//! The context of an operation: its request, the current and saved filehandle and stateid, and the
//! shard.
//!
//! Lives as long as one COMPOUND. Holds no lock and no snapshot between operations.
//!
//! Spec: RFC 8881 §2.6.3.1.1, §16.2.3.1.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use env_transport::Connection;
use layout::ec::Profile;
use mds_namespace::{Caller, Content, Inode};
use mds_raft::ProposeError;
use mds_state::{Command, Origin, Outcome, Refusal, StateView, StateidValue};
use wire_nfs::v4::attr::{encode_fattr4, numbers};
use wire_nfs::v4::{Bitmap, Fattr4, Filehandle, Nfsstat4, Stateid};
use wire_xdr::{Decode, Reader, Writer};

use crate::answer_room::Taken;
use crate::attr;

use crate::export::{Export, ports};
use crate::handle::{ExportId, FileHandle};
use crate::server::Server;
use crate::size::MOVED_BY_WRITES;
use crate::stateid::wire_stateid;
use crate::status;

/// A status other than OK, with its body where the protocol has one.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The status.
    pub(crate) status: Nfsstat4,
    /// Bytes after the status, where the failure arm is not void.
    pub(crate) body: Option<Writer>,
}

impl From<Nfsstat4> for Failure {
    fn from(status: Nfsstat4) -> Self {
        Self { status, body: None }
    }
}

/// Result of an operation.
pub(crate) type OpResult<T> = Result<T, Failure>;

/// The session a compound runs in, once its SEQUENCE was admitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InSession {
    /// Session id.
    pub(crate) id: [u8; 16],
    /// The client it belongs to.
    pub(crate) client: u64,
    /// Slot.
    pub(crate) slot: u32,
    /// Sequence id on the slot.
    pub(crate) sequence: u32,
    /// Fingerprint of the request.
    pub(crate) request: u64,
    /// The tenure in which this node has the session.
    pub(crate) tenure: u32,
    /// Another node may have executed the request: its recorded outcomes stand.
    pub(crate) again: bool,
}

/// One COMPOUND in execution.
pub(crate) struct Context {
    /// The server.
    pub(crate) server: Arc<Server>,
    /// The connection it arrived on.
    pub(crate) connection: Connection,
    /// Client address, and the source port of this request.
    pub(crate) peer: SocketAddr,
    /// The caller, before squashing.
    pub(crate) caller: Caller,
    /// The caller as bytes that compare equal for the same principal.
    pub(crate) principal: Vec<u8>,
    /// Minor version.
    pub(crate) minor_version: u32,
    /// Length of the request record, bytes.
    pub(crate) request_bytes: usize,
    /// The session, after SEQUENCE.
    pub(crate) session: Option<InSession>,
    /// Position of the running operation in the compound.
    pub(crate) operation: u32,
    /// Number of operations in the compound.
    pub(crate) operation_count: u32,
    /// Current filehandle.
    pub(crate) current: Option<FileHandle>,
    /// Current stateid.
    pub(crate) current_stateid: Option<StateidValue>,
    /// Saved filehandle.
    pub(crate) saved: Option<FileHandle>,
    /// Saved stateid.
    pub(crate) saved_stateid: Option<StateidValue>,
    /// SEQUENCE is answered with this status instead of the compound: the outcome of a command is
    /// unknown, or the request is not this node's (docs/protocol/sessions.md §4).
    pub(crate) disowned: OnceLock<Nfsstat4>,
    /// The running operation may be executed again: it is complete, and repeating it changes
    /// nothing (docs/protocol/sessions.md §5).
    pub(crate) may_repeat: bool,
    /// SEQUENCE was answered with DELAY.
    pub(crate) delayed: bool,
    /// Reply memory: at most one reservation for each operation.
    pub(crate) answer_room: Vec<Taken>,
}

impl Context {
    /// Resets everything that the request has set.
    pub(crate) fn rewind(&mut self) {
        self.session = None;
        (self.operation, self.operation_count, self.minor_version) = (0, 0, 0);
        (self.current, self.current_stateid, self.saved, self.saved_stateid) = (None, None, None, None);
        (self.disowned, self.may_repeat, self.delayed) = (OnceLock::new(), false, false);
        self.answer_room.clear();
    }

    /// The current filehandle.
    ///
    /// # Errors
    /// NOFILEHANDLE if none is set.
    pub(crate) fn current(&self) -> Result<FileHandle, Nfsstat4> {
        self.current.ok_or(Nfsstat4::Nofilehandle)
    }

    /// The saved filehandle.
    ///
    /// # Errors
    /// NOFILEHANDLE if none is saved.
    pub(crate) fn saved(&self) -> Result<FileHandle, Nfsstat4> {
        self.saved.ok_or(Nfsstat4::Nofilehandle)
    }

    /// Sets the current filehandle and clears the current stateid (RFC 8881 §16.2.3.1.2).
    pub(crate) fn put_current(&mut self, handle: FileHandle) {
        self.current = Some(handle);
        self.current_stateid = None;
    }

    /// The client of the session.
    ///
    /// # Errors
    /// OP_NOT_IN_SESSION outside of one.
    pub(crate) fn client(&self) -> Result<u64, Nfsstat4> {
        self.session.map(|session| session.client).ok_or(Nfsstat4::OpNotInSession)
    }

    /// The export of a handle. `None` for the pseudo tree.
    ///
    /// # Errors
    /// STALE if the export is gone, ACCESS if this client may not use it, PERM if it may not from
    /// this port: Linux servers answer the same, and `mount` then shows "Operation not permitted".
    pub(crate) fn export(&self, handle: FileHandle) -> Result<Option<Arc<Export>>, Nfsstat4> {
        if handle.export == ExportId::PSEUDO {
            return Ok(None);
        }
        let exports = self.server.exports();
        let export = exports.option(handle.export).map(Arc::clone).ok_or(Nfsstat4::Stale)?;
        if !export.admits(self.peer.ip()) {
            return Err(Nfsstat4::Access);
        }
        if !export.takes_port(self.peer.port()) {
            ports::refused(&export.path, self.peer, self.server.now_ms());
            return Err(Nfsstat4::Perm);
        }
        Ok(Some(export))
    }

    /// The erasure code of new files in the export of a handle; `None` is the cluster's.
    ///
    /// # Errors
    /// As [`Self::export`].
    pub(crate) fn code(&self, handle: FileHandle) -> Result<Option<Profile>, Nfsstat4> {
        Ok(self.export(handle)?.and_then(|export| export.code))
    }

    /// The requested attributes of an object, including the effect of writes straight to data
    /// servers.
    ///
    /// # Errors
    /// STALE, and the store's; INVAL for attributes that can only be set.
    pub(crate) async fn attributes(
        &self,
        handle: FileHandle,
        requested: &Bitmap,
    ) -> Result<Fattr4, Nfsstat4> {
        // RFC 8881 §18.7.3: write-only attributes cannot be requested.
        if !requested.intersect(&numbers::WRITE_ONLY).is_empty() {
            return Err(Nfsstat4::Inval);
        }
        let mut view = self.view()?;
        let mut inode = self.inode(&view, handle)?;
        if inode.content == Content::Extents && !requested.intersect(&MOVED_BY_WRITES).is_empty() {
            inode = self.server.derived(inode).await?;
            view = self.view()?;
        }
        tracing::debug!(ino = inode.ino, size_bytes = inode.size_bytes, change = inode.change, "attributes");
        let facts = self.server.facts(handle, &view, requested)?;
        // The handle costs a MAC: computed only if requested.
        let wire_handle = if requested.contains(numbers::FILEHANDLE) {
            self.server.wire_handle(handle)
        } else {
            Filehandle::default()
        };
        let values = attr::values(&facts, &inode, wire_handle, requested);
        let mut body = Writer::new();
        encode_fattr4(requested, &values, &mut body);
        Fattr4::decode(&mut Reader::new(body.into_bytes())).map_err(|_| Nfsstat4::Serverfault)
    }

    /// Whether the current object has exactly these attributes (VERIFY, NVERIFY).
    ///
    /// # Errors
    /// ATTRNOTSUPP for an attribute that is not served, INVAL for one that can only be set, and as
    /// for GETATTR.
    pub(crate) async fn attributes_are(&self, wanted: &Fattr4) -> Result<bool, Nfsstat4> {
        if wanted.mask_cut || !wanted.mask.is_subset(&attr::SUPPORTED) {
            return Err(Nfsstat4::Attrnotsupp);
        }
        // RFC 8881 §18.15.3: rdattr_error says nothing about an object.
        if wanted.mask.contains(numbers::RDATTR_ERROR) {
            return Err(Nfsstat4::Inval);
        }
        let found = self.attributes(self.current()?, &wanted.mask).await?;
        Ok(found.mask == wanted.mask && found.body == wanted.body)
    }

    /// The caller, as squashed by the export of the handle.
    ///
    /// # Errors
    /// As [`Context::export`].
    pub(crate) fn caller_at(&self, handle: FileHandle) -> Result<Caller, Nfsstat4> {
        Ok(match self.export(handle)? {
            Some(export) => export.squash(self.caller.clone()),
            None => self.caller.clone(),
        })
    }

    /// As [`Context::caller_at`], for an operation that changes state.
    ///
    /// # Errors
    /// ROFS on a read-only export and in the pseudo tree, and as [`Context::export`].
    pub(crate) fn writer_at(&self, handle: FileHandle) -> Result<Caller, Nfsstat4> {
        match self.export(handle)? {
            Some(export) if !export.read_only => Ok(export.squash(self.caller.clone())),
            Some(_) | None => Err(Nfsstat4::Rofs),
        }
    }

    /// A consistent snapshot of the store.
    ///
    /// # Errors
    /// SERVERFAULT if the store fails.
    pub(crate) fn view(&self) -> Result<StateView, Nfsstat4> {
        self.server.view()
    }

    /// The inode of a handle.
    ///
    /// # Errors
    /// STALE if there is no such inode (any more).
    pub(crate) fn inode(&self, view: &StateView, handle: FileHandle) -> Result<Inode, Nfsstat4> {
        let inode = view.inode(handle.ino).map_err(|e| status::of_refusal(&e))?;
        if inode.generation == handle.generation { Ok(inode) } else { Err(Nfsstat4::Stale) }
    }

    /// A handle for an inode reached from another one.
    #[must_use]
    pub(crate) fn handle_of(&self, from: FileHandle, inode: &Inode) -> FileHandle {
        FileHandle { export: from.export, generation: inode.generation, ino: inode.ino }
    }

    /// Proposes a command to the log and waits for its outcome.
    ///
    /// # Errors
    /// The status of a refusal, or DELAY if the log is unavailable.
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome, Nfsstat4> {
        granted(self.submit(command).await?)
    }

    /// Proposes a command without waiting for its outcome: returns once the log has queued it.
    ///
    /// # Errors
    /// As [`Context::propose`], if the queue is full.
    pub(crate) async fn propose_behind(&self, command: Command) -> Result<(), Nfsstat4> {
        match self.server.shards.propose_behind(self.origin(), command).await {
            Some(outcome) => granted(self.known(outcome)?).map(drop),
            None => Ok(()),
        }
    }

    /// As [`Context::propose`], but a refusal is an outcome.
    ///
    /// An operation submits one command. It may submit another only after a refusal with
    /// `ContentMoved`, which is not recorded.
    ///
    /// # Errors
    /// DELAY if the log is unavailable; NOSPC if the command needs space that this server's disk
    /// lacks. If the outcome of the command is unknown, or the request is no longer this node's,
    /// the compound is not answered either: the client resends it.
    pub(crate) async fn submit(&self, command: Command) -> Result<Outcome, Nfsstat4> {
        let server = &self.server;
        if let Some(status) = server.room.refuses(&command, server.shards.is_replicated(), server.now_ms())
            && self.recorded()?.is_none()
        {
            return Err(status);
        }
        self.known(server.shards.propose(self.origin(), command).await)
    }

    /// The outcome of a command, or a status; disowns the compound if the outcome is unknown.
    fn known(&self, outcome: Result<Outcome, ProposeError>) -> Result<Outcome, Nfsstat4> {
        let disown = |status| {
            if self.session.is_some() {
                // Only the first status is kept: any of them will do.
                let _ = self.disowned.set(status);
            }
            status
        };
        match outcome {
            Ok(Outcome::Refused(Refusal::UnknownSession)) => Err(disown(Nfsstat4::Badsession)),
            Ok(Outcome::Refused(Refusal::Superseded)) => Err(disown(Nfsstat4::Delay)),
            Ok(Outcome::Refused(Refusal::FalseRetry)) => Err(disown(Nfsstat4::SeqFalseRetry)),
            Ok(outcome) => Ok(outcome),
            Err(error @ (ProposeError::Timeout | ProposeError::Stopped(_))) => {
                Err(disown(status::of_propose(&error)))
            }
            Err(error) => Err(status::of_propose(&error)),
        }
    }

    /// The outcome of this operation on another node, if there is one: checks must not see the
    /// operation's own changes.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn recorded(&self) -> Result<Option<Outcome>, Nfsstat4> {
        match self.origin().filter(|_| self.session.is_some_and(|session| session.again)) {
            Some(origin) => self.view()?.recorded(&origin).map_err(|e| status::of_refusal(&e)),
            None => Ok(None),
        }
    }

    /// Names this request and operation in commands.
    #[must_use]
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.session.map(|session| Origin {
            session: session.id,
            slot: session.slot,
            sequence: session.sequence,
            operation: self.operation,
            request: session.request,
            tenure: session.tenure,
        })
    }

    /// A stateid from the wire, with "current" replaced by the compound's own (RFC 8881
    /// §16.2.3.1.2).
    ///
    /// # Errors
    /// BAD_STATEID if "current" is used and there is none, or for the reserved patterns without a
    /// meaning.
    pub(crate) fn resolve(&self, stateid: Stateid) -> Result<StateidValue, Nfsstat4> {
        if stateid == Stateid::CURRENT {
            return self.current_stateid.ok_or(Nfsstat4::BadStateid);
        }
        if stateid.is_special() {
            return Err(Nfsstat4::BadStateid);
        }
        Ok(StateidValue { seqid: stateid.seqid, other: stateid.other })
    }

    /// Makes a stateid the current one; returns its wire form.
    pub(crate) fn put_stateid(&mut self, stateid: StateidValue) -> Stateid {
        self.current_stateid = Some(stateid);
        wire_stateid(stateid)
    }
}

/// Turns a refusal into its status.
pub(crate) fn granted(outcome: Outcome) -> Result<Outcome, Nfsstat4> {
    match outcome {
        Outcome::Refused(refusal) => Err(status::of_refusal(&refusal)),
        outcome => Ok(outcome),
    }
}
