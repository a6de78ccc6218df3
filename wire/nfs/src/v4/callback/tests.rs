//! Golden bytes and hostile input of the callbacks.

use bytes::Bytes;
use proptest::prelude::*;
use wire_xdr::{Decode, Encode, Reader, Writer};

use super::{
    compound::{CbCompoundHeader, CbRequestWriter, decode_cb_op, decode_cb_op_reply},
    *,
};
use crate::v4::{
    Bitmap, CbOp, DeviceId, Filehandle, Nfsstat4, SessionId, Stateid,
    attr::{Fsid, LayoutType},
    layout::{Iomode, LENGTH_TO_END},
    owner::StateOwner,
};

const SESSION: SessionId = SessionId(*b"sessionsessionid");
const SESSION_WORDS: [u32; 4] = [0x7365_7373, 0x696f_6e73, 0x6573_7369, 0x6f6e_6964];
const STATEID: Stateid = Stateid { seqid: 7, other: *b"otherotherot" };
const STATEID_WORDS: [u32; 4] = [7, 0x6f74_6865, 0x726f_7468, 0x6572_6f74];
const HANDLE_WORDS: [u32; 3] = [6, 0x6861_6e64, 0x6c65_0000];

fn filehandle() -> Filehandle {
    Filehandle::new(Bytes::from_static(b"handle")).unwrap()
}

#[track_caller]
fn golden<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: &T, parts: &[&[u32]]) {
    let bytes: Bytes = parts.concat().iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>().into();
    let mut w = Writer::new();
    value.encode(&mut w);
    assert_eq!(w.into_bytes(), bytes);
    let mut r = Reader::new(bytes.clone());
    assert_eq!(T::decode(&mut r).as_ref(), Ok(value));
    assert_eq!(r.finish(), Ok(()));
    for len in 0..bytes.len() {
        assert!(T::decode(&mut Reader::new(bytes.slice(..len))).is_err(), "{len} of {}", bytes.len());
    }
}

/// Spec: RFC 8881 §20.3.1.
#[test]
fn layoutrecall_golden_bytes() {
    use layoutrecall::{Args, RecallFile, RecallScope};
    let args =
        |scope| Args { layout_type: LayoutType::FLEX_FILES, iomode: Iomode::Any, changed: true, scope };
    let head = [
        4, // LAYOUT4_FLEX_FILES
        3, // LAYOUTIOMODE4_ANY
        1, // changed
    ];
    let file = RecallFile { filehandle: filehandle(), offset: 1, length: LENGTH_TO_END, stateid: STATEID };
    golden(
        &args(RecallScope::File(file)),
        &[
            &head,
            &[1], // LAYOUTRECALL4_FILE
            &HANDLE_WORDS,
            &[0, 1],               // offset
            &[u32::MAX, u32::MAX], // length
            &STATEID_WORDS,
        ],
    );
    golden(&args(RecallScope::Fsid(Fsid { major: 8, minor: 9 })), &[&head, &[2, 0, 8, 0, 9]]);
    golden(&args(RecallScope::All), &[&head, &[3]]);
}

/// Spec: RFC 8881 §20.9.
#[test]
fn sequence_golden_bytes() {
    use sequence::{Args, ReferringCall, ReferringCallList, ResOk};
    let list =
        ReferringCallList { session: SESSION, calls: vec![ReferringCall { sequenceid: 8, slotid: 9 }] };
    let args = Args {
        session: SESSION,
        sequenceid: 1,
        slotid: 2,
        highest_slotid: 3,
        cache_this: false,
        referring_call_lists: vec![list],
    };
    golden(&args, &[&SESSION_WORDS, &[1, 2, 3, 0], &[1], &SESSION_WORDS, &[1, 8, 9]]);
    let res =
        ResOk { session: SESSION, sequenceid: 1, slotid: 2, highest_slotid: 3, target_highest_slotid: 4 };
    golden(&res, &[&SESSION_WORDS, &[1, 2, 3, 4]]);
}

