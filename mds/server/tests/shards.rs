//! A server with several shards gives the same replies as a server with one, and leaves the same
//! tree.
//!
//! Spec: docs/protocol/shards.md.

#![allow(missing_docs, reason = "a test binary")]

mod rig;

use std::collections::BTreeMap;

use bytes::Bytes;
use mds_server::export::Export;
use rig::{Client, Ops, Rig};
use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{
    close, getattr, link, lookup, lookupp, open, putrootfh, readdir, remove, rename, savefh,
};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{Bitmap, Fattr4, Nfsstat4, Op, Stateid, Verifier};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A directory at most two below the root.
type Path = Vec<usize>;

#[derive(Clone, Debug)]
enum Step {
    Mkdir(Path, usize),
    Symlink(Path, usize),
    Create(Path, usize),
    Open(Path, usize),
    Link(Path, usize, Path, usize),
    Rename(Path, usize, Path, usize),
    Remove(Path, usize),
    Parent(Path),
}

/// Steps of SplitMix64: the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % bound as u64).expect("below the bound")
    }

    fn path(&mut self) -> Path {
        (0..self.below(3)).map(|_| self.below(NAMES.len())).collect()
    }

    fn step(&mut self) -> Step {
        let (at, name) = (self.path(), self.below(NAMES.len()));
        match self.below(20) {
            0..6 => Step::Mkdir(at, name),
            6 => Step::Symlink(at, name),
            7..9 => Step::Create(at, name),
            9..11 => Step::Open(at, name),
            11..13 => Step::Link(at, name, self.path(), self.below(NAMES.len())),
            13..17 => Step::Rename(at, name, self.path(), self.below(NAMES.len())),
            17..19 => Step::Remove(at, name),
            _ => Step::Parent(at),
        }
    }
}

fn bytes(name: usize) -> Bytes {
    Bytes::from_static(NAMES[name].as_bytes())
}

fn walk(c: &mut Ops<'_>, path: &Path) {
    c.op(Op::Putrootfh, &putrootfh::Args);
    for name in path {
        c.op(Op::Lookup, &lookup::Args { name: bytes(*name) });
    }
}

fn made(c: &mut Ops<'_>, at: &Path, name: usize, object: ObjectType) {
    walk(c, at);
    c.op(Op::Create, &create::Args { object, name: bytes(name), attributes: Fattr4::default() });
}

fn opened(clientid: u64, name: usize, how: OpenHow) -> open::Args {
    open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH,
        share_deny: 0,
        owner: StateOwner { clientid, owner: Bytes::from_static(b"opener") },
        how,
        claim: Claim::Null(bytes(name)),
    }
}

/// Outcome of a step: status, and number of executed operations.
async fn run(client: &mut Client, step: &Step) -> (Nfsstat4, u32) {
    let clientid = client.clientid;
    let reply = client
        .compound(|c| match step {
            Step::Mkdir(at, name) => made(c, at, *name, ObjectType::Directory),
            Step::Symlink(at, name) => {
                made(c, at, *name, ObjectType::Link(Bytes::from_static(b"target")));
            }
            Step::Link(from, old, to, new) => {
                walk(c, from);
                c.op(Op::Lookup, &lookup::Args { name: bytes(*old) });
                c.op(Op::Savefh, &savefh::Args);
                walk(c, to);
                c.op(Op::Link, &link::Args { name: bytes(*new) });
            }
            Step::Rename(from, old, to, new) => {
                walk(c, from);
                c.op(Op::Savefh, &savefh::Args);
                walk(c, to);
                c.op(Op::Rename, &rename::Args { old_name: bytes(*old), new_name: bytes(*new) });
            }
            Step::Remove(at, name) => {
                walk(c, at);
                c.op(Op::Remove, &remove::Args { name: bytes(*name) });
            }
            Step::Parent(at) => {
                walk(c, at);
                c.op(Op::Lookupp, &lookupp::Args);
                c.op(
                    Op::Getattr,
                    &getattr::Args { requested: Bitmap::of(&[numbers::NUMLINKS, numbers::SIZE]) },
                );
            }
            Step::Create(at, name) | Step::Open(at, name) => {
                walk(c, at);
                let makes = matches!(step, Step::Create(..));
                let how = OpenHow::Create(CreateHow::Unchecked(Fattr4::default()));
                c.op(Op::Open, &opened(clientid, *name, if makes { how } else { OpenHow::NoCreate }));
                c.op(Op::Close, &close::Args { seqid: 0, open_stateid: Stateid::CURRENT });
            }
        })
        .await;
    (reply.status, reply.count)
}

