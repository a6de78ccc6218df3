//! What a client does in the life of a few files, as compounds for `whole_server`.

use bytes::Bytes;
use wire_nfs::v3::{self, Procedure};
use wire_nfs::v4::attr::{FileType, LayoutType};
use wire_nfs::v4::layout::{Iomode, LENGTH_TO_END, LayoutUpdate};
use wire_nfs::v4::ops::{
    access, close, commit, create, getattr, layoutcommit, layoutget, layoutreturn, link, lock, lockt, locku,
    lookup, open, read, readdir, remove, rename, setattr, test_stateid, write,
};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Op, Stateid, Verifier};
use wire_xdr::Encode;

use super::whole_client::{DATA_HANDLE_BYTES, DATA_HANDLE_MARK, HANDLE_BYTES, HANDLE_MARK, OTHER_MARK, mode};
use crate::seed::encoded;

/// Operations with their arguments.
type Ops = Vec<(Op, Bytes)>;

fn op(op: Op, args: &impl Encode) -> (Op, Bytes) {
    (op, encoded(args))
}

fn void(op: Op) -> (Op, Bytes) {
    (op, Bytes::new())
}

/// The stateid that the server gave as number `index`.
fn given(index: u32) -> Stateid {
    Stateid { seqid: index, other: OTHER_MARK }
}

/// PUTFH of the handle that the server gave as number `index`.
fn put(index: u8) -> (Op, Bytes) {
    let mut handle = [0; HANDLE_BYTES];
    handle[..4].copy_from_slice(&HANDLE_MARK);
    handle[4] = index;
    let length = u32::try_from(HANDLE_BYTES).expect("short");
    (Op::Putfh, [&encoded(&length)[..], &handle].concat().into())
}

fn owner(name: &'static str) -> StateOwner {
    StateOwner { clientid: 0, owner: name.into() }
}

fn attributes(values: &AttrValues) -> Fattr4 {
    Fattr4::from_values(values)
}

fn open_create(name: &'static str, how: open::CreateHow) -> (Op, Bytes) {
    let args = open::Args {
        seqid: 0,
        share_access: 3,
        share_deny: 0,
        owner: owner("opener"),
        how: open::OpenHow::Create(how),
        claim: open::Claim::Null(name.into()),
    };
    op(Op::Open, &args)
}

fn begin_file(name: &'static str) -> Ops {
    let mode = attributes(&AttrValues { mode: Some(0o644), ..AttrValues::default() });
    vec![
        open_create(name, open::CreateHow::Unchecked(mode)),
        void(Op::Getfh),
        op(Op::Access, &access::Args { access: 0x3f }),
        op(Op::Getattr, &getattr::Args { requested: AttrValues::KNOWN }),
    ]
}

fn content(size: usize) -> Ops {
    let data = Bytes::from(vec![7; size]);
    vec![
        put(0),
        op(
            Op::Write,
            &write::Args { stateid: given(0), offset: 3, stable: write::StableHow::Unstable, data },
        ),
        op(Op::Commit, &commit::Args { offset: 0, count: 0 }),
        op(Op::Read, &read::Args { stateid: given(0), offset: 0, count: 4096 }),
    ]
}

fn locks() -> Ops {
    let locker =
        lock::Locker::New { open_seqid: 0, open_stateid: given(0), lock_seqid: 0, owner: owner("locker") };
    let lock_type = lock::LockType::Write;
    vec![
        put(0),
        op(Op::Lock, &lock::Args { lock_type, reclaim: false, offset: 1, length: 5, locker }),
        op(Op::Lockt, &lockt::Args { lock_type, offset: 0, length: 9, owner: owner("other") }),
    ]
}

fn unlock() -> Ops {
    let args = locku::Args {
        lock_type: lock::LockType::Write,
        seqid: 0,
        lock_stateid: given(1),
        offset: 0,
        length: LENGTH_TO_END,
    };
    vec![put(0), op(Op::Locku, &args), op(Op::FreeStateid, &given(1))]
}

fn layout() -> Ops {
    let get = layoutget::Args {
        signal_layout_avail: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::ReadWrite,
        offset: 0,
        length: LENGTH_TO_END,
        min_length: 4096,
        stateid: given(0),
        maxcount: 4096,
    };
    vec![put(0), op(Op::Layoutget, &get)]
}

fn layout_back() -> Ops {
    let commit = layoutcommit::Args {
        offset: 0,
        length: LENGTH_TO_END,
        reclaim: false,
        stateid: given(1),
        last_write_offset: Some(9999),
        time_modify: None,
        update: LayoutUpdate { layout_type: LayoutType::FLEX_FILES, body: Bytes::new() },
    };
    let scope = layoutreturn::ReturnScope::File(layoutreturn::ReturnFile {
        offset: 0,
        length: LENGTH_TO_END,
        stateid: given(1),
        body: Bytes::from_static(&[0; 8]),
    });
    let back = layoutreturn::Args {
        reclaim: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::Any,
        scope,
    };
    vec![put(0), op(Op::Layoutcommit, &commit), op(Op::Layoutreturn, &back)]
}

fn end_file() -> Ops {
    let test = test_stateid::Args { stateids: vec![given(0), given(1)] };
    vec![put(0), op(Op::Close, &close::Args { seqid: 0, open_stateid: given(0) }), op(Op::TestStateid, &test)]
}

fn set(values: &AttrValues) -> Ops {
    let args = setattr::Args { stateid: given(0), attributes: attributes(values) };
    vec![put(0), op(Op::Setattr, &args)]
}

