//! Values of the metadata store: what lies under the keys of the namespace.
//!
//! Input: a byte that chooses the kind of value, then the value.

use layout::copies::Formers;
use layout::ec::{CodecId, Draft, Group, GroupId, ImageId, ImageSum, Member, Profile};
use layout::{DataServerId, ExtentId};
use mds_namespace::codec;
use mds_namespace::keys;
use mds_namespace::sealed::{self, ExtentImage, ExtentImages, Place};
use mds_namespace::store::mem::MemStore;
use mds_namespace::superblock;
use mds_namespace::{
    Content, Durability, ExtentRecord, Inode, Kind, MetaStore, StoreError, Timestamp, WorkItem,
};

use super::row::{MemoryBound, Shape, Target};

pub(super) const TARGET: Target = Target {
    name: "namespace_values",
    about: "inodes, directory entries, extent records, work items, groups, images, superblock, counters, keys",
    run,
    seeds,
    shape: Shape::Bytes,
    bound: MemoryBound { single_bytes: 4096, live_bytes: 16 * 1024, ..MemoryBound::DECODER },
    input_bytes_max: 512,
};

const INO: u64 = 0x0001_0000_0000_002a;

fn run(input: &[u8]) -> usize {
    let Some((choice, value)) = input.split_first() else { return 0 };
    let valid = match choice % 11 {
        0 => codec::decode_inode(INO, value).is_ok_and(|inode| check_inode(&inode)),
        1 => codec::decode_dirent(value).is_ok_and(|entry| codec::encode_dirent(&entry) == value),
        2 => codec::decode_extent(EXTENT, value).is_ok_and(|record| check_extent(&record)),
        3 => codec::decode_work(value).is_ok_and(|item| check_work(&item)),
        4 => stored(&keys::SUPERBLOCK, value, |view| superblock::superblock(view).map(drop)),
        5 => stored(&keys::COUNTERS, value, |view| superblock::counters(view).map(drop)),
        6 => check_key(value),
        7 => sealed::decode_images(value).is_ok_and(|of| sealed::encode_images(&of) == value),
        8 => sealed::decode_place(value).is_ok_and(|place| sealed::encode_place(place) == value),
        9 => sealed::decode_group(GROUP, value).is_ok_and(|group| group.encode() == value),
        _ => stored(&keys::GROUP_COUNTER, value, |view| sealed::group_counter(view).map(drop)),
    };
    usize::from(valid)
}

const GROUP: GroupId = GroupId(7);
const EXTENT: ExtentId = ExtentId { ino: INO, index: 3 };

/// What is read is written as what is read as the same. Bytes may differ: reserved ones are not
/// looked at.
fn check_inode(inode: &Inode) -> bool {
    assert_eq!(codec::decode_inode(INO, &codec::encode_inode(inode)).as_ref(), Ok(inode));
    true
}

fn check_extent(record: &ExtentRecord) -> bool {
    assert_eq!(codec::decode_extent(EXTENT, &codec::encode_extent(record)).as_ref(), Ok(record));
    true
}

fn check_work(item: &WorkItem) -> bool {
    assert_eq!(codec::decode_work(&codec::encode_work(item)).as_ref(), Ok(item));
    true
}

/// Whether a value under a key is readable as what belongs there.
fn stored(
    key: &[u8],
    value: &[u8],
    read: impl FnOnce(&dyn mds_namespace::View) -> Result<(), StoreError>,
) -> bool {
    let store = MemStore::new();
    let mut txn = store.begin().expect("a store in memory does not fail");
    txn.put(key, value).expect("a store in memory does not fail");
    txn.commit(Durability::Memory).expect("a store in memory does not fail");
    let view = store.view().expect("a store in memory does not fail");
    read(&*view).is_ok()
}

fn check_key(key: &[u8]) -> bool {
    let Some((tag, _)) = key.split_first() else { return false };
    let number = keys::number_of(key).inspect(|number| {
        let again = match *tag {
            keys::TAG_INODE => keys::inode(*number),
            keys::TAG_SYMLINK => keys::symlink(*number),
            keys::TAG_INLINE => keys::inline(*number),
            keys::TAG_ORPHAN => keys::orphan(*number),
            keys::TAG_WORK => keys::work(*number),
            keys::TAG_EXCLUSIVE => keys::exclusive(*number),
            keys::TAG_GROUP => keys::group(GroupId(*number)),
            _ => return,
        };
        assert_eq!(again, key);
    });
    let entry = keys::dirent_of(key).inspect(|(directory, cookie)| {
        assert!(*tag != keys::TAG_DIRENT || keys::dirent(*directory, *cookie) == key);
    });
    let extent = keys::extent_of(key).inspect(|extent| {
        assert!(*tag != keys::TAG_EXTENT || keys::extent(*extent) == key);
        assert!(*tag != keys::TAG_EXTENT_IMAGES || keys::extent_images(*extent) == key);
    });
    let image = keys::image_of(key).inspect(|image| {
        assert!(*tag != keys::TAG_IMAGE || keys::image(*image) == key);
    });
    number.is_some() || entry.is_some() || extent.is_some() || image.is_some()
}

