//! Groups of sealed images.

use ::layout::ec::{CodecId, Draft, Group, GroupId, ImageId, ImageSum, Member, Profile};
use ::layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::op::copies::Adoption;
use mds_namespace::op::seal::SealedAs;
use mds_namespace::{FsError, invariants, sealed};

use super::*;
use crate::command::seal::{AdoptExtents, MakeGroup, RehomeImage, ThawExtent, UseImages, UsedImage};
use crate::limits::USED_IMAGES_MAX;

/// A stage with a file of one extent on data server 1, and data servers 2 and 3.
fn stage() -> (Stage, ExtentId) {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let ino = stage.create(client, "o", "f").inode.ino;
    stage.spread(ino, 1);
    for uuid in [6, 7] {
        stage.run(Command::RegisterDataServer(RegisterDataServer {
            uuid: [uuid; 16],
            addresses: vec![],
            control: String::new(),
            capacity_bytes: 1,
            zone: String::new(),
            rack: String::new(),
            host: String::new(),
        }));
    }
    (stage, ExtentId { ino, index: 0 })
}

fn how(image: u8) -> SealedAs {
    let (content_bytes, root) = (9, [image; 32]);
    SealedAs { epoch: Epoch(1), sequence: u64::from(image), content_bytes, root, from: None }
}

/// Two copies of an extent's image, the second on this data server.
fn copies(group: u64, extent: ExtentId, image: u8, second: u32) -> MakeGroup {
    let member = Member { image: ImageId([image; 16]), extent, bytes: 10, sum: ImageSum([1; 32]) };
    let draft = Draft {
        group: GroupId(group),
        profile: Profile::TwoCopies,
        codec: CodecId::Copies,
        members: vec![Some(member)],
        parity: vec![member.image],
    };
    let homes = vec![Some(DataServerId(1)), Some(DataServerId(second))];
    let record = Group::new(draft.shape(&[member.sum]).unwrap(), homes).unwrap().encode();
    let sealed_as = vec![how(image)];
    MakeGroup { record, sealed_as }
}

/// A group of one image on data server 1.
pub(super) fn one_copy(group: u64, extent: ExtentId, image: u8) -> MakeGroup {
    let member = Member { image: ImageId([image; 16]), extent, bytes: 10, sum: ImageSum([1; 32]) };
    let (profile, codec) = (Profile::OneCopy, CodecId::Copies);
    let draft = Draft { group: GroupId(group), profile, codec, members: vec![Some(member)], parity: vec![] };
    let record = Group::new(draft.shape(&[]).unwrap(), vec![Some(DataServerId(1))]).unwrap().encode();
    let sealed_as = vec![how(image)];
    MakeGroup { record, sealed_as }
}

#[test]
fn a_group_lives_as_long_as_its_images_are_used() {
    let (mut stage, extent) = stage();
    for number in [1, 2] {
        assert_eq!(stage.run(Command::TakeGroup), Outcome::Group(number));
    }
    let unknown = Command::MakeGroup(copies(1, extent, 8, 9));
    assert_eq!(stage.refused(unknown), Refusal::Namespace(FsError::Invalid));
    let garbage = MakeGroup { record: vec![1; 100], sealed_as: vec![] };
    assert_eq!(stage.refused(Command::MakeGroup(garbage)), Refusal::Namespace(FsError::Invalid));
    assert_eq!(stage.run(Command::MakeGroup(copies(1, extent, 8, 2))), Outcome::Done);
    assert_eq!(stage.refused(Command::MakeGroup(copies(2, extent, 7, 2))), Refusal::ContentMoved);
    assert_eq!(stage.run(Command::MakeGroup(copies(2, extent, 9, 2))), Outcome::Done);
    let (from, to) = (DataServerId(2), DataServerId(3));
    let rehome = Command::RehomeImage(RehomeImage { group: 2, slot: 1, from, to });
    assert_eq!(stage.run(rehome.clone()), Outcome::Done);
    assert_eq!(stage.refused(rehome), Refusal::ContentMoved);
    let nowhere = RehomeImage { group: 2, slot: 1, from: to, to: DataServerId(9) };
    assert_eq!(stage.refused(Command::RehomeImage(nowhere)), Refusal::Namespace(FsError::Invalid));
    let used = UsedImage { extent, image: [9; 16], server: DataServerId(1), above: 0 };
    let many = UseImages { used: vec![used; USED_IMAGES_MAX + 1] };
    assert_eq!(stage.refused(Command::UseImages(many)), Refusal::TableFull);
    let late = UsedImage { image: [5; 16], ..used };
    assert_eq!(stage.run(Command::UseImages(UseImages { used: vec![late, used] })), Outcome::Done);
    let view = stage.view();
    assert_eq!(sealed::group(view.namespace(), GroupId(1)).unwrap(), None, "it has no living member");
    let group = sealed::group(view.namespace(), GroupId(2)).unwrap().unwrap();
    assert_eq!(group.homes(), [Some(DataServerId(1)), Some(to)]);
    invariants::check(view.namespace()).unwrap();
}

/// The log keeps commands: a variant never moves, and its fields never change
/// (docs/formats/raft_log.md).
#[test]
fn commands_have_their_golden_bytes() {
    let extent = ExtentId { ino: 0x81, index: 2 };
    let how = SealedAs { epoch: Epoch(3), sequence: 0x84, content_bytes: 7, root: [0xcc; 32], from: Some(5) };
    let server = DataServerId(6);
    for (command, golden) in [
        (Command::TakeGroup, "1d"),
        (
            Command::MakeGroup(MakeGroup { record: vec![0xaa, 0xbb], sealed_as: vec![how] }),
            &format!("1e02aabb0103840107{}0105", "cc".repeat(32)),
        ),
        (
            Command::UseImages(UseImages {
                used: vec![UsedImage { extent, image: [0xee; 16], server, above: 4 }],
            }),
            "1f01810102eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee0604",
        ),
        (
            Command::RehomeImage(RehomeImage { group: 7, slot: 8, from: server, to: DataServerId(9) }),
            "2007080609",
        ),
        (Command::ThawExtent(ThawExtent { extent, server, sequence: 5 }), "218101020605"),
        (
            Command::AdoptExtents(AdoptExtents {
                adoptions: vec![Adoption { extent, epoch: Epoch(3), home: server }],
            }),
            "22018101020306",
        ),
    ] {
        let bytes = postcard::to_allocvec(&command).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden, "{command:?}");
        assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
    }
}
