//! Groups for tests: members of drawn lengths, and everything that encoding makes of them, in
//! memory.
//!
//! Spec: none; only tests use it.

use crate::ec::encode::{EncodeError, Encoded, Encoder};
use crate::ec::group::{Draft, GroupId, ImageId, Member, Shape};
use crate::ec::profile::Profile;
use crate::ec::sums::ImageSum;
use crate::extent::ExtentId;

/// Bytes that look random, the same for the same seed.
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

/// A group and all of its images; of parity images the payload.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) shape: Shape,
    pub(super) images: Vec<Vec<u8>>,
    pub(super) footers: Vec<Vec<u8>>,
}

pub(super) fn id(number: usize) -> ImageId {
    let mut id = [0xee; 16];
    id[8..].copy_from_slice(&(number as u64).to_be_bytes());
    ImageId(id)
}

/// A draft whose members have these bytes; `None` is an empty one.
pub(super) fn draft(profile: Profile, members: &[Option<Vec<u8>>]) -> Draft {
    let member = |(slot, bytes): (usize, &Option<Vec<u8>>)| {
        bytes.as_ref().map(|bytes| Member {
            image: id(slot),
            extent: ExtentId {
                ino: 0x0001_0000_0000_0100 + slot as u64,
                index: u32::try_from(slot).unwrap(),
            },
            bytes: bytes.len() as u64,
            sum: ImageSum::of(bytes),
        })
    };
    let parity = profile.data()..profile.images();
    let copies = profile.data() == 1;
    Draft {
        group: GroupId(0x0001_0000_0000_0007),
        profile,
        codec: profile.codec(),
        members: members.iter().enumerate().map(member).collect(),
        parity: parity.map(|slot| id(if copies { 0 } else { slot })).collect(),
    }
}

/// Encodes a draft; with the payloads of the parity.
pub(super) fn encode(
    draft: Draft,
    members: &[Option<Vec<u8>>],
    window_bytes: usize,
) -> Result<(Encoded, Vec<Vec<u8>>), EncodeError> {
    let mut payloads = vec![Vec::new(); draft.profile.parity()];
    let mut encoder = Encoder::new(draft, window_bytes)?;
    while let Some(window) = encoder.window() {
        let bytes_of = |member: &'_ Option<Vec<u8>>| -> Vec<u8> {
            let bytes = member.as_deref().unwrap_or_default();
            let range = window.of(bytes.len() as u64);
            bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
        };
        let data: Vec<Vec<u8>> = members.iter().map(bytes_of).collect();
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut parity = vec![vec![0xcc; window.bytes]; payloads.len()];
        let mut made: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        encoder.push(&data, &mut made)?;
        payloads.iter_mut().zip(parity).for_each(|(payload, window)| payload.extend(window));
    }
    Ok((encoder.finish()?, payloads))
}

/// A group with members of these lengths; `None` is an empty one.
pub(super) fn whole(profile: Profile, lengths: &[Option<usize>]) -> Whole {
    let noise_of = |(slot, bytes): (usize, &Option<usize>)| bytes.map(|bytes| noise(slot as u64 + 1, bytes));
    let members: Vec<Option<Vec<u8>>> = lengths.iter().enumerate().map(noise_of).collect();
    let (encoded, payloads) = encode(draft(profile, &members), &members, 1 << 17).unwrap();
    let images = members.into_iter().map(Option::unwrap_or_default).chain(payloads).collect();
    Whole { shape: encoded.shape, images, footers: encoded.footers }
}

/// All ways to take `count` of the numbers below `of`.
pub(super) fn combinations(of: usize, count: usize) -> Vec<Vec<usize>> {
    let sets = (0..1_u32 << of).filter(|set| set.count_ones() as usize == count);
    sets.map(|set| (0..of).filter(|at| set & (1 << at) != 0).collect()).collect()
}