fn make(name: &'static str, object: create::ObjectType) -> Ops {
    let attributes = attributes(&AttrValues { mode: Some(0o755), ..AttrValues::default() });
    vec![op(Op::Create, &create::Args { object, name: name.into(), attributes }), void(Op::Getfh)]
}

fn names() -> Vec<Ops> {
    let look = |name: &'static str| op(Op::Lookup, &lookup::Args { name: name.into() });
    let list = readdir::Args {
        cookie: 0,
        verifier: Verifier([0; 8]),
        dircount: 1024,
        maxcount: 8192,
        requested: Bitmap::of(&[1, 4, 11, 19, 20, 33]),
    };
    let renamed = rename::Args { old_name: "b".into(), new_name: "c".into() };
    vec![
        make("d", create::ObjectType::Directory),
        make("b", create::ObjectType::Link("target".into())),
        vec![look("b"), void(Op::Readlink)],
        vec![look("d"), void(Op::Lookupp), op(Op::Readdir, &list)],
        vec![void(Op::Savefh), look("d"), op(Op::Rename, &renamed)],
        vec![look("d"), void(Op::Savefh), void(Op::Putrootfh), void(Op::Restorefh), op(Op::Readdir, &list)],
        vec![look("f"), void(Op::Savefh), put(1), op(Op::Link, &link::Args { name: "g".into() })],
        vec![look("d"), op(Op::Remove, &remove::Args { name: "c".into() })],
        vec![look("d"), op(Op::Remove, &remove::Args { name: "g".into() })],
        vec![op(Op::Remove, &remove::Args { name: "d".into() })],
    ]
}

fn compound(mode: u8, ops: &Ops) -> Vec<u8> {
    let bytes: Vec<u8> =
        ops.iter().flat_map(|(op, args)| [&encoded(&op.as_u32())[..], args].concat()).collect();
    let count = u8::try_from(ops.len()).expect("seeds are short");
    let [high, low] = u16::try_from(bytes.len() / 4).expect("seeds are short").to_be_bytes();
    [&[mode, count, high, low][..], &bytes].concat()
}

/// NFSv3 to the data server, under the handle that a layout brought first.
fn data_call(procedure: Procedure, handle_and_more: &impl Encode) -> Vec<u8> {
    let args = encoded(handle_and_more);
    let [high, low] = u16::try_from(args.len() / 4).expect("seeds are short").to_be_bytes();
    let procedure = u8::try_from(procedure.as_u32()).expect("procedures have small numbers");
    [&[mode::DATA, procedure, high, low][..], &args].concat()
}

fn data_calls() -> Vec<u8> {
    let mut handle = [0; DATA_HANDLE_BYTES];
    handle[..4].copy_from_slice(&DATA_HANDLE_MARK);
    let file = v3::Fh3::new(Bytes::copy_from_slice(&handle)).expect("a handle of ours fits");
    let data = Bytes::from_static(&[9; 100]);
    let stable = v3::StableHow::Unstable;
    [
        data_call(Procedure::Write, &v3::write::Args { file: file.clone(), offset: 500, stable, data }),
        data_call(Procedure::Commit, &v3::commit::Args { file: file.clone(), offset: 0, count: 0 }),
        data_call(Procedure::Read, &v3::read::Args { file: file.clone(), offset: 490, count: 200 }),
        data_call(Procedure::Getattr, &v3::getattr::Args { object: file.clone() }),
        data_call(Procedure::Fsinfo, &v3::fsinfo::Args { fsroot: file }),
    ]
    .concat()
}

fn compounds(list: &[Ops]) -> Vec<u8> {
    list.iter().flat_map(|ops| compound(0, ops)).collect()
}

/// Inputs in which much goes well.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let size = |size| AttrValues { size: Some(size), ..AttrValues::default() };
    let owned = AttrValues { owner: Some("1000".into()), mode: Some(0o600), ..AttrValues::default() };
    let exclusive = open::CreateHow::Exclusive41(Verifier(*b"exclusiv"), Fattr4::default());
    let mut seeds = vec![
        compounds(&[begin_file("f"), content(20), end_file()]),
        compounds(&[begin_file("f"), content(300), content(30), end_file()]),
        compounds(&[begin_file("f"), locks(), unlock(), end_file()]),
        compounds(&[begin_file("f"), content(200), layout(), layout_back(), end_file()]),
        // A small file whose size says much more than is stored.
        compounds(&[begin_file("f"), set(&size(1 << 45)), content(200), end_file()]),
        compounds(&[begin_file("f"), set(&size(5000)), set(&owned), set(&size(0)), end_file()]),
        compounds(&[vec![open_create("x", exclusive), void(Op::Getfh)], set(&size(10)), end_file()]),
        compounds(&[&[begin_file("f"), end_file()][..], &names()].concat()),
        compounds(&[
            make("s", create::ObjectType::Socket),
            make("k", create::ObjectType::Other(FileType::Regular.as_u32())),
        ]),
    ];
    let opened = compounds(&[begin_file("f"), content(200), layout()]);
    seeds.push([opened, data_calls(), compounds(&[layout_back(), end_file()])].concat());
    let ops = vec![void(Op::Getfh), op(Op::Getattr, &getattr::Args { requested: AttrValues::KNOWN })];
    for mode in [mode::BARE, mode::MINOR_1, mode::USER, mode::AGAIN, mode::UNCACHED | mode::AGAIN] {
        seeds.push([compound(0, &ops), compound(mode, &ops)].concat());
    }
    seeds
}
