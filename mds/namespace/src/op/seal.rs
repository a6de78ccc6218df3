//! Sealing: groups come to be, their images move, extents begin to use newer images, and groups go with their last living
//! member.
//!
//! A member is *living* while its extent has it as an image. Older images of an extent stay until its home has said that home and
//! backups use a newer one; then, or when the extent goes or is cut to nothing, they are dead: kept only for others.
//!
//! Spec: docs/protocol/seal.md §2, §3, §6, §7; docs/formats/namespace.md.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use layout::ec::{Group, GroupId, ImageId, Member};
use layout::{DataServerId, Epoch, ExtentId};
use serde::{Deserialize, Serialize};

use crate::FsError;
use crate::keys;
use crate::limits::EXTENT_IMAGES_MAX;
use crate::op::extent;
use crate::sealed::{self, ExtentImage};
use crate::store::{StoreError, Txn, View};

/// How a member of a group was sealed. Beside the group's record, for each member that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedAs {
    /// The extent's epoch when it was sealed.
    pub epoch: Epoch,
    /// Up to which act the image says the extent.
    pub sequence: u64,
    /// The group it is taken from, which is being dissolved; `None` if it was in none.
    pub from: Option<u64>,
}

/// Takes the number of a group that is about to be made. It is not used again if nothing comes of it.
///
/// # Errors
/// [`FsError::Store`].
pub fn take_group(txn: &mut dyn Txn) -> Result<GroupId, FsError> {
    Ok(sealed::next_group(txn)?)
}

/// Whether an image may become a member of a new group, on the data server that is said to have it.
///
/// # Errors
/// [`FsError::Store`].
pub fn may_join(
    view: &dyn View,
    member: &Member,
    home: DataServerId,
    sealed_as: &SealedAs,
) -> Result<bool, FsError> {
    let images = sealed::images(view, member.extent)?;
    if let Some(from) = sealed_as.from.map(GroupId) {
        let same = |image: &ExtentImage| {
            (image.image, image.sequence, image.group) == (member.image, sealed_as.sequence, from)
        };
        let Some(group) = sealed::group(view, from)? else { return Ok(false) };
        let slot = slot_of(&group, member.image);
        let there = slot.is_some_and(|slot| group.homes()[slot] == Some(home));
        let alike = slot.and_then(|slot| group.shape().members().get(slot).copied().flatten());
        return Ok(images.iter().any(same) && there && alike == Some(*member));
    }
    let Some(record) = extent::extent(view, member.extent)? else { return Ok(false) };
    let newest = images.last().map_or(0, |image| image.sequence);
    // While a cut is pending, nobody can tell whether an image of its epoch is from before it.
    Ok((record.home, record.epoch, record.pending_work) == (home, sealed_as.epoch, None)
        && newest < sealed_as.sequence
        && images.len() < EXTENT_IMAGES_MAX
        && sealed::place(view, member.image)?.is_none())
}

/// Makes a group. `sealed_as` has one entry for each member that is not empty, in their order.
///
/// # Errors
/// [`FsError::Invalid`] for a group that cannot be: of a number that was not taken, or there already, two images on
/// one data server, parity that is elsewhere; [`FsError::ContentMoved`] if a member may not join (any more).
pub fn make_group(txn: &mut dyn Txn, group: &Group, sealed_as: &[SealedAs]) -> Result<(), FsError> {
    let (shape, id) = (group.shape(), group.shape().group());
    let members: Vec<(Member, DataServerId)> = shape
        .members()
        .iter()
        .zip(group.homes())
        .filter_map(|(member, home)| Some(((*member)?, (*home)?)))
        .collect();
    let taken = 0 < id.0 && id.0 < sealed::group_counter(txn)?;
    if !taken
        || sealed::group(txn, id)?.is_some()
        || members.len() != sealed_as.len()
        || !apart(group.homes())
    {
        return Err(FsError::Invalid);
    }
    let mut extents = BTreeSet::new();
    for ((member, home), sealed_as) in members.iter().zip(sealed_as) {
        if !extents.insert(member.extent) || sealed_as.from == Some(id.0) {
            return Err(FsError::Invalid);
        }
        if !may_join(txn, member, *home, sealed_as)? {
            return Err(FsError::ContentMoved);
        }
    }
    for parity in shape.parity().filter(|parity| !holds(&members, parity.image)) {
        if sealed::place(txn, parity.image)?.is_some() {
            return Err(FsError::Invalid);
        }
    }
    sealed::put_group(txn, group)?;
    for parity in shape.parity() {
        txn.put(&keys::image(parity.image), &sealed::encode_place(id))?;
    }
    for ((member, _), sealed_as) in members.iter().zip(sealed_as) {
        join(txn, id, member, sealed_as)?;
    }
    for from in sealed_as.iter().filter_map(|sealed_as| sealed_as.from) {
        bury(txn, GroupId(from))?;
    }
    Ok(())
}

fn holds(members: &[(Member, DataServerId)], image: ImageId) -> bool {
    members.iter().any(|(member, _)| member.image == image)
}

/// No data server has two images of a group, and none is number 0.
fn apart(homes: &[Option<DataServerId>]) -> bool {
    let mut seen = BTreeSet::new();
    homes.iter().flatten().all(|home| home.0 != 0 && seen.insert(*home))
}

