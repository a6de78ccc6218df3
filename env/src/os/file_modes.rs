//! Who may read what this process makes.

/// From now on files are made for the process's own user alone, and directories too, whatever the
/// umask was that it was started with.
pub fn keep_files_private() {
    // SAFETY: changes one number of the process; it cannot fail.
    unsafe { libc::umask(0o077) };
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_made_is_the_owners_alone() {
        super::keep_files_private();
        let dir = tempfile::tempdir().unwrap();
        let (file, inner) = (dir.path().join("file"), dir.path().join("inner"));
        std::fs::write(&file, b"bytes").unwrap();
        std::fs::create_dir(&inner).unwrap();
        assert_eq!([file, inner].map(|at| at.metadata().unwrap().mode() & 0o777), [0o600, 0o700]);
    }
}
