//! Records of sealed extents: the images of each, the group of each image, and groups' records.
//!
//! An extent has several images for a while: the oldest is in use, the newer ones wait until its
//! primary and replicas use them. Newer ones have higher sequences.
//!
//! INVARIANT: an image that an extent has is a member of the group named with it.
//! Spec: docs/formats/namespace.md; docs/protocol/seal.md §8; a group's record:
//! docs/formats/group.md §3.

use layout::ec::{Group, GroupId, ImageId};
use layout::{EXTENT_BYTES, Epoch, ExtentId};

use crate::codec::{put_u64, u32_at, u64_at};
use crate::inode::{first_of_shard, shard_of};
use crate::keys;
use crate::limits::EXTENT_IMAGES_MAX;
use crate::store::{StoreError, Txn, View};
use crate::superblock;

/// Bytes of the images of an extent before the first one.
const IMAGES_HEAD_BYTES: usize = 24;
/// Bytes of one image of an extent.
const IMAGE_BYTES: usize = 80;
/// Bytes of the place of an image.
pub const PLACE_BYTES: usize = 24;
/// Bytes of the counter of groups.
const GROUP_COUNTER_BYTES: usize = 16;

const VERSION: u8 = 1;

/// One image of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentImage {
    /// Its id.
    pub image: ImageId,
    /// Sequence of the last act that it contains.
    pub sequence: u64,
    /// The extent's epoch when it was sealed.
    pub epoch: Epoch,
    /// The group of which it is a living member.
    pub group: GroupId,
    /// Bytes of the extent that it contains, from the start.
    pub content_bytes: u32,
    /// Root of its frames' hashes (docs/formats/image.md §4).
    pub root: [u8; 32],
}

/// The images of an extent, and whether the oldest is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtentImages {
    /// The primary and all replicas use the oldest one.
    pub is_used: bool,
    /// No act above the oldest one was answered with a sequence below this; 0 if there is none.
    pub thawed: u64,
    /// The highest epoch at which a cut was queued since the extent has images; 0 if there is none.
    pub cut: Epoch,
    /// The oldest first.
    pub images: Vec<ExtentImage>,
}

impl ExtentImages {
    /// The image that contains every byte that was ever promised, if there is one.
    ///
    /// Spec: docs/protocol/seal.md §8.
    #[must_use]
    pub fn at_rest(&self) -> Option<&ExtentImage> {
        self.whole_but_for_cuts().filter(|image| self.cut <= image.epoch)
    }

    /// The image that contains every byte that was ever promised and was not cut since.
    pub(crate) fn whole_but_for_cuts(&self) -> Option<&ExtentImage> {
        self.images.first().filter(|image| self.is_used && self.thawed <= image.sequence)
    }
}

/// The groups that have an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The newest.
    pub group: GroupId,
    /// The group it was taken from, while that has other living members.
    pub also: Option<GroupId>,
}

impl Place {
    /// Its groups, the newest first.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        std::iter::once(self.group).chain(self.also)
    }
}

/// The value of an extent's images.
///
/// # Panics
/// If there are none, or more than [`EXTENT_IMAGES_MAX`].
#[must_use]
pub fn encode_images(of: &ExtentImages) -> Vec<u8> {
    assert!(!of.images.is_empty(), "a record has images");
    assert!(of.images.len() <= EXTENT_IMAGES_MAX, "an extent has few images");
    assert!(of.images.is_sorted_by(|one, next| one.sequence < next.sequence), "the oldest first");
    let mut out = vec![0; IMAGES_HEAD_BYTES];
    out[0] = VERSION;
    out[1] = u8::try_from(of.images.len()).expect("at most EXTENT_IMAGES_MAX");
    out[2] = u8::from(of.is_used);
    put_u64(&mut out, 8, of.thawed);
    put_u64(&mut out, 16, of.cut.0);
    for image in &of.images {
        out.extend_from_slice(&image.image.0);
        out.extend_from_slice(&image.sequence.to_be_bytes());
        out.extend_from_slice(&image.epoch.0.to_be_bytes());
        out.extend_from_slice(&image.group.0.to_be_bytes());
        out.extend_from_slice(&image.content_bytes.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&image.root);
    }
    let expected = IMAGES_HEAD_BYTES + of.images.len() * IMAGE_BYTES;
    assert_eq!(out.len(), expected, "an entry for each image");
    debug_assert_eq!(decode_images(&out).as_ref(), Ok(of), "images read back as they were");
    out
}

