//! Listings: pages of any size, resumed behind any cookie, while names come and go.
//!
//! Spec: RFC 8881 §18.23.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod fixture;

use std::collections::BTreeSet;

use fixture::{Fs, mode, root};
use mds_namespace::op::readdir::{Entry, Page, PageLimit, readdir, readdir_with_inodes};
use mds_namespace::op::remove::remove;
use mds_namespace::{FileType, FsError, Kind, ROOT_INO};

fn page(fs: &Fs, after: u64, entries_max: usize, bytes_max: usize) -> Page<Entry> {
    let limit = PageLimit { entries_max, bytes_max, entry_overhead_bytes: 10 };
    readdir(&*fs.view(), &root(), ROOT_INO, after, &limit).unwrap()
}

fn filled(names: usize) -> Fs {
    let mut fs = Fs::new();
    for number in 0..names {
        fs.make(&root(), ROOT_INO, &format!("name{number}"), Kind::Regular, &mode(0o644)).unwrap();
    }
    fs
}

#[test]
fn pages_are_bounded_and_join() {
    let fs = filled(50);
    let whole = page(&fs, 0, 1000, 1 << 20);
    assert!(whole.end && whole.entries.len() == 50);
    assert!(whole.entries.is_sorted_by(|a, b| a.cookie < b.cookie));
    assert!(whole.entries.iter().all(|entry| entry.cookie >> 62 == 1));
    for (entries_max, bytes_max) in [(1, 1 << 20), (7, 1 << 20), (1000, 40), (1000, 0), (0, 0), (50, 1 << 20)]
    {
        let mut entries = Vec::new();
        let mut after = 0;
        loop {
            let page = page(&fs, after, entries_max, bytes_max);
            assert!(!page.entries.is_empty() && page.entries.len() <= entries_max.max(1));
            after = page.entries.last().unwrap().cookie;
            entries.extend(page.entries);
            if page.end {
                break;
            }
        }
        assert_eq!(entries, whole.entries);
    }
    let last = whole.entries.last().unwrap().cookie;
    assert_eq!(page(&fs, last, 10, 1000), Page { entries: vec![], end: true });
    assert_eq!(page(&fs, u64::MAX, 10, 1000), Page { entries: vec![], end: true });
}

#[test]
fn names_that_stay_are_listed_once_while_others_come_and_go() {
    let mut fs = filled(60);
    let mut seen = Vec::new();
    let mut after = 0;
    for turn in 0.. {
        let page = page(&fs, after, 5, 1 << 20);
        after = page.entries.last().map_or(after, |entry| entry.cookie);
        seen.extend(page.entries.into_iter().map(|entry| entry.name));
        if page.end {
            break;
        }
        // The entry to resume behind is removed, and so are names not listed yet; new ones are
        // added.
        let gone = format!("name{}", turn * 2);
        let _ = fs.run(|txn, now| remove(txn, &root(), ROOT_INO, gone.as_bytes(), now));
        let last = seen.last().unwrap().clone();
        let _ = fs.run(|txn, now| remove(txn, &root(), ROOT_INO, &last, now));
        fs.make(&root(), ROOT_INO, &format!("new{turn}"), Kind::Regular, &mode(0o644)).unwrap();
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
    for entry in page(&fs, 0, 1000, 1 << 20).entries {
        assert!(entry.name.starts_with(b"new") || distinct.contains(&entry.name));
    }
}

#[test]
fn inodes_come_along_when_asked() {
    let mut fs = filled(3);
    fs.make(&root(), ROOT_INO, "directory", Kind::Directory, &mode(0o755)).unwrap();
    let limit = PageLimit { entries_max: 10, bytes_max: 1 << 20, entry_overhead_bytes: 0 };
    let page = readdir_with_inodes(&*fs.view(), &root(), ROOT_INO, 0, &limit).unwrap();
    assert_eq!(page.entries.len(), 4);
    for (entry, inode) in page.entries {
        assert_eq!(inode, fs.inode(entry.ino));
        assert_eq!(entry.file_type == FileType::Directory, entry.name == b"directory");
    }
    let file = fs.given("file", Kind::Regular, 0o644, 0, 0);
    assert_eq!(readdir(&*fs.view(), &root(), file, 0, &limit), Err(FsError::NotDirectory));
}
