//! The commands of the replicated state machine: the entries of the Raft log, and the outcomes of
//! `apply`.
//!
//! A command carries everything that is not in the store: time, random ids, the caller. `apply` is
//! deterministic: the same log gives the same store on every replica. Commands are encoded with
//! postcard behind a version byte (docs/formats/raft_log.md).

pub mod admin;
pub mod client;
pub mod data;
pub mod governor;
pub mod layout;
pub mod lock;
pub mod namespace;
pub mod open;
pub mod seal;
pub mod session;

use mds_namespace::Ino;
use serde::{Deserialize, Serialize};

/// Names the request that caused a command. The command's outcome is recorded with its effect, and
/// a request that is resent to any server gets the recorded outcome (docs/protocol/sessions.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Session id.
    pub session: [u8; 16],
    /// Slot within the session.
    pub slot: u32,
    /// Sequence id of the request on that slot.
    pub sequence: u32,
    /// Position of the operation within its compound.
    pub operation: u32,
    /// Fingerprint of the whole request: another request under the same sequence is no retry.
    pub request: u64,
    /// The proposer's tenure of the session.
    pub tenure: u32,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Wall-clock time at the proposer, nanoseconds since 1970.
    pub now_unix_ns: u64,
    /// The client request that caused the command, if there is one.
    pub origin: Option<Origin>,
    /// The proposer's word: the term in which it governs in the bits from 24 on, a count below; 0
    /// in shard 0 (docs/protocol/shards.md §2).
    pub governor: u64,
    /// The command.
    pub command: Command,
}

