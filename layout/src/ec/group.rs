//! Groups: which images are coded together, and where each of them is.
//!
//! A shape is what never changes and what parity images carry with them; a group is a shape and the
//! data server of each image, which repair and rebalancing change. Slots number the images: members
//! from 0, parity from `k`.
//!
//! Knows nothing of what is in an image but its length and sum.
//!
//! INVARIANT: a [`Shape`] that exists fits its profile and codec, and its lengths are within
//! [`IMAGE_BYTES_MAX`].
//! Spec: docs/formats/group.md §3.

mod record;

use crate::data_server::DataServerId;
use crate::ec::codec::CodecId;
use crate::ec::lengths::TRAILER_BYTES;
use crate::ec::profile::Profile;
use crate::ec::sums::{ImageSum, list_bytes};
use crate::extent::ExtentId;
use crate::limits::IMAGE_BYTES_MAX;

pub use crate::ec::lengths::{GROUP_RECORD_BYTES_MAX, SHAPE_BYTES_MAX, group_record_bytes, shape_bytes};

/// A group, as the shard that made it numbers it. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

impl std::fmt::Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An image: 16 random bytes (docs/formats/image.md §2), not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub [u8; 16]);

impl std::fmt::Display for ImageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for ImageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImageId({self})")
    }
}

/// An image of a group that holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which image.
    pub image: ImageId,
    /// The extent it is the sealed form of.
    pub extent: ExtentId,
    /// Bytes of its file.
    pub bytes: u64,
    /// BLAKE3 of its file.
    pub sum: ImageSum,
}

/// An image of a group that holds parity. Its length follows from the members'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parity {
    /// Which image.
    pub image: ImageId,
    /// BLAKE3 of its payload.
    pub sum: ImageSum,
}

/// A group before its parity is known. A member that is `None` is empty: as if it were zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its number.
    pub group: GroupId,
    /// How many images of each sort.
    pub profile: Profile,
    /// Under which code.
    pub codec: CodecId,
    /// `k` members. At least one is not empty.
    pub members: Vec<Option<Member>>,
    /// `m` images to be made. A copy has the id of its member.
    pub parity: Vec<ImageId>,
}

/// Why something is no group. Ours, if we made it; of who wrote it, if it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The bytes are too few or too many for what they say.
    #[error("record of a group has {got} bytes")]
    Length {
        /// How many there are.
        got: usize,
    },
    /// Made by a version of Shoal that this one does not know.
    #[error("version {got} of a group's record is not known")]
    Version {
        /// The version byte.
        got: u8,
    },
    /// The checksum is wrong.
    #[error("checksum of a group's record is wrong")]
    Checksum,
    /// No such profile, no such codec, or not together.
    #[error("no such profile or codec: {data}+{parity}, codec {codec}")]
    Code {
        /// Members it says.
        data: usize,
        /// Parity images it says.
        parity: usize,
        /// The codec it says.
        codec: u8,
    },
    /// Not `k` members and `m` parity images, or not as many data servers.
    #[error("a group's images do not fit its profile")]
    Count,
    /// All members are empty, or one that should be is not.
    #[error("a group has members that are neither empty nor whole")]
    Empty,
    /// An image is too long, or a parity image is not as long as the members ask for.
    #[error("an image of {got} bytes does not fit the group")]
    ImageLength {
        /// Its length in bytes.
        got: u64,
    },
    /// In a group of copies an image is not the member, or does not have its sum.
    #[error("image {image} is no copy of the group's member")]
    NoCopy {
        /// Which one.
        image: ImageId,
    },
    /// An image is in the group twice.
    #[error("image {image} is in the group twice")]
    Twice {
        /// Which one.
        image: ImageId,
    },
}

impl Draft {
    /// Checks that it can become a group.
    ///
    /// # Errors
    /// [`GroupError`], none of the variants about bytes.
    pub fn check(&self) -> Result<(), GroupError> {
        let (data, parity) = (self.profile.data(), self.profile.parity());
        if !self.codec.can(self.profile) {
            return Err(GroupError::Code { data, parity, codec: self.codec.as_u8() });
        }
        if self.members.len() != data || self.parity.len() != parity {
            return Err(GroupError::Count);
        }
        let nameless = |member: &Member| member.extent.ino == 0;
        if self.members.iter().all(Option::is_none) || self.members.iter().flatten().any(nameless) {
            return Err(GroupError::Empty);
        }
        if let Some(long) = self.members.iter().flatten().find(|member| IMAGE_BYTES_MAX < member.bytes) {
            return Err(GroupError::ImageLength { got: long.bytes });
        }
        let mut images: Vec<ImageId> = self.members.iter().flatten().map(|member| member.image).collect();
        if images.iter().chain(&self.parity).any(|image| *image == ImageId([0; 16])) {
            return Err(GroupError::Empty);
        }
        if self.codec == CodecId::Copies {
            let other = self.parity.iter().find(|image| **image != images[0]);
            return other.map_or(Ok(()), |image| Err(GroupError::NoCopy { image: *image }));
        }
        images.extend(&self.parity);
        images.sort_unstable();
        match images.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(GroupError::Twice { image: pair[0] }),
            None => Ok(()),
        }
    }

    /// Bytes of parity: the longest member, in whole columns of the codec.
    ///
    /// # Units
    /// Bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        let longest = self.members.iter().flatten().map(|member| member.bytes).max().unwrap_or(0);
        longest.next_multiple_of(self.codec.column_bytes() as u64)
    }

    /// Bytes of a parity image's file: its payload, and what follows it (docs/formats/group.md §5).
    /// A copy is the member.
    ///
    /// # Units
    /// Bytes.
    #[must_use]
    pub fn parity_file_bytes(&self) -> u64 {
        let payload = self.payload_bytes();
        if self.codec == CodecId::Copies {
            return payload;
        }
        let of_members: u64 =
            self.members.iter().map(|member| list_bytes(member.map_or(0, |one| one.bytes))).sum();
        let of_parity = self.profile.parity() as u64 * list_bytes(payload);
        payload + of_members + of_parity + (shape_bytes(self.profile) + TRAILER_BYTES) as u64
    }

    /// The group this is, once the sums of its parity are known.
    ///
    /// # Errors
    /// As [`Draft::check`]; [`GroupError::Count`] also if there are not `m` sums.
    pub fn shape(self, parity_sums: &[ImageSum]) -> Result<Shape, GroupError> {
        self.check()?;
        if parity_sums.len() != self.parity.len() {
            return Err(GroupError::Count);
        }
        if let (CodecId::Copies, Some(member)) = (self.codec, self.members[0])
            && parity_sums.iter().any(|sum| *sum != member.sum)
        {
            return Err(GroupError::NoCopy { image: member.image });
        }
        Ok(Shape { draft: self, parity_sums: parity_sums.to_vec() })
    }
}

