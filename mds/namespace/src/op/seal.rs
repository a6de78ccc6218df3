//! Sealing: groups are made, their images move, extents begin to use newer images, and groups are
//! removed with their last living member.
//!
//! A member is *living* while its extent has it as an image. Older images of an extent stay until
//! its primary has reported that primary and replicas use a newer one. Then, or when the extent is
//! removed or cut to nothing, they are dead: kept only for other members.
//!
//! Spec: docs/protocol/seal.md §2, §3, §6 to §8; docs/formats/namespace.md.

use std::collections::BTreeSet;

use layout::ec::{Group, GroupId, ImageId, Member};
use layout::{DataServerId, Epoch, ExtentId};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::limits::EXTENT_IMAGES_MAX;
use crate::op::extent;
use crate::sealed::{self, ExtentImage, ExtentImages, Place};
use crate::store::{self, StoreError, Txn, View};
use crate::{ExtentRecord, FsError};

/// How a member of a group was sealed. Beside the group's record, for each member that is not
/// empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedAs {
    /// The extent's epoch when it was sealed.
    pub epoch: Epoch,
    /// Sequence of the last act that the image contains.
    pub sequence: u64,
    /// Bytes of the extent that it contains, from the start.
    pub content_bytes: u32,
    /// Root of its frames' hashes (docs/formats/image.md §4).
    pub root: [u8; 32],
    /// The group it is taken from, which is being dissolved; `None` if it was in none.
    pub from: Option<u64>,
}

/// Reserves the number of a new group. An unused number is not used again.
///
/// # Errors
/// [`FsError::Store`].
pub fn take_group(txn: &mut dyn Txn) -> Result<GroupId, FsError> {
    let taken = sealed::next_group(txn)?;
    debug_assert!(taken.0 < sealed::group_counter(txn)?, "a number is given out once");
    Ok(taken)
}

/// Whether an image may become a member of a new group, on the data server `home`.
///
/// # Errors
/// [`FsError::Store`].
pub fn may_join(
    view: &dyn View,
    member: &Member,
    home: DataServerId,
    sealed_as: &SealedAs,
) -> Result<bool, FsError> {
    let images = sealed::images(view, member.extent)?.images;
    if let Some(from) = sealed_as.from.map(GroupId) {
        let same = |image: &ExtentImage| {
            (image.image, image.sequence, image.group) == (member.image, sealed_as.sequence, from)
        };
        let Some(group) = sealed::group(view, from)? else { return Ok(false) };
        // An image that is in two groups already stays there: a place has room for two.
        let elsewhere = sealed::place(view, member.image)?.is_none_or(|place| place.also.is_some());
        let slot = slot_of(&group, member.image);
        let there = slot.is_some_and(|slot| group.homes()[slot] == Some(home));
        let alike = slot.and_then(|slot| group.shape().members().get(slot).copied().flatten());
        return Ok(images.iter().any(same) && !elsewhere && there && alike == Some(*member));
    }
    let Some(record) = extent::extent(view, member.extent)? else { return Ok(false) };
    let newest = images.last().map_or(0, |image| image.sequence);
    // While a cut is pending, an image of its epoch may be from before or after it.
    Ok((record.home, record.epoch, record.pending_work) == (home, sealed_as.epoch, None)
        && newest < sealed_as.sequence
        && images.len() < EXTENT_IMAGES_MAX
        && sealed::place(view, member.image)?.is_none())
}

/// Makes a group. `sealed_as` has one entry for each member that is not empty, in their order.
///
/// # Errors
/// [`FsError::Invalid`] for an invalid group: a number that was not reserved or is used, two images
/// on one data server, parity that is elsewhere; [`FsError::ContentMoved`] if a member may not join
/// (any more).
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
        put_place(txn, parity.image, Place { group: id, also: None })?;
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

/// Records an image in a group and in its extent.
fn join(txn: &mut dyn Txn, id: GroupId, member: &Member, sealed_as: &SealedAs) -> Result<(), FsError> {
    let mut of = sealed::images(txn, member.extent)?;
    match of.images.iter_mut().find(|image| image.image == member.image) {
        Some(image) => image.group = id,
        None => {
            let SealedAs { epoch, sequence, content_bytes, root, .. } = *sealed_as;
            of.images.push(ExtentImage {
                image: member.image,
                sequence,
                epoch,
                group: id,
                content_bytes,
                root,
            });
        }
    }
    assert!(of.images.len() <= EXTENT_IMAGES_MAX, "an extent has few images");
    sealed::put_images(txn, member.extent, &of)?;
    put_place(txn, member.image, Place { group: id, also: sealed_as.from.map(GroupId) })
}

