//! What is in a folder, a row for each name: two folders are alike exactly if these are the same
//! text.
//!
//! Not compared: inode numbers, times, blocks, and the sizes and link counts of folders, which are
//! the server's own affair. Of a file longer than [`WHOLE_BYTES_MAX`] the start, the end, and
//! pieces between are read.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};

const WHOLE_BYTES_MAX: u64 = 16 << 20;
const PIECE_BYTES: usize = 256 << 10;
/// Pieces of a long file that are read between its start and its end.
const PIECES_BETWEEN: u64 = 30;

/// Prints the rows, sorted by path.
pub(super) fn watch_folder(folder: &Path) -> Result<()> {
    let mut rows = Vec::new();
    collect(folder, Path::new("."), &mut rows)?;
    rows.sort();
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

fn collect(folder: &Path, shown: &Path, rows: &mut Vec<String>) -> Result<()> {
    let listed = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", shown.display()))?;
    for entry in listed {
        let name = entry.with_context(|| format!("cannot list {}", shown.display()))?.file_name();
        let (path, shown) = (folder.join(&name), shown.join(&name));
        // A name that is listed and cannot be looked at is a row of its own: the other side has
        // none like it.
        let row = match path.symlink_metadata() {
            Ok(metadata) => {
                if metadata.is_dir() {
                    collect(&path, &shown, rows)?;
                }
                row(&path, &metadata)
            }
            Err(error) => error.to_string(),
        };
        rows.push(format!("{shown:?} {row}"));
    }
    Ok(())
}

fn row(path: &Path, metadata: &Metadata) -> String {
    let access = format!("{:o} {}:{}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    let kind = metadata.file_type();
    if kind.is_dir() {
        return format!("folder {access}");
    }
    let rest = format!("{access}, {} bytes, {} names", metadata.len(), metadata.nlink());
    if kind.is_file() {
        let sum =
            sum(path).map_or_else(|error| format!("not readable: {error}"), |sum| format!("{sum:016x}"));
        format!("file {rest}, {sum}")
    } else if kind.is_symlink() {
        format!("link {rest} to {:?}", std::fs::read_link(path))
    } else if kind.is_block_device() || kind.is_char_device() {
        format!("device {rest}, {:x}", metadata.rdev())
    } else {
        format!("{} {rest}", if kind.is_fifo() { "pipe" } else { "socket" })
    }
}

/// A sum of the bytes and of how many there are by reading, whatever the attributes say.
fn sum(path: &Path) -> std::io::Result<u64> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut sum = Sum::default();
    if length <= WHOLE_BYTES_MAX {
        let mut at = 0;
        loop {
            let piece = read_at(&file, at)?;
            if piece.is_empty() {
                return Ok(sum.of(at));
            }
            sum.add(&piece);
            at += piece.len() as u64;
        }
    }
    let last = length - PIECE_BYTES as u64;
    for piece in 0..=PIECES_BETWEEN {
        sum.add(&read_at(&file, last / PIECES_BETWEEN * piece)?);
    }
    let end = read_at(&file, last)?;
    sum.add(&end);
    Ok(sum.of(last + end.len() as u64 + read_at(&file, length)?.len() as u64))
}

/// Up to a piece, shorter only at the end of the file.
fn read_at(file: &File, offset: u64) -> std::io::Result<Vec<u8>> {
    let (mut piece, mut filled) = (vec![0u8; PIECE_BYTES], 0);
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

/// FNV-1a over words of eight bytes: each step is a bijection of the state, so one changed word
/// always changes the sum.
struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut padded = [0u8; 8];
            padded[..word.len()].copy_from_slice(word);
            self.word(u64::from_be_bytes(padded));
        }
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }

    fn of(mut self, length: u64) -> u64 {
        self.word(length);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(bytes: &[u8]) -> u64 {
        let mut sum = Sum::default();
        sum.add(bytes);
        sum.of(bytes.len() as u64)
    }

    #[test]
    fn a_byte_or_a_length_changes_the_sum() {
        let good = vec![7u8; 100_000];
        for at in [0, 9, 65_536, 99_999] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_ne!(sum_of(&good), sum_of(&bad), "byte {at}");
        }
        assert_ne!(sum_of(&[0; 16]), sum_of(&[0; 15]));
    }

    #[test]
    fn rows_of_a_folder() {
        let folder = std::env::temp_dir().join(format!("shoal-look-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("d")).unwrap();
        std::fs::write(folder.join("d/f"), vec![1u8; 300_000]).unwrap();
        std::os::unix::fs::symlink("d/f", folder.join("l")).unwrap();
        let far = File::create(folder.join("far")).unwrap();
        far.set_len(WHOLE_BYTES_MAX + 5).unwrap();
        let look = || {
            let mut rows = Vec::new();
            collect(&folder, Path::new("."), &mut rows).unwrap();
            rows.sort();
            rows
        };
        let before = look();
        far.write_at(b"x", WHOLE_BYTES_MAX + 4).unwrap();
        let after = look();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(before.len(), 4);
        assert!(before[0].starts_with("\"./d\" folder "), "{}", before[0]);
        assert!(before[1].starts_with("\"./d/f\" file ") && before[1].contains(", 300000 bytes, 1 names, "));
        assert!(before[3].contains("to Ok(\"d/f\")"), "{}", before[3]);
        let changed: Vec<usize> = (0..4).filter(|row| before[*row] != after[*row]).collect();
        assert_eq!(changed, [2], "the last byte of the long file");
    }
}
