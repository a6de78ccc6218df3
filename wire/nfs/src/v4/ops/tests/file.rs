//! Golden bytes of the operations on files and directories.

use super::*;
use crate::v4::{
    ChangeInfo,
    attr::{SetTime, SpecData},
};

const CHANGE: ChangeInfo = ChangeInfo { atomic: true, before: 1, after: 2 };
const CHANGE_WORDS: [u32; 5] = [1, 0, 1, 0, 2];
const VERIFIER: Verifier = Verifier(*b"verifier");
const VERIFIER_WORDS: [u32; 2] = [0x7665_7269, 0x6669_6572];

/// Attribute 33 (mode) with the value 0644, and its words.
fn mode() -> Fattr4 {
    Fattr4::from_values(&AttrValues { mode: Some(0o644), ..AttrValues::default() })
}

const MODE_WORDS: [u32; 5] = [2, 0, 2, 4, 0o644];

fn owner() -> StateOwner {
    StateOwner { clientid: 3, owner: name("open id:") }
}

fn owner_words() -> [u32; 5] {
    [0, 3, 8, text(b"open"), text(b" id:")]
}

/// OPEN as a kernel sends it for a new file: create, by name.
/// Spec: RFC 8881 §18.16.1.
#[test]
fn open_create() {
    use open::{Args, Claim, CreateHow, OpenHow, share};
    let args = Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH | share::WANT_NO_DELEG,
        share_deny: share::DENY_NONE,
        owner: owner(),
        how: OpenHow::Create(CreateHow::Guarded(mode())),
        claim: Claim::Null(name("file")),
    };
    golden(
        &args,
        &join(&[
            &[0],      // seqid
            &[0x0403], // share_access: both, no delegation wanted
            &[0],      // share_deny
            &owner_words(),
            &[1, 1],                // OPEN4_CREATE, GUARDED4
            &MODE_WORDS,            // createattrs
            &[0, 4, text(b"file")], // CLAIM_NULL
        ]),
    );
    assert_eq!(share::access(args.share_access), share::ACCESS_BOTH);
    assert!(share::has_wishes(args.share_access));
}

/// The other ways to make a file, and the other claims.
/// Spec: RFC 8881 §18.16.1.
#[test]
fn open_arms() {
    use open::{Claim, CreateHow, DelegationType, OpenHow};
    golden(&OpenHow::NoCreate, &[0]);
    golden(&CreateHow::Unchecked(mode()), &join(&[&[0], &MODE_WORDS]));
    golden(&CreateHow::Exclusive(VERIFIER), &join(&[&[2], &VERIFIER_WORDS]));
    golden(&CreateHow::Exclusive41(VERIFIER, mode()), &join(&[&[3], &VERIFIER_WORDS, &MODE_WORDS]));
    golden(&Claim::Previous(DelegationType::Write), &[1, 2]);
    golden(&Claim::DelegateCur(STATEID, name("a")), &join(&[&[2], &STATEID_WORDS, &[1, text(b"a\0\0\0")]]));
    golden(&Claim::DelegatePrev(name("a")), &[3, 1, text(b"a\0\0\0")]);
    golden(&Claim::Filehandle, &[4]);
    golden(&Claim::DelegCurFilehandle(STATEID), &join(&[&[5], &STATEID_WORDS]));
    golden(&Claim::DelegPrevFilehandle, &[6]);
    assert!(Claim::Previous(DelegationType::None).is_reclaim());
    assert_eq!(Claim::Filehandle.name(), None);
}

