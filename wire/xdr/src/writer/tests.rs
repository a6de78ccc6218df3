//! Golden bytes for the writer, and the rope against a flat model.

use bytes::Bytes;
use proptest::prelude::*;

use super::Writer;
use crate::SPLICE_BYTES_MIN;

/// Spec: RFC 4506 §4.1, §4.2, §4.4, §4.5, §4.9, §4.10, §4.11.
#[test]
fn values_have_their_golden_bytes() {
    let mut writer = Writer::new();
    writer.u32(7);
    writer.i32(-2);
    writer.u64(0x0102_0304_0506_0708);
    writer.i64(-3);
    writer.bool(true);
    writer.fixed(b"abc");
    writer.opaque(b"hello");
    writer.opaque_bytes(Bytes::from_static(b"x"));
    writer.string("");
    let expected = b"\x00\x00\x00\x07\xff\xff\xff\xfe\x01\x02\x03\x04\x05\x06\x07\x08\
        \xff\xff\xff\xff\xff\xff\xff\xfd\x00\x00\x00\x01abc\x00\
        \x00\x00\x00\x05hello\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(writer.to_bytes(), expected.as_slice());
    assert_eq!(writer.len(), expected.len());
    assert_eq!(writer.into_bytes(), expected.as_slice());
}

#[test]
fn large_payload_is_spliced_not_copied() {
    let payload = Bytes::from(vec![7; SPLICE_BYTES_MIN + 1]);
    let mut writer = Writer::new();
    writer.u32(1);
    writer.opaque_bytes(payload.clone());
    writer.u32(2);
    let segments = writer.into_segments();
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[0], b"\x00\x00\x00\x01\x00\x00\x02\x01".as_slice());
    assert_eq!(segments[1].as_ptr(), payload.as_ptr());
    assert_eq!(segments[2], b"\x00\x00\x00\x00\x00\x00\x02".as_slice());
}

#[test]
fn slot_is_patched_behind_splices_and_appends() {
    let mut outer = Writer::new();
    let first = outer.reserve_u32();
    outer.opaque_bytes(Bytes::from(vec![1; 1024]));
    let second = outer.reserve_u32();
    let mut inner = Writer::new();
    inner.opaque_bytes(Bytes::from(vec![2; 2048]));
    outer.append(inner);
    let third = outer.reserve_u32();
    outer.patch_u32(third, 0x33);
    outer.patch_u32(first, 0x11);
    outer.patch_u32(second, 0x22);
    let bytes = outer.into_bytes();
    assert_eq!(bytes[..4], [0, 0, 0, 0x11]);
    assert_eq!(bytes[1032..1036], [0, 0, 0, 0x22]);
    assert_eq!(bytes[bytes.len() - 4..], [0, 0, 0, 0x33]);
}

#[derive(Debug, Clone)]
enum Act {
    Number(u32),
    Opaque(usize),
    Reserve,
    Patch(u32),
    Mark,
    Truncate,
    Append(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let bytes = prop_oneof![0_usize..16, 500_usize..1300];
    let act = prop_oneof![
        any::<u32>().prop_map(Act::Number),
        bytes.clone().prop_map(Act::Opaque),
        Just(Act::Reserve),
        any::<u32>().prop_map(Act::Patch),
        Just(Act::Mark),
        Just(Act::Truncate),
        bytes.prop_map(Act::Append),
    ];
    prop::collection::vec(act, 0..24)
}

fn model_opaque(model: &mut Vec<u8>, len: usize) {
    model.extend(u32::try_from(len).unwrap().to_be_bytes());
    model.extend(vec![0xaa; len]);
    model.resize(model.len().next_multiple_of(4), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The rope holds what a flat buffer would, whatever is spliced, patched and taken back.
    #[test]
    fn rope_equals_flat_model(acts in acts()) {
        let (mut writer, mut model) = (Writer::new(), Vec::new());
        let (mut slots, mut marks) = (Vec::new(), Vec::new());
        for act in acts {
            match act {
                Act::Number(value) => { writer.u32(value); model.extend(value.to_be_bytes()); }
                Act::Opaque(len) => {
                    writer.opaque_bytes(Bytes::from(vec![0xaa; len]));
                    model_opaque(&mut model, len);
                }
                Act::Reserve => { slots.push((model.len(), writer.reserve_u32())); model.extend([0; 4]); }
                Act::Patch(value) => if let Some((at, slot)) = slots.pop() {
                    writer.patch_u32(slot, value);
                    model[at..at + 4].copy_from_slice(&value.to_be_bytes());
                },
                Act::Mark => marks.push((model.len(), writer.mark())),
                Act::Truncate => if let Some((len, mark)) = marks.pop() {
                    writer.truncate_to(mark);
                    model.truncate(len);
                    slots.retain(|(at, _)| *at < len);
                },
                Act::Append(len) => {
                    let mut other = Writer::new();
                    other.u32(9);
                    other.opaque_bytes(Bytes::from(vec![0xaa; len]));
                    writer.append(other);
                    model.extend(9_u32.to_be_bytes());
                    model_opaque(&mut model, len);
                }
            }
            prop_assert_eq!(writer.len(), model.len());
        }
        prop_assert_eq!(writer.to_bytes(), &model[..]);
        let segments = writer.into_segments();
        prop_assert!(segments.iter().all(|segment| !segment.is_empty()));
        prop_assert_eq!(segments.concat(), model);
    }
}
