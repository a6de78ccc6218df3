//! Values in words: bytes as text where they are text, everything else as its fields, never too long, never a secret.

use std::fmt;

use mds_shard::Command;
use mds_shard::command::Entry;

/// Characters of one value; what is longer is cut.
const VALUE_CHARS_MAX: usize = 400;

/// Bytes as text if they are printable, else as hexadecimal digits.
pub(super) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| !c.is_control()) => format!("\"{text}\""),
        Ok(_) | Err(_) => hex(bytes),
    }
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of a value, cut if they are many.
pub(super) fn fields(value: &dyn fmt::Debug) -> String {
    cut(format!("{value:?}"))
}

/// The text, cut if it is long.
pub(super) fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(VALUE_CHARS_MAX) {
        text.truncate(at);
        text.push_str(" ...");
    }
    text
}

/// A log entry. The keys of a new file system are left out.
pub(super) fn command(entry: &Entry) -> String {
    let seconds = entry.now_unix_ns / 1_000_000_000;
    let origin = match &entry.origin {
        Some(origin) => format!(
            " for session {} slot {} sequence {} operation {}",
            hex(&origin.session),
            origin.slot,
            origin.sequence,
            origin.operation
        ),
        None => String::new(),
    };
    let what = match &entry.command {
        Command::Format(format) => {
            format!("Format(file system {}, keys not shown)", hex(&format.file_system))
        }
        other => fields(other),
    };
    format!("{what} at {seconds} s{origin}")
}
