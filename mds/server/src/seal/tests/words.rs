//! The table of replies about images, row by row.
//!
//! Spec: docs/protocol/seal.md §2.

use layout::ec::{CodecId, Draft, Group, GroupId, ImageId, ImageSum, Member, Profile};
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::op::extent::allocate;
use mds_namespace::op::format::{Root, format};
use mds_namespace::op::queue::fence;
use mds_namespace::op::seal::{SealedAs, make_group, rehome, take_group, use_image};
use mds_namespace::op::{create, move_to_extents, work};
use mds_namespace::store::mem::MemStore;
use mds_namespace::{
    Caller, Durability, Kind, MetaStore, ROOT_INO, SetAttributes, Superblock, Timestamp, Txn, View,
};
use wire_nfs::control::images::{ImageWord, ShownImage};

use super::fleet::{parity, shown, used};
use crate::seal::answer::{UnderWay, Verdict, judge};

const IDLE: UnderWay = UnderWay { making: false, remaking: false };
const MAKING: UnderWay = UnderWay { making: true, remaking: false };
const REMAKING: UnderWay = UnderWay { making: false, remaking: true };

struct Store(MemStore);

impl Store {
    fn change<T>(&self, change: impl FnOnce(&mut dyn Txn) -> T) -> T {
        let mut txn = self.0.begin().unwrap();
        let outcome = change(&mut *txn);
        txn.commit(Durability::Memory).unwrap();
        outcome
    }

    fn view(&self) -> Box<dyn View + Send> {
        self.0.view().unwrap()
    }

    /// A file of one extent on data server 1.
    fn new() -> (Self, ExtentId) {
        let store = Self(MemStore::new());
        let superblock = Superblock { file_system: [1; 16], handle_key: [2; 32], cookie_key: [3; 32] };
        let (root, now) = (Root { uid: 0, gid: 0, mode: 0o777 }, Timestamp::default());
        store.change(|txn| format(txn, &superblock, root, now)).unwrap();
        let attributes = SetAttributes::default();
        let new = create::NewObject {
            kind: Kind::Regular,
            symlink_target: b"",
            attributes: &attributes,
            verifier: None,
        };
        let caller = Caller::default();
        let made = store.change(|txn| create::create(txn, &caller, ROOT_INO, b"f", &new, now)).unwrap();
        let (ino, change) = (made.inode.ino, made.inode.change);
        store.change(|txn| move_to_extents::move_to_extents(txn, ino, change)).unwrap();
        let extent = ExtentId { ino, index: 0 };
        store.change(|txn| allocate(txn, extent, DataServerId(1), &[], None)).unwrap();
        (store, extent)
    }

    /// A 2+1 group of one image, with parity 100 on data server 3.
    fn group(&self, image: u8, extent: ExtentId, sequence: u64) -> GroupId {
        let group = self.change(take_group).unwrap();
        let member = Member { image: ImageId([image; 16]), extent, bytes: 1000, sum: ImageSum([1; 32]) };
        let draft = Draft {
            group,
            profile: Profile::TwoPlusOne,
            codec: CodecId::Leopard16,
            members: vec![Some(member), None],
            parity: vec![ImageId([100 + image; 16])],
        };
        let homes = vec![Some(DataServerId(1)), None, Some(DataServerId(3))];
        let made = Group::new(draft.shape(&[ImageSum([1; 32])]).unwrap(), homes).unwrap();
        let (content_bytes, root) = (900, [image; 32]);
        let how = SealedAs { epoch: Epoch(1), sequence, content_bytes, root, from: None };
        self.change(|txn| make_group(txn, &made, &[how])).unwrap();
        group
    }

    fn verdict(&self, caller: u32, shown: &ShownImage, under_way: UnderWay) -> Verdict {
        judge(&*self.view(), DataServerId(caller), shown, under_way, true).unwrap()
    }
}

const WAIT: Verdict = Verdict::Word(ImageWord::Wait);
const USE: Verdict = Verdict::Word(ImageWord::Use);
const KEEP: Verdict = Verdict::Word(ImageWord::Keep);
const DELETE: Verdict = Verdict::Word(ImageWord::Delete);

