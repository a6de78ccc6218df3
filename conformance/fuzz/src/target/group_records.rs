//! Records of groups and the ends of parity images, made up and with right checksums over wrong
//! fields.
//!
//! Input: a byte that chooses, then a record as it is, a record without its checksum, or what
//! follows a parity image's payload without its checksum.
//! Spec: docs/formats/group.md.

use layout::ec::footer::TRAILER_BYTES;
use layout::ec::{Draft, Encoder, Footer, Group, GroupId, ImageId, ImageSum, Member, Profile, Trailer};
use layout::{DataServerId, ExtentId};

use super::row::{MemoryBound, Shape, Target};

pub(super) const TARGET: Target = Target {
    name: "group_records",
    about: "records of groups, shapes and footers of parity images, made up and forged",
    run,
    seeds,
    shape: Shape::Bytes,
    bound: MemoryBound::DECODER,
    input_bytes_max: 4096,
};

const GROUP_CHECK_BYTES: usize = 16;
const FOOTER_CHECK_BYTES: usize = 32;

fn run(input: &[u8]) -> usize {
    let Some((choice, bytes)) = input.split_first() else { return 0 };
    match choice % 3 {
        0 => check_group(bytes),
        1 => check_group(&[bytes, &blake3::hash(bytes).as_bytes()[..GROUP_CHECK_BYTES]].concat()),
        _ => check_footer(&[bytes, blake3::hash(bytes).as_bytes()].concat()),
    }
}

/// Whatever is a group has one form, and holds what groups promise.
fn check_group(bytes: &[u8]) -> usize {
    let Ok(group) = Group::decode(bytes) else { return 0 };
    assert_eq!(group.encode(), bytes);
    let shape = group.shape();
    assert!(shape.payload_bytes() <= layout::limits::IMAGE_BYTES_MAX);
    let images = (0..shape.slots()).filter(|slot| shape.image(*slot).is_some()).count();
    assert_eq!(group.homes().iter().flatten().count(), images, "each image has its home");
    assert_eq!(group.losses_left(|_| false), Some(shape.profile().losses_tolerated()));
    images
}

fn check_footer(bytes: &[u8]) -> usize {
    let Some(trailer) = bytes.last_chunk::<TRAILER_BYTES>() else { return 0 };
    // The file is as long as it says, so that what is behind that check is reached.
    let payload = u32::from_be_bytes([trailer[12], trailer[13], trailer[14], trailer[15]]);
    let file_bytes = u64::from(payload) + bytes.len() as u64;
    let Ok(trailer) = Trailer::decode(trailer, file_bytes) else { return 0 };
    assert_eq!(trailer.footer_bytes(), bytes.len(), "the lengths add up to the file's");
    let Ok(footer) = Footer::decode(trailer, bytes) else { return 0 };
    assert_eq!(footer.sums.len(), footer.shape.slots());
    for (slot, sums) in footer.sums.iter().enumerate() {
        assert!(footer.shape.image(slot).is_none_or(|(_, sum)| sum == sums.whole()));
        assert!(!sums.check(u64::MAX, &[]) && !sums.check(footer.shape.bytes(slot), &[0]));
    }
    1 + footer.sums.len()
}

/// A group of 2+1 whose members have these lengths, its record and the end of its parity image.
fn sample(lengths: [Option<usize>; 2]) -> (Vec<u8>, Vec<u8>) {
    let image = |slot: u8| ImageId([slot + 1; 16]);
    let bytes = lengths.map(|length| vec![0x5a; length.unwrap_or(0)]);
    let member = |slot: u8| {
        let bytes = &bytes[usize::from(slot)];
        let sum = ImageSum::of(bytes);
        let member = Member {
            image: image(slot),
            extent: ExtentId { ino: 9, index: 1 },
            bytes: bytes.len() as u64,
            sum,
        };
        lengths[usize::from(slot)].map(|_| member)
    };
    let profile = Profile::TwoPlusOne;
    let draft = Draft {
        group: GroupId(1 << 48 | 7),
        profile,
        codec: profile.codec(),
        members: vec![member(0), member(1)],
        parity: vec![image(2)],
    };
    let mut encoder = Encoder::new(draft, 1 << 20).expect("a draft that fits its profile");
    while let Some(window) = encoder.window() {
        let mut parity = vec![0; window.bytes];
        encoder.push(&[&bytes[0], &bytes[1]], &mut [&mut parity]).expect("all of it in one window");
    }
    let encoded = encoder.finish().expect("the members are what they were");
    let homes = (0..3).map(|slot| encoded.shape.image(slot).map(|_| DataServerId(4)));
    let group = Group::new(encoded.shape.clone(), homes.collect()).expect("a home for each image");
    (group.encode(), encoded.footers.concat())
}

fn seeds() -> Vec<Vec<u8>> {
    let samples = [sample([Some(100), None]), sample([Some(70_000), Some(1)]), sample([Some(0), Some(0)])];
    let seeds = samples.into_iter().flat_map(|(record, footer)| {
        let (record_end, footer_end) = (record.len() - GROUP_CHECK_BYTES, footer.len() - FOOTER_CHECK_BYTES);
        [
            [&[0], &record[..]].concat(),
            [&[1], &record[..record_end]].concat(),
            [&[2], &footer[..footer_end]].concat(),
        ]
    });
    seeds.collect()
}
