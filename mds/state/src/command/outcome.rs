//! Outcomes of commands, as `apply` returns them and as slots record them.

use mds_namespace::Ino;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::{admin, client, layout, namespace, open, session};
use crate::stateid::StateidValue;

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
