//! The checker of invariants finds violations: each case breaks a sound store in one place.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod fixture;

use fixture::Fs;
use layout::ec::{CodecId, Draft, Group, GroupId, ImageId, ImageSum, Member, Profile};
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::codec::{self, DirentRef};
use mds_namespace::invariants::{Broken, check};
use mds_namespace::op::{extent, seal};
use mds_namespace::sealed::{self, ExtentImage, ExtentImages, Place};
use mds_namespace::{ExtentRecord, FileType, Kind, MetaStore, ROOT_INO, Txn, WorkItem, directory, keys};

/// Breaks a store with a directory 2, a file 3 in it, and a symlink 4 in the root.
fn broken(damage: impl FnOnce(&mut dyn Txn)) -> Broken {
    let mut fs = Fs::new();
    assert_eq!(fs.given("directory", Kind::Directory, 0o755, 0, 0), 2);
    assert_eq!(fs.given_in(2, "file", Kind::Regular, 0o644, 0, 0), 3);
    assert_eq!(fs.given("symlink", Kind::Symlink, 0o777, 0, 0), 4);
    let mut txn = fs.store.begin().unwrap();
    check(&*txn).unwrap();
    damage(&mut *txn);
    check(&*txn).unwrap_err()
}

fn change_inode(txn: &mut dyn Txn, ino: u64, change: impl FnOnce(&mut mds_namespace::Inode)) {
    let mut inode = mds_namespace::inode_table::inode(txn, ino).unwrap();
    change(&mut inode);
    txn.put(&keys::inode(ino), &codec::encode_inode(&inode)).unwrap();
}

fn put_entry(txn: &mut dyn Txn, at: u64, low: u64, ino: u64, file_type: FileType, name: &[u8]) {
    let cookie = directory::cookie_base(&[3; 32], name) + low;
    let value = codec::encode_dirent(&DirentRef { ino, file_type, name });
    txn.put(&keys::dirent(at, cookie), &value).unwrap();
}

fn what(broken: Broken) -> &'static str {
    match broken {
        Broken::Invariant { what, .. } => what,
        Broken::Store(error) => panic!("{error}"),
    }
}

#[test]
fn counts_and_links_that_are_off() {
    assert_eq!(what(broken(|txn| change_inode(txn, 3, |inode| inode.nlink = 2))), "has a wrong link count");
    assert_eq!(what(broken(|txn| change_inode(txn, 2, |inode| inode.nlink = 3))), "has a wrong link count");
    assert_eq!(
        what(broken(|txn| change_inode(txn, 2, |inode| inode.size_bytes = 2))),
        "has another size than entries"
    );
    assert_eq!(what(broken(|txn| change_inode(txn, 2, |inode| inode.parent = 9))), "is not in its parent");
    let lost = broken(|txn| txn.delete(&keys::inode(3)).unwrap());
    assert_eq!(what(lost), "is not how many there are");
}

#[test]
fn entries_that_are_wrong() {
    let twice = broken(|txn| put_entry(txn, 2, 1, 3, FileType::Regular, b"file"));
    assert_eq!(what(twice), "stands there twice");
    let other = broken(|txn| put_entry(txn, 2, 0, 3, FileType::Fifo, b"other"));
    assert_eq!(what(other), "leads to nothing, or to another kind");
    let nowhere = broken(|txn| put_entry(txn, 3, 0, 3, FileType::Regular, b"other"));
    assert_eq!(what(nowhere), "stands in no directory");
    let far = broken(|txn| put_entry(txn, 2, 256, 3, FileType::Regular, b"other"));
    assert_eq!(what(far), "has another name's cookie");
}

