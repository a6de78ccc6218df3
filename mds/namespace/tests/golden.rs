//! Golden bytes of keys and values (docs/formats/namespace.md), and the readers' treatment of bad
//! ones.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use layout::copies::Formers;
use layout::ec::{GroupId, ImageId, Profile};
use layout::{Backup, DataServerId, Epoch, ExtentId};
use mds_namespace::codec::{self, DirentRef};
use mds_namespace::op::format::{Root, format, format_shard};
use mds_namespace::op::seal;
use mds_namespace::sealed::{self, ExtentImage, ExtentImages, Place};
use mds_namespace::store::mem::MemStore;
use mds_namespace::superblock::{Counters, counters, superblock};
use mds_namespace::{
    Content, ExtentRecord, FileType, Inode, Kind, MetaStore, StoreError, Superblock, Timestamp, WorkItem,
    directory, keys,
};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

const INO: u64 = 0x0001_0203_0405_0607;

fn inode() -> Inode {
    Inode {
        ino: INO,
        generation: 0x1111_1111,
        kind: Kind::Character { major: 0xaaaa_aaaa, minor: 0xbbbb_bbbb },
        mode: 0o6754,
        nlink: 0x2222_2222,
        uid: 0x3333_3333,
        gid: 0x4444_4444,
        size_bytes: 0x5555_5555_5555_5555,
        used_bytes: 0x6666_6666_6666_6666,
        change: 0x7777_7777_7777_7777,
        atime: Timestamp { seconds: -1, nanos: 1 },
        mtime: Timestamp { seconds: 2, nanos: 2 },
        ctime: Timestamp { seconds: 3, nanos: 999_999_999 },
        parent: 0x8888_8888_8888_8888,
        content: Content::Inline,
    }
}

#[test]
fn keys_are_as_drawn() {
    let id = ExtentId { ino: INO, index: 0x0809_0a0b };
    assert_eq!(hex(&keys::inode(INO)), "690001020304050607");
    assert_eq!(hex(&keys::symlink(INO)), "6c0001020304050607");
    assert_eq!(hex(&keys::inline(INO)), "6e0001020304050607");
    assert_eq!(hex(&keys::orphan(INO)), "6f0001020304050607");
    assert_eq!(hex(&keys::work(INO)), "770001020304050607");
    assert_eq!(hex(&keys::exclusive(INO)), "780001020304050607");
    assert_eq!(hex(&keys::dirent(INO, 0x4000_0000_0000_00ff)), "64000102030405060740000000000000ff");
    assert_eq!(hex(&keys::extent(id)), "65000102030405060708090a0b");
    assert_eq!(hex(&keys::SUPERBLOCK), "6600");
    assert_eq!(hex(&keys::COUNTERS), "6601");
    assert_eq!(keys::number_of(&keys::inode(INO)), Some(INO));
    assert_eq!(keys::extent_of(&keys::extent(id)), Some(id));
    assert_eq!(keys::dirent_of(&keys::dirent(1, 2)), Some((1, 2)));
}

#[test]
fn cookies_are_as_drawn() {
    let key = [3; 32];
    for name in [&b"a"[..], b"b", b"\xff", &[b'n'; 255]] {
        let hash = blake3::keyed_hash(&key, name);
        let top = u64::from_be_bytes(hash.as_bytes()[..8].try_into().unwrap()) >> 10;
        let cookie = directory::cookie_base(&key, name);
        assert_eq!(cookie, (1 << 62) | (top << 8));
    }
    assert_eq!(directory::cookie_base(&key, b"golden"), GOLDEN_COOKIE);
}

const GOLDEN_COOKIE: u64 = 0x6498_405a_2308_c200;