/// What never changes of a group: its images, their lengths and sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    draft: Draft,
    parity_sums: Vec<ImageSum>,
}

impl Shape {
    /// Its number.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.draft.group
    }

    /// How many images of each sort.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.draft.profile
    }

    /// Under which code.
    #[must_use]
    pub fn codec(&self) -> CodecId {
        self.draft.codec
    }

    /// The members; an empty one is `None`.
    #[must_use]
    pub fn members(&self) -> &[Option<Member>] {
        &self.draft.members
    }

    /// The parity images.
    pub fn parity(&self) -> impl Iterator<Item = Parity> + '_ {
        self.draft
            .parity
            .iter()
            .zip(&self.parity_sums)
            .map(|(image, sum)| Parity { image: *image, sum: *sum })
    }

    /// The group as it was before its parity was known.
    #[must_use]
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Slots there are, empty ones too.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.draft.profile.images()
    }

    /// Bytes of parity in each parity image.
    ///
    /// # Units
    /// Bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.draft.payload_bytes()
    }

    /// Bytes of the image in a slot, of a parity image its payload's; 0 for an empty member.
    ///
    /// # Units
    /// Bytes.
    ///
    /// # Panics
    /// If there is no such slot.
    #[must_use]
    pub fn bytes(&self, slot: usize) -> u64 {
        assert!(slot < self.slots(), "no such slot");
        match self.draft.members.get(slot) {
            Some(member) => member.map_or(0, |member| member.bytes),
            None => self.payload_bytes(),
        }
    }

    /// Bytes of the file of the image in a slot; 0 for an empty member.
    ///
    /// # Units
    /// Bytes.
    ///
    /// # Panics
    /// If there is no such slot.
    #[must_use]
    pub fn file_bytes(&self, slot: usize) -> u64 {
        if slot < self.profile().data() { self.bytes(slot) } else { self.draft.parity_file_bytes() }
    }

    /// The image in a slot and its sum; `None` for an empty member, and for slots there are not.
    #[must_use]
    pub fn image(&self, slot: usize) -> Option<(ImageId, ImageSum)> {
        match slot.checked_sub(self.profile().data()) {
            None => self.members()[slot].map(|member| (member.image, member.sum)),
            Some(parity) => self.parity().nth(parity).map(|parity| (parity.image, parity.sum)),
        }
    }
}

/// A group: its shape, and the data server of each image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    shape: Shape,
    homes: Vec<Option<DataServerId>>,
}

impl Group {
    /// A group whose images are on these data servers, by slot; empty members have none.
    ///
    /// # Errors
    /// [`GroupError::Count`] if there are not as many as slots; [`GroupError::Empty`] if an image
    /// has none or an empty member has one.
    pub fn new(shape: Shape, homes: Vec<Option<DataServerId>>) -> Result<Self, GroupError> {
        if homes.len() != shape.slots() {
            return Err(GroupError::Count);
        }
        let fit =
            |(slot, home): (usize, &Option<DataServerId>)| home.is_some() == shape.image(slot).is_some();
        if !homes.iter().enumerate().all(fit) {
            return Err(GroupError::Empty);
        }
        Ok(Self { shape, homes })
    }

    /// What never changes of it.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The data server of each slot; `None` for an empty member.
    #[must_use]
    pub fn homes(&self) -> &[Option<DataServerId>] {
        &self.homes
    }

    /// Says that a slot's image is on another data server now.
    ///
    /// # Errors
    /// [`GroupError::Empty`] if there is no image in the slot, or no slot.
    pub fn rehome(&mut self, slot: usize, home: DataServerId) -> Result<(), GroupError> {
        match self.homes.get_mut(slot) {
            Some(Some(known)) => {
                *known = home;
                Ok(())
            }
            _ => Err(GroupError::Empty),
        }
    }

    /// How many more images may be lost, if those on the data servers that `is_lost` names are.
    /// `None` if too many are lost already and a member cannot be rebuilt.
    ///
    /// Empty members are never lost.
    pub fn losses_left(&self, is_lost: impl Fn(DataServerId) -> bool) -> Option<usize> {
        let lost = self.homes.iter().flatten().filter(|home| is_lost(**home)).count();
        self.shape.profile().losses_tolerated().checked_sub(lost)
    }
}

#[cfg(test)]
mod tests;