/// Spec: RFC 8881 §18.16.2.
#[test]
fn open_result() {
    use open::{
        Ace, Delegation, ReadDelegation, ResOk, SpaceLimit, WhyNoDelegation, WriteDelegation, result_flags,
    };
    let with = |delegation| ResOk {
        stateid: STATEID,
        change: CHANGE,
        flags: result_flags::LOCKTYPE_POSIX | result_flags::MAY_NOTIFY_LOCK,
        attrs_set: Bitmap::of(&[33]),
        delegation,
    };
    let head = join(&[&STATEID_WORDS, &CHANGE_WORDS, &[0x24, 2, 0, 2]]);
    golden(&with(Delegation::None), &join(&[&head, &[0]]));
    golden(&with(Delegation::NoneExt(WhyNoDelegation::NotWanted)), &join(&[&head, &[3, 0]]));
    let contention = WhyNoDelegation::Contention { will_push: true };
    golden(&with(Delegation::NoneExt(contention)), &join(&[&head, &[3, 1, 1]]));
    let resource = WhyNoDelegation::Resource { will_signal: false };
    golden(&with(Delegation::NoneExt(resource)), &join(&[&head, &[3, 2, 0]]));
    golden(&with(Delegation::NoneExt(WhyNoDelegation::IsDir)), &join(&[&head, &[3, 8]]));

    let permissions = Ace { ace_type: 0, flag: 1, access_mask: 2, who: name("who") };
    let ace_words = [0, 1, 2, 3, text(b"who\0")];
    let read = ReadDelegation { stateid: STATEID, recall: false, permissions: permissions.clone() };
    golden(&with(Delegation::Read(read)), &join(&[&head, &[1], &STATEID_WORDS, &[0], &ace_words]));
    for (space_limit, limit_words) in [
        (SpaceLimit::Size(1 << 32), [1, 1, 0]),
        (SpaceLimit::Blocks { blocks: 4, block_bytes: 512 }, [2, 4, 512]),
    ] {
        let write =
            WriteDelegation { stateid: STATEID, recall: true, space_limit, permissions: permissions.clone() };
        golden(
            &with(Delegation::Write(write)),
            &join(&[&head, &[2], &STATEID_WORDS, &[1], &limit_words, &ace_words]),
        );
    }
}

/// Spec: RFC 8881 §18.2, §18.3, §18.6, §18.18, §18.22, §18.32.
#[test]
fn open_files() {
    golden(&close::Args { seqid: 0, open_stateid: STATEID }, &join(&[&[0], &STATEID_WORDS]));
    golden(&close::ResOk { open_stateid: Stateid::INVALID }, &[u32::MAX, 0, 0, 0]);
    golden(&commit::Args { offset: 1, count: 2 }, &[0, 1, 2]);
    golden(&commit::ResOk { verifier: VERIFIER }, &VERIFIER_WORDS);
    golden(&delegreturn::Args { stateid: STATEID }, &STATEID_WORDS);
    let down = open_downgrade::Args { open_stateid: STATEID, seqid: 0, share_access: 1, share_deny: 0 };
    golden(&down, &join(&[&STATEID_WORDS, &[0, 1, 0]]));
    golden(&open_downgrade::ResOk { open_stateid: STATEID }, &STATEID_WORDS);
    golden(
        &read::Args { stateid: STATEID, offset: 4096, count: 100 },
        &join(&[&STATEID_WORDS, &[0, 4096, 100]]),
    );
    golden(&read::ResOk { eof: true, data: name("data") }, &[1, 4, text(b"data")]);
    let write = write::Args {
        stateid: STATEID,
        offset: 4096,
        stable: write::StableHow::FileSync,
        data: name("data!"),
    };
    golden(&write, &join(&[&STATEID_WORDS, &[0, 4096, 2, 5, text(b"data"), text(b"!\0\0\0")]]));
    let written = write::ResOk { count: 5, committed: write::StableHow::Unstable, verifier: VERIFIER };
    golden(&written, &join(&[&[5, 0], &VERIFIER_WORDS]));
}

/// Spec: RFC 8881 §18.10 to §18.12.
#[test]
fn locks() {
    use lock::{Args, Denied, LockType, Locker};
    let new = Locker::New { open_seqid: 0, open_stateid: STATEID, lock_seqid: 1, owner: owner() };
    let lock =
        |locker| Args { lock_type: LockType::Write, reclaim: false, offset: 1, length: u64::MAX, locker };
    let head = [2, 0, 0, 1, u32::MAX, u32::MAX];
    golden(&lock(new), &join(&[&head, &[1, 0], &STATEID_WORDS, &[1], &owner_words()]));
    let existing = Locker::Existing { lock_stateid: STATEID, lock_seqid: 4 };
    golden(&lock(existing), &join(&[&head, &[0], &STATEID_WORDS, &[4]]));
    golden(&lock::ResOk { lock_stateid: STATEID }, &STATEID_WORDS);
    let denied = Denied { offset: 1, length: 2, lock_type: LockType::Read, owner: owner() };
    golden(&denied, &join(&[&[0, 1, 0, 2, 1], &owner_words()]));
    let test = lockt::Args { lock_type: LockType::ReadBlocking, offset: 1, length: 2, owner: owner() };
    golden(&test, &join(&[&[3, 0, 1, 0, 2], &owner_words()]));
    let unlock = locku::Args {
        lock_type: LockType::WriteBlocking,
        seqid: 0,
        lock_stateid: STATEID,
        offset: 1,
        length: 2,
    };
    golden(&unlock, &join(&[&[4, 0], &STATEID_WORDS, &[0, 1, 0, 2]]));
    golden(&locku::ResOk { lock_stateid: STATEID }, &STATEID_WORDS);
}