#[test]
fn an_inode_is_as_drawn() {
    let bytes = codec::encode_inode(&inode());
    // Zero words are left out: the high halves of mtime and of ctime's difference from it.
    let expected = concat!(
        "020401",
        "ff5fff",
        "00000dec",
        "22222222",
        "33333333",
        "44444444",
        "11111111",
        "5555555555555555",
        "6666666666666666",
        "7777777777777777",
        "fffffffffffffffd",
        "00000002",
        "00000001",
        "00000003",
        "00000002",
        "3b9ac9fd",
        "aaaaaaaa",
        "bbbbbbbb",
        "8888888888888888",
    );
    assert_eq!(hex(&bytes), expected);
    assert_eq!(codec::decode_inode(INO, &bytes).unwrap(), inode());
}

#[test]
fn an_inode_that_was_just_made_is_short() {
    let made = Timestamp { seconds: 0x6789_abcd, nanos: 7 };
    let fresh = Inode {
        generation: 1,
        kind: Kind::Regular,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        size_bytes: 0,
        used_bytes: 0,
        change: 1,
        atime: made,
        mtime: made,
        ctime: made,
        parent: 0,
        ..inode()
    };
    let bytes = codec::encode_inode(&fresh);
    let expected =
        concat!("020101", "044413", "000001a4", "00000001", "00000001", "00000001", "6789abcd", "00000007");
    let expected = expected.replace("044413", &hex(&bytes[3..6]));
    assert_eq!(hex(&bytes), expected);
    assert_eq!(codec::decode_inode(INO, &bytes).unwrap(), fresh);
    let mut padded = bytes.clone();
    padded[5] |= 0x80;
    padded.extend_from_slice(&[0; 4]);
    assert!(codec::decode_inode(INO, &padded).is_err(), "a zero word is not written");
}

/// Stores of an earlier version contain these.
#[test]
fn an_inode_of_version_1_is_read() {
    let expected = concat!(
        "01040100",
        "00000dec",
        "22222222",
        "33333333",
        "44444444",
        "11111111",
        "5555555555555555",
        "6666666666666666",
        "7777777777777777",
        "ffffffffffffffff",
        "0000000000000002",
        "0000000000000003",
        "00000001",
        "00000002",
        "3b9ac9ff",
        "aaaaaaaa",
        "bbbbbbbb",
        "8888888888888888",
    );
    assert_eq!(codec::decode_inode(INO, &unhex(expected)).unwrap(), inode());
}

#[test]
fn a_directory_entry_is_as_drawn() {
    let entry = DirentRef { ino: INO, file_type: FileType::Fifo, name: b"name" };
    let bytes = codec::encode_dirent(&entry);
    assert_eq!(hex(&bytes), "010700010203040506076e616d65");
    assert_eq!(codec::decode_dirent(&bytes).unwrap(), entry);
}

