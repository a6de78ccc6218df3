//! Ids of paths that are added and removed, and the record's bytes.

use layout::ec::Profile;

use super::*;
use crate::export::{Anonymous, Squash};

fn at(path: &str) -> Export {
    Export { path: path.to_owned(), ..Export::everything() }
}

fn next(list: &ExportList, paths: &[&str]) -> ExportList {
    let exports: Vec<Export> = paths.iter().map(|path| at(path)).collect();
    list.replaced_by(&exports).expect("ids are left")
}

fn ids(list: &ExportList) -> Vec<(u16, &str)> {
    list.exports.iter().map(|(id, export)| (*id, export.path.as_str())).collect()
}

#[test]
fn a_path_keeps_its_id() {
    let first = next(&ExportList::default(), &["/a", "/b", "/c"]);
    assert_eq!((first.version, ids(&first)), (1, vec![(0, "/a"), (1, "/b"), (2, "/c")]));
    let turned = next(&first, &["/c", "/b", "/a"]);
    assert_eq!(ids(&turned), [(2, "/c"), (1, "/b"), (0, "/a")]);
    let fewer = next(&turned, &["/c", "/a"]);
    assert_eq!((fewer.version, ids(&fewer)), (3, vec![(2, "/c"), (0, "/a")]));
    let other = next(&fewer, &["/d", "/a", "/c"]);
    assert_eq!(ids(&other), [(3, "/d"), (0, "/a"), (2, "/c")], "no other path gets the id of /b");
    let again = next(&other, &["/b", "/d"]);
    assert_eq!(ids(&again), [(1, "/b"), (3, "/d")], "only /b gets it");
    assert!(again.removed.contains(&(0, "/a".to_owned())) && again.removed.len() == 2);
}

#[test]
fn of_many_removed_paths_the_oldest_are_forgotten_and_their_ids_are_not() {
    let mut list = next(&ExportList::default(), &["/first"]);
    for number in 0..=EXPORTS_REMOVED_MAX {
        list = next(&list, &[&format!("/{number}")]);
        assert_eq!(ExportList::decode(&list.encode()).as_ref(), Ok(&list));
    }
    assert_eq!(list.removed.len(), EXPORTS_REMOVED_MAX);
    let again = next(&list, &["/first", "/1"]);
    let given = u16::try_from(EXPORTS_REMOVED_MAX).unwrap() + 2;
    assert_eq!(ids(&again), [(given, "/first"), (2, "/1")]);
    let long: Vec<String> = (100..200).map(|n| format!("/{n}{}", "x".repeat(900))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let (list, mut removed) = (next(&next(&list, &long), &["/"]), 0);
    removed += list.removed.iter().map(|(_, path)| path.len()).sum::<usize>();
    assert!(removed <= EXPORTS_REMOVED_BYTES_MAX && EXPORTS_REMOVED_BYTES_MAX < removed + 1_000, "{removed}");
    assert_eq!(list.removed.last().map(|(_, path)| path.as_str()), long.last().copied());
}

#[test]
fn ids_run_out_before_the_one_of_the_tree_above_all_exports() {
    let full = ExportList { version: 1, next: u16::MAX - 1, ..ExportList::default() };
    let last = next(&full, &["/a"]);
    assert_eq!(ids(&last), [(u16::MAX - 1, "/a")]);
    assert_eq!(last.replaced_by(&[at("/b")]), None);
    assert_eq!(ids(&next(&last, &["/a"])), [(u16::MAX - 1, "/a")]);
}

#[test]
fn the_record_has_the_documented_bytes() {
    let data = Export {
        path: "/data".to_owned(),
        read_only: true,
        squash: Squash::All,
        anonymous: Anonymous { uid: 5, gid: 300 },
        clients: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        pnfs: false,
        stripes: 4,
        code: Some(Profile::FourPlusTwo),
        secure: false,
    };
    let list = next(&ExportList::default(), &["/", "/old"]).replaced_by(&[at("/"), data]).unwrap();
    let expected = "02020302\
        00012f0000feff03feff030001010001 \
        02052f64617461010205ac0202 000a00000008 01fd00000000000000000000000000000008 0004 0103342b3200 \
        0101042f6f6c64";
    let expected: String = expected.split_whitespace().collect();
    let bytes = list.encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
    assert_eq!(ExportList::decode(&bytes), Ok(list));
    for end in 0..bytes.len() {
        assert!(ExportList::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(ExportList::decode(&[&bytes[..], &[0]].concat()).is_err());
    assert!(ExportList::decode(&[&[3], &bytes[1..]].concat()).is_err());
}

#[test]
fn bytes_that_no_list_has_are_errors() {
    let good = next(&next(&ExportList::default(), &["/a", "/b", "/c"]), &["/a", "/b"]);
    assert!(ExportList::decode(&good.encode()).is_ok());
    let wrong = |change: fn(&mut ExportList)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(ExportList::decode(&bad.encode()).is_err(), "{bad:?}");
    };
    wrong(|list| list.exports.clear());
    wrong(|list| list.exports[1].0 = 0);
    wrong(|list| list.removed[0].0 = 1);
    wrong(|list| list.removed[0].1 = "/a".to_owned());
    wrong(|list| list.exports[0].1.path = "/b".to_owned());
    wrong(|list| list.exports[0].1.path = "a".to_owned());
    wrong(|list| list.exports[0].1.stripes = 5);
    wrong(|list| list.next = 2);
    // Flipping any bit causes no panic, and never a list with other bytes.
    let bytes = good.encode();
    for bit in 0..bytes.len() * 8 {
        let mut turned = bytes.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        if let Ok(list) = ExportList::decode(&turned) {
            assert!(list.is_sound());
        }
    }
    for version in [1, 2] {
        assert!(ExportList::decode(&[version, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }
}

/// A list older than `secure` is read, and its exports have it on.
#[test]
fn a_record_of_version_1_is_secure() {
    let hex = "01020302\
        00012f0000feff03feff0300010100 \
        02052f64617461010205ac0202 000a00000008 01fd00000000000000000000000000000008 0004 0103342b32 \
        0101042f6f6c64";
    let hex: String = hex.split_whitespace().collect();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let list = ExportList::decode(&bytes).unwrap();
    assert_eq!((list.version, ids(&list)), (2, vec![(0, "/"), (2, "/data")]));
    assert!(list.exports.iter().all(|(_, export)| export.secure));
    assert_eq!(list.exports[1].1.anonymous, Anonymous { uid: 5, gid: 300 });
    assert!(is_before_secure(&bytes) && !is_before_secure(&list.encode()));
    assert_eq!(ExportList::decode(&list.encode()), Ok(list), "written in the new form");
    for end in 0..bytes.len() {
        assert!(ExportList::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
}