/// Spec: RFC 8881 §18.4.
#[test]
fn create_each_type() {
    use create::{Args, ObjectType, ResOk};
    let device = SpecData { major: 8, minor: 1 };
    for (object, object_words) in [
        (ObjectType::Link(name("dest")), vec![5, 4, text(b"dest")]),
        (ObjectType::Block(device), vec![3, 8, 1]),
        (ObjectType::Character(device), vec![4, 8, 1]),
        (ObjectType::Socket, vec![6]),
        (ObjectType::Fifo, vec![7]),
        (ObjectType::Directory, vec![2]),
        (ObjectType::Other(1), vec![1]),
        (ObjectType::Other(99), vec![99]),
    ] {
        let args = Args { object, name: name("new"), attributes: mode() };
        golden(&args, &join(&[&object_words, &[3, text(b"new\0")], &MODE_WORDS]));
    }
    golden(&ResOk { change: CHANGE, attrs_set: Bitmap::of(&[33]) }, &join(&[&CHANGE_WORDS, &[2, 0, 2]]));
}

/// Spec: RFC 8881 §18.9, §18.13, §18.19, §18.24 to §18.26; §18.8.
#[test]
fn names_and_handles() {
    let a = [1, text(b"a\0\0\0")];
    let b = [1, text(b"b\0\0\0")];
    golden(&lookup::Args { name: name("a") }, &a);
    golden(&link::Args { name: name("a") }, &a);
    golden(&link::ResOk { change: CHANGE }, &CHANGE_WORDS);
    golden(&remove::Args { name: name("a") }, &a);
    golden(&remove::ResOk { change: CHANGE }, &CHANGE_WORDS);
    golden(&rename::Args { old_name: name("a"), new_name: name("b") }, &join(&[&a, &b]));
    golden(&rename::ResOk { source: CHANGE, target: CHANGE }, &join(&[&CHANGE_WORDS, &CHANGE_WORDS]));
    golden(&readlink::ResOk { link: name("b") }, &b);
    let filehandle = Filehandle::new(name("handle")).unwrap();
    let handle_words = [6, text(b"hand"), text(b"le\0\0")];
    golden(&putfh::Args { filehandle: filehandle.clone() }, &handle_words);
    golden(&getfh::ResOk { filehandle }, &handle_words);
}

/// Spec: RFC 8881 §18.1, §18.7, §18.15, §18.23, §18.30, §18.31.
#[test]
fn attributes() {
    golden(&access::Args { access: 0x1f }, &[0x1f]);
    golden(&access::ResOk { supported: 0x1f, access: 1 }, &[0x1f, 1]);
    golden(&getattr::Args { requested: Bitmap::of(&[1, 55]) }, &[2, 2, 1 << 23]);
    golden(&getattr::ResOk { attributes: mode() }, &MODE_WORDS);
    golden(&verify::Args { attributes: mode() }, &MODE_WORDS);
    golden(&nverify::Args { attributes: mode() }, &MODE_WORDS);
    let readdir = readdir::Args {
        cookie: 3,
        verifier: VERIFIER,
        dircount: 4096,
        maxcount: 32768,
        requested: Bitmap::of(&[20]),
    };
    golden(&readdir, &join(&[&[0, 3], &VERIFIER_WORDS, &[4096, 32768, 1, 1 << 20]]));
    let times = AttrValues { time_modify_set: Some(SetTime::Server), ..AttrValues::default() };
    let setattr = setattr::Args { stateid: STATEID, attributes: Fattr4::from_values(&times) };
    golden(&setattr, &join(&[&STATEID_WORDS, &[2, 0, 1 << 22, 4, 0]]));
    golden(&setattr::ResOk { attrs_set: Bitmap::EMPTY }, &[0]);
}