#[test]
fn extent_records_and_work_items_are_as_drawn() {
    let extent = ExtentId { ino: INO, index: 0x0809_0a0b };
    let (home, epoch) = (DataServerId(0x0c0d_0e0f), Epoch(0x1011));
    let record = ExtentRecord {
        extent,
        home,
        backups: vec![],
        epoch,
        pending_work: Some(0x1213),
        code: None,
        unpromised: false,
    };
    let bytes = codec::encode_extent(&record);
    assert_eq!(hex(&bytes), format!("040100000c0d0e0f00000000000010110000000000001213{}", "00".repeat(24)));
    assert_eq!(codec::decode_extent(extent, &bytes).unwrap(), record);
    let idle = ExtentRecord { pending_work: None, ..record };
    let bytes = codec::encode_extent(&idle);
    assert_eq!(hex(&bytes), format!("040000000c0d0e0f00000000000010110000000000000000{}", "00".repeat(24)));
    assert_eq!(codec::decode_extent(extent, &bytes).unwrap(), idle);
    let backup =
        |server, since, filling| Backup { server: DataServerId(server), since: Epoch(since), filling };
    let kept = ExtentRecord { backups: vec![backup(0x21, 1, false), backup(0x22, 0x1011, true)], ..idle };
    let bytes = codec::encode_extent(&kept);
    let backups = "000000210000000000000001000000220000000000001011";
    assert_eq!(hex(&bytes), format!("040002020c0d0e0f00000000000010110000000000000000{backups}"));
    assert_eq!(codec::decode_extent(extent, &bytes).unwrap(), kept);
    for (pending_work, flags) in [(None, "02"), (Some(0x1213), "03")] {
        let fresh = ExtentRecord { unpromised: true, pending_work, ..kept.clone() };
        let bytes = codec::encode_extent(&fresh);
        assert!(hex(&bytes).starts_with(&format!("04{flags}0202")));
        assert_eq!(codec::decode_extent(extent, &bytes).unwrap(), fresh);
        // Version 3 does not tell: the extent may have been promised.
        let older: [u8; 48] =
            std::array::from_fn(|at| if at == 0 { 3 } else { bytes[at] & if at == 1 { 1 } else { 255 } });
        let read = codec::decode_extent(extent, &older).unwrap();
        assert_eq!(read, ExtentRecord { unpromised: false, ..fresh });
    }
    for (at, wrong) in [(0, 1), (1, 4), (2, 3), (3, 4), (3, 0x72)] {
        let mut bytes = bytes;
        bytes[at] = wrong;
        assert!(codec::decode_extent(extent, &bytes).is_err(), "{at}");
    }
    let proves = |formers: &[u32]| {
        let formers = Formers::new(formers.iter().copied().map(DataServerId)).unwrap();
        WorkItem::Prove { extent, home, epoch, keep_bytes: 0x77, formers }
    };
    for (item, code, keep) in [
        (WorkItem::Cut { extent, home, epoch, keep_bytes: 0x77, fences: false }, "01", "0000000000000077"),
        (WorkItem::Drop { extent, home, epoch }, "02", "0000000000000000"),
        (WorkItem::Fence { extent, home, epoch }, "03", "0000000000000000"),
        (WorkItem::Cut { extent, home, epoch, keep_bytes: 0x77, fences: true }, "04", "0000000000000077"),
        (WorkItem::Adopt { extent, home, epoch, keep_bytes: 0x77 }, "05", "0000000000000077"),
        (WorkItem::Yield { extent, home, epoch, keep_bytes: 0x77 }, "06", "0000000000000077"),
        (proves(&[0x21]), "07", "00000000000000770000002100000000"),
        (proves(&[0x21, 0x22]), "07", "00000000000000770000002100000022"),
    ] {
        let bytes = codec::encode_work(&item);
        let version = if code == "07" { "02" } else { "01" };
        let expected = format!("{version}{code}00000c0d0e0f000102030405060708090a0b0000000000001011{keep}");
        assert_eq!(hex(&bytes), expected);
        assert_eq!(codec::decode_work(&bytes).unwrap(), item);
    }
}