/// Every path: type, links, size. Directories deeper than steps go exist too: they were renamed.
async fn tree(client: &mut Client) -> BTreeMap<String, String> {
    let (mut tree, mut left) = (BTreeMap::new(), vec![Path::new()]);
    while let Some(at) = left.pop() {
        let requested = Bitmap::of(&[numbers::TYPE, numbers::SIZE, numbers::NUMLINKS]);
        let args = readdir::Args {
            cookie: 0,
            verifier: Verifier([0; 8]),
            dircount: 8192,
            maxcount: 65_536,
            requested,
        };
        let mut reply = client
            .compound(|c| {
                walk(c, &at);
                c.op(Op::Readdir, &args);
            })
            .await;
        assert_eq!(reply.status, Nfsstat4::Ok, "{at:?}");
        assert_eq!(reply.next_status(Op::Putrootfh), Nfsstat4::Ok);
        for _ in &at {
            assert_eq!(reply.next_status(Op::Lookup), Nfsstat4::Ok);
        }
        let page: readdir::ResOk = reply.next(Op::Readdir);
        assert!(page.eof);
        for entry in page.entries {
            let values = entry.attributes.to_values().expect("attributes");
            let name = NAMES.iter().position(|name| name.as_bytes() == entry.name).expect("a name of ours");
            let path: Path = at.iter().copied().chain([name]).collect();
            let words: Vec<&str> = path.iter().map(|name| NAMES[*name]).collect();
            let about = format!("{:?} links {:?} size {:?}", values.file_type, values.numlinks, values.size);
            if about.contains("Directory") {
                left.push(path);
            }
            tree.insert(words.join("/"), about);
        }
    }
    tree
}

/// The same steps on one shard and on several, with occasional restarts.
async fn alike(seed: u64, shards: u32, steps: usize) {
    let mut one = Rig::start().await;
    let mut several = Rig::with(vec![Export::any_port()], shards).await;
    let (mut alone, mut spread) = (one.client(b"alone").await, several.client(b"spread").await);
    let mut chance = Chance(seed);
    for at in 0..steps {
        let step = chance.step();
        let came = (run(&mut alone, &step).await, run(&mut spread, &step).await);
        assert_eq!(came.0, came.1, "step {at}: {step:?}");
        assert!(0 < came.0.1 && came.0.0 != Nfsstat4::SeqMisordered, "step {at}: {step:?} was not executed");
        if chance.below(60) == 0 {
            several.restart().await;
            one.restart().await;
        }
    }
    let (alone, spread) = (tree(&mut alone).await, tree(&mut spread).await);
    assert!(10 < alone.len(), "{alone:?}");
    assert_eq!(alone, spread);
    let inodes = |rig: &Rig| rig.server.as_ref().expect("it runs").status().inodes;
    assert_eq!(inodes(&one), inodes(&several));
    several.restart().await;
    one.restart().await;
    assert_eq!(inodes(&one), inodes(&several), "no orphan is left behind");
}

#[tokio::test]
async fn several_shards_answer_as_one_does() {
    for seed in 0..3 {
        alike(seed, 7, 250).await;
    }
}

#[tokio::test]
async fn two_shards_answer_as_one_does() {
    alike(9, 2, 250).await;
}

/// Names decide the shards of directories: among these are pairs, each in the other's shard and
/// both without the root.
#[tokio::test]
async fn a_file_does_not_replace_a_directory_of_another_one() {
    let mut several = Rig::with(vec![Export::any_port()], 2).await;
    let mut client = several.client(b"client").await;
    for top in 0..NAMES.len() {
        let makes = (1..NAMES.len()).map(|below| Step::Mkdir(vec![top], below));
        for step in [Step::Mkdir(vec![], top), Step::Create(vec![top], 0)].into_iter().chain(makes) {
            assert_eq!(run(&mut client, &step).await.0, Nfsstat4::Ok, "{step:?}");
        }
    }
    for from in 0..NAMES.len() {
        for to in (0..NAMES.len()).filter(|to| *to != from) {
            for below in 1..NAMES.len() {
                let step = Step::Rename(vec![from], 0, vec![to], below);
                assert_eq!(run(&mut client, &step).await.0, Nfsstat4::Isdir, "{step:?}");
            }
        }
    }
    several.restart().await;
}

/// A client's state from before its restart does not block it once it has a new session, and its
/// old session has ended.
#[tokio::test]
async fn a_client_that_restarts_does_not_block_itself() {
    let rig = Rig::with(vec![Export::any_port()], 5).await;
    let mut before = rig.client(b"restarts").await;
    let paths: Vec<Path> = (0..NAMES.len()).flat_map(|one| [vec![one], vec![one, one]]).collect();
    for path in &paths {
        let (name, at) = path.split_last().expect("none is the root");
        assert_eq!(run(&mut before, &Step::Mkdir(at.to_vec(), *name)).await.0, Nfsstat4::Ok);
    }
    let alone = |clientid, name| open::Args {
        share_deny: share::DENY_BOTH,
        ..opened(clientid, name, OpenHow::Create(CreateHow::Unchecked(Fattr4::default())))
    };
    let mut after = Client::new(rig.connect(), b"restarts", 0);
    after.verifier = Verifier(*b"restart!");
    for client in [&mut before, &mut after] {
        if client.clientid == 0 {
            client.exchange_id().await;
            client.create_session().await;
        }
        for path in &paths {
            let args = alone(client.clientid, (path[0] + 1) % NAMES.len());
            let reply = client.compound(|c| {
                walk(c, path);
                c.op(Op::Open, &args);
            });
            assert_eq!(reply.await.status, Nfsstat4::Ok, "{path:?}");
        }
    }
    assert_eq!(run(&mut before, &Step::Parent(vec![0])).await.0, Nfsstat4::Badsession);
}