#[test]
fn an_image_in_no_group() {
    let (store, extent) = Store::new();
    let image = shown(7, extent, 5);
    let waits = |verdict| matches!(verdict, Verdict::Wait(_));
    assert!(waits(store.verdict(1, &image, IDLE)));
    assert_eq!(store.verdict(2, &image, IDLE), DELETE, "another server is its home");
    assert_eq!(store.verdict(2, &image, MAKING), WAIT);
    assert_eq!(store.verdict(2, &image, REMAKING), WAIT);
    assert_eq!(judge(&*store.view(), DataServerId(1), &image, IDLE, false), Ok(DELETE), "sealing is off");
    assert_eq!(store.verdict(1, &ShownImage { epoch: 2, ..image }, IDLE), DELETE);
    let gone = ExtentId { index: 9, ..extent };
    assert_eq!(store.verdict(1, &shown(7, gone, 5), IDLE), DELETE);
    assert_eq!(store.verdict(3, &parity([9; 16]), IDLE), DELETE);
    assert_eq!(store.verdict(3, &parity([9; 16]), MAKING), WAIT);
    store.group(8, extent, 5);
    assert_eq!(store.verdict(1, &image, IDLE), DELETE, "it is not newer");
    assert!(waits(store.verdict(1, &shown(7, extent, 6), IDLE)));
    for sequence in 6..9 {
        store.group(u8::try_from(sequence).unwrap() + 10, extent, sequence);
    }
    assert_eq!(store.verdict(1, &shown(7, extent, 9), IDLE), WAIT, "others must be used first");
}

/// While work is pending it is unknown whether an image of the new epoch is from before it.
#[test]
fn an_image_waits_for_pending_work() {
    let (store, extent) = Store::new();
    store.group(7, extent, 5);
    store.change(|txn| fence(txn, extent)).unwrap();
    let (old, new) = (shown(8, extent, 6), ShownImage { epoch: 2, ..shown(8, extent, 6) });
    assert_eq!((store.verdict(1, &old, IDLE), store.verdict(1, &new, IDLE)), (DELETE, WAIT));
    assert_eq!(store.verdict(1, &shown(7, extent, 5), IDLE), KEEP, "its time to be used has gone");
    let items: Vec<u64> =
        work::pending(&*store.view(), 0, 9).unwrap().iter().map(|(number, _)| *number).collect();
    store.change(|txn| work::done(txn, &items)).unwrap();
    assert!(matches!(store.verdict(1, &new, IDLE), Verdict::Wait(_)));
    assert_eq!(store.verdict(1, &shown(7, extent, 5), IDLE), KEEP);
}

#[test]
fn an_image_in_a_group() {
    let (store, extent) = Store::new();
    let group = store.group(7, extent, 5);
    let image = shown(7, extent, 5);
    assert_eq!(store.verdict(1, &image, IDLE), USE);
    assert_eq!(store.verdict(2, &image, IDLE), DELETE);
    assert_eq!(store.verdict(2, &image, MAKING), WAIT, "it may be a copy for another group");
    assert_eq!(store.verdict(2, &image, REMAKING), WAIT, "it is about to get its place");
    assert_eq!(store.verdict(3, &parity([107; 16]), IDLE), KEEP);
    assert_eq!(store.verdict(1, &parity([107; 16]), IDLE), DELETE);
    store.change(|txn| rehome(txn, group, 0, DataServerId(1), DataServerId(4))).unwrap();
    assert_eq!(store.verdict(1, &image, IDLE), DELETE);
    assert_eq!(store.verdict(4, &image, IDLE), KEEP, "it is not the extent's home");
    store.group(8, extent, 6);
    assert_eq!(store.verdict(4, &image, IDLE), KEEP, "older ones may be in use");
    assert_eq!(store.verdict(1, &shown(8, extent, 6), IDLE), USE);
}

#[test]
fn an_image_in_use_is_never_deleted() {
    let (store, extent) = Store::new();
    for under_way in [IDLE, MAKING, REMAKING] {
        assert_eq!(store.verdict(1, &used(shown(7, extent, 5)), under_way), KEEP, "whatever the state");
        assert_eq!(store.verdict(2, &used(shown(7, extent, 5)), under_way), KEEP);
    }
    store.group(7, extent, 5);
    let is_news = |shown: &ShownImage| matches!(store.verdict(1, shown, IDLE), Verdict::Used(_));
    let oldest = used(shown(7, extent, 5));
    assert!(is_news(&oldest), "the log does not have it yet");
    let note = |above| {
        let (image, home) = (ImageId([7; 16]), DataServerId(1));
        store.change(|txn| use_image(txn, extent, image, home, above)).unwrap();
    };
    note(0);
    assert_eq!(store.verdict(1, &oldest, IDLE), KEEP, "it has, and nothing is older");
    let above = ShownImage { sequence: 9, ..oldest };
    assert!(is_news(&above));
    note(9);
    assert_eq!((store.verdict(1, &above, IDLE), store.verdict(1, &oldest, IDLE)), (KEEP, KEEP));
    store.group(8, extent, 6);
    assert!(is_news(&used(shown(8, extent, 6))));
    assert_eq!(store.verdict(1, &oldest, IDLE), KEEP);
}