/// Everything that changes a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// EXCHANGE_ID.
    ExchangeId(client::ExchangeId),
    /// Confirms the client and advances its sequence: CREATE_SESSION before sessions were stored.
    ConfirmClient(client::ConfirmClient),
    /// RECLAIM_COMPLETE.
    ReclaimComplete(client::ReclaimComplete),
    /// DESTROY_CLIENTID, or an expired lease: removes the client's state.
    RemoveClient(client::RemoveClient),

    /// OPEN, with or without creation.
    Open(open::Open),
    /// OPEN_DOWNGRADE.
    OpenDowngrade(open::OpenDowngrade),
    /// CLOSE.
    Close(open::Close),
    /// LOCK.
    Lock(lock::Lock),
    /// LOCKU.
    Unlock(lock::Unlock),
    /// FREE_STATEID.
    FreeStateid(lock::FreeStateid),

    /// CREATE: directory, symlink, device, fifo, socket.
    Create(namespace::Create),
    /// LINK.
    Link(namespace::Link),
    /// REMOVE.
    Remove(namespace::Remove),
    /// RENAME.
    Rename(namespace::Rename),
    /// SETATTR, truncation included.
    SetAttributes(namespace::SetAttributesOf),

    /// WRITE into an inline file.
    WriteInline(data::WriteInline),
    /// Moves a file's content from inline to extents (its bytes are already on the data server).
    MoveToExtents(data::MoveToExtents),
    /// Gives an extent a home.
    Allocate(data::Allocate),
    /// Bytes reached data servers in band: size, mtime and change follow.
    Written(data::Written),
    /// A data server has carried out a pending truncation or drop.
    WorkDone(data::WorkDone),
    /// Raises an extent's epoch: data servers then refuse all earlier handles.
    Fence(data::Fence),
    /// A data server has registered, or changed its address.
    RegisterDataServer(data::RegisterDataServer),

    /// LAYOUTGET.
    LayoutGet(layout::LayoutGet),
    /// LAYOUTRETURN.
    LayoutReturn(layout::LayoutReturn),
    /// LAYOUTCOMMIT.
    LayoutCommit(layout::LayoutCommit),
    /// A recall is about to be sent: moves the layout stateid forward.
    LayoutRecall(layout::LayoutRecall),

    /// Makes a new file system: root directory and keys.
    Format(data::Format),

    /// LAYOUTGET for an extent that may have no home yet.
    LayoutPlace(layout::LayoutPlace),
    /// Changes the servers that keep extents.
    ChangeCopies(data::ChangeCopies),

    /// Reserves the number of a group.
    TakeGroup,
    /// Makes a group of sealed images.
    MakeGroup(seal::MakeGroup),
    /// Records that homes and backups use newer images.
    UseImages(seal::UseImages),
    /// Records that an image of a group was moved to another data server.
    RehomeImage(seal::RehomeImage),
    /// Records that an extent has bytes above its image.
    ThawExtent(seal::ThawExtent),
    /// Gives extents another home of which only an image is left.
    AdoptExtents(seal::AdoptExtents),

    /// Removes a data server for good.
    RemoveDataServer(admin::RemoveDataServer),
    /// Starts to move everything away from a data server, or stops it.
    DrainDataServer(admin::DrainDataServer),
    /// Homes that are alive hand extents over to backups.
    HandOver(admin::HandOver),
    /// The homes that should hand over are dead.
    WaitNoLonger(admin::WaitNoLonger),

    /// `Allocate` or `LayoutPlace`, for an export that has an erasure code of its own.
    UnderCode(data::UnderCode),

    /// CREATE_SESSION: confirms the client, advances its sequence, and makes a session.
    CreateSession(session::CreateSession),
    /// DESTROY_SESSION.
    DestroySession(session::DestroySession),
    /// A server resumes a session that another server had, or that it had itself before it lost the
    /// lead.
    TakeUpSession(session::TakeUpSession),
    /// BACKCHANNEL_CTL.
    SetCallback(session::SetCallback),

    /// The first command of a shard other than 0.
    FormatShard(governor::FormatShard),
    /// Another node governs, or the same node with another word.
    Govern(governor::Govern),
    /// Reserves inode numbers.
    ReserveInodes(governor::ReserveInodes),
    /// Decides an act on several shards.
    Intend(governor::Intend),
    /// Writes this shard's part of an act whose intent another shard keeps.
    Carry(governor::Carry),
    /// Forgets the intent of an act whose parts are all written.
    Settle(governor::Settle),
    /// Removes a file if it has lost its last name.
    Reap(governor::Reap),
    /// Removes what a former client has in this shard.
    ForgetClient(governor::ForgetClient),
    /// Removes what a former session has in this shard.
    ForgetSession(governor::ForgetSession),
    /// Sets the number of shards of the cluster.
    FixShards(admin::FixShards),
    /// Sets the exports of the cluster.
    SetExports(admin::SetExports),
    /// `Open`, `Create`, `Link`, `Remove` or `Rename` where there are several shards.
    Bound(governor::Bound),
    /// Records how much of an extent its home has.
    Measured(data::Measured),
    /// Records bytes that reached data servers through the metadata server.
    WrittenAt(data::WrittenAt),
    /// LAYOUTGET for writing.
    LayoutWrite(layout::LayoutWrite),
    /// LAYOUTRETURN, and the sizes that primaries reported before it.
    LayoutGiveBack(layout::LayoutGiveBack),
    /// Settles the size of a file that no client may write through a layout any more.
    SettleSize(mds_namespace::op::settle::Settlement),
    /// SETATTR of a modification time of a file whose size is not settled.
    SetMeasured(Box<namespace::SetMeasured>),
    /// `RegisterDataServer` of a data server that has a name.
    RegisterNamed(data::RegisterNamed),
    /// `SetExports`, and records the exports whose handles must be fenced.
    ReplaceExports(admin::SetExports),
    /// Fences a part of these extents.
    FenceExports(admin::FenceExports),
    /// Ends this fencing.
    ExportsFenced(admin::ExportsFenced),
    /// `LayoutGet` or `LayoutWrite`, with the export that the client came through.
    LayoutThrough(layout::LayoutThrough),
    /// Records that an object was read.
    Accessed(namespace::Accessed),
    /// `ExchangeId`, and the id for a new client.
    ExchangeIdAs(client::ExchangeIdAs),
    /// `ReplaceExports`, with all fields of an export.
    ReplaceExportsWhole(admin::SetExportsWhole),
    /// `ExchangeIdAs`, and the client's address.
    ExchangeIdFrom(client::ExchangeIdFrom),
    /// Records that data servers have acknowledged more.
    MarkStores(data::MarkStores),
    /// Adds a key for data-server handles.
    AddHandleKey(data::AddHandleKey),
    /// Uses the added key.
    UseHandleKey(data::UseHandleKey),
    /// Drops the key before it.
    DropHandleKey(data::DropHandleKey),
}

