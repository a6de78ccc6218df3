//! What a disk was told to do: flushes are what durability really cost, by whichever
//! process and call, and bytes written are all that reached it.
//!
//! Counts the whole disk, so what others do is in it: the figures are honest on a quiet machine
//! only.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const SECTOR_BYTES: u64 = 512;

/// Counters since the disk was started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Disk {
    pub(super) flushes: u64,
    pub(super) written_bytes: u64,
}

impl Disk {
    /// Of the disk that holds `folder`; nothing where the kernel does not tell.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let number = std::fs::metadata(folder).ok()?.dev();
        let device = PathBuf::from(format!("/sys/dev/block/{}:{}", libc::major(number), libc::minor(number)));
        // A partition has no count of its own: the folder above is its disk.
        let disk = if device.join("partition").exists() {
            device.canonicalize().ok()?.parent()?.to_owned()
        } else {
            device
        };
        Self::parse(&std::fs::read_to_string(disk.join("stat")).ok()?)
    }

    /// The seventh number of a block device's `stat` is sectors written, the sixteenth completed
    /// flushes.
    fn parse(stat: &str) -> Option<Self> {
        let number = |at: usize| stat.split_whitespace().nth(at)?.parse::<u64>().ok();
        Some(Self { flushes: number(15)?, written_bytes: number(6)? * SECTOR_BYTES })
    }
}

#[cfg(test)]
mod tests {
    use super::Disk;

    #[test]
    fn the_seventh_number_is_sectors_and_the_sixteenth_flushes() {
        let parsed = Disk::parse("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17");
        assert_eq!(parsed, Some(Disk { flushes: 16, written_bytes: 7 * 512 }));
        assert_eq!(Disk::parse("1 2 3"), None);
    }
}
