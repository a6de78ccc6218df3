//! Moves between data servers, planned and under way: the leader's memory.
//!
//! Spec: docs/protocol/admin.md §6.

use std::collections::{BTreeMap, VecDeque};

use layout::ec::GroupId;
use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::CopyChange;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire_nfs::control::admin::Route;

use crate::limits::BALANCE_REST_MS;
use crate::progress::Progress;

/// Move of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageMove {
    pub(crate) group: GroupId,
    pub(crate) slot: usize,
    pub(crate) from: DataServerId,
    pub(crate) to: DataServerId,
    pub(crate) bytes: u64,
}

/// Move of a copy of an extent; `bytes` is 0 if the extent's image holds all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetMove {
    pub(crate) extent: ExtentId,
    pub(crate) from: DataServerId,
    pub(crate) to: DataServerId,
    pub(crate) bytes: u64,
}

/// The moves that one scan found.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) images: VecDeque<ImageMove>,
    pub(crate) sets: VecDeque<SetMove>,
    /// Extents with more copies than wanted.
    pub(crate) surplus: Vec<CopyChange>,
    /// Totals of all wanted moves, of which the plan names only some.
    pub(crate) routes: BTreeMap<(u32, u32), Route>,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.sets.is_empty() && self.surplus.is_empty()
    }

    /// Adds a move to the totals.
    pub(crate) fn count(&mut self, (from, to): (DataServerId, DataServerId), bytes: u64, images: u64) {
        let none = Route { from: from.0, to: to.0, images: 0, extents: 0, bytes: 0 };
        let route = self.routes.entry((from.0, to.0)).or_insert(none);
        route.images += images;
        route.extents += 1 - images;
        route.bytes += bytes;
    }
}

/// State shared by the driver and requests.
#[derive(Default)]
pub(crate) struct Balancing {
    pub(crate) state: Mutex<State>,
    pub(crate) call: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) plan: Plan,
    pub(crate) sets: Sets,
    /// Number of images on their way.
    pub(crate) images: usize,
    /// Data moved since the last scan, or was about to.
    pub(crate) under_way: bool,
    /// An administrator asked for it, whatever the configuration.
    pub(crate) asked: bool,
    /// Why no move may begin.
    pub(crate) waits: Option<&'static str>,
    /// The state of each server, and since when all are as they are.
    pub(crate) standing: Vec<(DataServerId, [bool; 2])>,
    pub(crate) standing_since_ms: u64,
    /// Earliest times of the next scan, the next scan of homes and images, and the next move.
    pub(crate) look_ms: u64,
    pub(crate) follow_ms: u64,
    pub(crate) move_ms: u64,
    pub(crate) progress: Progress,
}

impl State {
    /// Records the end of a move, successful or not.
    pub(crate) fn end_move(&mut self, bytes: u64, moved: bool, now_ms: u64) {
        if moved {
            self.progress.done(bytes);
        } else {
            // Not again at once.
            self.look_ms = now_ms + BALANCE_REST_MS;
            self.progress.given_up(bytes);
        }
    }
}

/// Moves under way, and since when.
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

    /// Begins a move; one that is under way for the extent stays as it is.
    pub(crate) fn begin_move(&mut self, one: SetMove, now_ms: u64) {
        self.moving.entry(one.extent).or_insert((one, now_ms));
    }
}

impl Balancing {
    /// Whether a copy of an extent is on its way.
    pub(crate) fn moves(&self, extent: ExtentId) -> bool {
        self.state.lock().sets.moving.contains_key(&extent)
    }
}