/// Writes down that an image is in a group, and its extent's.
fn join(txn: &mut dyn Txn, id: GroupId, member: &Member, sealed_as: &SealedAs) -> Result<(), FsError> {
    let mut images = sealed::images(txn, member.extent)?;
    match images.iter_mut().find(|image| image.image == member.image) {
        Some(image) => image.group = id,
        None => {
            let SealedAs { epoch, sequence, .. } = *sealed_as;
            images.push(ExtentImage { image: member.image, sequence, epoch, group: id });
        }
    }
    sealed::put_images(txn, member.extent, &images)?;
    Ok(txn.put(&keys::image(member.image), &sealed::encode_place(id))?)
}

/// The home of an extent says that home and backups use an image: older ones are dead. Nothing changes if the image is not the
/// extent's (any more), or `server` not its home. Answers whether anything did.
///
/// # Errors
/// [`FsError::Store`].
pub fn use_image(
    txn: &mut dyn Txn,
    extent: ExtentId,
    image: ImageId,
    server: DataServerId,
) -> Result<bool, FsError> {
    let home = extent::extent(txn, extent)?.map(|record| record.home);
    let images = sealed::images(txn, extent)?;
    match images.iter().position(|one| one.image == image) {
        Some(at) if 0 < at && home == Some(server) => {
            keep_only(txn, extent, &images, |one| images[at].sequence <= one.sequence)?;
            Ok(true)
        }
        Some(_) | None => Ok(false),
    }
}

/// All images of an extent are dead: it is gone.
pub(crate) fn forget(txn: &mut dyn Txn, extent: ExtentId) -> Result<(), FsError> {
    let images = sealed::images(txn, extent)?;
    keep_only(txn, extent, &images, |_| false)
}

/// The images of an extent that were sealed below an epoch are dead: its home and backups have cut it to nothing at that epoch.
pub(crate) fn forget_below(txn: &mut dyn Txn, extent: ExtentId, epoch: Epoch) -> Result<(), FsError> {
    let images = sealed::images(txn, extent)?;
    keep_only(txn, extent, &images, |image| epoch <= image.epoch)
}

fn keep_only(
    txn: &mut dyn Txn,
    extent: ExtentId,
    images: &[ExtentImage],
    stays: impl Fn(&ExtentImage) -> bool,
) -> Result<(), FsError> {
    let (kept, gone): (Vec<ExtentImage>, Vec<ExtentImage>) = images.iter().partition(|image| stays(image));
    if gone.is_empty() {
        return Ok(());
    }
    sealed::put_images(txn, extent, &kept)?;
    for image in gone {
        bury(txn, image.group)?;
    }
    Ok(())
}

/// Removes a group that has no living member.
fn bury(txn: &mut dyn Txn, id: GroupId) -> Result<(), FsError> {
    let Some(group) = sealed::group(txn, id)? else { return Ok(()) };
    if !living(txn, &group)?.is_empty() {
        return Ok(());
    }
    for slot in 0..group.shape().slots() {
        if let Some((image, _)) = group.shape().image(slot)
            && sealed::place(txn, image)? == Some(id)
        {
            txn.delete(&keys::image(image))?;
        }
    }
    Ok(txn.delete(&keys::group(id))?)
}

/// The living members of a group: slot, and the image as its extent has it.
///
/// # Errors
/// [`FsError::Store`].
pub fn living(view: &dyn View, group: &Group) -> Result<Vec<(usize, ExtentImage)>, FsError> {
    let mut living = Vec::new();
    for (slot, member) in group.shape().members().iter().enumerate() {
        let Some(member) = member else { continue };
        let images = sealed::images(view, member.extent)?;
        let here = |image: &&ExtentImage| (image.image, image.group) == (member.image, group.shape().group());
        living.extend(images.iter().find(here).map(|image| (slot, *image)));
    }
    Ok(living)
}

/// The first slot of a group with this image.
#[must_use]
pub fn slot_of(group: &Group, image: ImageId) -> Option<usize> {
    (0..group.shape().slots()).find(|slot| group.shape().image(*slot).is_some_and(|(one, _)| one == image))
}

/// The image of a slot is on another data server now.
///
/// # Errors
/// [`FsError::ContentMoved`] if the group is gone or the image is not where it was; [`FsError::Invalid`] if the data server has
/// an image of the group already.
pub fn rehome(
    txn: &mut dyn Txn,
    id: GroupId,
    slot: usize,
    from: DataServerId,
    to: DataServerId,
) -> Result<(), FsError> {
    let mut group = sealed::group(txn, id)?.ok_or(FsError::ContentMoved)?;
    if group.homes().get(slot).copied().flatten() != Some(from) {
        return Err(FsError::ContentMoved);
    }
    if group.rehome(slot, to).is_err() || !apart(group.homes()) {
        return Err(FsError::Invalid);
    }
    Ok(sealed::put_group(txn, &group)?)
}

/// Lists groups from a number on, in order, at most `groups_max`.
///
/// # Errors
/// [`FsError::Store`].
pub fn groups_from(view: &dyn View, from: GroupId, groups_max: usize) -> Result<Vec<Group>, FsError> {
    let mut groups = Vec::new();
    let mut failed = None;
    view.range(&keys::group(from), &[keys::TAG_GROUP + 1], &mut |key, value| {
        if groups.len() == groups_max {
            return ControlFlow::Break(());
        }
        let id = keys::number_of(key).map(GroupId).ok_or(StoreError::Corrupt("group key"));
        match id.and_then(|id| sealed::decode_group(id, value)) {
            Ok(group) => {
                groups.push(group);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(groups),
    }
}
