//! Golden bytes, refusals and round trips of attributes.

use bytes::Bytes;
use proptest::prelude::*;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::*;
use crate::v4::{Bitmap, Filehandle, Nfsstat4, Nfstime4};

fn sample() -> AttrValues {
    AttrValues {
        file_type: Some(FileType::Directory),
        change: Some(0x0102_0304_0506_0708),
        fsid: Some(Fsid { major: 9, minor: 10 }),
        mode: Some(0o755),
        owner: Some(Bytes::from_static(b"1000")),
        time_modify: Some(Nfstime4 { seconds: 1, nseconds: 2 }),
        xattr_support: Some(true),
        ..AttrValues::default()
    }
}

/// A request for attributes we have, lack and never heard of gets the first kind, in ascending
/// order.
/// Spec: RFC 8881 §18.7.3. The bytes are written field by field from §3.3.7 and §5.8.
#[test]
fn getattr_golden_bytes() {
    let requested = Bitmap::of(&[
        numbers::TYPE,        // bit 1 of word 0
        numbers::CHANGE,      // bit 3
        numbers::SIZE,        // bit 4, not present
        numbers::FSID,        // bit 8
        numbers::MODE,        // bit 1 of word 1
        numbers::OWNER,       // bit 4 of word 1
        numbers::TIME_MODIFY, // bit 21 of word 1
        84,                   // not known
    ]);
    let mut w = Writer::new();
    let answered = encode_fattr4(&requested, &sample(), &mut w);
    let golden: &[u8] = &[
        0, 0, 0, 2, // two words
        0, 0, 0x01, 0x0a, // bits 1, 3, 8
        0, 0x20, 0, 0x12, // bits 33, 36, 53
        0, 0, 0, 52, // bytes of the values: 4 + 8 + 16 + 4 + 8 + 12
        0, 0, 0, 2, // type: directory
        1, 2, 3, 4, 5, 6, 7, 8, // change
        0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 10, // fsid
        0, 0, 0x01, 0xed, // mode 0755
        0, 0, 0, 4, b'1', b'0', b'0', b'0', // owner
        0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, // time_modify
    ];
    assert_eq!(w.to_bytes(), golden);
    assert_eq!(answered, Bitmap::of(&[1, 3, 8, 33, 36, 53]));

    let mut r = Reader::new(w.into_bytes());
    let fattr = Fattr4::decode(&mut r).unwrap();
    assert_eq!(r.finish(), Ok(()));
    let mut expected = sample();
    expected.xattr_support = None;
    assert_eq!(fattr.to_values(), Ok(expected));
}

/// Sizes below which Linux does not ask for a layout: hints 0 and 1 of one layout type.
/// Spec: RFC 8881 §5.12.4.
#[test]
fn mdsthreshold_golden_bytes() {
    let item = ThresholdItem {
        layout_type: LayoutType::FLEX_FILES,
        read_size: Some(16384),
        write_size: Some(4096),
        read_iosize: None,
        write_iosize: None,
    };
    let values =
        AttrValues { mdsthreshold: Some(MdsThreshold { hints: vec![item] }), ..AttrValues::default() };
    let golden: &[u8] = &[
        0, 0, 0, 1, // one item
        0, 0, 0, 4, // flexible files
        0, 0, 0, 1, 0, 0, 0, 3, // hints 0 and 1
        0, 0, 0, 16, // bytes of the hint list
        0, 0, 0, 0, 0, 0, 0x40, 0, // read size
        0, 0, 0, 0, 0, 0, 0x10, 0, // write size
    ];
    let fattr = Fattr4::from_values(&values);
    assert_eq!(fattr.body, golden);
    assert_eq!(fattr.to_values(), Ok(values));
}

/// SETATTR of an attribute that is not known is ATTRNOTSUPP, wherever its number lies; never
/// BADXDR, never ignored.
/// Spec: RFC 8881 §18.30.3.
#[test]
fn setting_an_unknown_attribute_is_attrnotsupp() {
    let unknown = Fattr4 { mask: Bitmap::of(&[12, 33]), mask_cut: false, body: Bytes::new() };
    assert_eq!(unknown.to_values(), Err(AttrError::NotSupported { number: Some(12) }));
    assert_eq!(unknown.to_values().unwrap_err().status(), Nfsstat4::Attrnotsupp);

    let mut w = Writer::new();
    w.count(4);
    [0, 0, 0, 1].into_iter().for_each(|word| w.u32(word));
    w.opaque(&[]);
    let far = Fattr4::decode(&mut Reader::new(w.into_bytes())).unwrap();
    assert_eq!(far.to_values(), Err(AttrError::NotSupported { number: None }));
}

#[test]
fn a_body_that_is_too_short_or_too_long_is_refused() {
    let whole = Fattr4::from_values(&sample());
    for len in 0..whole.body.len() {
        let cut = Fattr4 { body: whole.body.slice(..len), ..whole.clone() };
        assert!(matches!(cut.to_values(), Err(AttrError::Xdr(_))), "{len}");
    }
    let longer = Fattr4 { body: [whole.body.as_ref(), &[0; 4]].concat().into(), ..whole };
    assert_eq!(longer.to_values(), Err(AttrError::Xdr(XdrError::Trailing)));
}

#[test]
fn server_and_client_time() {
    let values = AttrValues {
        time_access_set: Some(SetTime::Server),
        time_modify_set: Some(SetTime::Client(Nfstime4 { seconds: 5, nseconds: 6 })),
        ..AttrValues::default()
    };
    let fattr = Fattr4::from_values(&values);
    let golden: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 6];
    assert_eq!(fattr.body, golden);
    assert_eq!(fattr.to_values(), Ok(values));
}

#[test]
fn every_settable_attribute_is_known() {
    assert!(numbers::SETTABLE.is_subset(&AttrValues::KNOWN));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the bits and bytes, an answer comes; and what was understood is written back as it
    /// was.
    #[test]
    fn arbitrary_bytes_never_panic(words: [u32; 3], body: Vec<u8>) {
        let mask = Bitmap::from_words(words).intersect(&AttrValues::KNOWN);
        let fattr = Fattr4 { mask, mask_cut: false, body: body.into() };
        if let Ok(values) = fattr.to_values() {
            prop_assert_eq!(Fattr4::from_values(&values).to_values(), Ok(values));
        }
        let cut = Fattr4 { mask: Bitmap::from_words(words), ..fattr };
        let _ = cut.to_values();
    }

    /// Every known attribute whose value is a plain number comes back from the wire.
    #[test]
    fn numbers_round_trip(size: u64, fileid: u64, numlinks: u32, used: u64, group in "[0-9a-z@]{0,20}") {
        let values = AttrValues {
            size: Some(size),
            fileid: Some(fileid),
            numlinks: Some(numlinks),
            space_used: Some(used),
            owner_group: Some(group.into()),
            filehandle: Some(Filehandle::new(Bytes::from_static(b"handle")).unwrap()),
            suppattr_exclcreat: Some(numbers::SETTABLE),
            fs_layout_types: Some(vec![LayoutType::FLEX_FILES]),
            ..AttrValues::default()
        };
        let mut w = Writer::new();
        Fattr4::from_values(&values).encode(&mut w);
        let mut r = Reader::new(w.into_bytes());
        prop_assert_eq!(Fattr4::decode(&mut r).unwrap().to_values(), Ok(values));
        prop_assert_eq!(r.finish(), Ok(()));
    }
}
