//! A record of a data server's journal in words.
//!
//! Spec: docs/formats/journal.md §2.

use wal::RecordHeader;

use super::sink::Facts;

const OFFSET_BITS: u32 = 27;
/// Bytes that the payload of an IMAGE has.
const IMAGE_BYTES: usize = 64;

/// One line about a record. Its payload is read only for images.
pub(super) fn describe(header: &RecordHeader, payload: &dyn Fn() -> Option<Vec<u8>>) -> (String, Facts) {
    let &RecordHeader { kind, role, stream: ino, sub: index, epoch, position, payload_len } = header;
    let (sequence, offset) = (position >> OFFSET_BITS, position & ((1 << OFFSET_BITS) - 1));
    let record = match kind {
        1 => "WRITE",
        2 => "FENCE",
        3 => "CUT",
        4 => "DROP",
        5 => "IMAGE",
        6 => "EPOCH",
        _ => "unknown",
    };
    let facts = Facts::new(true)
        .with("record", record)
        .with("ino", ino)
        .with("extent", index)
        .with("epoch", epoch)
        .with("sequence", sequence)
        .with("role", role)
        .with("offset", offset)
        .with("length", payload_len);
    let role = match role {
        0 => "home".to_owned(),
        backup => format!("backup {backup}"),
    };
    let act = match kind {
        1 => format!("WRITE offset {offset} length {payload_len}"),
        2 => "FENCE".to_owned(),
        3 if offset == layout::EXTENT_BYTES => "CUT of nothing".to_owned(),
        3 => format!("CUT offset {offset}"),
        4 => "DROP".to_owned(),
        5 => format!("IMAGE content {offset} {}", image(payload(), offset)),
        6 => "EPOCH".to_owned(),
        kind => format!("kind {kind}? position {position:#x} length {payload_len}"),
    };
    (format!("{act} | ino {ino} extent {index} epoch {epoch} sequence {sequence} role {role}"), facts)
}

/// Which image a payload names.
fn image(payload: Option<Vec<u8>>, offset: u64) -> String {
    let Some(payload) = payload else { return "payload cannot be read".to_owned() };
    let Ok(bytes) = <[u8; IMAGE_BYTES]>::try_from(payload) else { return "payload BAD".to_owned() };
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let hex = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let sound = u64::from(word(16)) == offset && bytes[56..] == [0; 8];
    let verdict = if sound { "" } else { " payload BAD" };
    format!("image {} file {} root {}{verdict}", hex(0..16), word(20), hex(24..56))
}
