//! Dirty pages of a modelled Linux host, and what it writes again.

use super::*;

fn target(number: u8) -> Target {
    Target::at(([10, 0, 0, number], 2049).into())
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn shown(cache: &Cache, len: usize) -> String {
    let mut shown = vec![b'.'; len];
    cache.lay_over(0, &mut shown);
    String::from_utf8(shown).unwrap()
}

fn take(cache: &mut Cache) -> Option<Writing> {
    let offset = cache.first_dirty(0)?;
    cache.take_dirty(offset, u64::MAX)
}

#[test]
fn dirty_bytes_that_follow_each_other_are_one_write() {
    let mut cache = Cache::default();
    cache.write(4, bytes("cd"));
    cache.write(2, bytes("ab"));
    cache.write(8, bytes("xy"));
    let first = take(&mut cache).unwrap();
    assert_eq!((first.offset, &first.bytes[..]), (2, b"abcd".as_slice()));
    assert!(cache.is_under_way(5, 1) && !cache.is_under_way(6, 4));
    let second = take(&mut cache).unwrap();
    assert_eq!((second.offset, &second.bytes[..]), (8, b"xy".as_slice()));
    assert_eq!(take(&mut cache), None);
    assert_eq!(shown(&cache, 10), "..abcd..xy");
}

#[test]
fn a_write_ends_with_its_segment() {
    let mut cache = Cache::default();
    cache.write(0, bytes("abcdef"));
    let first = cache.take_dirty(0, 4).unwrap();
    assert_eq!(&first.bytes[..], b"abcd");
    assert_eq!(cache.first_dirty(0), Some(4));
}

#[test]
fn a_commit_with_another_verifier_makes_bytes_dirty_again() {
    let mut cache = Cache::default();
    cache.write(0, bytes("abcd"));
    let write = take(&mut cache).unwrap();
    cache.written(write.number, 4, Some((target(1), [1; 8])));
    let waiting = cache.uncommitted().remove(0);
    assert_eq!((&waiting.target, waiting.end), (&target(1), 4));
    assert_eq!(cache.committed(&waiting, Some([2; 8])), 1);
    let again = take(&mut cache).unwrap();
    assert_eq!(&again.bytes[..], b"abcd");
    cache.written(again.number, 4, Some((target(1), [2; 8])));
    let waiting = cache.uncommitted().remove(0);
    let other = Uncommitted { target: target(2), ..waiting.clone() };
    assert_eq!(cache.committed(&other, Some([2; 8])), 0);
    assert!(cache.has_writebacks(), "another server's COMMIT");
    assert_eq!(cache.committed(&waiting, Some([2; 8])), 0);
    assert!(!cache.has_writebacks());
}

/// It was answered behind the COMMIT, which may not have covered it.
#[test]
fn what_is_answered_behind_a_commit_waits_for_the_next() {
    let mut cache = Cache::default();
    cache.write(0, bytes("ab"));
    let first = take(&mut cache).unwrap();
    cache.written(first.number, 2, Some((target(1), [1; 8])));
    let waiting = cache.uncommitted().remove(0);
    cache.write(2, bytes("cd"));
    let second = take(&mut cache).unwrap();
    cache.written(second.number, 2, Some((target(1), [1; 8])));
    cache.committed(&waiting, Some([1; 8]));
    assert_eq!(shown(&cache, 4), "..cd");
}

#[test]
fn what_was_written_in_part_is_dirty_behind_that() {
    let mut cache = Cache::default();
    cache.write(0, bytes("abcd"));
    let write = take(&mut cache).unwrap();
    cache.written(write.number, 3, None);
    let rest = take(&mut cache).unwrap();
    assert_eq!((rest.offset, &rest.bytes[..]), (3, b"d".as_slice()));
}

#[test]
fn a_cut_takes_off_what_is_behind_it() {
    let mut cache = Cache::default();
    cache.write(0, bytes("abcd"));
    cache.write(4, bytes("efgh"));
    cache.truncate(3);
    assert_eq!(shown(&cache, 8), "abc.....");
    cache.write(1, bytes("Q"));
    assert_eq!(shown(&cache, 4), "aQc.");
}
