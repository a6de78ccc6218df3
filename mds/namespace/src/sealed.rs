//! What is kept of sealed extents: the images each has, the group each image is in, and groups' records.
//!
//! An extent has several images for a while: the oldest is in use, the newer ones wait until its home and backups use them.
//! Newer ones have higher sequences.
//!
//! INVARIANT: an image that an extent has is a member of the group named with it.
//! Spec: docs/formats/namespace.md; docs/protocol/seal.md; a group's record: docs/formats/group.md §3.

use layout::ec::{Group, GroupId, ImageId};
use layout::{Epoch, ExtentId};

use crate::codec::{put_u64, u64_at};
use crate::keys;
use crate::limits::EXTENT_IMAGES_MAX;
use crate::store::{StoreError, Txn, View};

/// Bytes of the images of an extent before the first one.
const IMAGES_HEAD_BYTES: usize = 8;
/// Bytes of one image of an extent.
const IMAGE_BYTES: usize = 40;
/// Bytes of the place of an image.
pub const PLACE_BYTES: usize = 16;
/// Bytes of the counter of groups.
const GROUP_COUNTER_BYTES: usize = 16;

const VERSION: u8 = 1;

/// One image of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentImage {
    /// Which one.
    pub image: ImageId,
    /// Up to which act it says the extent.
    pub sequence: u64,
    /// The extent's epoch when it was sealed.
    pub epoch: Epoch,
    /// The group it is a living member of.
    pub group: GroupId,
}

/// The value of an extent's images.
///
/// # Panics
/// If there are none, or more than [`EXTENT_IMAGES_MAX`].
#[must_use]
pub fn encode_images(images: &[ExtentImage]) -> Vec<u8> {
    assert!(!images.is_empty() && images.len() <= EXTENT_IMAGES_MAX);
    let mut out = vec![0; IMAGES_HEAD_BYTES];
    out[0] = VERSION;
    out[1] = u8::try_from(images.len()).expect("at most EXTENT_IMAGES_MAX");
    for image in images {
        out.extend_from_slice(&image.image.0);
        out.extend_from_slice(&image.sequence.to_be_bytes());
        out.extend_from_slice(&image.epoch.0.to_be_bytes());
        out.extend_from_slice(&image.group.0.to_be_bytes());
    }
    out
}

/// Reads the value of an extent's images, the oldest first.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_images(value: &[u8]) -> Result<Vec<ExtentImage>, StoreError> {
    let (head, rest) = value
        .split_first_chunk::<IMAGES_HEAD_BYTES>()
        .ok_or(StoreError::Corrupt("length of an extent's images"))?;
    if head[0] != VERSION {
        return Err(StoreError::Corrupt("version of an extent's images"));
    }
    let (entries, left) = rest.as_chunks::<IMAGE_BYTES>();
    let count = usize::from(head[1]);
    let counts = 0 < count && count <= EXTENT_IMAGES_MAX && entries.len() == count && left.is_empty();
    if !counts || head[2..] != [0; 6] {
        return Err(StoreError::Corrupt("length of an extent's images"));
    }
    let images: Vec<ExtentImage> = entries
        .iter()
        .map(|entry| ExtentImage {
            image: ImageId(*entry.first_chunk().expect("an entry begins with 16 bytes")),
            sequence: u64_at(entry, 16),
            epoch: Epoch(u64_at(entry, 24)),
            group: GroupId(u64_at(entry, 32)),
        })
        .collect();
    let nameless = images.iter().any(|image| image.image == ImageId([0; 16]));
    if nameless || images.windows(2).any(|pair| pair[1].sequence <= pair[0].sequence) {
        return Err(StoreError::Corrupt("images of an extent"));
    }
    Ok(images)
}

/// The value of an image's place: the group it is in.
#[must_use]
pub fn encode_place(group: GroupId) -> [u8; PLACE_BYTES] {
    let mut out = [0; PLACE_BYTES];
    out[0] = VERSION;
    put_u64(&mut out, 8, group.0);
    out
}

/// Reads the place of an image.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_place(value: &[u8]) -> Result<GroupId, StoreError> {
    let value: &[u8; PLACE_BYTES] =
        value.try_into().map_err(|_| StoreError::Corrupt("length of an image's place"))?;
    if value[..8] != [VERSION, 0, 0, 0, 0, 0, 0, 0] {
        return Err(StoreError::Corrupt("version of an image's place"));
    }
    Ok(GroupId(u64_at(value, 8)))
}

/// Reads the record of a group, which must be the one that its key names.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_group(id: GroupId, value: &[u8]) -> Result<Group, StoreError> {
    let group = Group::decode(value).map_err(|_| StoreError::Corrupt("record of a group"))?;
    if group.shape().group() == id { Ok(group) } else { Err(StoreError::Corrupt("number of a group")) }
}

/// The images of an extent, the oldest first; none if it was not sealed.
///
/// # Errors
/// [`StoreError`].
pub fn images(view: &dyn View, extent: ExtentId) -> Result<Vec<ExtentImage>, StoreError> {
    let mut found = Ok(Vec::new());
    view.read(&keys::extent_images(extent), &mut |value| found = decode_images(value))?;
    found
}

pub(crate) fn put_images(
    txn: &mut dyn Txn,
    extent: ExtentId,
    images: &[ExtentImage],
) -> Result<(), StoreError> {
    let key = keys::extent_images(extent);
    if images.is_empty() { txn.delete(&key) } else { txn.put(&key, &encode_images(images)) }
}

/// The group that an image is in, if it is in one; of a member that was moved, the newer one.
///
/// # Errors
/// [`StoreError`].
pub fn place(view: &dyn View, image: ImageId) -> Result<Option<GroupId>, StoreError> {
    let mut found = Ok(None);
    view.read(&keys::image(image), &mut |value| found = decode_place(value).map(Some))?;
    found
}

/// A group, if there is one of this number.
///
/// # Errors
/// [`StoreError`].
pub fn group(view: &dyn View, id: GroupId) -> Result<Option<Group>, StoreError> {
    let mut found = Ok(None);
    view.read(&keys::group(id), &mut |value| found = decode_group(id, value).map(Some))?;
    found
}

pub(crate) fn put_group(txn: &mut dyn Txn, group: &Group) -> Result<(), StoreError> {
    txn.put(&keys::group(group.shape().group()), &group.encode())
}

/// Takes the next number of a group, of shard 0.
pub(crate) fn next_group(txn: &mut dyn Txn) -> Result<GroupId, StoreError> {
    let next = group_counter(txn)?;
    assert!(next < 1 << 48, "the sequence of a shard fits below its number");
    let mut out = [0; GROUP_COUNTER_BYTES];
    out[0] = VERSION;
    put_u64(&mut out, 8, next + 1);
    txn.put(&keys::GROUP_COUNTER, &out)?;
    Ok(GroupId(next))
}

/// The number that the next group gets.
///
/// # Errors
/// [`StoreError`].
pub fn group_counter(view: &dyn View) -> Result<u64, StoreError> {
    let mut found = Ok(1);
    view.read(&keys::GROUP_COUNTER, &mut |value| found = decode_group_counter(value))?;
    found
}

fn decode_group_counter(value: &[u8]) -> Result<u64, StoreError> {
    let value: &[u8; GROUP_COUNTER_BYTES] =
        value.try_into().map_err(|_| StoreError::Corrupt("length of the counter of groups"))?;
    if value[..8] != [VERSION, 0, 0, 0, 0, 0, 0, 0] {
        return Err(StoreError::Corrupt("version of the counter of groups"));
    }
    Ok(u64_at(value, 8))
}
