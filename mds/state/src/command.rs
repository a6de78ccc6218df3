//! The commands of the replicated state machine, and their outcomes.
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
mod outcome;
mod refusal;
pub mod seal;
pub mod session;

use ::layout::ec::Profile;
use mds_namespace::Ino;
use serde::{Deserialize, Serialize};

use data::Placing;
use governor::{AboutNames, Bound};

pub use crate::stateid::StateidValue;
pub use outcome::Outcome;
pub use refusal::Refusal;

/// Everything that changes a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// EXCHANGE_ID.
    ExchangeId(client::ExchangeId),
    /// Confirms the client and advances its sequence: CREATE_SESSION before sessions were stored.
    /// No server proposes it any more; logs of earlier versions have it.
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

impl Placing {
    /// The command, for an export with this code; `None` if it has none of its own.
    #[must_use]
    pub fn under(self, code: Option<Profile>) -> Command {
        match (code, self) {
            (Some(code), what) => Command::UnderCode(data::UnderCode { code, what }),
            (None, Self::Allocate(asked)) => Command::Allocate(asked),
            (None, Self::Layout(asked)) => Command::LayoutPlace(asked),
        }
    }
}

impl Bound {
    /// Binds a command about names to these inodes; returns any other command unchanged.
    #[must_use]
    pub fn to(inodes: Vec<Ino>, command: Command) -> Command {
        let what = match command {
            Command::Open(asked) => AboutNames::Open(asked),
            Command::Create(asked) => AboutNames::Create(asked),
            Command::Link(asked) => AboutNames::Link(asked),
            Command::Remove(asked) => AboutNames::Remove(asked),
            Command::Rename(asked) => AboutNames::Rename(asked),
            other => return other,
        };
        Command::Bound(Self { inodes, what })
    }
}