#[test]
fn groups_and_images_are_as_drawn() {
    let extent = ExtentId { ino: INO, index: 0x0809_0a0b };
    assert_eq!(hex(&keys::extent_images(extent)), "6d000102030405060708090a0b");
    assert_eq!(keys::extent_of(&keys::extent_images(extent)), Some(extent));
    assert_eq!(hex(&keys::group(GroupId(INO))), "670001020304050607");
    let image = ImageId(*b"0123456789abcdef");
    assert_eq!(hex(&keys::image(image)), "7030313233343536373839616263646566");
    assert_eq!(keys::image_of(&keys::image(image)), Some(image));
    assert_eq!(hex(&keys::GROUP_COUNTER), "6602");
    let place = Place { group: GroupId(0x1314), also: None };
    assert_eq!(hex(&sealed::encode_place(place)), "010000000000000000000000000013140000000000000000");
    let two = Place { also: Some(GroupId(0x12)), ..place };
    assert_eq!(hex(&sealed::encode_place(two)), "010000000000000000000000000013140000000000000012");
    for place in [place, two] {
        assert_eq!(sealed::decode_place(&sealed::encode_place(place)), Ok(place));
    }
    assert!(sealed::decode_place(&sealed::encode_place(Place { also: Some(place.group), ..place })).is_err());
    let one = |sequence| ExtentImage {
        image,
        sequence,
        epoch: Epoch(0x1516),
        group: GroupId(0x1314),
        content_bytes: 0x1718,
        root: [0xdd; 32],
    };
    let of = ExtentImages { is_used: true, thawed: 0x191a, cut: Epoch(0x1b1c), images: vec![one(5), one(6)] };
    let bytes = sealed::encode_images(&of);
    let entry = |sequence| {
        let (name, root) = (hex(b"0123456789abcdef"), "dd".repeat(32));
        format!("{name}{sequence}000000000000151600000000000013140000171800000000{root}")
    };
    let entries = [entry("0000000000000005"), entry("0000000000000006")];
    let head = "0102010000000000000000000000191a0000000000001b1c";
    assert_eq!(hex(&bytes), format!("{head}{}{}", entries[0], entries[1]));
    assert_eq!(sealed::decode_images(&bytes), Ok(of));
    for (at, wrong) in [(0, 2), (1, 0), (1, 1), (1, 3), (2, 2), (7, 1), (47, 6), (64, 5), (71, 1)] {
        let mut bytes = bytes.clone();
        bytes[at] = wrong;
        assert!(sealed::decode_images(&bytes).is_err(), "{at}");
    }
    for len in 0..bytes.len() {
        assert!(sealed::decode_images(&bytes[..len]).is_err());
    }
    let many: Vec<u8> = [&[1, 5, 0, 0, 0, 0, 0, 0], &[7; 416][..]].concat();
    assert!(sealed::decode_images(&many).is_err(), "more than the maximum");
    assert!(sealed::decode_place(&[2; 24]).is_err() && sealed::decode_place(&[1; 23]).is_err());
    let store = MemStore::new();
    let mut txn = store.begin().unwrap();
    assert_eq!(sealed::group_counter(&*txn), Err(StoreError::NotFormatted));
    let keys_of = Superblock { file_system: [1; 16], handle_key: [2; 32], cookie_key: [3; 32] };
    format_shard(&mut *txn, &keys_of, 2).unwrap();
    assert_eq!(counters(&*txn).map(|counters| counters.next_inode), Ok(0x0002_0000_0000_0001));
    assert_eq!(seal::take_group(&mut *txn), Ok(GroupId(0x0002_0000_0000_0001)));
    assert_eq!(hex(&txn.get(&keys::GROUP_COUNTER).unwrap().unwrap()), "01000000000000000002000000000002");
    txn.put(&keys::GROUP_COUNTER, &[2; 16]).unwrap();
    assert!(sealed::group_counter(&*txn).is_err());
}

/// Version 2 lacks codes: its records decode to an extent without one.
#[test]
fn extents_have_their_code_and_older_records_none() {
    let extent = ExtentId { ino: INO, index: 1 };
    let backups = vec![Backup { server: DataServerId(3), since: Epoch(4), filling: true }];
    let (home, epoch) = (DataServerId(2), Epoch(5));
    let (pending_work, code, unpromised) = (None, None, false);
    let plain = ExtentRecord { extent, home, backups, epoch, pending_work, code, unpromised };
    let rest = format!("00000002{:016x}{:016x}00000003{:016x}{}", 5, 0, 4, "00".repeat(12));
    let codes = Profile::ALL.map(Some);
    for (code, number) in std::iter::once(None).chain(codes).zip(["01", "11", "21", "31", "41", "51", "61"]) {
        let record = ExtentRecord { code, ..plain.clone() };
        let bytes = codec::encode_extent(&record);
        assert_eq!(hex(&bytes), format!("040001{number}{rest}"));
        assert_eq!(codec::decode_extent(extent, &bytes).unwrap(), record);
        let mut older = bytes;
        older[0] = 2;
        let read = codec::decode_extent(extent, &older);
        assert_eq!(read.ok(), (code.is_none()).then(|| plain.clone()), "{code:?}");
    }
}