/// Spec: RFC 8881 §20.2, §20.6, §20.11.
#[test]
fn recalls_and_locks_golden_bytes() {
    golden(
        &recall::Args { stateid: STATEID, truncate: true, filehandle: filehandle() },
        &[&STATEID_WORDS, &[1], &HANDLE_WORDS],
    );
    let kinds = Bitmap::of(&[recall_any::kinds::FLEX_FILES_READ, recall_any::kinds::FLEX_FILES_RW]);
    golden(&recall_any::Args { objects_to_keep: 10, kinds }, &[&[10, 1, 0x0003_0000]]);
    let owner = StateOwner { clientid: 5, owner: Bytes::from_static(b"lock") };
    golden(&notify_lock::Args { filehandle: filehandle(), owner }, &[&HANDLE_WORDS, &[0, 5, 4, 0x6c6f_636b]]);
}

/// Spec: RFC 8881 §20.12.1.
#[test]
fn notify_deviceid_golden_bytes() {
    use notify_deviceid::{Args, DeviceNotification};
    let (layout_type, device) = (LayoutType::FLEX_FILES, DeviceId(*b"sessionsessionid"));
    let changes = vec![
        DeviceNotification::Change { layout_type, device, immediate: true },
        DeviceNotification::Delete { layout_type, device },
    ];
    golden(
        &Args { changes },
        &[
            &[2],
            &[1, 2, 24, 4], // bit 1, 24 bytes, layout type
            &SESSION_WORDS, // the device has the same bytes
            &[1],           // ndc_immediate
            &[1, 4, 20, 4], // bit 2, 20 bytes, layout type
            &SESSION_WORDS,
        ],
    );
    let both: Bytes =
        [1u32, 1, 6, 20, 4, 0, 0, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>().into();
    assert!(Args::decode(&mut Reader::new(both)).is_err());
}

/// A recall as it goes out: CB_SEQUENCE and one more, and the answer to it.
/// Spec: RFC 8881 §19.2.
#[test]
fn compound_golden_bytes() {
    let mut w = Writer::new();
    let mut request = CbRequestWriter::begin(&mut w, &Bytes::new(), 2);
    let recall = layoutrecall::Args {
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::Read,
        changed: false,
        scope: layoutrecall::RecallScope::All,
    };
    request.op(&mut w, CbOp::Layoutrecall, &recall);
    request.finish(&mut w);
    let golden: Vec<u8> =
        [0u32, 2, 0, 1, 5, 4, 1, 0, 3].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    assert_eq!(w.to_bytes(), golden);

    let mut r = Reader::new(w.into_bytes());
    let header = CbCompoundHeader::decode(&mut r).unwrap();
    assert_eq!(
        header,
        CbCompoundHeader { tag: Bytes::new(), minor_version: 2, callback_ident: 0, op_count: 1 }
    );
    assert_eq!(header.check_op_count(), Ok(()));
    assert_eq!(decode_cb_op(&mut r), Ok(Ok(CbOp::Layoutrecall)));
    assert_eq!(AnyCbArgs::decode(CbOp::Layoutrecall, &mut r), Ok(Some(AnyCbArgs::Layoutrecall(recall))));
    assert_eq!(r.finish(), Ok(()));

    let reply: Vec<u8> = [5u32, 10_060].iter().flat_map(|word| word.to_be_bytes()).collect();
    let mut r = Reader::new(reply.into());
    assert!(decode_cb_op_reply(&mut r.clone(), CbOp::Recall).is_err());
    assert_eq!(decode_cb_op_reply(&mut r, CbOp::Layoutrecall), Ok(Nfsstat4::NomatchingLayout));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes: Vec<u8>,
        small in prop::collection::vec(prop_oneof![4 => 0u32..4, 1 => any::<u32>()], 0..40),
    ) {
        let small: Vec<u8> = small.iter().flat_map(|word| word.to_be_bytes()).collect();
        for bytes in [Bytes::from(bytes), Bytes::from(small)] {
            let _ = CbCompoundHeader::decode(&mut Reader::new(bytes.clone()));
            for op in CbOp::ALL {
                if let Ok(Some(args)) = AnyCbArgs::decode(*op, &mut Reader::new(bytes.clone())) {
                    let mut w = Writer::new();
                    args.encode(&mut w);
                    let again = AnyCbArgs::decode(*op, &mut Reader::new(w.into_bytes()));
                    prop_assert_eq!(again, Ok(Some(args)));
                }
                let _ = AnyCbResOk::decode(*op, &mut Reader::new(bytes.clone()));
            }
        }
    }
}