fn put_place(txn: &mut dyn Txn, image: ImageId, place: Place) -> Result<(), FsError> {
    assert!(place.also != Some(place.group), "the two groups of an image differ");
    let value = sealed::encode_place(place);
    debug_assert_eq!(sealed::decode_place(&value), Ok(place), "a place reads back as it was");
    Ok(txn.put(&keys::image(image), &value)?)
}

/// The primary of an extent reports that primary and replicas use an image: older ones are dead.
/// `above` is the last act above it, 0 if there is none. Changes nothing if the image is not the
/// extent's (any more), or `server` not its primary. Returns whether anything changed.
///
/// # Errors
/// [`FsError::Store`].
pub fn use_image(
    txn: &mut dyn Txn,
    extent: ExtentId,
    image: ImageId,
    server: DataServerId,
    above: u64,
) -> Result<bool, FsError> {
    let primary = extent::extent(txn, extent)?.map(|record| record.home);
    let before = sealed::images(txn, extent)?;
    let Some(at) = before.images.iter().position(|one| one.image == image) else { return Ok(false) };
    if primary != Some(server) {
        return Ok(false);
    }
    let after = ExtentImages { is_used: true, thawed: before.thawed.max(above), ..before.clone() };
    assert!(before.thawed <= after.thawed, "what was promised above an image stays promised");
    keep_only(txn, extent, after.clone(), |one| before.images[at].sequence <= one.sequence)?;
    Ok(0 < at || after != before)
}

/// The primary of an extent is about to answer an act with this sequence, which lies above an
/// image; or, with the sequence 0, to promise something of it for the first time. In both cases the
/// extent has a promise from now on.
///
/// # Errors
/// [`FsError::ContentMoved`] if `server` is not its primary.
pub fn thaw(txn: &mut dyn Txn, extent: ExtentId, server: DataServerId, sequence: u64) -> Result<(), FsError> {
    let record = extent::extent(txn, extent)?.filter(|record| record.home == server);
    let Some(record) = record else { return Err(FsError::ContentMoved) };
    if record.unpromised {
        extent::put(txn, &ExtentRecord { unpromised: false, ..record })?;
    }
    let mut of = sealed::images(txn, extent)?;
    if of.thawed < sequence && !of.images.is_empty() {
        of.thawed = sequence;
        sealed::put_images(txn, extent, &of)?;
    }
    Ok(())
}

/// Bytes of an extent will be cut at this epoch: its images still contain them.
pub(crate) fn note_cut(txn: &mut dyn Txn, extent: ExtentId, epoch: Epoch) -> Result<(), FsError> {
    let mut of = sealed::images(txn, extent)?;
    if of.images.is_empty() || epoch <= of.cut {
        return Ok(());
    }
    assert!(of.cut < epoch, "a later cut has a higher epoch");
    of.cut = epoch;
    Ok(sealed::put_images(txn, extent, &of)?)
}

/// Removes all images of a removed extent: they are dead.
pub(crate) fn forget(txn: &mut dyn Txn, extent: ExtentId) -> Result<(), FsError> {
    let of = sealed::images(txn, extent)?;
    keep_only(txn, extent, of, |_| false)
}

/// Removes the images of an extent that were sealed below an epoch: its primary and replicas have
/// cut it to nothing at that epoch.
pub(crate) fn forget_below(txn: &mut dyn Txn, extent: ExtentId, epoch: Epoch) -> Result<(), FsError> {
    let mut of = sealed::images(txn, extent)?;
    // No primary has reported that all use the oldest of those that stay.
    of.is_used &= of.images.first().is_some_and(|image| epoch <= image.epoch);
    keep_only(txn, extent, of, |image| epoch <= image.epoch)
}

