//! Golden bytes and hostile input of shapes and groups.

use proptest::prelude::*;

use super::*;
use crate::ec::fixture::{draft, id, whole};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sample() -> Group {
    let member = |slot: usize, bytes| {
        let (image, sum) = (id(slot), ImageSum([0xa0 + u8::try_from(slot).unwrap(); 32]));
        Some(Member { image, extent: ExtentId { ino: 0x0001_0000_0000_002a, index: 3 }, bytes, sum })
    };
    let draft = Draft {
        group: GroupId(0x0001_0000_0000_0007),
        profile: Profile::TwoPlusOne,
        codec: CodecId::Leopard16,
        members: vec![member(0, 0x0102_0304), None],
        parity: vec![id(2)],
    };
    let shape = draft.shape(&[ImageSum([0xcc; 32])]).unwrap();
    Group::new(shape, vec![Some(DataServerId(5)), None, Some(DataServerId(0x0a0b_0c0d))]).unwrap()
}

/// The bytes of docs/formats/group.md §3. They may never change under version 1.
#[test]
fn golden_bytes() {
    let record = sample().encode();
    let expected = [
        "01020201000000000001000000000007",
        "eeeeeeeeeeeeeeee0000000000000000000100000000002a0000000301020304",
        "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "eeeeeeeeeeeeeeee000000000000000200000000000000000000000001020340",
        "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
        "00000005000000000a0b0c0d",
        GOLDEN_CHECK,
    ];
    assert_eq!(hex(&record), expected.concat());
    assert_eq!(Group::decode(&record), Ok(sample()));
    assert_eq!(record.len(), group_record_bytes(Profile::TwoPlusOne));
    assert_eq!(Shape::decode(&record[..shape_bytes(Profile::TwoPlusOne)]).as_ref(), Ok(sample().shape()));
}

const GOLDEN_CHECK: &str = "477b8f0750abd7f33b9ce5e8f3f5c5bd";

#[test]
fn every_profile_comes_back() {
    for profile in Profile::ALL {
        let lengths = [Some(100), None, Some(64), Some(7), None, Some(1), None, None];
        let shape = whole(profile, &lengths[..profile.data()]).shape;
        let homes = (0..shape.slots())
            .map(|slot| shape.image(slot).map(|_| DataServerId(u32::try_from(slot).unwrap())));
        let group = Group::new(shape.clone(), homes.collect()).unwrap();
        let record = group.encode();
        assert!(record.len() == group_record_bytes(profile) && record.len() <= GROUP_RECORD_BYTES_MAX);
        assert_eq!(Group::decode(&record), Ok(group));
        assert_eq!(Shape::decode(&shape.encode()), Ok(shape));
    }
}

#[test]
fn every_bit_and_every_length_counts() {
    let record = sample().encode();
    for bit in 0..record.len() * 8 {
        let mut altered = record.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let error = Group::decode(&altered).unwrap_err();
        assert!(matches!(error, GroupError::Checksum | GroupError::Version { .. }), "bit {bit}: {error:?}");
    }
    for len in 0..record.len() {
        assert!(Group::decode(&record[..len]).is_err());
    }
    assert!(Group::decode(&[&record[..], &[0]].concat()).is_err());
    let huge = vec![1; 1 << 20];
    assert_eq!(Group::decode(&huge), Err(GroupError::Length { got: 1 << 20 }));
}

/// Records with a right checksum that something broken has made.
#[test]
fn genuine_nonsense_is_refused() {
    let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut record = sample().encode();
        record.truncate(record.len() - 16);
        change(&mut record);
        let check = blake3::hash(&record);
        record.extend(&check.as_bytes()[..16]);
        Group::decode(&record)
    };
    assert_eq!(sealed(&|_| {}), Ok(sample()));
    assert_eq!(sealed(&|record| record[0] = 2), Err(GroupError::Version { got: 2 }));
    let code = |data, parity, codec| Err(GroupError::Code { data, parity, codec });
    assert_eq!(sealed(&|record| record[1] = 0), code(2, 1, 0));
    assert_eq!(sealed(&|record| record[1] = 1), code(2, 1, 1));
    assert_eq!(sealed(&|record| record[1] = 3), code(2, 1, 3));
    assert_eq!(sealed(&|record| record[2] = 255), code(255, 1, 2));
    assert_eq!(sealed(&|record| record[3] = 0), code(2, 0, 2));
    assert!(matches!(
        sealed(&|record| record[2..4].copy_from_slice(&[4, 2])),
        Err(GroupError::Length { .. })
    ));
    assert_eq!(sealed(&|record| record[7] = 1), Err(GroupError::Empty));
    // No member, a parity image without an id, one that has an extent.
    assert_eq!(sealed(&|record| record[16..80].fill(0)), Err(GroupError::Empty));
    assert_eq!(sealed(&|record| record[144..160].fill(0)), Err(GroupError::Empty));
    assert_eq!(sealed(&|record| record[171] = 1), Err(GroupError::Empty));
    // An empty member that is nearly one: it has an id, or only a length.
    assert_eq!(sealed(&|record| record[80] = 1), Err(GroupError::Empty));
    assert_eq!(sealed(&|record| record[111] = 1), Err(GroupError::Empty));
    // Lengths: of a member over the bound, of the parity not the members'.
    assert_eq!(sealed(&|record| record[44] = 0xff), Err(GroupError::ImageLength { got: 0xff02_0304 }));
    assert_eq!(sealed(&|record| record[175] = 0x80), Err(GroupError::ImageLength { got: 0x0102_0380 }));
    // The parity is the member.
    assert_eq!(sealed(&|record| record[159] = 0), Err(GroupError::Twice { image: id(0) }));
    // An empty member has a data server.
    assert_eq!(sealed(&|record| record[215] = 9), Err(GroupError::Empty));
    assert!(matches!(sealed(&|record| record.extend([0; 68])), Err(GroupError::Length { .. })));
    // A data server may have the number 0.
    let zero = sealed(&|record| record[211] = 0).unwrap();
    assert_eq!(zero.homes()[0], Some(DataServerId(0)));
}

