//! Bytes of a group's images: which data server has how many, and how many are dead.
//!
//! Spec: docs/protocol/seal.md §6.

use std::collections::BTreeMap;

use layout::DataServerId;
use layout::ec::Group;
use mds_namespace::sealed::ExtentImage;

/// Adds the bytes of a group's images to those of their servers.
pub(crate) fn hold(group: &Group, held: &mut BTreeMap<DataServerId, u64>) {
    for (slot, home) in group.homes().iter().enumerate() {
        if let Some(home) = home {
            *held.entry(*home).or_default() += group.shape().file_bytes(slot);
        }
    }
}

/// Whether at least half of the members' bytes are dead: such a group is dissolved.
pub(crate) fn is_half_dead(group: &Group, alive: &[(usize, ExtentImage)]) -> bool {
    let (living_bytes, all_bytes) = bytes(group, alive);
    2 * living_bytes <= all_bytes
}

/// Bytes of the living members, and of all members.
pub(super) fn bytes(group: &Group, alive: &[(usize, ExtentImage)]) -> (u64, u64) {
    let of = |slot: usize| group.shape().bytes(slot);
    let all = (0..group.shape().members().len()).map(of).sum();
    (alive.iter().map(|(slot, _)| of(*slot)).sum(), all)
}
