//! The text of key files: one key, or two while the cluster key is replaced.
//!
//! Spec: docs/formats/key.md.

use anyhow::bail;
use wire_nfs::control::ClusterKey;
use wire_nfs::control::keyring::{Accepted, Ring};
use wire_nfs::control::keys::DataServerKey;

use crate::args::parse_place;

pub(super) const KEY_BYTES: usize = 32;
/// The first line of a key for a role.
const ROLE_LINE: &str = "shoal key 1";
/// The first line of a file with two keys.
const RING_LINE: &str = "shoal keys 2";
const EVERY_NODE: &str = "every node";
const DATA_SERVER: &str = "data server ";
const ADMINISTRATOR: &str = "administrator";
const ACTIVE: &str = "active";
const NEXT: &str = "next";
const BEFORE: &str = "before";

/// What a file with these keys has in it.
pub(super) fn text_of(ring: &Ring) -> String {
    let (role, active) = lines_of(ring.active());
    let Some(accepted) = ring.accepted() else {
        // The form from before there were roles.
        let is_whole = role == EVERY_NODE;
        return if is_whole { joined(&active) } else { format!("{ROLE_LINE}\n{role}\n{}", joined(&active)) };
    };
    let place = match accepted {
        Accepted::Next(_) => NEXT,
        Accepted::Before(_) => BEFORE,
    };
    let other = joined(&lines_of(accepted.key()).1);
    format!("{RING_LINE}\n{role}\n{ACTIVE}\n{}{place}\n{other}", joined(&active))
}

/// The line of a key's role, and those of the key itself.
fn lines_of(key: &ClusterKey) -> (String, Vec<String>) {
    if let Some(whole) = key.whole() {
        return (EVERY_NODE.to_owned(), vec![hex(whole)]);
    }
    match (key.only_data_server(), key.only_administrator()) {
        (Some(own), _) => (format!("{DATA_SERVER}{}", own.name), vec![hex(&own.own), hex(&own.neighbours)]),
        (None, own) => (ADMINISTRATOR.to_owned(), own.map(hex).into_iter().collect()),
    }
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn hex(key: &[u8; KEY_BYTES]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a file's text.
///
/// # Errors
/// If it is none of the forms: in words, without a byte of a key.
pub(super) fn parse(text: &str) -> anyhow::Result<Ring> {
    if let Some(rest) = behind(text, ROLE_LINE) {
        // The whole key has no line for its role where it is alone.
        return match lines(rest)?.as_slice() {
            [role, keys @ ..] if *role != EVERY_NODE => Ok(Ring::one(parse_key(role, keys)?)),
            _ => bail!("not a key of a role that this version knows"),
        };
    }
    match behind(text, RING_LINE) {
        Some(rest) => parse_ring(&lines(rest)?),
        None => Ok(Ring::one(ClusterKey::new(parse_hex(text.trim())?))),
    }
}

fn behind<'a>(text: &'a str, first: &str) -> Option<&'a str> {
    text.strip_prefix(first)?.strip_prefix('\n')
}

fn lines(text: &str) -> anyhow::Result<Vec<&str>> {
    let Some(text) = text.strip_suffix('\n') else { bail!("the last line has no end") };
    Ok(text.split('\n').collect())
}

fn parse_ring(lines: &[&str]) -> anyhow::Result<Ring> {
    let [role, ACTIVE, rest @ ..] = lines else {
        bail!("expected a role and the line `{ACTIVE}` behind the first line")
    };
    let is_place = |line: &&str| [NEXT, BEFORE].contains(line);
    let Some(at) = rest.iter().position(is_place) else {
        bail!("no line `{NEXT}` or `{BEFORE}`: the second key is missing")
    };
    let (active, other) = (&rest[..at], &rest[at + 1..]);
    if other.iter().any(is_place) || other.contains(&ACTIVE) {
        bail!("a third key: a file has two at most");
    }
    let (active, other) = (parse_key(role, active)?, parse_key(role, other)?);
    let accepted = if rest[at] == NEXT { Accepted::Next(other) } else { Accepted::Before(other) };
    Ok(Ring::two(active, accepted)?)
}

/// One key for the role that this line names.
fn parse_key(role: &str, keys: &[&str]) -> anyhow::Result<ClusterKey> {
    match (role, keys) {
        (EVERY_NODE, [key]) => Ok(ClusterKey::new(parse_hex(key)?)),
        (ADMINISTRATOR, [key]) => Ok(ClusterKey::administrator(parse_hex(key)?)),
        (role, [own, neighbours]) if role.starts_with(DATA_SERVER) => {
            let name =
                parse_place(&role[DATA_SERVER.len()..]).map_err(|why| anyhow::anyhow!("name: {why}"))?;
            let (own, neighbours) = (parse_hex(own)?, parse_hex(neighbours)?);
            Ok(ClusterKey::data_server(DataServerKey { name, own, neighbours }))
        }
        _ => bail!("not a key of a role that this version knows"),
    }
}