#[test]
fn a_draft_is_its_shape_without_sums() {
    let shape = sample().shape().clone();
    let (draft, bytes) = (shape.draft().clone(), shape.encode());
    let drafted = draft.encode();
    assert_eq!((&drafted[..176], &drafted[176..]), (&bytes[..176], &[0; 32][..]), "all but parity's sum");
    assert_eq!(Draft::decode(&drafted), Ok(draft));
    assert_eq!(Draft::decode(&bytes), Err(GroupError::Empty), "the sum is known already");
    assert!((0..drafted.len()).all(|len| Draft::decode(&drafted[..len]).is_err()));
    let copies = self::draft(Profile::TwoCopies, &[Some(vec![7; 100])]);
    assert_eq!(Draft::decode(&copies.encode()), Ok(copies));
}

#[test]
fn copies_are_the_image_itself() {
    let bytes = vec![Some(vec![7; 100])];
    let copies = draft(Profile::TwoCopies, &bytes);
    let sum = ImageSum::of(&[7; 100]);
    assert!(copies.clone().shape(&[sum]).is_ok());
    assert_eq!(copies.clone().shape(&[ImageSum([0; 32])]), Err(GroupError::NoCopy { image: id(0) }));
    assert_eq!(copies.clone().shape(&[]), Err(GroupError::Count));
    let other = Draft { parity: vec![id(9)], ..copies.clone() };
    assert_eq!(other.shape(&[sum]), Err(GroupError::NoCopy { image: id(9) }));
    let coded = Draft { codec: CodecId::Leopard16, ..copies };
    assert_eq!(coded.check(), Err(GroupError::Code { data: 1, parity: 1, codec: 2 }));
}

#[test]
fn homes_follow_images() {
    let shape = sample().shape().clone();
    let home = Some(DataServerId(1));
    for (homes, error) in [
        (vec![home, None], GroupError::Count),
        (vec![home, home, home], GroupError::Empty),
        (vec![home, None, None], GroupError::Empty),
    ] {
        assert_eq!(Group::new(shape.clone(), homes), Err(error));
    }
    let mut group = sample();
    group.rehome(2, DataServerId(77)).unwrap();
    assert_eq!(group.homes()[2], Some(DataServerId(77)));
    assert_eq!(group.rehome(1, DataServerId(1)), Err(GroupError::Empty));
    assert_eq!(group.rehome(3, DataServerId(1)), Err(GroupError::Empty));
    assert_eq!(Group::decode(&group.encode()), Ok(group));
}

#[test]
fn losses_are_counted() {
    let group = sample();
    assert_eq!(group.losses_left(|_| false), Some(1));
    assert_eq!(group.losses_left(|home| home == DataServerId(5)), Some(0));
    assert_eq!(group.losses_left(|_| true), None);
}

proptest! {
    #[test]
    fn garbage_is_no_group(bytes in proptest::collection::vec(any::<u8>(), 0..GROUP_RECORD_BYTES_MAX + 10)) {
        prop_assert!(Group::decode(&bytes).is_err());
    }

    /// Whatever a shape's bytes say, reading them ends, and writing what was read gives them back.
    #[test]
    fn a_shape_that_reads_is_the_bytes(
        changes in proptest::collection::vec((0..208_usize, any::<u8>()), 0..4),
    ) {
        let mut bytes = sample().shape().encode();
        changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        if let Ok(shape) = Shape::decode(&bytes) {
            prop_assert_eq!(shape.encode(), bytes);
        }
    }
}
