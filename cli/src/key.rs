//! The cluster key: 32 bytes in a file, as 64 hex digits, readable by its owner only.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use env::Entropy;
use wire_nfs::control::ClusterKey;

use crate::modes::is_shared;

const KEY_BYTES: usize = 32;
/// Longer than any file with a key.
const KEY_FILE_BYTES_MAX: u64 = 4096;

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

fn make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<ClusterKey> {
    let mut key = [0; KEY_BYTES];
    entropy.fill(&mut key);
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cluster key {} cannot be made", path.display()))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    Ok(ClusterKey::new(key))
}

fn parse(text: &str) -> anyhow::Result<ClusterKey> {
    let text = text.trim();
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("expected {} hex digits", 2 * KEY_BYTES);
    }
    let mut key = [0; KEY_BYTES];
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)?;
    }
    Ok(ClusterKey::new(key))
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
}