#[test]
fn records_beside_inodes_that_fit_none() {
    let put = |key: &[u8], value: &[u8]| {
        let (key, value) = (key.to_vec(), value.to_vec());
        what(broken(move |txn| txn.put(&key, &value).unwrap()))
    };
    assert_eq!(put(&keys::inline(2), b"x"), "has no inline file");
    assert_eq!(put(&keys::inline(3), b"x"), "does not fit");
    assert_eq!(put(&keys::symlink(4), b"other target"), "has a target of another length");
    assert_eq!(put(&keys::symlink(3), b"x"), "has no symlink");
    assert_eq!(put(&keys::orphan(3), b""), "is an orphan or is not");
    assert_eq!(put(&keys::exclusive(9), &[0; 8]), "has no inode");
    let extent = |ino| ExtentId { ino, index: 0 };
    let record = |ino, pending_work| {
        let home = DataServerId(1);
        codec::encode_extent(&ExtentRecord {
            extent: extent(ino),
            home,
            backups: vec![],
            epoch: Epoch(1),
            pending_work,
            code: None,
            unpromised: false,
        })
    };
    assert_eq!(put(&keys::extent(extent(2)), &record(2, None)), "has no file");
    assert_eq!(put(&keys::extent(extent(3)), &record(3, Some(1))), "waits for work that is not there");
    let item = WorkItem::Drop { extent: extent(3), home: DataServerId(1), epoch: Epoch(1) };
    assert_eq!(put(&keys::work(0), &codec::encode_work(&item)), "has no extent");
    assert_eq!(put(&keys::work(5), &codec::encode_work(&item)), "is above the next number");
    let images = |group| {
        let images = vec![ExtentImage { group: GroupId(group), ..an_image() }];
        sealed::encode_images(&ExtentImages { images, ..ExtentImages::default() })
    };
    assert_eq!(put(&keys::extent_images(extent(3)), &images(1)), "have no extent");
    let place = sealed::encode_place(Place { group: GroupId(1), also: None });
    assert_eq!(
        put(&keys::image(ImageId([9; 16])), &place),
        "does not have an image that is said to be in it"
    );
    // A directory that is its own parent has no parent above it.
    let loops = broken(|txn| {
        change_inode(txn, ROOT_INO, |inode| (inode.nlink, inode.size_bytes) = (2, 1));
        change_inode(txn, 2, |inode| (inode.parent, inode.nlink, inode.size_bytes) = (2, 3, 2));
        txn.delete(&keys::dirent(ROOT_INO, directory::cookie_base(&[3; 32], b"directory"))).unwrap();
        put_entry(txn, 2, 0, 2, FileType::Directory, b"directory");
    });
    assert_eq!(what(loops), "can't be reached");
}

/// Image 9, of epoch 1, in group 1.
fn an_image() -> ExtentImage {
    let (image, epoch, group) = (ImageId([9; 16]), Epoch(1), GroupId(1));
    ExtentImage { image, sequence: 5, epoch, group, content_bytes: 9, root: [1; 32] }
}

/// A sound store with file 3, its extent 0 and that one's image, broken in one place.
fn broken_group(damage: impl FnOnce(&mut dyn Txn, &Group)) -> &'static str {
    what(broken(|txn| {
        let id = ExtentId { ino: 3, index: 0 };
        change_inode(txn, 3, |inode| inode.content = mds_namespace::Content::Extents);
        extent::allocate(txn, id, DataServerId(1), &[], None).unwrap();
        let group = seal::take_group(txn).unwrap();
        let member = Member { image: ImageId([9; 16]), extent: id, bytes: 10, sum: ImageSum([1; 32]) };
        let (profile, codec) = (Profile::OneCopy, CodecId::Copies);
        let draft = Draft { group, profile, codec, members: vec![Some(member)], parity: vec![] };
        let group = Group::new(draft.shape(&[]).unwrap(), vec![Some(DataServerId(1))]).unwrap();
        let (epoch, content_bytes, root) = (Epoch(1), 9, [1; 32]);
        let how = seal::SealedAs { epoch, sequence: 5, content_bytes, root, from: None };
        seal::make_group(txn, &group, &[how]).unwrap();
        check(&*txn).unwrap();
        damage(txn, &group);
    }))
}

#[test]
fn groups_that_are_wrong() {
    let (image, id) = (ImageId([9; 16]), ExtentId { ino: 3, index: 0 });
    let lost = broken_group(|txn, _| txn.delete(&keys::extent_images(id)).unwrap());
    assert_eq!(lost, "has no living member");
    let lost = broken_group(|txn, _| txn.delete(&keys::image(image)).unwrap());
    assert_eq!(lost, "are in another group");
    let lost = broken_group(|txn, group| txn.delete(&keys::group(group.shape().group())).unwrap());
    assert_eq!(lost, "are no members of their group");
    let untaken = broken_group(|txn, _| txn.delete(&keys::GROUP_COUNTER).unwrap());
    assert_eq!(untaken, "is above the next number");
    let newer = broken_group(|txn, group| {
        let images = vec![ExtentImage { epoch: Epoch(2), group: group.shape().group(), ..an_image() }];
        let of = ExtentImages { images, ..ExtentImages::default() };
        txn.put(&keys::extent_images(id), &sealed::encode_images(&of)).unwrap();
    });
    assert_eq!(newer, "are of a higher epoch than it");
    let cut = broken_group(|txn, _| {
        let of = ExtentImages { cut: Epoch(2), ..sealed::images(txn, id).unwrap() };
        txn.put(&keys::extent_images(id), &sealed::encode_images(&of)).unwrap();
    });
    assert_eq!(cut, "were cut at a higher epoch than it");
    let elsewhere = broken_group(|txn, _| {
        let place = Place { group: GroupId(1), also: Some(GroupId(7)) };
        txn.put(&keys::image(image), &sealed::encode_place(place)).unwrap();
    });
    assert_eq!(elsewhere, "does not have an image that is said to be in it");
}
