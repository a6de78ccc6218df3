//! Rules of the protocol for single operations and their refusals, against the real server on a
//! network in memory.

#![allow(missing_docs, reason = "a test binary")]

mod rig;

use bytes::Bytes;
use env_transport::CallError;
use mds_server::export::Export;
use rig::data::open_through;
use rig::{Client, Rig};
use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::compound::ReplyHeader;
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::open::{Claim, DelegationType, OpenHow, share};
use wire_nfs::v4::ops::readdir::{self, Entry};
use wire_nfs::v4::ops::{getattr, lookup, lookupp, open, putfh, putrootfh, sequence};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Nfsstat4, Op, Verifier};
use wire_rpc::{AuthStat, AuthSys, Credential, OpaqueAuth, ReplyStatus};
use wire_xdr::{Decode, Encode, Writer};

fn at(path: &str) -> Export {
    Export { path: path.to_owned(), ..Export::any_port() }
}

fn name(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn make(client: &mut Client, object: ObjectType, text: &str) {
    let args = create::Args { object, name: name(text), attributes: Fattr4::default() };
    let made = client.compound(|c| {
        c.op(Op::Putrootfh, &putrootfh::Args);
        c.op(Op::Create, &args);
    });
    made.await.ok(2);
}

/// As many operations as a session was granted are executed; with one more the request is refused
/// and its slot does not move.
/// Spec: RFC 8881 §2.10.6.1.3, §18.46.3.
#[tokio::test]
async fn a_session_carries_as_many_operations_as_it_was_granted() {
    let rig = Rig::start().await;
    let mut client = Client::new(rig.connect(), b"many", 0);
    client.operations_max = 100;
    client.exchange_id().await;
    let granted = client.create_session().await.fore.operations_max;
    let roots = |count: u32| {
        move |c: &mut rig::Ops<'_>| (0..count).for_each(|_| c.op(Op::Putrootfh, &putrootfh::Args))
    };
    client.compound(roots(granted - 1)).await.ok(granted - 1);
    let refused = client.compound(roots(granted)).await;
    assert_eq!((refused.status, refused.count), (Nfsstat4::TooManyOps, 1));
    // The sequence was not used up.
    client.again(roots(1)).await.ok(1);
}

/// A compound of more operations than any session carries is refused as a whole, in a session and
/// outside of one; its slot does not move.
/// Spec: RFC 8881 §2.10.6.1.3, §15.1.3.4.
#[tokio::test]
async fn a_compound_of_too_many_operations_is_answered() {
    let rig = Rig::start().await;
    let mut client = rig.client(b"too many").await;
    let args = next_sequence(&client);
    for count in [129, 1_000, u32::MAX] {
        let reply = counted(&rig, count, |w| {
            w.u32(Op::Sequence.as_u32());
            args.encode(w);
            (1..count.min(1_000)).for_each(|_| w.u32(Op::Putrootfh.as_u32()));
        });
        assert_eq!(reply.await, (Nfsstat4::TooManyOps, 0), "{count} in a session");
        let reply = counted(&rig, count, |w| {
            (0..count.min(1_000)).for_each(|_| w.u32(Op::Putrootfh.as_u32()));
        });
        assert_eq!(reply.await, (Nfsstat4::TooManyOps, 0), "{count} outside of a session");
        let reply = counted(&rig, count, |_| {});
        assert_eq!(reply.await, (Nfsstat4::TooManyOps, 0), "{count}, and none there");
    }
    client.compound(|c| c.op(Op::Putrootfh, &putrootfh::Args)).await.ok(1);
}

/// SEQUENCE of the client's next compound.
fn next_sequence(client: &Client) -> sequence::Args {
    sequence::Args {
        session: client.session,
        sequenceid: client.sequence + 1,
        slotid: 0,
        highest_slotid: 0,
        cache_this: true,
    }
}

/// Sends a compound with this operation count; returns status and number of results.
async fn counted(rig: &Rig, count: u32, operations: impl FnOnce(&mut Writer)) -> (Nfsstat4, u32) {
    let mut w = Writer::new();
    w.opaque(b"tag");
    w.u32(2);
    w.u32(count);
    operations(&mut w);
    let credential = Credential::Sys(AuthSys::default());
    let reply = rig.connect().call(100_003, 4, 1, &credential, w, 10_000).await;
    let header = ReplyHeader::decode(&mut reply.expect("no GARBAGE_ARGS")).expect("a header");
    (header.status, header.op_count)
}

/// A compound of another minor version than its session's is refused, and its slot does not move.
/// Spec: RFC 8881 §2.10.6.1.3, §18.46.3.
#[tokio::test]
async fn another_minor_version_does_not_move_the_slot() {
    let rig = Rig::start().await;
    let mut client = rig.client(b"minor").await;
    let args = next_sequence(&client);
    let other = client.send(1, |c| {
        c.op(Op::Sequence, &args);
        c.op(Op::Putrootfh, &putrootfh::Args);
    });
    assert_eq!(other.await.status, Nfsstat4::MinorVersMismatch);
    client.compound(|c| c.op(Op::Putrootfh, &putrootfh::Args)).await.ok(1);
}

/// NULL accepts a supported credential, and no other: success would be read as the reply that sets
/// up a context.
/// Spec: RFC 5531 §9; RFC 2203 §5.2.3.
#[tokio::test]
async fn null_with_an_unsupported_credential_is_refused() {
    const RPCSEC_GSS: u32 = 6;
    let rig = Rig::start().await;
    let rpc = rig.connect();
    let null =
        async |credential: &Credential| rpc.call(100_003, 4, 0, credential, Writer::new(), 10_000).await;
    assert!(null(&Credential::None).await.is_ok());
    let body = Bytes::from_static(&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    let gss = Credential::Other(OpaqueAuth { flavor: RPCSEC_GSS, body });
    let refused = null(&gss).await;
    let Err(CallError::Rejected(ReplyStatus::AuthError(why))) = refused else {
        panic!("not refused: {refused:?}")
    };
    assert_eq!(why, AuthStat::TOOWEAK);
}

/// Origin: pynfs 4.1 LKPP1a.
/// Spec: RFC 8881 §18.14.3, §15.2.
#[tokio::test]
async fn nothing_lies_above_a_symbolic_link() {
    let rig = Rig::start().await;
    let mut client = rig.client(b"above").await;
    make(&mut client, ObjectType::Link(name("target")), "link").await;
    make(&mut client, ObjectType::Fifo, "pipe").await;
    for (text, expected) in [("link", Nfsstat4::Symlink), ("pipe", Nfsstat4::Notdir)] {
        let reply = client.compound(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            c.op(Op::Lookup, &lookup::Args { name: name(text) });
            c.op(Op::Lookupp, &lookupp::Args);
        });
        assert_eq!(reply.await.status, expected, "{text}");
    }
}

/// Origin: pynfs 4.1 RECC2.
/// Spec: RFC 8881 §18.51.3.
#[tokio::test]
async fn nothing_is_reclaimed_after_reclaim_complete() {
    let rig = Rig::with_exports(vec![Export::any_port(), at("/files")]).await;
    let mut client = rig.client(b"late").await;
    // It claims an open that it holds.
    let (filehandle, _) = open_through(&mut client, "files", "file").await;
    let previous = open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH,
        share_deny: share::DENY_NONE,
        owner: StateOwner { clientid: client.clientid, owner: Bytes::from_static(b"owner") },
        how: OpenHow::NoCreate,
        claim: Claim::Previous(DelegationType::None),
    };
    let reply = client.compound(|c| {
        c.op(Op::Putfh, &putfh::Args { filehandle });
        c.op(Op::Open, &previous);
    });
    assert_eq!(reply.await.status, Nfsstat4::NoGrace);
}

