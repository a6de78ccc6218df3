//! Which group an image is in, as the metadata servers last said.
//!
//! INVARIANT: a group from here may have moved since: a reader that finds nothing where it says
//! asks again.
//! Spec: docs/protocol/seal.md §5.

use std::sync::Arc;

use layout::ec::{Group, ImageId};
use parking_lot::Mutex;
use wire_nfs::control::groups::{AskGroup, GroupSlot};
use wire_nfs::control::{Procedure, Refusal};

use super::lru::Lru;
use crate::directory::Directory;
use crate::limits::{GROUP_KEPT_MS, GROUPS_KNOWN_MAX};
use crate::link::AskError;

/// A group and the slot of an image in it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) group: Arc<Group>,
    pub(crate) slot: usize,
}

/// Why there is no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoGroup {
    /// No metadata server could be asked.
    Unknown,
    /// There is none.
    None,
}

/// Groups that metadata servers told lately, and when.
pub(super) struct Groups {
    known: Mutex<Lru<ImageId, (Found, u64)>>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(Lru::new(GROUPS_KNOWN_MAX)) }
    }

    /// The group that is remembered of an image.
    pub(super) fn known(&self, image: ImageId, now_ms: u64) -> Option<Found> {
        let (found, told_ms) = self.known.lock().get(&image)?;
        (now_ms < told_ms + GROUP_KEPT_MS).then_some(found)
    }

    /// Asks the metadata server that gives the lease for the group of an image.
    pub(super) async fn ask_group(
        &self,
        directory: &Directory,
        image: ImageId,
        now_ms: u64,
    ) -> Result<Found, NoGroup> {
        let link = directory.metadata().ok_or(NoGroup::Unknown)?;
        let answer = link.ask::<GroupSlot>(Procedure::Group, &AskGroup { image: image.0 }).await;
        let told = match answer {
            Ok(told) => told,
            Err(AskError::Refused(Refusal::NoImage)) => return Err(NoGroup::None),
            Err(error) => {
                tracing::debug!(%image, %error, "no metadata server tells the group");
                return Err(NoGroup::Unknown);
            }
        };
        let found = decode_slot(&told, image).ok_or(NoGroup::Unknown)?;
        self.known.lock().put(image, (found.clone(), now_ms), 1);
        Ok(found)
    }
}

/// The group, if the record is one and the image is in the slot.
fn decode_slot(told: &GroupSlot, image: ImageId) -> Option<Found> {
    let group = Group::decode(&told.record).ok()?;
    let slot = usize::try_from(told.slot).ok().filter(|slot| *slot < group.shape().slots())?;
    let (found, _) = group.shape().image(slot)?;
    (found == image).then(|| Found { group: Arc::new(group), slot })
}