/// The outcomes of `apply`. Each variant belongs to the command of the same name.
///
/// Outcomes are recorded (docs/formats/state.md): a variant is never removed or moved, a new one is
/// added at the end, and fields change only with the version of
/// [`SlotRecord`](crate::record::SlotRecord). The same holds for [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Refused; changed nothing.
    Refused(Refusal),
    /// Done, without a result.
    Done,
    /// Answer to `ExchangeId` and `ExchangeIdAs`.
    Client(client::ClientAnswer),
    /// Answer to `ConfirmClient`.
    Confirmed(client::Confirmed),
    /// Answer to `RemoveClient`.
    Removed(client::RemovedClient),
    /// Answer to `Open`.
    Opened(Box<open::Opened>),
    /// Answer to `OpenDowngrade`, `Close`, `Lock`, `Unlock`: the new stateid.
    Stateid(StateidValue),
    /// Answer to `Create` and `Link`, `Remove`.
    Entry(Box<namespace::EntryAnswer>),
    /// Answer to `Rename`.
    Renamed(namespace::Renamed),
    /// Answer to `SetAttributes` and `SetMeasured`.
    Attributes(Box<namespace::AttributesAnswer>),
    /// Answer to `WriteInline`, `Written`, `WrittenAt`, `Measured`, `LayoutCommit`, `SettleSize`:
    /// the inode afterwards.
    Inode(Box<mds_namespace::Inode>),
    /// Answer to `Allocate` (under a code as well) and `Fence`.
    Extent(mds_namespace::ExtentRecord),
    /// Answer to `ChangeCopies`, `AdoptExtents` and `HandOver`: for each change the extent's record
    /// afterwards, if it has one.
    Copies(Vec<Option<mds_namespace::ExtentRecord>>),
    /// Answer to `RegisterDataServer`: the id of this uuid, always the same.
    DataServer(u32),
    /// Answer to `RemoveDataServer`.
    Removal(admin::Removal),
    /// Answer to `TakeGroup`: the number, which is unique.
    Group(u64),
    /// Answer to `LayoutGet`, `LayoutPlace` (under a code as well), `LayoutWrite` and
    /// `LayoutThrough`.
    Layout(layout::LayoutAnswer),
    /// Answer to `LayoutReturn` and `LayoutGiveBack`: the stateid if any of the layout stays.
    LayoutReturned(Option<StateidValue>),
    /// Answer to `LayoutRecall`: the clients to call, with their stateids.
    Recalls(Vec<layout::Recall>),
    /// Answer to `CreateSession`.
    SessionCreated(Box<session::SessionCreated>),
    /// Answer to `TakeUpSession`.
    SessionTakenUp(Box<session::SessionTakenUp>),
    /// Answer to `ReserveInodes`: the first number.
    Reserved(Ino),
    /// Answer to `SetExports`, `ReplaceExports` and `ReplaceExportsWhole`.
    Exports(admin::ExportsSet),
    /// Answer to `FenceExports`.
    Fenced(admin::FencedExports),
    /// Answer to `ExchangeIdFrom`.
    ClientMade(client::ClientMade),
    /// Answer to `AddHandleKey`, `UseHandleKey` and `DropHandleKey`: the version of the good keys
    /// afterwards.
    HandleKeys(u64),
}

