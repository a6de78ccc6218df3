//! Small overwrites, each durable before the next of its file; one file, or many at once.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::blocks::{BLOCK_BYTES, next};

/// For every file that `create` made in DIR a thread that writes 4 KiB at a random place and
/// fsyncs, again and again for some seconds; prints how many were durable a second, over all.
pub(super) fn commits(dir: &Path, seconds: u64) -> Result<()> {
    let open = |entry: std::io::Result<std::fs::DirEntry>| -> Result<File> {
        let path = entry?.path();
        OpenOptions::new().write(true).open(&path).with_context(|| format!("open {}", path.display()))
    };
    let files: Vec<File> = std::fs::read_dir(dir.join("job0"))?.map(open).collect::<Result<_>>()?;
    ensure!(!files.is_empty(), "no files");
    let start = Barrier::new(files.len());
    let (count, longest) = std::thread::scope(|scope| {
        let start = &start;
        let one = |(seed, file)| scope.spawn(move || commit(file, seed, start, Duration::from_secs(seconds)));
        let running: Vec<_> = (1u64..).zip(&files).map(one).collect();
        let ended = running.into_iter().map(|job| job.join().unwrap_or_else(|_| bail!("a job panicked")));
        ended.collect::<Result<Vec<_>>>()
    })?
    .into_iter()
    .fold((0, Duration::ZERO), |(sum, longest), (count, took)| (sum + count, longest.max(took)));
    println!("{:.1}", count as f64 / longest.as_secs_f64());
    Ok(())
}

/// How many commits, and how long they took.
fn commit(file: &File, seed: u64, start: &Barrier, time: Duration) -> Result<(u64, Duration)> {
    let length = file.metadata().map(|found| found.len());
    let (mut state, mut count, mut block) = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 0, [0u8; BLOCK_BYTES]);
    // Nothing fails before this: it would leave the others waiting.
    start.wait();
    let blocks = length? / BLOCK_BYTES as u64;
    ensure!(0 < blocks, "an empty file");
    let began = Instant::now();
    while began.elapsed() < time {
        block[..8].copy_from_slice(&next(&mut state).to_be_bytes());
        file.write_all_at(&block, next(&mut state) % blocks * BLOCK_BYTES as u64)?;
        file.sync_data()?;
        count += 1;
    }
    Ok((count, began.elapsed()))
}
