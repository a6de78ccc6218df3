//! Key files: the whole cluster key, or one that was derived for a role, and a second one while the
//! cluster key is replaced; readable by their owner only.
//!
//! Spec: docs/formats/key.md.

mod form;
pub(crate) mod watch;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use env::Entropy;
use wire_nfs::control::ClusterKey;
use wire_nfs::control::keyring::Ring;

use crate::modes::is_shared;

/// Longer than any file with keys.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Reads the keys, or makes one where there is no file yet.
///
/// # Errors
/// If the file cannot be read or made, or is not a key file.
pub(crate) fn load_or_make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<Ring> {
    if path.exists() { load(path) } else { make(path, entropy) }
}

/// Reads the keys.
///
/// # Errors
/// If the file cannot be read, is not a key file, or its mode gives group or others any right.
pub(crate) fn load(path: &Path) -> anyhow::Result<Ring> {
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
    form::parse(&text).with_context(what)
}

/// Reads the whole key, or both.
///
/// # Errors
/// As [`load`]; if the file has a key for one role alone.
pub(crate) fn load_whole(path: &Path) -> anyhow::Result<Ring> {
    whole(load(path)?, path)
}

/// Reads the whole key, or both, or makes one where there is no file yet.
///
/// # Errors
/// As [`load_or_make`]; if the file has a key for one role alone.
pub(crate) fn load_or_make_whole(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<Ring> {
    whole(load_or_make(path, entropy)?, path)
}

fn whole(ring: Ring, path: &Path) -> anyhow::Result<Ring> {
    if ring.active().whole().is_none() {
        bail!(
            "{}: this key is for {} only; the whole cluster key is needed here",
            path.display(),
            ring.active().role()
        );
    }
    Ok(ring)
}

/// Makes another whole key.
pub(crate) fn random(entropy: &dyn Entropy) -> ClusterKey {
    let mut key = [0; form::KEY_BYTES];
    entropy.fill(&mut key);
    ClusterKey::new(key)
}

/// Writes keys into a new file.
///
/// # Errors
/// If there is such a file, or it cannot be written.
pub(crate) fn write(path: &Path, ring: &Ring) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("key file {} cannot be made", path.display()))?;
    file.write_all(form::text_of(ring).as_bytes())?;
    Ok(file.sync_all()?)
}

/// Puts other keys into a file that is there: all of them, durably, or what it had is kept. Its
/// owner stays its owner.
///
/// # Errors
/// If the file, or one beside it, cannot be written.
pub(crate) fn replace(path: &Path, ring: &Ring) -> anyhow::Result<()> {
    let what = || format!("key file {} cannot be written", path.display());
    // What a link leads to, and not the link.
    let path = path.canonicalize().with_context(what)?;
    let folder = path.parent().with_context(what)?;
    let before = path.metadata().with_context(what)?;
    // Its mode is 0600 from the start.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(what)?;
    let own = file.as_file().metadata().with_context(what)?;
    if (own.uid(), own.gid()) != (before.uid(), before.gid()) {
        std::os::unix::fs::fchown(file.as_file(), Some(before.uid()), Some(before.gid()))
            .with_context(what)?;
    }
    file.write_all(form::text_of(ring).as_bytes()).with_context(what)?;
    file.as_file().sync_all().with_context(what)?;
    file.persist(&path).with_context(what)?;
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(what)
}

fn make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<Ring> {
    let ring = Ring::one(random(entropy));
    write(path, &ring)?;
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use wire_nfs::control::keyring::Accepted;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_where_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        assert!(load(&path).unwrap_err().to_string().contains("cluster.key"));
        let made = load_or_make(&path, &env::os::OsEntropy).unwrap();
        assert_eq!(load(&path).unwrap(), made);
        assert_eq!(load_or_make(&path, &env::os::OsEntropy).unwrap(), made);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
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
    fn a_key_for_a_role_is_not_taken_for_the_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n7.key");
        let key = ClusterKey::new([7; 32]).for_data_server("n7").unwrap();
        let ring = Ring::one(ClusterKey::data_server(key.clone()));
        write(&path, &ring).unwrap();
        assert_eq!(load(&path).unwrap().active().only_data_server(), Some(&key));
        for refused in [load_whole(&path), load_or_make_whole(&path, &env::os::OsEntropy)] {
            let words = refused.unwrap_err().to_string();
            assert!(words.contains("data server n7 only"), "{words}");
        }
        assert!(write(&path, &ring).is_err(), "nothing is written over");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("cluster.key"), dir.path().join("link"));
        assert!(replace(&path, &Ring::one(ClusterKey::new([1; 32]))).is_err(), "there is none");
        let made = load_or_make(&path, &env::os::OsEntropy).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let next = Accepted::Next(random(&env::os::OsEntropy));
        let two = Ring::two(made.active().clone(), next).unwrap();
        replace(&link, &two).unwrap();
        assert_eq!(load(&path).unwrap(), two);
        assert_eq!(path.symlink_metadata().unwrap().mode() & 0o777, 0o600);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside them");
    }
}