async fn list(client: &mut Client, maxcount: u32, requested: Bitmap) -> Vec<Entry> {
    let (mut cookie, mut entries) = (0, Vec::new());
    loop {
        let args = readdir::Args { cookie, verifier: Verifier::default(), dircount: 0, maxcount, requested };
        let mut reply = client
            .compound(|c| {
                c.op(Op::Putrootfh, &putrootfh::Args);
                c.op(Op::Readdir, &args);
            })
            .await
            .ok(2);
        let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
        let mut page: readdir::ResOk = reply.next(Op::Readdir);
        assert!(page.eof || !page.entries.is_empty(), "a page without an entry leads nowhere");
        cookie = page.entries.last().map_or(0, |entry| entry.cookie);
        entries.append(&mut page.entries);
        if page.eof {
            return entries;
        }
    }
}

/// The tree above the exports shows only the way to them, however many other entries exist.
/// Spec: RFC 8881 §7.3, §18.23.3.
#[tokio::test]
async fn hidden_entries_do_not_fill_a_page() {
    const HIDDEN: u32 = 200;
    let mut rig = Rig::start().await;
    let mut client = rig.client(b"before").await;
    for number in 0..HIDDEN {
        make(&mut client, ObjectType::Directory, &format!("hidden-{number}")).await;
    }
    rig.exports = vec![at("/one"), at("/two")];
    rig.restart().await;
    let mut client = rig.client(b"behind").await;
    // Room for about ten of the entries.
    let entries = list(&mut client, 512, Bitmap::of(&[numbers::FILEID])).await;
    let mut names: Vec<&[u8]> = entries.iter().map(|entry| &*entry.name).collect();
    names.sort_unstable();
    assert_eq!(names, [b"one", b"two"]);
}

