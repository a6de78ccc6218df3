//! Which clients get striped segments, and how wide they are.

use super::*;

const MIB: u64 = 1 << 20;

fn extent(index: u32) -> ExtentId {
    ExtentId { ino: 7, index }
}

fn run(stripes: u32, index: u32, end_bytes: u64) -> Option<(u32, u32)> {
    widest(stripes, extent(index), end_bytes).map(|run| (run.first.index, run.count))
}

#[test]
fn only_kernels_with_a_known_version_take_stripes() {
    for (name, takes) in [
        ("Linux 6.18.0 #1 SMP x86_64", true),
        ("Linux 6.18-rc3 #1 SMP x86_64", true),
        ("Linux 7.2.1-um #1 Debian 7.2.1-2 (2026-10-01) x86_64", true),
        ("Linux 10.0 #1", true),
        ("Linux 6.17.13 #1 SMP x86_64", false),
        ("Linux 6.12.57+deb13-um #1 x86_64", false),
        ("Linux 6.1.158 #1", false),
        ("Linux 5.20 #1", false),
        ("Linux 6 #1", false),
        ("Linux  #6.18", false),
        ("Linux 99999999999.1", false),
        ("FreeBSD 15.0", false),
        ("linux 7.2", false),
        ("Linux", false),
        ("", false),
    ] {
        assert_eq!(takes_stripes(name), takes, "{name}");
    }
}

#[test]
fn a_run_is_no_wider_than_the_file_and_the_export() {
    // One extent is never striped.
    assert_eq!(run(8, 0, 0), None);
    assert_eq!(run(8, 0, MIB), None);
    assert_eq!(run(8, 0, 64 * MIB), None);
    assert_eq!(run(1, 5, 640 * MIB), None);
    // It doubles with the file.
    assert_eq!(run(8, 0, 64 * MIB + 1), Some((0, 2)));
    assert_eq!(run(8, 2, 0), Some((0, 4)), "the requested range counts as the file's");
    assert_eq!(run(8, 4, 300 * MIB), Some((0, 8)));
    assert_eq!(run(4, 4, 300 * MIB), Some((4, 4)));
    assert_eq!(run(2, 7, 1 << 40), Some((6, 2)));
    assert_eq!(run(8, 17, 1 << 40), Some((16, 8)));
    assert_eq!(run(8, u32::MAX, u64::MAX), Some((u32::MAX - 7, 8)), "the last extent of the longest file");
}

/// Spec: RFC 8435 §6: the entry is offset / unit mod count, with the offset in the file.
#[test]
fn entry_i_is_for_the_extent_whose_index_leaves_i() {
    for index in [0, 1, 7, 8, 21, u32::MAX] {
        for count in [2, 4, 8] {
            let run = Run::around(extent(index), count);
            let (offset, length) = run.range();
            assert_eq!((offset % length, length), (0, u64::from(count) * EXTENT_BYTES));
            assert!(run.extents().any(|one| one == extent(index)));
            for (at, one) in (0..).zip(run.extents()) {
                assert_eq!(one.first_byte() / EXTENT_BYTES % u64::from(count), at);
            }
        }
    }
    let run = Run::around(extent(13), 8);
    let half = run.half(extent(13)).unwrap();
    assert_eq!((half.first.index, half.count), (12, 4));
    let half = half.half(extent(13)).unwrap();
    assert_eq!((half.first.index, half.count), (12, 2));
    assert_eq!(half.half(extent(13)), None);
}
