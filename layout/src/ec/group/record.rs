//! The bytes of shapes and groups.
//!
//! Spec: docs/formats/group.md §3.

use super::{Draft, Group, GroupError, GroupId, ImageId, Member, Shape};
use crate::data_server::DataServerId;
use crate::ec::codec::CodecId;
use crate::ec::lengths::{
    CHECK_BYTES, GROUP_RECORD_BYTES_MAX, HEAD_BYTES, HOME_BYTES, IMAGE_ENTRY_BYTES, group_record_bytes,
    shape_bytes,
};
use crate::ec::profile::Profile;
use crate::ec::sums::{ImageSum, SUM_BYTES};
use crate::extent::ExtentId;

const VERSION: u8 = 1;
const NO_SUM: ImageSum = ImageSum([0; SUM_BYTES]);

impl Shape {
    /// Its bytes, as parity images carry them. They have no checksum of their own.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        put_shape(self.draft(), self.parity().map(|parity| parity.sum))
    }

    /// Reads a shape: all of the bytes, whose checksum the caller has checked.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, GroupError> {
        let (draft, sums) = take_shape(bytes)?;
        draft.shape(&sums)
    }
}

impl Draft {
    /// The bytes of its shape, with zeros for the sums of the parity images that are to be made:
    /// what ENCODE carries.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        put_shape(self, self.parity.iter().map(|_| NO_SUM))
    }

    /// Reads a draft: all of the bytes, whose checksum the caller has checked.
    ///
    /// # Errors
    /// [`GroupError`]; [`GroupError::Empty`] also if a sum is not zero.
    pub fn decode(bytes: &[u8]) -> Result<Self, GroupError> {
        let (draft, sums) = take_shape(bytes)?;
        if sums.iter().any(|sum| *sum != NO_SUM) {
            return Err(GroupError::Empty);
        }
        Ok(draft)
    }
}

impl Group {
    /// Its record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.shape().encode();
        for home in self.homes() {
            out.extend(home.map_or(0, |home| home.0).to_be_bytes());
        }
        let check = check_of(&out);
        out.extend(check);
        assert!(out.len() == group_record_bytes(self.shape().profile()), "each image has its home");
        out
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, GroupError> {
        let wrong_length = GroupError::Length { got: bytes.len() };
        let (checked, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(wrong_length)?;
        if HEAD_BYTES <= checked.len() && checked[0] != VERSION {
            return Err(GroupError::Version { got: checked[0] });
        }
        if GROUP_RECORD_BYTES_MAX < bytes.len() {
            return Err(wrong_length);
        }
        if check_of(checked) != *check {
            return Err(GroupError::Checksum);
        }
        let images =
            checked.len().checked_sub(HEAD_BYTES).ok_or(wrong_length)? / (IMAGE_ENTRY_BYTES + HOME_BYTES);
        let (shape, homes) = checked.split_at(HEAD_BYTES + images * IMAGE_ENTRY_BYTES);
        let shape = Shape::decode(shape)?;
        if bytes.len() != group_record_bytes(shape.profile()) {
            return Err(wrong_length);
        }
        let (homes, _) = homes.as_chunks::<HOME_BYTES>();
        let numbers = homes.iter().map(|home| u32::from_be_bytes(*home));
        let homes = numbers.enumerate().map(|(slot, number)| {
            // No number is kept back for "none": whether there is a data server follows
            // from whether there is an image.
            (number != 0 || shape.image(slot).is_some()).then_some(DataServerId(number))
        });
        let homes = homes.collect();
        Self::new(shape, homes)
    }
}

/// The bytes of a draft's shape with these sums.
fn put_shape(draft: &Draft, parity_sums: impl Iterator<Item = ImageSum>) -> Vec<u8> {
    let mut out = Vec::with_capacity(shape_bytes(draft.profile));
    let count = |number: usize| u8::try_from(number).expect("a profile's numbers are small");
    out.extend([VERSION, draft.codec.as_u8(), count(draft.profile.data()), count(draft.profile.parity())]);
    out.extend([0; 4]);
    out.extend(draft.group.0.to_be_bytes());
    for member in &draft.members {
        match member {
            Some(member) => put_image(&mut out, member),
            None => out.extend([0; IMAGE_ENTRY_BYTES]),
        }
    }
    let (extent, bytes) = (ExtentId { ino: 0, index: 0 }, draft.payload_bytes());
    for (image, sum) in draft.parity.iter().zip(parity_sums) {
        put_image(&mut out, &Member { image: *image, extent, bytes, sum });
    }
    assert!(out.len() == shape_bytes(draft.profile), "each image has its entry");
    out
}

/// Takes a shape apart: a draft that can become a group, and the sums that are said of its parity
/// images.
fn take_shape(bytes: &[u8]) -> Result<(Draft, Vec<ImageSum>), GroupError> {
    let wrong_length = GroupError::Length { got: bytes.len() };
    let (head, entries) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(wrong_length)?;
    if head[0] != VERSION {
        return Err(GroupError::Version { got: head[0] });
    }
    let (data, parity) = (usize::from(head[2]), usize::from(head[3]));
    let unknown = GroupError::Code { data, parity, codec: head[1] };
    let codec = CodecId::from_u8(head[1]).ok_or(unknown)?;
    let profile = Profile::of(data, parity).ok_or(unknown)?;
    if bytes.len() != shape_bytes(profile) {
        return Err(wrong_length);
    }
    if head[4..8] != [0; 4] {
        return Err(GroupError::Empty);
    }
    let group = GroupId(u64::from_be_bytes(*head.last_chunk().expect("16 bytes end in 8")));
    let (entries, _) = entries.as_chunks::<IMAGE_ENTRY_BYTES>();
    let (members, parities) = entries.split_at(data);
    let parities: Vec<Member> = parities.iter().map(take_image).collect();
    let draft = Draft {
        group,
        profile,
        codec,
        members: members
            .iter()
            .map(|entry| (*entry != [0; IMAGE_ENTRY_BYTES]).then(|| take_image(entry)))
            .collect(),
        parity: parities.iter().map(|parity| parity.image).collect(),
    };
    let sums: Vec<ImageSum> = parities.iter().map(|parity| parity.sum).collect();
    draft.check()?;
    for parity in parities {
        if parity.bytes != draft.payload_bytes() {
            return Err(GroupError::ImageLength { got: parity.bytes });
        }
        if parity.extent != (ExtentId { ino: 0, index: 0 }) {
            return Err(GroupError::Empty);
        }
    }
    Ok((draft, sums))
}

fn put_image(out: &mut Vec<u8>, image: &Member) {
    out.extend(image.image.0);
    out.extend(image.extent.ino.to_be_bytes());
    out.extend(image.extent.index.to_be_bytes());
    out.extend(u32::try_from(image.bytes).expect("lengths of images are bounded").to_be_bytes());
    out.extend(image.sum.0);
}

fn take_image(entry: &[u8; IMAGE_ENTRY_BYTES]) -> Member {
    let word = |at: usize| u32::from_be_bytes(entry[at..at + 4].try_into().expect("four bytes"));
    Member {
        image: ImageId(*entry.first_chunk().expect("an entry begins with 16 bytes")),
        extent: ExtentId { ino: u64::from(word(16)) << 32 | u64::from(word(20)), index: word(24) },
        bytes: u64::from(word(28)),
        sum: ImageSum(*entry.last_chunk::<SUM_BYTES>().expect("an entry ends in 32 bytes")),
    }
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash has 32 bytes")
}
