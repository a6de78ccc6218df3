//! Values in words: bytes as text where they are text, everything else as its fields, never too
//! long, never a secret.

use std::fmt;

use mds_state::Command;
use mds_state::Entry;

/// Characters of one value; what is longer is cut.
const VALUE_CHARS_MAX: usize = 400;

/// Lists of at least so many numbers below 256 are ids or keys.
const ID_BYTES_MIN: usize = 8;

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

/// The 16 bytes of an IPv6 address, as that of IPv4 if it is one.
pub(super) fn address(bytes: &[u8]) -> String {
    match <[u8; 16]>::try_from(bytes) {
        Ok(octets) => std::net::Ipv6Addr::from(octets).to_canonical().to_string(),
        Err(_) => hex(bytes),
    }
}

/// The fields of a value, byte strings as [`bytes`] shows them, cut if they are many.
pub(super) fn fields(value: &dyn fmt::Debug) -> String {
    cut(with_byte_strings(&format!("{value:?}")))
}

/// Lists of small numbers that are meant as bytes: names, owners, ids. A list of groups is left
/// alone, and so is a short one that is no text.
fn with_byte_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, list)) = rest.split_once('[') {
        out.push_str(before);
        let known = list.split_once(']').and_then(|(numbers, behind)| {
            let list = numbers.split(", ").map(str::parse).collect::<Result<Vec<u8>, _>>().ok()?;
            let is_text = list.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
            let meant = (is_text || ID_BYTES_MIN <= list.len()) && !before.ends_with("gids: ");
            meant.then(|| (bytes(&list), behind))
        });
        match known {
            Some((words, behind)) => {
                out.push_str(&words);
                rest = behind;
            }
            None => {
                out.push('[');
                rest = list;
            }
        }
    }
    out + rest
}

/// The text, cut if it is long.
pub(super) fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(VALUE_CHARS_MAX) {
        text.truncate(at);
        text.push_str(" ...");
    }
    text
}

/// A log entry. The keys of a new file system, and of a new shard of one, are left out.
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
        Command::FormatShard(format) => {
            let (shard, file_system) = (format.shard, hex(&format.file_system));
            format!("FormatShard(shard {shard}, file system {file_system}, keys not shown)")
        }
        other => once(fields(other)),
    };
    format!("{what} at {seconds} s{origin}")
}

/// `Open(Open { .. })` is `Open { .. }`: commands are called like their arguments.
fn once(text: String) -> String {
    let shorter = text.split_once('(').and_then(|(name, rest)| {
        let fields = rest.strip_prefix(name)?.trim_start();
        Some(format!("{name} {}", fields.strip_suffix(')').unwrap_or(fields)))
    });
    shorter.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use mds_state::command::data::Format;
    use mds_state::command::governor::FormatShard;

    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let (file_system, handle_key, cookie_key) = ([1; 16], [0xaa; 32], [0xbb; 32]);
        let (root_uid, root_gid, root_mode) = (0, 0, 0o755);
        let format = Format { file_system, handle_key, cookie_key, root_uid, root_gid, root_mode };
        let format_shard = FormatShard { shard: 3, file_system, handle_key, cookie_key };
        let words = |command| self::command(&Entry { now_unix_ns: 0, origin: None, governor: 0, command });
        let id = "01".repeat(16);
        let expected = format!("Format(file system {id}, keys not shown) at 0 s");
        assert_eq!(words(Command::Format(format)), expected);
        let expected = format!("FormatShard(shard 3, file system {id}, keys not shown) at 0 s");
        assert_eq!(words(Command::FormatShard(format_shard)), expected);
    }

    #[test]
    fn byte_strings_are_read_as_text_or_digits() {
        let text = "A { name: [110, 97, 109, 101], id: [0, 1, 2, 3, 4, 5, 6, 255], gids: [100, 101], few: [0, 1], none: [] }";
        let words = "A { name: \"name\", id: 00010203040506ff, gids: [100, 101], few: [0, 1], none: [] }";
        assert_eq!(with_byte_strings(text), words);
        assert_eq!(with_byte_strings("[300, 1] [[65]] [x"), "[300, 1] [\"A\"] [x");
    }

    #[test]
    fn what_is_long_is_cut_at_a_character() {
        let long = "\u{e9}".repeat(VALUE_CHARS_MAX + 1);
        assert_eq!(cut(long).chars().count(), VALUE_CHARS_MAX + 4);
        assert_eq!(once("Open(Open { a: 1 })".to_owned()), "Open { a: 1 }");
        assert_eq!(once("Done".to_owned()), "Done");
    }
}
