//! A record of a data server's journal in words.
//!
//! Spec: docs/formats/journal.md §2.

use wal::RecordHeader;

const OFFSET_BITS: u32 = 27;

/// One line about a record.
pub(super) fn describe(header: &RecordHeader) -> String {
    let &RecordHeader { kind, role, stream: ino, sub: index, epoch, position, payload_len } = header;
    let (sequence, offset) = (position >> OFFSET_BITS, position & ((1 << OFFSET_BITS) - 1));
    let role = match role {
        0 => "home".to_owned(),
        backup => format!("backup {backup}"),
    };
    let act = match kind {
        1 => format!("WRITE offset {offset} length {payload_len}"),
        2 => "FENCE".to_owned(),
        3 => format!("CUT offset {offset}"),
        4 => "DROP".to_owned(),
        kind => format!("kind {kind}? position {position:#x} length {payload_len}"),
    };
    format!("{act} | ino {ino} extent {index} epoch {epoch} sequence {sequence} role {role}")
}