/// A group of copies, and what is kept beside it.
fn sealed_seeds() -> Vec<Vec<u8>> {
    let seed = |choice: u8, value: &[u8]| [&[choice], value].concat();
    let image = ImageId([9; 16]);
    let member = Member { image, extent: EXTENT, bytes: 10, sum: ImageSum([1; 32]) };
    let draft = Draft {
        group: GROUP,
        profile: Profile::TwoCopies,
        codec: CodecId::Copies,
        members: vec![Some(member)],
        parity: vec![image],
    };
    let shape = draft.shape(&[member.sum]).expect("copies have their member's sum");
    let homes = [1, 2].map(|home| Some(layout::DataServerId(home))).to_vec();
    let group = Group::new(shape, homes).expect("each image has a home");
    let (epoch, content_bytes, root) = (layout::Epoch(3), 9, [1; 32]);
    let one = |sequence| ExtentImage { image, sequence, epoch, group: GROUP, content_bytes, root };
    let of = ExtentImages { is_used: true, thawed: 5, cut: epoch, images: vec![one(5), one(6)] };
    let place = Place { group: GROUP, also: Some(GroupId(6)) };
    vec![
        seed(6, &keys::image(image)),
        seed(6, &keys::extent_images(EXTENT)),
        seed(7, &sealed::encode_images(&of)),
        seed(8, &sealed::encode_place(place)),
        seed(9, &group.encode()),
        seed(10, &[&[1, 0, 0, 0, 0, 0, 0, 0], &7_u64.to_be_bytes()[..]].concat()),
    ]
}

fn seeds() -> Vec<Vec<u8>> {
    let time = Timestamp { seconds: 1, nanos: 2 };
    let inode = Inode {
        ino: INO,
        generation: 1,
        kind: Kind::Block { major: 8, minor: 1 },
        mode: 0o644,
        nlink: 1,
        uid: 1000,
        gid: 100,
        size_bytes: 5,
        used_bytes: 6,
        change: 7,
        atime: time,
        mtime: time,
        ctime: time,
        parent: 0,
        content: Content::Extents,
    };
    let entry = codec::DirentRef { ino: INO, file_type: mds_namespace::FileType::Regular, name: b"name" };
    let (home, epoch) = (layout::DataServerId(4), layout::Epoch(5));
    let backup = layout::Backup { server: home, since: epoch, filling: true };
    let code = Some(layout::ec::Profile::FourPlusTwo);
    let (backups, pending_work, unpromised) = (vec![backup], Some(6), true);
    let record = ExtentRecord { extent: EXTENT, home, backups, epoch, pending_work, code, unpromised };
    let seed = |choice: u8, value: &[u8]| [&[choice], value].concat();
    let mut superblock = vec![2];
    superblock.extend_from_slice(b"SHO");
    superblock.resize(superblock::SUPERBLOCK_BYTES, 9);
    let mut counters = vec![1];
    counters.resize(superblock::COUNTERS_BYTES, 0);
    let mut seeds = vec![
        seed(0, &codec::encode_inode(&inode)),
        seed(1, &codec::encode_dirent(&entry)),
        seed(2, &codec::encode_extent(&record)),
        seed(4, &superblock),
        seed(5, &counters),
        seed(6, &keys::inode(INO)),
        seed(6, &keys::dirent(INO, 9)),
        seed(6, &keys::extent(EXTENT)),
    ];
    seeds.extend(sealed_seeds());
    for item in [
        WorkItem::Cut { extent: EXTENT, home, epoch, keep_bytes: 7, fences: true },
        WorkItem::Drop { extent: EXTENT, home, epoch },
        WorkItem::Fence { extent: EXTENT, home, epoch },
        WorkItem::Adopt { extent: EXTENT, home, epoch, keep_bytes: 7 },
        WorkItem::Yield { extent: EXTENT, home, epoch, keep_bytes: 7 },
        WorkItem::Prove {
            extent: EXTENT,
            home,
            epoch,
            keep_bytes: 7,
            formers: Formers::new([DataServerId(8)]).expect("one is not too many"),
        },
    ] {
        seeds.push(seed(3, &codec::encode_work(&item)));
    }
    seeds
}
