//! Routes of commands: the shard, and the inodes that may change there.
//!
//! Spec: docs/protocol/shards.md §1, §3.

use std::collections::BTreeMap;

use layout::ExtentId;
use layout::ec::Group;
use mds_namespace::{Ino, ROOT_INO, shard_of};
use mds_state::command::admin::{HandOver, WaitNoLonger};
use mds_state::command::data::{ChangeCopies, Placing, WorkDone};
use mds_state::command::layout::Returned;
use mds_state::command::open::Target;
use mds_state::command::seal::{AdoptExtents, UseImages};
use mds_state::{Command, StateidValue};

/// The route of a command.
pub(super) enum Route {
    /// To one shard, where it may change these inodes.
    One(u16, Vec<Ino>),
    /// To shard 0: it is about the cluster.
    Cluster,
    /// It is about names: the route depends on their inodes.
    Names,
    /// To several, a part of its list to each.
    Several(Vec<Share>),
    /// To each.
    Each,
}

/// One shard's share of a list.
pub(super) struct Share {
    pub(super) shard: u16,
    pub(super) command: Command,
    /// Positions of its items in the whole list.
    pub(super) places: Vec<usize>,
}

/// Finds the route of a command.
#[expect(clippy::too_many_lines, reason = "one arm for each command, and none is to be forgotten")]
pub(super) fn find_route(command: &Command) -> Route {
    match command {
        Command::ExchangeId(_)
        | Command::ExchangeIdAs(_)
        | Command::ExchangeIdFrom(_)
        | Command::ConfirmClient(_)
        | Command::ReclaimComplete(_)
        | Command::RemoveClient(_)
        | Command::RegisterDataServer(_)
        | Command::RegisterNamed(_)
        | Command::Format(_)
        | Command::FixShards(_)
        | Command::RemoveDataServer(_)
        | Command::DrainDataServer(_)
        | Command::MarkStores(_)
        | Command::AddHandleKey(_)
        | Command::UseHandleKey(_)
        | Command::DropHandleKey(_)
        | Command::SetExports(_)
        | Command::ReplaceExports(_)
        | Command::ReplaceExportsWhole(_)
        | Command::ExportsFenced(_)
        | Command::CreateSession(_)
        | Command::DestroySession(_)
        | Command::TakeUpSession(_)
        | Command::SetCallback(_) => Route::Cluster,
        Command::Open(asked) => match &asked.target {
            Target::Handle { ino, .. } | Target::Foreign { ino, .. } => file(*ino),
            Target::Name { .. } | Target::Create { .. } => Route::Names,
        },
        Command::Create(_) | Command::Link(_) | Command::Remove(_) | Command::Rename(_) => Route::Names,
        Command::OpenDowngrade(asked) => file(asked.ino),
        Command::Close(asked) => file(asked.ino),
        Command::Lock(asked) => file(asked.ino),
        Command::Unlock(asked) => file(asked.ino),
        Command::FreeStateid(asked) => Route::One(of_stateid(asked.stateid), Vec::new()),
        Command::SetAttributes(asked) => file(asked.ino),
        Command::WriteInline(asked) => file(asked.ino),
        Command::MoveToExtents(asked) => file(asked.ino),
        Command::Allocate(asked) => extent(asked.extent),
        Command::UnderCode(asked) => match &asked.what {
            Placing::Allocate(asked) => extent(asked.extent),
            Placing::Layout(asked) => extent(asked.get.extent),
        },
        Command::Written(asked) => file(asked.ino),
        Command::Fence(asked) => extent(asked.extent),
        Command::Measured(asked) => extent(asked.extent),
        Command::WrittenAt(asked) => file(asked.ino),
        Command::LayoutGet(asked) => extent(asked.extent),
        Command::LayoutPlace(asked) => extent(asked.get.extent),
        Command::LayoutWrite(asked) => extent(asked.get.extent),
        Command::LayoutThrough(asked) => extent(asked.what.get().extent),
        // One part for each shard: the first extent determines it.
        Command::FenceExports(asked) => Route::One(shard_of(asked.from.ino), Vec::new()),
        Command::LayoutReturn(asked) => returned(&asked.what),
        Command::LayoutGiveBack(asked) => returned(&asked.what.what),
        Command::SettleSize(asked) => file(asked.ino),
        Command::SetMeasured(asked) => file(asked.set.ino),
        Command::Accessed(asked) => file(asked.ino),
        Command::LayoutCommit(asked) => file(asked.ino),
        Command::LayoutRecall(asked) => file(asked.ino),
        Command::ThawExtent(asked) => extent(asked.extent),
        Command::MakeGroup(asked) => {
            // A record that does not decode is refused by any shard.
            let group = Group::decode(&asked.record).ok().map_or(0, |group| group.shape().group().0);
            Route::One(shard_of(group), Vec::new())
        }
        Command::RehomeImage(asked) => Route::One(shard_of(asked.group), Vec::new()),
        Command::WorkDone(asked) => {
            lists(&asked.items, |number| shard_of(*number), |items| Command::WorkDone(WorkDone { items }))
        }
        Command::WaitNoLonger(asked) => lists(
            &asked.items,
            |number| shard_of(*number),
            |items| Command::WaitNoLonger(WaitNoLonger { items }),
        ),
        Command::ChangeCopies(asked) => lists(
            &asked.changes,
            |change| shard_of(change.extent.ino),
            |changes| Command::ChangeCopies(ChangeCopies { changes }),
        ),
        Command::HandOver(asked) => lists(
            &asked.changes,
            |change| shard_of(change.extent.ino),
            |changes| Command::HandOver(HandOver { changes }),
        ),
        Command::UseImages(asked) => lists(
            &asked.used,
            |used| shard_of(used.extent.ino),
            |used| Command::UseImages(UseImages { used }),
        ),
        Command::AdoptExtents(asked) => lists(
            &asked.adoptions,
            |adoption| shard_of(adoption.extent.ino),
            |adoptions| Command::AdoptExtents(AdoptExtents { adoptions }),
        ),
        Command::Reap(asked) => file(asked.ino),
        // Their proposers choose the shard.
        Command::TakeGroup
        | Command::FormatShard(_)
        | Command::Govern(_)
        | Command::ReserveInodes(_)
        | Command::Intend(_)
        | Command::Carry(_)
        | Command::Settle(_)
        | Command::Bound(_)
        | Command::ForgetClient(_)
        | Command::ForgetSession(_) => Route::One(shard_of(ROOT_INO), Vec::new()),
    }
}

fn returned(what: &Returned) -> Route {
    match what {
        Returned::File { ino, .. } | Returned::Revoked { ino } | Returned::Recalled { ino, .. } => file(*ino),
        Returned::All { .. } => Route::Each,
    }
}

/// The shard that issued a stateid.
pub(super) fn of_stateid(stateid: StateidValue) -> u16 {
    u16::from_be_bytes([stateid.other[2], stateid.other[3]])
}

fn file(ino: Ino) -> Route {
    Route::One(shard_of(ino), vec![ino])
}

fn extent(id: ExtentId) -> Route {
    file(id.ino)
}

/// Splits a list into one for each shard, each in its old order.
fn lists<T: Clone>(all: &[T], shard: impl Fn(&T) -> u16, command: impl Fn(Vec<T>) -> Command) -> Route {
    let mut of_shards: BTreeMap<u16, (Vec<usize>, Vec<T>)> = BTreeMap::new();
    for (place, one) in all.iter().enumerate() {
        let (places, list) = of_shards.entry(shard(one)).or_default();
        places.push(place);
        list.push(one.clone());
    }
    let share = |(shard, (places, list))| Share { shard, command: command(list), places };
    Route::Several(of_shards.into_iter().map(share).collect())
}