/// Records the images that stay.
fn keep_only(
    txn: &mut dyn Txn,
    extent: ExtentId,
    mut of: ExtentImages,
    stays: impl Fn(&ExtentImage) -> bool,
) -> Result<(), FsError> {
    let gone: Vec<ExtentImage> = of.images.extract_if(.., |image| !stays(image)).collect();
    let oldest = of.images.first().map_or(u64::MAX, |image| image.sequence);
    debug_assert!(gone.iter().all(|image| image.sequence < oldest), "the oldest images go");
    sealed::put_images(txn, extent, &of)?;
    for image in gone {
        bury(txn, image.group)?;
    }
    Ok(())
}

/// Removes a group without living members. An image that is also in another group stays in that.
fn bury(txn: &mut dyn Txn, id: GroupId) -> Result<(), FsError> {
    let Some(group) = sealed::group(txn, id)? else { return Ok(()) };
    if !living(txn, &group)?.is_empty() {
        return Ok(());
    }
    for slot in 0..group.shape().slots() {
        let Some((image, _)) = group.shape().image(slot) else { continue };
        let Some(place) = sealed::place(txn, image)? else { continue };
        match place {
            Place { group, also: Some(other) } if group == id => {
                put_place(txn, image, Place { group: other, also: None })?;
            }
            Place { group, also: Some(also) } if also == id => {
                put_place(txn, image, Place { group, also: None })?;
            }
            Place { group, also: None } if group == id => txn.delete(&keys::image(image))?,
            Place { .. } => {}
        }
    }
    Ok(txn.delete(&keys::group(id))?)
}

/// The living members of a group: slot, and the image in its extent's record.
///
/// # Errors
/// [`FsError::Store`].
pub fn living(view: &dyn View, group: &Group) -> Result<Vec<(usize, ExtentImage)>, FsError> {
    let mut living = Vec::new();
    for (slot, member) in group.shape().members().iter().enumerate() {
        let Some(member) = member else { continue };
        let images = sealed::images(view, member.extent)?.images;
        let here = |image: &&ExtentImage| (image.image, image.group) == (member.image, group.shape().group());
        living.extend(images.iter().find(here).map(|image| (slot, *image)));
    }
    Ok(living)
}

/// Whether the image of a slot may move to another data server. A living image may only when it is
/// in use, since its primary must have it until then, and when it is in no second group, which
/// would expect it where it was. `alive` are the group's [living] members.
///
/// # Errors
/// [`FsError::Store`].
pub fn may_move(
    view: &dyn View,
    group: &Group,
    alive: &[(usize, ExtentImage)],
    slot: usize,
) -> Result<bool, FsError> {
    let member = group.shape().members().get(slot).copied().flatten();
    let living = alive.iter().find(|(living, _)| *living == slot);
    let (Some(member), Some((_, image))) = (member, living) else { return Ok(true) };
    let of = sealed::images(view, member.extent)?;
    let alone = sealed::place(view, member.image)?.is_some_and(|place| place.also.is_none());
    Ok(alone && of.is_used && of.images.first().is_some_and(|oldest| oldest.image == image.image))
}

/// The first slot of a group with this image.
#[must_use]
pub fn slot_of(group: &Group, image: ImageId) -> Option<usize> {
    (0..group.shape().slots()).find(|slot| group.shape().image(*slot).is_some_and(|(one, _)| one == image))
}

/// Records that the image of a slot is on another data server now.
///
/// # Errors
/// [`FsError::ContentMoved`] if the group is gone or the image is not at `from`;
/// [`FsError::Invalid`] if the data server has an image of the group already.
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
    assert_eq!(group.homes()[slot], Some(to), "the image has moved");
    Ok(sealed::put_group(txn, &group)?)
}

/// Lists groups starting at a number, in order, at most `groups_max`.
///
/// # Errors
/// [`FsError::Store`].
pub fn groups_from(view: &dyn View, from: GroupId, groups_max: usize) -> Result<Vec<Group>, FsError> {
    Ok(store::list(view, &keys::group(from), &[keys::TAG_GROUP + 1], groups_max, decode_group)?)
}

/// Reads a group's record from its key and value.
pub(crate) fn decode_group(key: &[u8], value: &[u8]) -> Result<Group, StoreError> {
    sealed::decode_group(GroupId(keys::number_of(key).ok_or(StoreError::Corrupt("group key"))?), value)
}
