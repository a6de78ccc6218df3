//! The verifying writer: it writes down what the server promised (an fsync or a namespace change
//! that was answered), and later compares what is there with that.
//!
//! The log is kept outside the mount. Its lines, in order: `w FILE BLOCK COUNT STAMP` before a
//! write, `s FILE` after an fsync, `c NAME STAMP` after a small file was made and fsynced, `r OLD
//! NEW` and `u NAME` after those were answered.
//!
//! INVARIANT: a block holds the stamp of its last fsynced write or of a write begun after that one.
//! Anything else is a broken promise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::blocks::{BLOCK_BYTES, next, read_stamp, stamp_block};

const DATA_FILES: u64 = 6;
const DATA_BLOCKS: u64 = 4096;
const WRITE_BLOCKS_MAX: u64 = 48;
const SMALL_FILES_MAX: usize = 60;

/// Where and with what.
#[derive(Debug, clap::Args)]
pub(crate) struct Promise {
    dir: PathBuf,
    log: PathBuf,
    /// The writer ends when this exists.
    stop: PathBuf,
    /// Rewritten after every act with the count of acts.
    heartbeat: PathBuf,
    seed: u64,
    /// Stamps of this run begin here.
    first_stamp: u64,
}

struct Writer {
    dir: PathBuf,
    log: File,
    heartbeat: File,
    data: Vec<File>,
    unsynced: BTreeSet<u64>,
    small: VecDeque<String>,
    random: u64,
    stamp: u64,
}

impl Promise {
    pub(super) fn run(&self) -> Result<()> {
        let open = |number: u64| {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(data_path(&self.dir, number))
        };
        let mut writer = Writer {
            dir: self.dir.clone(),
            log: File::create(&self.log)?,
            heartbeat: File::create(&self.heartbeat)?,
            data: (0..DATA_FILES).map(open).collect::<Result<_, _>>().context("open")?,
            unsynced: BTreeSet::new(),
            small: small_files(&self.dir)?,
            random: self.seed.max(1),
            stamp: self.first_stamp.max(1),
        };
        let mut acts = 0u64;
        while !self.stop.exists() {
            writer.act()?;
            acts += 1;
            writer.heartbeat.write_all_at(format!("{acts:<12}").as_bytes(), 0)?;
        }
        for number in writer.unsynced.clone() {
            writer.sync(number)?;
        }
        println!("{acts} acts, next stamp {}", writer.stamp);
        Ok(())
    }
}

impl Writer {
    fn act(&mut self) -> Result<()> {
        self.stamp += 1;
        match next(&mut self.random) % 16 {
            0..=8 => self.write(),
            9..=11 => {
                let number = next(&mut self.random) % DATA_FILES;
                self.sync(number)
            }
            12..=13 => self.create_small(),
            14 => self.rename_small(),
            _ => self.unlink_small(),
        }
    }

    fn note(&mut self, line: &str) -> Result<()> {
        self.log.write_all(format!("{line}\n").as_bytes()).context("the log outside the mount")
    }

    fn write(&mut self) -> Result<()> {
        let number = next(&mut self.random) % DATA_FILES;
        let count = next(&mut self.random) % WRITE_BLOCKS_MAX + 1;
        let first = next(&mut self.random) % (DATA_BLOCKS - count);
        let mut bytes = vec![0u8; usize::try_from(count)? * BLOCK_BYTES];
        for (block, index) in bytes.chunks_exact_mut(BLOCK_BYTES).zip(first..) {
            stamp_block(block, index, self.stamp);
        }
        self.note(&format!("w {number} {first} {count} {}", self.stamp))?;
        self.unsynced.insert(number);
        let file = &self.data[usize::try_from(number)?];
        file.write_all_at(&bytes, first * BLOCK_BYTES as u64).context("write")
    }

    fn sync(&mut self, number: u64) -> Result<()> {
        self.data[usize::try_from(number)?].sync_all().context("fsync")?;
        self.unsynced.remove(&number);
        self.note(&format!("s {number}"))
    }

    fn create_small(&mut self) -> Result<()> {
        let name = format!("small-{}", self.stamp);
        let mut block = [0u8; BLOCK_BYTES];
        stamp_block(&mut block, 0, self.stamp);
        let mut file = File::create(self.dir.join(&name)).context("create")?;
        file.write_all(&block).context("write of a small file")?;
        file.sync_all().context("fsync of a small file")?;
        self.note(&format!("c {name} {}", self.stamp))?;
        self.small.push_back(name);
        Ok(())
    }