/// Spec: RFC 8881 §18.29, §18.45; the mechanism is Kerberos, 1.2.840.113554.1.2.2.
#[test]
fn security() {
    use secinfo::{GssInfo, GssService, ResOk, Secinfo};
    let oid = Bytes::from_static(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02]);
    let krb5p = GssInfo { oid, qop: 0, service: GssService::Privacy };
    let res = ResOk { flavors: vec![Secinfo::Gss(krb5p), Secinfo::Flavor(1)] };
    golden(&res, &[2, 6, 9, 0x2a86_4886, 0xf712_0102, 0x0200_0000, 0, 3, 1]);
    golden(&secinfo::Args { name: name("a") }, &[1, text(b"a\0\0\0")]);
    let style = secinfo_no_name::Style::Parent;
    golden(&secinfo_no_name::Args { style }, &[1]);
}

/// Spec: RFC 7862 §15.1, §15.4, §15.11; RFC 8276 §8.4.
#[test]
fn version_two() {
    let range = join(&[&STATEID_WORDS, &[0, 1, 0, 2]]);
    golden(&allocate::Args { stateid: STATEID, offset: 1, length: 2 }, &range);
    golden(&deallocate::Args { stateid: STATEID, offset: 1, length: 2 }, &range);
    let seek = seek::Args { stateid: STATEID, offset: 1, what: seek::DataContent::Hole };
    golden(&seek, &join(&[&STATEID_WORDS, &[0, 1, 1]]));
    golden(&seek::ResOk { eof: false, offset: 1 << 32 }, &[0, 1, 0]);
    let a = [1, text(b"a\0\0\0")];
    golden(&getxattr::Args { name: name("a") }, &a);
    golden(&getxattr::ResOk { value: name("a") }, &a);
    let set = setxattr::Args { option: setxattr::SetOption::Replace, name: name("a"), value: name("v") };
    golden(&set, &join(&[&[2], &a, &[1, text(b"v\0\0\0")]]));
    golden(&setxattr::ResOk { change: CHANGE }, &CHANGE_WORDS);
    golden(&listxattrs::Args { cookie: 1, maxcount: 64 }, &[0, 1, 64]);
    let names = vec![listxattrs::XattrName { name: name("a") }];
    golden(&listxattrs::ResOk { cookie: 2, names, eof: true }, &join(&[&[0, 2, 1], &a, &[1]]));
    golden(&removexattr::Args { name: name("a") }, &a);
    golden(&removexattr::ResOk { change: CHANGE }, &CHANGE_WORDS);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Data of any length comes through with its padding, copied or spliced.
    #[test]
    fn write_data_round_trips(offset: u64, data in prop::collection::vec(any::<u8>(), 0..2000)) {
        let args = write::Args {
            stateid: STATEID,
            offset,
            stable: write::StableHow::DataSync,
            data: data.into(),
        };
        let mut r = Reader::new(encoded(&args));
        prop_assert_eq!(write::Args::decode(&mut r), Ok(args));
        prop_assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn open_round_trips(
        share_access: u32,
        owner in prop::collection::vec(any::<u8>(), 0..64),
        file in prop::collection::vec(any::<u8>(), 0..300),
        verifier: [u8; 8],
        size: Option<u64>,
    ) {
        let attributes = Fattr4::from_values(&AttrValues { size, ..AttrValues::default() });
        let args = open::Args {
            seqid: 0,
            share_access,
            share_deny: 0,
            owner: StateOwner { clientid: 1, owner: owner.into() },
            how: open::OpenHow::Create(open::CreateHow::Exclusive41(Verifier(verifier), attributes)),
            claim: open::Claim::Null(file.into()),
        };
        let mut r = Reader::new(encoded(&args));
        prop_assert_eq!(open::Args::decode(&mut r), Ok(args));
        prop_assert_eq!(r.finish(), Ok(()));
    }
}
