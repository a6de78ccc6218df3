//! Free space on this metadata server's disk. A full disk would end log and store, and with them
//! the server. So commands that need space are refused before, and a reserve file is released if
//! space runs out all the same. Commands that free space, removals above all, continue.
//!
//! Two thresholds of the free space:
//!
//! ```text
//!   total ........ plenty: all commands are accepted, the reserve is made if it is missing
//!     5/4 of low ....................................................... low ends here
//!   low .......... creations and inline bytes are refused; a leader hands over to another node
//!   half of low .. the reserve is released for log, checkpoints and removals
//! ```
//!
//! INVARIANT: an executed request is answered from its record, however little space is left.
//! Spec: docs/admin/metadata-servers.md, A full metadata disk.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use env::disk::Capacity;
use env::{Disk, OpenMode};
use mds_state::Command;
use mds_state::command::open::Target;
use wire_nfs::v4::Nfsstat4;

use crate::limits::{
    ROOM_HAND_OVER_MS, ROOM_LOW_BYTES_MAX, ROOM_LOW_BYTES_MIN, ROOM_LOW_PARTS, ROOM_RESERVE_BYTES,
};

/// Space is not low.
const PLENTY: u64 = u64::MAX;

/// Whether the metadata disk has space.
pub(crate) struct Room {
    /// Since when space is low, monotonic; [`PLENTY`] if it is not.
    low_since_ms: AtomicU64,
}

impl Default for Room {
    fn default() -> Self {
        Self { low_since_ms: AtomicU64::new(PLENTY) }
    }
}

impl Room {
    /// Since when space is low, if it is.
    pub(crate) fn low_since_ms(&self) -> Option<u64> {
        Some(self.low_since_ms.load(Ordering::Acquire)).filter(|since_ms| *since_ms != PLENTY)
    }

    /// The status for a client's command that needs space while it is low: DELAY where another node
    /// may lead soon.
    pub(crate) fn refuses(&self, command: &Command, is_replicated: bool, now_ms: u64) -> Option<Nfsstat4> {
        let since_ms = self.low_since_ms()?;
        if !needs_room(command) {
            return None;
        }
        let may_be_led_elsewhere = is_replicated && may_hand_over(since_ms, now_ms);
        Some(if may_be_led_elsewhere { Nfsstat4::Delay } else { Nfsstat4::Nospc })
    }

    pub(crate) fn set_low(&self, is_low: bool, now_ms: u64) {
        match (self.low_since_ms(), is_low) {
            (None, true) => self.low_since_ms.store(now_ms, Ordering::Release),
            (Some(_), false) => self.low_since_ms.store(PLENTY, Ordering::Release),
            _ => {}
        }
    }
}

/// Whether another node may still have more space than this one. If all are low, leadership moves
/// around no longer than this.
pub(crate) fn may_hand_over(since_ms: u64, now_ms: u64) -> bool {
    now_ms < since_ms.saturating_add(2 * ROOM_HAND_OVER_MS)
}

/// Whether a client's command adds state, and frees none.
fn needs_room(command: &Command) -> bool {
    match command {
        Command::Create(_) | Command::Link(_) | Command::WriteInline(_) => true,
        Command::Open(open) => matches!(open.target, Target::Create { .. }),
        _ => false,
    }
}

/// Action on the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    Leave,
    Make,
    GiveBack,
}

/// Whether space is low, and what to do with the reserve. `held`: the reserve exists.
pub(crate) fn decide(capacity: Capacity, held: bool, was_low: bool) -> (bool, Reserve) {
    let low_bytes = (capacity.total_bytes / ROOM_LOW_PARTS).clamp(ROOM_LOW_BYTES_MIN, ROOM_LOW_BYTES_MAX);
    let (free_bytes, plenty_bytes) = (capacity.free_bytes, low_bytes + low_bytes / 4);
    let is_low = free_bytes < if was_low { plenty_bytes } else { low_bytes };
    let reserve = match held {
        true if free_bytes < low_bytes / 2 => Reserve::GiveBack,
        false if plenty_bytes + ROOM_RESERVE_BYTES <= free_bytes => Reserve::Make,
        _ => Reserve::Leave,
    };
    (is_low, reserve)
}