/// The value of a stateid: sequence and identity (RFC 8881 §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateidValue {
    /// Grows with each change of the state it names; never zero on the wire from us.
    pub seqid: u32,
    /// Names the state.
    pub other: [u8; 12],
}

/// Why a command was refused. The front maps each to one NFS status (`mds/server/src/status.rs`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The namespace refused it.
    #[error("{0}")]
    Namespace(mds_namespace::FsError),
    /// The client id is unknown (STALE_CLIENTID).
    #[error("unknown client id")]
    StaleClient,
    /// The client still has state or sessions (CLIENTID_BUSY).
    #[error("client still holds state")]
    ClientBusy,
    /// Another principal holds this owner (CLID_INUSE).
    #[error("client owner is in use by another principal")]
    ClientInUse,
    /// An update of a client that does not exist, or whose verifier differs (NOENT / NOT_SAME /
    /// PERM).
    #[error("client to update was not found")]
    NoSuchClient,
    /// The verifier of an update differs (NOT_SAME).
    #[error("client verifier is not the same")]
    NotSame,
    /// CREATE_SESSION's sequence is neither the last nor the next (SEQ_MISORDERED).
    #[error("create-session sequence out of order")]
    Misordered,
    /// RECLAIM_COMPLETE came twice (COMPLETE_ALREADY).
    #[error("reclaim was already complete")]
    CompleteAlready,
    /// A share reservation of another open conflicts (SHARE_DENIED).
    #[error("share reservation conflicts")]
    ShareDenied,
    /// The stateid names nothing (BAD_STATEID).
    #[error("stateid names no state")]
    BadStateid,
    /// The stateid's sequence is behind (OLD_STATEID).
    #[error("stateid is old")]
    OldStateid,
    /// The open does not allow this (OPENMODE).
    #[error("open mode does not allow it")]
    OpenMode,
    /// Locks are held under the state to be freed (LOCKS_HELD).
    #[error("locks are held")]
    LocksHeld,
    /// Another owner's lock conflicts (DENIED).
    #[error("lock is held by another owner")]
    LockDenied(lock::Conflict),
    /// A byte range that is empty or wraps (INVAL).
    #[error("bad byte range")]
    BadRange,
    /// A share mode of zero, or a downgrade that is no subset (INVAL).
    #[error("bad share mode")]
    BadShare,
    /// Reclaim of state that the client does not hold: there is no grace period.
    #[error("nothing to reclaim")]
    NoGrace,
    /// A truncation or fence of the extent is still being carried out (DELAY / LAYOUTTRYLATER).
    #[error("extent is being changed")]
    Busy,
    /// A layout recall is under way (RECALLCONFLICT).
    #[error("layout is being recalled")]
    Recalled,
    /// The content is not where the proposer expected it: it must look it up again and retry.
    #[error("content moved")]
    ContentMoved,
    /// The named extent has no record.
    #[error("no such extent")]
    NoSuchExtent,
    /// A per-client or per-file table is full (RESOURCE / DELAY).
    #[error("a table is full")]
    TableFull,
    /// The session of the request is unknown (BADSESSION).
    #[error("session of the request is unknown")]
    UnknownSession,
    /// The client has moved on, or another server has the session: the proposer is too late.
    #[error("request is superseded")]
    Superseded,
    /// Another request was carried out under this sequence (SEQ_FALSE_RETRY).
    #[error("another request had this sequence")]
    FalseRetry,
    /// A session with bounds that no server negotiates (INVAL).
    #[error("bad session")]
    BadSession,
    /// The session that the command names is unknown (BADSESSION).
    #[error("no such session")]
    NoSuchSession,
    /// A name leads to another inode than when the command was planned: its proposer must look it
    /// up again and retry.
    #[error("names moved")]
    NamesMoved,
}
