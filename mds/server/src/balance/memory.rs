//! What is to move between data servers, and what is on its way: the leader's memory.
//!
//! Spec: docs/protocol/admin.md §6.

use std::collections::{BTreeMap, VecDeque};

use layout::ec::GroupId;
use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::CopyChange;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire_nfs::control::admin::Route;

use crate::progress::Progress;

/// An image that is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageMove {
    pub(crate) group: GroupId,
    pub(crate) slot: usize,
    pub(crate) from: DataServerId,
    pub(crate) to: DataServerId,
    pub(crate) bytes: u64,
}

/// A copy of an extent that is to move; of none when its image says all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetMove {
    pub(crate) extent: ExtentId,
    pub(crate) from: DataServerId,
    pub(crate) to: DataServerId,
    pub(crate) bytes: u64,
}

/// What is to move, as of one look.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) images: VecDeque<ImageMove>,
    pub(crate) sets: VecDeque<SetMove>,
    /// Sets with copies that nobody wished for.
    pub(crate) surplus: Vec<CopyChange>,
    /// All that should move, more than one plan may name.
    pub(crate) routes: BTreeMap<(u32, u32), Route>,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.sets.is_empty() && self.surplus.is_empty()
    }

    /// Takes note of a move.
    pub(crate) fn count(&mut self, (from, to): (DataServerId, DataServerId), bytes: u64, images: u64) {
        let none = Route { from: from.0, to: to.0, images: 0, extents: 0, bytes: 0 };
        let route = self.routes.entry((from.0, to.0)).or_insert(none);
        route.images += images;
        route.extents += 1 - images;
        route.bytes += bytes;
    }
}

/// What the driver and requests share.
#[derive(Default)]
pub(crate) struct Balancing {
    pub(crate) state: Mutex<State>,
    pub(crate) call: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) plan: Plan,
    pub(crate) sets: Sets,
    /// Images on their way.
    pub(crate) images: usize,
    /// Something moved since the last look, or was to.
    pub(crate) under_way: bool,
    /// An administrator wants it, whatever the configuration says.
    pub(crate) asked: bool,
    /// Why nothing may begin.
    pub(crate) waits: Option<&'static str>,
    /// Servers as they were, and since when.
    pub(crate) standing: Vec<(DataServerId, [bool; 2])>,
    pub(crate) standing_since_ms: u64,
    /// Not before these times: the next look, the next look at homes and images, the next move.
    pub(crate) look_ms: u64,
    pub(crate) follow_ms: u64,
    pub(crate) move_ms: u64,
    pub(crate) progress: Progress,
}

/// Those under way, and since when.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    pub(crate) moving: BTreeMap<ExtentId, (SetMove, u64)>,
}

impl Sets {
    pub(crate) fn len(&self) -> usize {
        self.moving.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.moving.is_empty()
    }

    /// One begins; one that is under way already stays as it is.
    pub(crate) fn begin(&mut self, one: SetMove, now_ms: u64) {
        self.moving.entry(one.extent).or_insert((one, now_ms));
    }
}

impl Balancing {
    /// Whether a copy of an extent is on its way.
    pub(crate) fn moves(&self, extent: ExtentId) -> bool {
        self.state.lock().sets.moving.contains_key(&extent)
    }
}