pub(crate) async fn holds_reserve(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    if !disk.exists(path).await? {
        return Ok(false);
    }
    Ok(ROOM_RESERVE_BYTES <= disk.open(path, OpenMode::READ).await?.stored_bytes().await?)
}

pub(crate) async fn make_reserve(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.open(path, OpenMode::CREATE).await?.allocate(0, ROOM_RESERVE_BYTES).await
}

pub(crate) async fn give_back(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.open(path, OpenMode::WRITE).await?.set_len(0).await
}

#[cfg(test)]
mod tests {
    use env::memory::MemoryDisk;
    use mds_namespace::{Caller, Kind, SetAttributes};
    use mds_state::command::namespace::{Create, Remove};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn free(free_bytes: u64) -> Capacity {
        Capacity { total_bytes: 20 << 30, free_bytes }
    }

    #[test]
    fn two_thresholds_and_one_for_the_way_back() {
        let low = (20 << 30) / 50;
        assert_eq!(decide(free(low), true, false), (false, Reserve::Leave));
        assert_eq!(decide(free(low - 1), true, false), (true, Reserve::Leave), "refused, the reserve stays");
        assert_eq!(decide(free(low + low / 4 - 1), true, true), (true, Reserve::Leave), "not to and fro");
        assert_eq!(decide(free(low + low / 4), true, true), (false, Reserve::Leave));
        assert_eq!(decide(free(low / 2 - 1), true, true), (true, Reserve::GiveBack));
        // The space that the reserve freed is not enough to make the reserve again.
        assert_eq!(decide(free(low / 2 - 1 + ROOM_RESERVE_BYTES), false, true).1, Reserve::Leave);
        assert_eq!(decide(free(low + low / 4 + ROOM_RESERVE_BYTES), false, true), (false, Reserve::Make));
        assert!(!decide(Capacity { total_bytes: u64::MAX, free_bytes: 1 << 40 }, true, false).0);
        assert_eq!(
            decide(Capacity { total_bytes: 0, free_bytes: 0 }, true, false),
            (true, Reserve::GiveBack)
        );
        assert!(decide(Capacity { total_bytes: 100 * MIB, free_bytes: 63 * MIB }, false, false).0);
    }

    #[test]
    fn removals_continue() {
        let create = Command::Create(Create {
            caller: Caller::default(),
            directory: 1,
            name: b"new".to_vec(),
            kind: Kind::Fifo,
            symlink_target: Vec::new(),
            attributes: SetAttributes::default(),
        });
        let remove =
            Command::Remove(Remove { caller: Caller::default(), directory: 1, name: b"old".to_vec() });
        let room = Room::default();
        assert_eq!(room.refuses(&create, false, 7), None);
        room.set_low(true, 7);
        room.set_low(true, 9);
        assert_eq!(room.refuses(&create, false, 9), Some(Nfsstat4::Nospc));
        assert_eq!(room.refuses(&create, true, 9), Some(Nfsstat4::Delay), "another node may have room");
        assert_eq!(room.refuses(&create, true, 7 + 2 * ROOM_HAND_OVER_MS), Some(Nfsstat4::Nospc));
        assert_eq!(room.refuses(&remove, false, 9), None);
        assert!(may_hand_over(7, 9) && !may_hand_over(7, 7 + 2 * ROOM_HAND_OVER_MS), "not for ever");
        room.set_low(false, 10);
        assert_eq!(room.refuses(&create, false, 10), None);
    }

    #[tokio::test]
    async fn the_reserve_is_space_that_can_be_released() {
        let (disk, path) = (MemoryDisk::with_capacity(200 * MIB), Path::new("/mds/reserve"));
        disk.create_dir_all(Path::new("/mds")).await.unwrap();
        assert!(!holds_reserve(&disk, path).await.unwrap());
        make_reserve(&disk, path).await.unwrap();
        let used = disk.capacity(Path::new("/mds")).await.unwrap();
        assert_eq!(used.free_bytes, 200 * MIB - ROOM_RESERVE_BYTES);
        give_back(&disk, path).await.unwrap();
        assert_eq!(disk.capacity(Path::new("/mds")).await.unwrap().free_bytes, 200 * MIB);
        assert!(!holds_reserve(&disk, path).await.unwrap());
    }
}