    fn rename_small(&mut self) -> Result<()> {
        let Some(old) = self.small.pop_front() else { return Ok(()) };
        let new = format!("moved-{}", self.stamp);
        let done = std::fs::rename(self.dir.join(&old), self.dir.join(&new));
        // A retry after the server's death finds the work done: the reply was lost, not the act.
        let was_done = |kind| kind == ErrorKind::NotFound && self.dir.join(&new).exists();
        match done {
            Err(error) if !was_done(error.kind()) => return Err(error).context("rename"),
            _ => self.note(&format!("r {old} {new}"))?,
        }
        self.small.push_back(new);
        Ok(())
    }

    fn unlink_small(&mut self) -> Result<()> {
        if self.small.len() < SMALL_FILES_MAX / 2 {
            return Ok(());
        }
        let Some(name) = self.small.pop_front() else { return Ok(()) };
        match std::fs::remove_file(self.dir.join(&name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("unlink"),
            _ => self.note(&format!("u {name}")),
        }
    }
}

fn data_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("data-{number}"))
}

fn small_files(dir: &Path) -> Result<VecDeque<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("small-") || name.starts_with("moved-") {
            names.insert(name);
        }
    }
    Ok(names.into_iter().collect())
}

/// What may be in a block: the last synced stamp first, then those of later writes.
type Block = Vec<u64>;

#[derive(Default)]
struct Promised {
    blocks: BTreeMap<(u64, u64), Block>,
    small: BTreeMap<String, u64>,
}

pub(super) fn verify(dir: &Path, logs: &[PathBuf]) -> Result<()> {
    let mut promised = Promised::default();
    for log in logs {
        let text = std::fs::read_to_string(log)?;
        for line in text.lines() {
            promised.replay(line).with_context(|| format!("line {line:?} of {}", log.display()))?;
        }
    }
    let checked = promised.check_data(dir)?;
    promised.check_small(dir)?;
    println!("{checked} blocks and {} small files as promised", promised.small.len());
    Ok(())
}

impl Promised {
    fn replay(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["w", file, first, count, stamp] => {
                let (file, first, count): (u64, u64, u64) = (file.parse()?, first.parse()?, count.parse()?);
                for block in first..first + count {
                    self.blocks.entry((file, block)).or_insert_with(|| vec![0]).push(stamp.parse()?);
                }
            }
            ["s", file] => {
                let file: u64 = file.parse()?;
                for (_, stamps) in self.blocks.range_mut((file, 0)..(file + 1, 0)) {
                    stamps.drain(..stamps.len() - 1);
                }
            }
            ["c", name, stamp] => drop(self.small.insert(name.to_owned(), stamp.parse()?)),
            ["r", old, new] => {
                let stamp = self.small.remove(old).context("renamed what was not there")?;
                self.small.insert(new.to_owned(), stamp);
            }
            ["u", name] => drop(self.small.remove(name)),
            _ => bail!("not a line of this log"),
        }
        Ok(())
    }

    fn check_data(&self, dir: &Path) -> Result<usize> {
        for number in 0..DATA_FILES {
            let bytes = std::fs::read(data_path(dir, number)).with_context(|| format!("data-{number}"))?;
            for ((_, index), stamps) in self.blocks.range((number, 0)..(number + 1, 0)) {
                let start = usize::try_from(*index)? * BLOCK_BYTES;
                let found =
                    bytes.get(start..start + BLOCK_BYTES).map_or(Some(0), |block| read_stamp(block, *index));
                let kept = found.is_some_and(|stamp| stamps.contains(&stamp));
                ensure!(
                    kept,
                    "LOST: data-{number} block {index} holds {found:?}, promised one of {stamps:?}"
                );
            }
        }
        Ok(self.blocks.len())
    }

    fn check_small(&self, dir: &Path) -> Result<()> {
        for (name, stamp) in &self.small {
            let bytes = std::fs::read(dir.join(name)).with_context(|| format!("LOST: {name}"))?;
            let found = read_stamp(&bytes, 0);
            ensure!(
                found == Some(*stamp),
                "LOST: {name} holds {found:?} ({} bytes), promised {stamp}",
                bytes.len()
            );
        }
        for name in small_files(dir)? {
            ensure!(self.small.contains_key(&name), "{name} is there, but was removed or never finished");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Promised;

    #[test]
    fn a_sync_leaves_only_the_last_write() {
        let mut promised = Promised::default();
        for line in ["w 0 1 2 5", "w 0 2 1 6", "w 1 2 1 7", "s 0", "w 0 2 1 8"] {
            promised.replay(line).unwrap();
        }
        assert_eq!(promised.blocks[&(0, 1)], [5]);
        assert_eq!(promised.blocks[&(0, 2)], [6, 8]);
        assert_eq!(promised.blocks[&(1, 2)], [0, 7]);
    }
}
