//! Load of each data server by images that are being made: how many, how large, and which servers
//! compute parity.
//!
//! Heartbeats report a file once it exists. Until then only the leader knows about it.
//!
//! INVARIANT: a server without work under way is not in the table.
//! Spec: docs/protocol/seal.md §3.

use std::collections::BTreeMap;

use layout::DataServerId;
use layout::ec::footer::FOOTER_BYTES_MAX;
use layout::ec::members::Server as Site;

use super::making::Making;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    /// Images to come.
    images: u64,
    /// Bytes of their files.
    bytes: u64,
    /// Groups whose parity it computes.
    encodes: u64,
}

/// The load of all data servers.
#[derive(Debug, Default)]
pub(super) struct Loads {
    of: BTreeMap<DataServerId, Load>,
}

impl Loads {
    /// Puts the server that computes least first: the first one computes the parity of the group.
    pub(super) fn encoder_first(&self, parity: &mut [DataServerId]) {
        let encodes = |id: &DataServerId| self.of.get(id).map_or(0, |load| load.encodes);
        let least = parity.iter().enumerate().min_by_key(|(at, id)| (encodes(id), *at));
        if let Some((at, _)) = least {
            parity.swap(0, at);
        }
    }

    /// Adds the load of a group that is being made.
    pub(super) fn add_group(&mut self, making: &Making) {
        let bytes = parity_bytes(making);
        for (at, id) in making.parity.iter().enumerate() {
            let load = self.of.entry(*id).or_default();
            load.images += 1;
            load.bytes += bytes;
            load.encodes += u64::from(at == 0);
        }
    }

    /// Subtracts it, at the group's end.
    pub(super) fn remove_group(&mut self, making: &Making) {
        let bytes = parity_bytes(making);
        for (at, id) in making.parity.iter().enumerate() {
            if let Some(load) = self.of.get_mut(id) {
                load.images -= 1;
                load.bytes -= bytes;
                load.encodes -= u64::from(at == 0);
            }
        }
        self.of.retain(|_, load| *load != Load::default());
    }

    /// The servers as they will be after all work. `remakes` counts the images that are being
    /// recreated on each.
    pub(super) fn applied(&self, sites: &[Site], remakes: impl Fn(DataServerId) -> usize) -> Vec<Site> {
        let one = |site: &Site| {
            let load = self.of.get(&site.id).copied().unwrap_or_default();
            let works = site.works + load.images + remakes(site.id) as u64;
            Site { free_bytes: site.free_bytes.saturating_sub(load.bytes), works, ..site.clone() }
        };
        sites.iter().map(one).collect()
    }
}

/// Bytes of each parity image of a group, at most.
fn parity_bytes(making: &Making) -> u64 {
    let longest = making.members.iter().flatten().map(|one| one.member.bytes).max().unwrap_or(0);
    longest.saturating_add(FOOTER_BYTES_MAX as u64)
}
