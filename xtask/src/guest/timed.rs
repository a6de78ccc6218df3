//! Timed acts for the bench: sequential write and read, random read. They print a figure and
//! nothing else.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::blocks::{BLOCK_BYTES, next};

const PIECE_BYTES: usize = 1 << 20;

pub(super) fn write(path: &Path, bytes: u64) -> Result<()> {
    let mut state = 0x5EED;
    let mut piece: Vec<u8> =
        std::iter::repeat_with(|| next(&mut state).to_be_bytes()).take(PIECE_BYTES / 8).flatten().collect();
    let started = Instant::now();
    let mut file = File::create(path)?;
    for number in 0..bytes / PIECE_BYTES as u64 {
        piece[..8].copy_from_slice(&number.to_be_bytes());
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    println!("{:.6}", started.elapsed().as_secs_f64());
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<()> {
    let mut piece = vec![0u8; PIECE_BYTES];
    let started = Instant::now();
    let mut file = File::open(path)?;
    for number in 0..file.metadata()?.len() / PIECE_BYTES as u64 {
        file.read_exact(&mut piece)?;
        ensure!(piece[..8] == number.to_be_bytes(), "piece {number} is another one");
    }
    println!("{:.6}", started.elapsed().as_secs_f64());
    Ok(())
}

pub(super) fn random(path: &Path, seconds: u64) -> Result<()> {
    let file = File::open(path)?;
    let blocks = file.metadata()?.len() / BLOCK_BYTES as u64;
    ensure!(0 < blocks, "an empty file");
    let (mut state, mut count) = (0xACE5, 0u64);
    let mut block = [0u8; BLOCK_BYTES];
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        file.read_exact_at(&mut block, next(&mut state) % blocks * BLOCK_BYTES as u64)?;
        count += 1;
    }
    println!("{:.1}", count as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