fn parse_hex(text: &str) -> anyhow::Result<[u8; KEY_BYTES]> {
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("expected {} hex digits", 2 * KEY_BYTES);
    }
    let mut key = [0; KEY_BYTES];
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n7(byte: u8) -> ClusterKey {
        let key = DataServerKey { name: "n7".to_owned(), own: [byte; 32], neighbours: [byte + 1; 32] };
        ClusterKey::data_server(key)
    }

    #[test]
    fn a_key_is_exactly_64_hex_digits() {
        assert!(parse(&"0f".repeat(32)).is_ok());
        assert!(parse(&format!("{}\n", "0f".repeat(32))).is_ok());
        for bad in ["", "0f", &"0f".repeat(33), &"0g".repeat(32)] {
            assert!(parse(bad).is_err());
        }
        assert_eq!(text_of(&Ring::one(ClusterKey::new([0x0f; 32]))), format!("{}\n", "0f".repeat(32)));
    }

    /// Spec: docs/formats/key.md.
    #[test]
    fn keys_for_a_role_have_their_documented_form() {
        let text = text_of(&Ring::one(n7(0x0a)));
        assert_eq!(text, format!("shoal key 1\ndata server n7\n{}\n{}\n", "0a".repeat(32), "0b".repeat(32)));
        assert_eq!(parse(&text).unwrap(), Ring::one(n7(0x0a)));
        let administrator = text_of(&Ring::one(ClusterKey::administrator([0x0c; 32])));
        assert_eq!(administrator, format!("shoal key 1\nadministrator\n{}\n", "0c".repeat(32)));
        assert_eq!(parse(&administrator).unwrap(), Ring::one(ClusterKey::administrator([0x0c; 32])));
        for good in [text, administrator] {
            for end in 0..good.len() {
                assert!(parse(&good[..end]).is_err(), "cut at {end}");
            }
            for bad in [
                format!("{good}\n"),
                good.replace("key 1", "key 2"),
                good.replace("data server n7", "data server n 7"),
                good.replace("data server n7", "data server "),
                good.replace("administrator", "metadata server"),
                good.replace("administrator", "every node"),
                good.replacen("0", "g", 1),
            ] {
                let changed = bad != good;
                assert!(!changed || parse(&bad).is_err(), "{bad}");
            }
        }
    }

    /// Spec: docs/formats/key.md.
    #[test]
    fn two_keys_have_their_documented_form() {
        let hex = |byte: &str| byte.repeat(32);
        let whole = [ClusterKey::new([0x0a; 32]), ClusterKey::new([0x0b; 32])];
        let administrator = [ClusterKey::administrator([0x0a; 32]), ClusterKey::administrator([0x0b; 32])];
        let [a, b, c, d] = ["0a", "0b", "0c", "0d"].map(hex);
        for ([active, other], golden) in [
            (whole, format!("shoal keys 2\nevery node\nactive\n{a}\nnext\n{b}\n")),
            (
                [n7(0x0a), n7(0x0c)],
                format!("shoal keys 2\ndata server n7\nactive\n{a}\n{b}\nnext\n{c}\n{d}\n"),
            ),
            (administrator, format!("shoal keys 2\nadministrator\nactive\n{a}\nnext\n{b}\n")),
        ] {
            let next = Ring::two(active.clone(), Accepted::Next(other.clone())).unwrap();
            let before = Ring::two(active, Accepted::Before(other)).unwrap();
            for (ring, golden) in [(next, golden.clone()), (before, golden.replace("next", "before"))] {
                assert_eq!(text_of(&ring), golden);
                assert_eq!(parse(&golden).unwrap(), ring);
                for end in 0..golden.len() {
                    assert!(parse(&golden[..end]).is_err(), "cut at {end}");
                }
            }
        }
    }

    #[test]
    fn a_bad_file_with_two_keys_is_refused_in_words() {
        let (a, b) = ("0a".repeat(32), "0b".repeat(32));
        let good = format!("shoal keys 2\nevery node\nactive\n{a}\nnext\n{b}\n");
        parse(&good).unwrap();
        for (bad, words) in [
            (format!("{good}before\n{a}\n"), "third key"),
            (format!("{good}active\n{a}\n"), "third key"),
            (good.replace(&b, &a), "are the same"),
            (good.replace("next\n", ""), "second key is missing"),
            (good.replace("active\n", ""), "the line `active`"),
            (good.replace("every node", "data server n7"), "role"),
            (good.replace("every node", "gateway"), "role"),
            (good.replace(&format!("{b}\n"), ""), "role"),
            (format!("{good}\n"), "role"),
            (good.replace("0b", "0g"), "64 hex digits"),
            (good.replace("keys 2", "keys 3"), "64 hex digits"),
            (good.trim_end().to_owned(), "no end"),
        ] {
            let refused = parse(&bad).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}: {bad}");
            assert!(!refused.contains("0a0a") && !refused.contains("0b0b"), "{refused}");
        }
    }
}
