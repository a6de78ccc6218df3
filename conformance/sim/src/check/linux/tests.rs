//! What the checker of Linux hosts calls wrong, and what it does not.

use super::*;

fn appended(host: usize, mark: u64, offset: u64, ns: u64) -> Appended {
    Appended { host, process: 0, mark, offset, written_ns: ns, closed_ns: Some(ns + 5) }
}

/// Two records by host 0, closed at 15 and 25, and what both hosts found.
fn log() -> Log {
    let appended = vec![appended(0, 0xa, 0, 10), appended(0, 0xb, 512, 20)];
    let found = vec![(0, vec![Some(0xa), Some(0xb)]), (1, vec![Some(0xa), Some(0xb)])];
    Log { appended, found, ..Log::default() }
}

fn says(wrong: &[String], words: &str) {
    assert!(wrong.len() == 1 && wrong[0].starts_with(words), "{wrong:?}");
}

#[test]
fn a_sound_log_is_sound() {
    let mut log = log();
    log.looks = vec![
        Look { host: 0, asked_ns: 21, size: 1024 },
        Look { host: 1, asked_ns: 21, size: 512 },
        Look { host: 1, asked_ns: 30, size: 1024 },
    ];
    log.direct = vec![DirectRead { host: 1, asked_ns: 16, from: 0, to: 512, nothing: false }];
    assert_eq!(log.judge(), Vec::<String>::new());
}

#[test]
fn a_lost_append_is_found() {
    let mut log = log();
    log.found[1].1 = vec![Some(0xb)];
    says(&log.judge(), "appends are lost: client 1 finds 1 of 2 records gone");
    log.appended[0].closed_ns = None;
    assert_eq!(log.judge(), Vec::<String>::new(), "it was never closed");
    log.doubtful = true;
    log.found[1].1.clear();
    assert_eq!(log.judge(), Vec::<String>::new(), "its fate is unknown");
}

#[test]
fn a_doubled_and_a_torn_append_are_found() {
    let mut log = log();
    log.found[0].1.push(Some(0xa));
    says(&log.judge(), "appends are doubled");
    log.found[0].1[2] = None;
    says(&log.judge(), "appends are torn: client 0 finds no record at 1024");
}

#[test]
fn a_size_that_goes_back_is_found() {
    let mut log = log();
    log.looks = vec![Look { host: 0, asked_ns: 21, size: 512 }];
    says(&log.judge(), "a size goes back");
    log.looks = vec![Look { host: 1, asked_ns: 26, size: 512 }];
    says(&log.judge(), "a size goes back");
}

#[test]
fn a_direct_read_that_ends_early_is_found() {
    let mut log = log();
    log.direct = vec![DirectRead { host: 1, asked_ns: 26, from: 0, to: 512, nothing: false }];
    says(&log.judge(), "a direct read ended early");
    log.direct[0].nothing = true;
    says(&log.judge(), "a direct read got no bytes and no end of file");
}

fn judged(acts: Vec<SharedAct>) -> String {
    let turn = |act| Turn { host: 0, process: 0, now_ns: 0, act };
    let shared = Shared { turns: acts.into_iter().map(turn).collect(), doubtful: false };
    shared.judge().unwrap_or_default()
}

fn read(offset: u64, bytes: &[u8], asked: u64, direct: bool) -> SharedAct {
    SharedAct::Read { offset, asked, got: bytes.len() as u64, runs: runs(offset, bytes), direct }
}

const WRITE: SharedAct = SharedAct::Write { offset: 0, len: 6, mark: 7 };

#[test]
fn what_was_written_and_cut_is_read() {
    let acts = vec![
        WRITE,
        SharedAct::Cut { size: 2 },
        SharedAct::Size { size: 2 },
        SharedAct::Write { offset: 4, len: 2, mark: 9 },
        read(0, &[7, 7, 0, 0, 9, 9], 100, false),
        read(3, &[0, 9], 2, true),
        SharedAct::Append { offset: 6, len: 1, mark: 3 },
        SharedAct::Cut { size: 9 },
        read(5, &[9, 3, 0, 0], 4, true),
    ];
    assert_eq!(judged(acts), "");
}

#[test]
fn a_cut_that_is_undone_is_found() {
    let cut = SharedAct::Cut { size: 2 };
    let undone = judged(vec![WRITE, cut.clone(), SharedAct::Size { size: 6 }]);
    assert!(undone.starts_with("a cut is undone: 6 bytes where 2 are right"), "{undone}");
    let undone = judged(vec![WRITE, cut.clone(), read(0, &[7; 6], 6, false)]);
    assert!(undone.starts_with("a cut is undone: a read gets 6 bytes"), "{undone}");
    let grown = SharedAct::Cut { size: 8 };
    let back = judged(vec![WRITE, cut, grown, read(0, &[7, 7, 0, 7, 7, 7, 0, 0], 8, false)]);
    assert!(back.starts_with("old bytes are back: a read finds 7 at 3"), "{back}");
}

#[test]
fn bytes_that_are_lost_are_found() {
    let lost = judged(vec![WRITE, read(0, &[7, 7, 7, 0, 0, 0], 6, false)]);
    assert!(lost.starts_with("bytes are lost: a read finds zeros at 3"), "{lost}");
    let other = judged(vec![WRITE, read(0, &[7, 7, 7, 8, 8, 8], 6, true)]);
    assert!(other.starts_with("other bytes: a direct read finds 8 at 3"), "{other}");
    let small = judged(vec![WRITE, SharedAct::Size { size: 5 }]);
    assert!(small.starts_with("a size is too small: 5 bytes of 6"), "{small}");
    let early = judged(vec![WRITE, SharedAct::Append { offset: 5, len: 1, mark: 1 }]);
    assert!(early.starts_with("an append went to 5 of a file of 6 bytes"), "{early}");
}

#[test]
fn a_direct_read_of_a_shared_file_that_ends_early_is_found() {
    let early = judged(vec![WRITE, read(2, &[7, 7], 100, true)]);
    assert!(early.starts_with("a direct read ended early: 2 bytes at 2 of 4"), "{early}");
    let nothing = judged(vec![WRITE, SharedAct::Nothing { offset: 2 }]);
    assert!(nothing.starts_with("a direct read got no bytes and no end of file at 2"), "{nothing}");
}
