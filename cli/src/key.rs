//! Key files: the whole cluster key, or one that was derived for a role; readable by their owner only.
//!
//! Spec: docs/formats/key.md.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use env::Entropy;
use wire_nfs::control::ClusterKey;
use wire_nfs::control::keys::DataServerKey;

use crate::args::parse_place;
use crate::modes::is_shared;

const KEY_BYTES: usize = 32;
/// Longer than any file with a key.
const KEY_FILE_BYTES_MAX: u64 = 4096;
/// The first line of a key for a role.
const ROLE_LINE: &str = "shoal key 1";
const DATA_SERVER: &str = "data server ";
const ADMINISTRATOR: &str = "administrator";

/// Reads the key, or makes one where there is no file yet.
///
/// # Errors
/// If the file cannot be read or made, or does not hold 64 hex digits.
pub(crate) fn load_or_make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<ClusterKey> {
    if path.exists() { load(path) } else { make(path, entropy) }
}

/// Reads the key.
///
/// # Errors
/// If the file cannot be read, does not hold 64 hex digits, or its mode gives group or others any right.
pub(crate) fn load(path: &Path) -> anyhow::Result<ClusterKey> {
    let what = || format!("cluster key {}", path.display());
    let mut file = std::fs::File::open(path).with_context(what)?;
    let mode = file.metadata().with_context(what)?.mode();
    if is_shared(mode) {
        bail!(
            "{}: other users may access the file (mode {:04o}); every reader of the key can act as a node of the \
             cluster. If no other user has read it: chmod 600 {}",
            what(),
            mode & 0o7777,
            path.display()
        );
    }
    let mut text = String::new();
    (&mut file).take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).with_context(what)?;
    parse(&text).with_context(what)
}

/// Reads the whole key.
///
/// # Errors
/// As [`load`]; if the file has a key for one role alone.
pub(crate) fn load_whole(path: &Path) -> anyhow::Result<ClusterKey> {
    whole(load(path)?, path)
}

/// Reads the whole key, or makes one where there is no file yet.
///
/// # Errors
/// As [`load_or_make`]; if the file has a key for one role alone.
pub(crate) fn load_or_make_whole(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<ClusterKey> {
    whole(load_or_make(path, entropy)?, path)
}

fn whole(key: ClusterKey, path: &Path) -> anyhow::Result<ClusterKey> {
    if key.whole().is_none() {
        bail!(
            "{}: this key is for {} only; the whole cluster key is needed here",
            path.display(),
            key.role()
        );
    }
    Ok(key)
}

/// Writes a data server's key into a new file.
///
/// # Errors
/// If there is such a file, or it cannot be written.
pub(crate) fn write_data_server(path: &Path, key: &DataServerKey) -> anyhow::Result<()> {
    write(path, &data_server_text(key))
}

/// Writes an administrator's key into a new file.
///
/// # Errors
/// If there is such a file, or it cannot be written.
pub(crate) fn write_administrator(path: &Path, key: &[u8; KEY_BYTES]) -> anyhow::Result<()> {
    write(path, &administrator_text(key))
}

fn data_server_text(key: &DataServerKey) -> String {
    format!("{ROLE_LINE}\n{DATA_SERVER}{}\n{}\n{}\n", key.name, hex(&key.own), hex(&key.neighbours))
}

fn administrator_text(key: &[u8; KEY_BYTES]) -> String {
    format!("{ROLE_LINE}\n{ADMINISTRATOR}\n{}\n", hex(key))
}

fn make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<ClusterKey> {
    let mut key = [0; KEY_BYTES];
    entropy.fill(&mut key);
    write(path, &format!("{}\n", hex(&key)))?;
    Ok(ClusterKey::new(key))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("key file {} cannot be made", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

fn hex(key: &[u8; KEY_BYTES]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &str) -> anyhow::Result<ClusterKey> {
    match text.strip_prefix(ROLE_LINE).and_then(|rest| rest.strip_prefix('\n')) {
        Some(rest) => parse_role(rest),
        None => Ok(ClusterKey::new(parse_hex(text.trim())?)),
    }
}

fn parse_role(text: &str) -> anyhow::Result<ClusterKey> {
    let Some(text) = text.strip_suffix('\n') else { bail!("the last line has no end") };
    let lines: Vec<&str> = text.split('\n').collect();
    match lines.as_slice() {
        [ADMINISTRATOR, key] => Ok(ClusterKey::administrator(parse_hex(key)?)),
        [role, own, neighbours] if role.starts_with(DATA_SERVER) => {
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

    #[test]
    fn a_key_is_made_once_and_only_where_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        assert!(load(&path).unwrap_err().to_string().contains("cluster.key"));
        let made = load_or_make(&path, &env::os::OsEntropy).unwrap();
        assert_eq!(load(&path).unwrap(), made);
        assert_eq!(load_or_make(&path, &env::os::OsEntropy).unwrap(), made);
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        let made = load_or_make(&path, &env::os::OsEntropy).unwrap();
        for (mode, fine) in [(0o640, false), (0o604, false), (0o622, false), (0o400, true), (0o600, true)] {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            let loaded = load(&path);
            assert_eq!(loaded.is_ok(), fine, "{mode:o}");
            match loaded {
                Ok(key) => assert_eq!(key, made),
                Err(error) => assert!(error.to_string().contains("chmod 600"), "{error}"),
            }
        }
    }

    #[test]
    fn a_key_is_exactly_64_hex_digits() {
        assert!(parse(&"0f".repeat(32)).is_ok());
        assert!(parse(&format!("{}\n", "0f".repeat(32))).is_ok());
        for bad in ["", "0f", &"0f".repeat(33), &"0g".repeat(32)] {
            assert!(parse(bad).is_err());
        }
    }

    /// Spec: docs/formats/key.md.
    #[test]
    fn keys_for_a_role_have_their_documented_form() {
        let n7 = DataServerKey { name: "n7".to_owned(), own: [0x0a; 32], neighbours: [0x0b; 32] };
        let text = data_server_text(&n7);
        assert_eq!(text, format!("shoal key 1\ndata server n7\n{}\n{}\n", "0a".repeat(32), "0b".repeat(32)));
        assert_eq!(parse(&text).unwrap(), ClusterKey::data_server(n7));
        let administrator = administrator_text(&[0x0c; 32]);
        assert_eq!(administrator, format!("shoal key 1\nadministrator\n{}\n", "0c".repeat(32)));
        assert_eq!(parse(&administrator).unwrap(), ClusterKey::administrator([0x0c; 32]));
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
                good.replacen("0", "g", 1),
            ] {
                let changed = bad != good;
                assert!(!changed || parse(&bad).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn a_key_for_a_role_is_not_taken_for_the_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n7.key");
        let key = ClusterKey::new([7; 32]).for_data_server("n7").unwrap();
        write_data_server(&path, &key).unwrap();
        assert_eq!(load(&path).unwrap().only_data_server(), Some(&key));
        for refused in [load_whole(&path), load_or_make_whole(&path, &env::os::OsEntropy)] {
            let words = refused.unwrap_err().to_string();
            assert!(words.contains("data server n7 only"), "{words}");
        }
        assert!(write_data_server(&path, &key).is_err(), "nothing is written over");
        let mode = path.metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