/// Reads the value of an extent's images, the oldest first.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_images(value: &[u8]) -> Result<ExtentImages, StoreError> {
    let (head, rest) = value
        .split_first_chunk::<IMAGES_HEAD_BYTES>()
        .ok_or(StoreError::Corrupt("length of an extent's images"))?;
    if head[0] != VERSION {
        return Err(StoreError::Corrupt("version of an extent's images"));
    }
    let (entries, left) = rest.as_chunks::<IMAGE_BYTES>();
    let count = usize::from(head[1]);
    let counts = 0 < count && count <= EXTENT_IMAGES_MAX && entries.len() == count && left.is_empty();
    if !counts || 1 < head[2] || head[3..8] != [0; 5] {
        return Err(StoreError::Corrupt("length of an extent's images"));
    }
    let images: Vec<ExtentImage> = entries.iter().map(decode_image).collect();
    let wrong = |image: &ExtentImage| {
        image.image == ImageId([0; 16]) || EXTENT_BYTES < u64::from(image.content_bytes)
    };
    let padded = entries.iter().any(|entry| entry[44..48] != [0; 4]);
    if padded
        || images.iter().any(wrong)
        || images.windows(2).any(|pair| pair[1].sequence <= pair[0].sequence)
    {
        return Err(StoreError::Corrupt("images of an extent"));
    }
    Ok(ExtentImages { is_used: head[2] == 1, thawed: u64_at(head, 8), cut: Epoch(u64_at(head, 16)), images })
}

fn decode_image(entry: &[u8; IMAGE_BYTES]) -> ExtentImage {
    ExtentImage {
        image: ImageId(*entry.first_chunk().expect("an entry begins with 16 bytes")),
        sequence: u64_at(entry, 16),
        epoch: Epoch(u64_at(entry, 24)),
        group: GroupId(u64_at(entry, 32)),
        content_bytes: u32_at(entry, 40),
        root: *entry.last_chunk().expect("an entry ends with 32 bytes"),
    }
}

/// The value of an image's place.
#[must_use]
pub fn encode_place(place: Place) -> [u8; PLACE_BYTES] {
    let mut out = [0; PLACE_BYTES];
    out[0] = VERSION;
    put_u64(&mut out, 8, place.group.0);
    put_u64(&mut out, 16, place.also.map_or(0, |also| also.0));
    out
}

/// Reads the place of an image.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_place(value: &[u8]) -> Result<Place, StoreError> {
    let value: &[u8; PLACE_BYTES] =
        value.try_into().map_err(|_| StoreError::Corrupt("length of an image's place"))?;
    if value[..8] != [VERSION, 0, 0, 0, 0, 0, 0, 0] {
        return Err(StoreError::Corrupt("version of an image's place"));
    }
    let (group, also) = (GroupId(u64_at(value, 8)), u64_at(value, 16));
    if also == group.0 {
        return Err(StoreError::Corrupt("an image's place"));
    }
    Ok(Place { group, also: (also != 0).then_some(GroupId(also)) })
}

/// Decodes the record of a group, whose number must be that of its key.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_group(id: GroupId, value: &[u8]) -> Result<Group, StoreError> {
    let group = Group::decode(value).map_err(|_| StoreError::Corrupt("record of a group"))?;
    if group.shape().group() == id { Ok(group) } else { Err(StoreError::Corrupt("number of a group")) }
}

/// The images of an extent; empty if it was not sealed.
///
/// # Errors
/// [`StoreError`].
pub fn images(view: &dyn View, extent: ExtentId) -> Result<ExtentImages, StoreError> {
    let mut found = Ok(ExtentImages::default());
    view.read(&keys::extent_images(extent), &mut |value| found = decode_images(value))?;
    found
}

pub(crate) fn put_images(txn: &mut dyn Txn, extent: ExtentId, of: &ExtentImages) -> Result<(), StoreError> {
    let key = keys::extent_images(extent);
    if of.images.is_empty() { txn.delete(&key) } else { txn.put(&key, &encode_images(of)) }
}

/// The groups of an image, if it is in one.
///
/// # Errors
/// [`StoreError`].
pub fn place(view: &dyn View, image: ImageId) -> Result<Option<Place>, StoreError> {
    let mut found = Ok(None);
    view.read(&keys::image(image), &mut |value| found = decode_place(value).map(Some))?;
    found
}

/// A group, if the number exists.
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

/// Takes the next number of a group, of this shard.
pub(crate) fn next_group(txn: &mut dyn Txn) -> Result<GroupId, StoreError> {
    let next = group_counter(txn)?;
    assert!(shard_of(next) == shard_of(next + 1), "the sequence of a shard fits below its number");
    let mut out = [0; GROUP_COUNTER_BYTES];
    out[0] = VERSION;
    put_u64(&mut out, 8, next + 1);
    txn.put(&keys::GROUP_COUNTER, &out)?;
    Ok(GroupId(next))
}

/// The number of the next group.
///
/// # Errors
/// [`StoreError`].
pub fn group_counter(view: &dyn View) -> Result<u64, StoreError> {
    let mut found = None;
    view.read(&keys::GROUP_COUNTER, &mut |value| found = Some(decode_group_counter(value)))?;
    found.unwrap_or_else(|| Ok(first_of_shard(superblock::shard(view)?)))
}

fn decode_group_counter(value: &[u8]) -> Result<u64, StoreError> {
    let value: &[u8; GROUP_COUNTER_BYTES] =
        value.try_into().map_err(|_| StoreError::Corrupt("length of the counter of groups"))?;
    if value[..8] != [VERSION, 0, 0, 0, 0, 0, 0, 0] {
        return Err(StoreError::Corrupt("version of the counter of groups"));
    }
    Ok(u64_at(value, 8))
}