async fn attributes(client: &mut Client, path: Option<&str>) -> AttrValues {
    let requested = Bitmap::of(&[numbers::FSID, numbers::FILEID]);
    let mut reply = client
        .compound(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            if let Some(path) = path {
                c.op(Op::Lookup, &lookup::Args { name: name(path) });
            }
            c.op(Op::Getattr, &getattr::Args { requested });
        })
        .await;
    let _: putrootfh::ResOk = reply.next(Op::Putrootfh);
    if path.is_some() {
        let _: lookup::ResOk = reply.next(Op::Lookup);
    }
    let got: getattr::ResOk = reply.next(Op::Getattr);
    got.attributes.to_values().expect("they decode")
}

/// Each export is a file system of its own: a client that reaches a file through two of them has
/// two files. A listing shows that, too.
/// Spec: RFC 8881 §5.8.1.9, §7.3.
#[tokio::test]
async fn each_export_has_an_identity_of_its_own() {
    let rig = Rig::with_exports(vec![Export::any_port(), at("/one"), at("/two")]).await;
    let mut client = rig.client(b"ids").await;
    make(&mut client, ObjectType::Directory, "plain").await;
    let root = attributes(&mut client, None).await.fsid;
    let mut seen = vec![root];
    for path in ["one", "two"] {
        seen.push(attributes(&mut client, Some(path)).await.fsid);
    }
    assert_eq!(attributes(&mut client, Some("plain")).await.fsid, root);
    assert!(seen[0] != seen[1] && seen[0] != seen[2] && seen[1] != seen[2], "{seen:?}");
    let entries = list(&mut client, 4096, Bitmap::of(&[numbers::FSID])).await;
    for (text, fsid) in [("one", seen[1]), ("two", seen[2]), ("plain", seen[0])] {
        let entry = entries.iter().find(|entry| *entry.name == *text.as_bytes()).expect("it is listed");
        assert_eq!(entry.attributes.to_values().expect("they decode").fsid, fsid, "{text}");
    }
    // The only one, or the first, has the same fsid as ever: handles of mounted clients stay valid.
    let alone = Rig::start().await;
    let mut client = alone.client(b"alone").await;
    let fsid = attributes(&mut client, None).await.fsid.expect("asked for");
    let identity = client.exchange_id().await.server_major_id;
    assert_eq!(*identity, [fsid.major.to_be_bytes(), fsid.minor.to_be_bytes()].concat());
}

/// The tree above the exports belongs to none of them.
/// Spec: RFC 8881 §7.3.
#[tokio::test]
async fn the_way_to_an_export_is_not_in_it() {
    let rig = Rig::with_exports(vec![at("/one")]).await;
    let mut client = rig.client(b"stays").await;
    let inside = attributes(&mut client, Some("one")).await.fsid;
    assert_ne!(attributes(&mut client, None).await.fsid, inside, "the way there is another one");
}