#[test]
fn the_superblock_and_the_counters_are_as_drawn() {
    let store = MemStore::new();
    let mut txn = store.begin().unwrap();
    assert_eq!(superblock(&*txn), Err(StoreError::NotFormatted));
    let written = Superblock { file_system: [1; 16], handle_key: [2; 32], cookie_key: [3; 32] };
    let root = Root { uid: 0, gid: 0, mode: 0o755 };
    format(&mut *txn, &written, root, Timestamp::default()).unwrap();
    let bytes = txn.get(&keys::SUPERBLOCK).unwrap().unwrap();
    assert_eq!(hex(&bytes), format!("0253484f{}{}{}", "01".repeat(16), "02".repeat(32), "03".repeat(32)));
    assert_eq!(superblock(&*txn).unwrap(), written);
    let bytes = txn.get(&keys::COUNTERS).unwrap().unwrap();
    assert_eq!(hex(&bytes), "01000000000000000000000200000000000000010000000000000001");
    assert_eq!(counters(&*txn).unwrap(), Counters { next_inode: 2, next_work: 1, inodes: 1 });
}

#[test]
fn values_cut_short_or_grown_are_refused() {
    let extent = ExtentId { ino: 1, index: 0 };
    let record = ExtentRecord {
        extent,
        home: DataServerId(1),
        backups: vec![],
        epoch: Epoch(1),
        pending_work: None,
        code: None,
        unpromised: false,
    };
    let item = WorkItem::Drop { extent, home: DataServerId(1), epoch: Epoch(1) };
    let values = [
        codec::encode_inode(&inode()),
        codec::encode_extent(&record).to_vec(),
        codec::encode_work(&item).to_vec(),
    ];
    let readers: [fn(&[u8]) -> bool; 3] = [
        |value| codec::decode_inode(1, value).is_ok(),
        |value| codec::decode_extent(ExtentId { ino: 1, index: 0 }, value).is_ok(),
        |value| codec::decode_work(value).is_ok(),
    ];
    for (value, reads) in values.iter().zip(readers) {
        assert!(reads(value));
        for len in 0..value.len() {
            assert!(!reads(&value[..len]));
        }
        assert!(!reads(&[value.as_slice(), &[0]].concat()));
        let mut newer = value.clone();
        newer[0] += 1;
        assert!(!reads(&newer));
        let mut other = value.clone();
        other[1] = 0x99;
        assert!(!reads(&other));
    }
    let mut entry = codec::encode_dirent(&DirentRef { ino: 1, file_type: FileType::Regular, name: b"n" });
    for len in 0..entry.len() {
        assert!(codec::decode_dirent(&entry[..len]).is_err());
    }
    entry.resize(codec::DIRENT_HEAD_BYTES + 256, b'n');
    assert!(codec::decode_dirent(&entry).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_never_panics(value in proptest::collection::vec(any::<u8>(), 0..300), len in 0_usize..4, version in 1_u8..=3) {
        // Lengths that are right more often than by chance.
        let mut value = value;
        value.resize([value.len(), codec::INODE_BYTES, codec::EXTENT_BYTES, codec::WORK_BYTES][len], 1);
        if let Some(first) = value.first_mut() {
            *first = version;
        }
        if let Ok(inode) = codec::decode_inode(7, &value) {
            prop_assert_eq!(codec::decode_inode(7, &codec::encode_inode(&inode)).unwrap(), inode);
        }
        let _ = codec::decode_dirent(&value);
        let _ = codec::decode_extent(ExtentId { ino: 1, index: 1 }, &value);
        let _ = codec::decode_work(&value);
        let _ = sealed::decode_images(&value);
        let _ = sealed::decode_group(GroupId(1), &value);
    }
}
