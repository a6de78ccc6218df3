//! Golden bytes, round trips and hostile input of the NFS version 3 codecs.

use std::fmt::Debug;

use bytes::Bytes;
use proptest::prelude::*;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::*;

fn bytes_of(value: &impl Encode) -> Bytes {
    let mut writer = Writer::new();
    value.encode(&mut writer);
    writer.into_bytes()
}

fn decode_all<T: Decode>(bytes: Bytes) -> Result<T, XdrError> {
    let mut reader = Reader::new(bytes);
    let value = T::decode(&mut reader)?;
    reader.finish().map(|()| value)
}

/// The value has these bytes, these bytes have this value, and no shorter bytes have any.
fn golden<T: Encode + Decode + PartialEq + Debug>(value: &T, bytes: &[u8]) {
    assert_eq!(bytes_of(value), bytes);
    assert_eq!(decode_all::<T>(Bytes::copy_from_slice(bytes)).as_ref(), Ok(value));
    for len in 0..bytes.len() {
        assert!(decode_all::<T>(Bytes::copy_from_slice(&bytes[..len])).is_err(), "{len}");
    }
}

fn fh() -> Fh3 {
    Fh3::new(Bytes::from_static(b"handle")).unwrap()
}

const FATTR: &[u8] = b"\x00\x00\x00\x01\x00\x00\x01\xa4\x00\x00\x00\x02\x00\x00\x03\xe8\x00\x00\x00\x64\
    \x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00\x00\x08\x00\x00\x00\x01\
    \x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x2a\
    \x00\x00\x00\x0a\x00\x00\x00\x0b\x00\x00\x00\x0c\x00\x00\x00\x0d\x00\x00\x00\x0e\x00\x00\x00\x0f";

fn fattr() -> Fattr3 {
    Fattr3 {
        ftype: Ftype3::Reg,
        mode: 0o644,
        nlink: 2,
        uid: 1000,
        gid: 100,
        size: (1 << 32) + 5,
        used: 8192,
        rdev: Specdata3 { specdata1: 8, specdata2: 1 },
        fsid: 7,
        fileid: 42,
        atime: Nfstime3 { seconds: 10, nseconds: 11 },
        mtime: Nfstime3 { seconds: 12, nseconds: 13 },
        ctime: Nfstime3 { seconds: 14, nseconds: 15 },
    }
}

/// Spec: RFC 1813 §2.5, §3.3.1.
#[test]
fn getattr_has_its_golden_bytes() {
    golden(&getattr::Args { object: fh() }, b"\x00\x00\x00\x06handle\x00\x00");
    let ok = getattr::Res::Ok(getattr::ResOk { obj_attributes: fattr() });
    golden(&ok, &[b"\x00\x00\x00\x00", FATTR].concat());
    golden(&getattr::Res::Fail(Nfsstat3::Stale, getattr::ResFail), b"\x00\x00\x00\x46");
}

/// Spec: RFC 1813 §3.3.6.
#[test]
fn read_has_its_golden_bytes() {
    let args = read::Args { file: fh(), offset: 1 << 20, count: 4096 };
    golden(&args, b"\x00\x00\x00\x06handle\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x10\x00");
    let body = read::ResOk { file_attributes: None, eof: true, data: Bytes::from_static(b"hello") };
    let bytes =
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00\x05hello\x00\x00\x00";
    golden(&read::Res::Ok(body), bytes);
    let mut writer = Writer::new();
    read::put_ok(&mut writer, None, true, &[Bytes::from_static(b"he"), Bytes::from_static(b"llo")]);
    assert_eq!(writer.into_bytes(), bytes.as_slice());
    let fail = read::Res::Fail(Nfsstat3::Jukebox, Some(fattr()));
    golden(&fail, &[b"\x00\x00\x27\x18\x00\x00\x00\x01", FATTR].concat());
}

/// Spec: RFC 1813 §3.3.7.
#[test]
fn write_has_its_golden_bytes() {
    let data = Bytes::from_static(b"abcd");
    let args = write::Args { file: fh(), offset: 3, stable: StableHow::FileSync, data };
    let bytes =
        b"\x00\x00\x00\x06handle\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x02\
        \x00\x00\x00\x04abcd";
    golden(&args, bytes);
    let before = WccAttr { size: 9, mtime: Nfstime3 { seconds: 1, nseconds: 2 }, ctime: Nfstime3::default() };
    let ok = write::ResOk {
        file_wcc: WccData { before: Some(before), after: None },
        count: 4,
        committed: StableHow::Unstable,
        verf: *b"verifier",
    };
    let bytes =
        b"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x02\
        \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00verifier";
    golden(&write::Res::Ok(ok), bytes);
    golden(
        &write::Res::Fail(Nfsstat3::Nospc, WccData::default()),
        b"\x00\x00\x00\x1c\x00\x00\x00\x00\x00\x00\x00\x00",
    );
}

