//! How often a disk was told to flush: what durability really cost, whoever asked and by whichever call.
//!
//! Counts the whole disk, so others' flushes are in it: the figure is honest on a quiet machine only.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Flushes of the disk that holds `folder`, since it was started; nothing where the kernel does not tell.
pub(super) fn of_disk(folder: &Path) -> Option<u64> {
    let number = std::fs::metadata(folder).ok()?.dev();
    let device = PathBuf::from(format!("/sys/dev/block/{}:{}", libc::major(number), libc::minor(number)));
    // A partition has no count of its own: the folder above is its disk.
    let disk = if device.join("partition").exists() {
        device.canonicalize().ok()?.parent()?.to_owned()
    } else {
        device
    };
    parse(&std::fs::read_to_string(disk.join("stat")).ok()?)
}

/// The sixteenth number of a block device's `stat` is completed flushes.
fn parse(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(15)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_sixteenth_number_counts_flushes() {
        assert_eq!(parse("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"), Some(16));
        assert_eq!(parse("1 2 3"), None);
    }
}
