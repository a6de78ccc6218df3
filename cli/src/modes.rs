//! Keeps a server's files private to the user that runs it. They hold the data of all users and
//! the keys that seal data-server handles.
//!
//! The umask (`env::os::keep_files_private`) covers new files; this module repairs existing ones.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Mode bits of the group and of others.
const SHARED: u32 = 0o077;
/// The key that nodes share. A readable key is refused, not repaired: it may be known already.
const KEY: &str = "cluster.key";

/// Whether the group or others have any right.
pub(crate) fn is_shared(mode: u32) -> bool {
    mode & SHARED != 0
}

/// Removes all rights of the group and of others from a directory tree, and logs a warning if it
/// removed any. Skips symbolic links. Does not walk a directory that is private already: other
/// users cannot reach its files.
///
/// # Errors
/// If a mode can neither be read nor set.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    let metadata = dir.metadata()?;
    if !is_shared(metadata.mode()) {
        return Ok(());
    }
    let mut mended = Mended::default();
    mend(dir, &metadata, &mut mended)?;
    if let Mended { count: 1.., example } = &mended {
        tracing::warn!(
            dir = %dir.display(),
            files = mended.count,
            example,
            "other users of this machine had rights to this server's files; they have none now"
        );
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Mended {
    count: u64,
    /// The first of them.
    example: String,
}

fn mend(path: &Path, metadata: &Metadata, mended: &mut Mended) -> io::Result<()> {
    let is_key = path.file_name().is_some_and(|name| name == KEY);
    if is_shared(metadata.mode()) && !is_key {
        // For what is made in it from now on, and before it is looked through.
        std::fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7700))?;
        if mended.count == 0 {
            mended.example = format!("{} (mode {:04o})", path.display(), metadata.mode() & 0o7777);
        }
        mended.count += 1;
    }
    if !metadata.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() || metadata.is_file() {
            mend(&entry.path(), &metadata, mended)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_keeps_rights() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("ds/1")).unwrap();
        for (name, mode) in [("ds/1/journal", 0o644), ("state", 0o660), ("fine", 0o400), (KEY, 0o644)] {
            std::fs::write(at(name), b"bytes").unwrap();
            std::fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        }
        let outside = tempfile::tempdir().unwrap();
        std::fs::set_permissions(outside.path(), Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(outside.path(), at("link")).unwrap();
        std::fs::set_permissions(at("ds"), Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        make_private(dir.path()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
        let modes = ["ds/1/journal", "state", "fine", KEY, "ds"].map(|name| mode(&at(name)));
        assert_eq!(modes, [0o600, 0o600, 0o400, 0o644, 0o700]);
        assert_eq!((mode(dir.path()), mode(outside.path())), (0o700, 0o755));
    }
}