/// Spec: RFC 1813 §3.3.21.
#[test]
fn commit_has_its_golden_bytes() {
    let args = commit::Args { file: fh(), offset: 0, count: 7 };
    golden(&args, b"\x00\x00\x00\x06handle\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07");
    let ok = commit::ResOk { file_wcc: WccData::default(), verf: *b"verifier" };
    golden(&commit::Res::Ok(ok), b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00verifier");
}

/// Spec: RFC 1813 §3.3.4, §3.3.18, §3.3.19, §3.3.20.
#[test]
fn questions_about_a_file_system_have_their_golden_bytes() {
    let args = access::Args { object: fh(), access: access::ACCESS3_READ | access::ACCESS3_EXECUTE };
    golden(&args, b"\x00\x00\x00\x06handle\x00\x00\x00\x00\x00\x21");
    let ok = access::ResOk { obj_attributes: None, access: 1 };
    golden(&access::Res::Ok(ok), b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01");

    let ok = fsstat::ResOk {
        obj_attributes: None,
        tbytes: 1,
        fbytes: 2,
        abytes: 3,
        tfiles: 4,
        ffiles: 5,
        afiles: 6,
        invarsec: 7,
    };
    let mut bytes = vec![0; 8];
    (1_u64..7).for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes.extend(7_u32.to_be_bytes());
    golden(&fsstat::Res::Ok(ok), &bytes);

    let ok = fsinfo::ResOk {
        obj_attributes: None,
        rtmax: 1,
        rtpref: 2,
        rtmult: 3,
        wtmax: 4,
        wtpref: 5,
        wtmult: 6,
        dtpref: 7,
        maxfilesize: 8,
        time_delta: Nfstime3 { seconds: 9, nseconds: 10 },
        properties: fsinfo::FSF_LINK | fsinfo::FSF_CANSETTIME,
    };
    let mut bytes = vec![0; 8];
    (1_u32..8).for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes.extend(8_u64.to_be_bytes());
    [9_u32, 10, 0x11].iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    golden(&fsinfo::Res::Ok(ok), &bytes);

    let ok = pathconf::ResOk {
        obj_attributes: None,
        linkmax: 1,
        name_max: 255,
        no_trunc: true,
        chown_restricted: true,
        case_insensitive: false,
        case_preserving: true,
    };
    let mut bytes = vec![0; 8];
    [1_u32, 255, 1, 1, 0, 1].iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    golden(&pathconf::Res::Ok(ok), &bytes);
}

#[test]
fn data_is_a_slice_of_the_message() {
    let data = Bytes::from(vec![5; 1 << 20]);
    let args = write::Args { file: fh(), offset: 0, stable: StableHow::Unstable, data: data.clone() };
    let mut writer = Writer::new();
    args.encode(&mut writer);
    assert!(writer.into_segments().iter().any(|segment| segment.as_ptr() == data.as_ptr()));
    let message = bytes_of(&args);
    let decoded = decode_all::<write::Args>(message.clone()).unwrap();
    assert_eq!(decoded.data.as_ptr(), message[message.len() - data.len()..].as_ptr());
}

#[test]
fn refuses_what_is_malformed() {
    let long = [b"\x00\x00\x00\x44".as_slice(), &[0; 68]].concat();
    assert_eq!(decode_all::<Fh3>(Bytes::from(long)), Err(XdrError::TooLong { len: 68, max: 64 }));
    assert_eq!(Fh3::new(Bytes::from(vec![0; 65])), None);
    let mut write = bytes_of(&write::Args {
        file: fh(),
        offset: 3,
        stable: StableHow::Unstable,
        data: Bytes::from_static(b"abcd"),
    })
    .to_vec();
    write[23] = 3;
    let error = XdrError::Invalid { field: "WRITE3args.count" };
    assert_eq!(decode_all::<write::Args>(Bytes::from(write)), Err(error));
    let error = XdrError::BadDiscriminant { what: "nfsstat3", value: 3 };
    assert_eq!(decode_all::<getattr::Res>(Bytes::from_static(b"\x00\x00\x00\x03")), Err(error));
}

/// Every procedure but NULL can fail, each in its own shape.
/// Spec: RFC 1813 §3.3.
#[test]
fn failure_has_the_arm_of_its_procedure() {
    for procedure in Procedure::ALL {
        let Some(failure) = failure(*procedure, Nfsstat3::Notsupp) else {
            assert_eq!(*procedure, Procedure::Null);
            continue;
        };
        let bytes = bytes_of(&failure);
        assert_eq!(bytes[..4], *b"\x00\x00\x27\x14");
        assert!(bytes[4..].iter().all(|byte| *byte == 0));
        let words = match procedure {
            Procedure::Getattr => 0,
            Procedure::Rename => 4,
            Procedure::Link => 3,
            Procedure::Lookup | Procedure::Readdirplus | Procedure::Readlink => 1,
            Procedure::Setattr | Procedure::Create | Procedure::Remove | Procedure::Mknod => 2,
            _ => continue,
        };
        assert_eq!(bytes.len(), 4 + 4 * words, "{procedure:?}");
    }
    // Where both sides of a procedure are here, they agree.
    let bytes = |procedure| bytes_of(&failure(procedure, Nfsstat3::Notsupp).unwrap());
    let status = Nfsstat3::Notsupp;
    assert_eq!(bytes(Procedure::Getattr), bytes_of(&getattr::Res::Fail(status, getattr::ResFail)));
    assert_eq!(bytes(Procedure::Read), bytes_of(&read::Res::Fail(status, None)));
    assert_eq!(bytes(Procedure::Write), bytes_of(&write::Res::Fail(status, WccData::default())));
    assert_eq!(bytes(Procedure::Commit), bytes_of(&commit::Res::Fail(status, WccData::default())));
    assert_eq!(bytes(Procedure::Access), bytes_of(&access::Res::Fail(status, None)));
    assert_eq!(bytes(Procedure::Fsstat), bytes_of(&fsstat::Res::Fail(status, None)));
    assert_eq!(bytes(Procedure::Fsinfo), bytes_of(&fsinfo::Res::Fail(status, None)));
    assert_eq!(bytes(Procedure::Pathconf), bytes_of(&pathconf::Res::Fail(status, None)));
}

fn any_fh() -> impl Strategy<Value = Fh3> {
    prop::collection::vec(any::<u8>(), 0..=64).prop_map(|bytes| Fh3::new(Bytes::from(bytes)).unwrap())
}

fn any_attributes() -> impl Strategy<Value = Option<Fattr3>> {
    prop::option::of(any::<(u32, u64, u64)>().prop_map(|(mode, size, fileid)| Fattr3 {
        mode,
        size,
        fileid,
        ..fattr()
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn read_and_write_round_trip(
        file in any_fh(),
        offset in any::<u64>(),
        data in prop::collection::vec(any::<u8>(), 0..2000).prop_map(Bytes::from),
        attributes in any_attributes(),
        eof in any::<bool>(),
        stable in prop::sample::select(StableHow::ALL),
    ) {
        let write = write::Args { file, offset, stable, data: data.clone() };
        prop_assert_eq!(decode_all::<write::Args>(bytes_of(&write)), Ok(write));
        let read = read::Res::Ok(read::ResOk { file_attributes: attributes, eof, data });
        prop_assert_eq!(decode_all::<read::Res>(bytes_of(&read)), Ok(read));
        let wcc = WccData { before: None, after: attributes };
        let ok = write::Res::Ok(write::ResOk { file_wcc: wcc, count: 9, committed: stable, verf: offset.to_be_bytes() });
        prop_assert_eq!(decode_all::<write::Res>(bytes_of(&ok)), Ok(ok));
    }

    #[test]
    fn arbitrary_bytes_never_panic(words in prop::collection::vec(prop_oneof![0_u32..5, any::<u32>()], 0..48)) {
        let bytes: Bytes = words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>().into();
        drop(decode_all::<read::Args>(bytes.clone()));
        drop(decode_all::<read::Res>(bytes.clone()));
        drop(decode_all::<write::Args>(bytes.clone()));
        drop(decode_all::<write::Res>(bytes.clone()));
        drop(decode_all::<commit::Args>(bytes.clone()));
        drop(decode_all::<commit::Res>(bytes.clone()));
        drop(decode_all::<access::Args>(bytes.clone()));
        drop(decode_all::<access::Res>(bytes.clone()));
        drop(decode_all::<getattr::Res>(bytes.clone()));
        drop(decode_all::<fsstat::Res>(bytes.clone()));
        drop(decode_all::<fsinfo::Res>(bytes.clone()));
        drop(decode_all::<pathconf::Res>(bytes));
    }
}
