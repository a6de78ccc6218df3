//! A shared, writable mapping of a file: stores to memory become writes.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Result, ensure};

const LENGTH_BYTES: usize = 8 << 20;
const STRIDE_BYTES: usize = 4099;

pub(super) fn exercise(path: &Path) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(LENGTH_BYTES as u64)?;
    // SAFETY: a new shared mapping of a file of exactly this length, at an address the kernel
    // chooses; nothing else in this process has it, and the file is not shortened while it stands.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            LENGTH_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    ensure!(address != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    // SAFETY: the mapping is LENGTH_BYTES long, readable and writable, and only this slice refers
    // to it.
    let bytes = unsafe { std::slice::from_raw_parts_mut(address.cast::<u8>(), LENGTH_BYTES) };
    for at in (0..LENGTH_BYTES).step_by(STRIDE_BYTES) {
        bytes[at] = value(at);
    }
    // SAFETY: address and length are those of the mapping above.
    let synced = unsafe { libc::msync(address, LENGTH_BYTES, libc::MS_SYNC) };
    ensure!(synced == 0, "msync: {}", std::io::Error::last_os_error());
    // SAFETY: as above; the slice is not used after this.
    unsafe { libc::munmap(address, LENGTH_BYTES) };
    drop(file);
    let read = std::fs::read(path)?;
    ensure!(read.len() == LENGTH_BYTES, "{} bytes", read.len());
    let wanted = |at: usize| if at.is_multiple_of(STRIDE_BYTES) { value(at) } else { 0 };
    let wrong = read.iter().enumerate().find(|(at, byte)| **byte != wanted(*at));
    ensure!(wrong.is_none(), "byte {wrong:?} is not what was stored");
    Ok(())
}

fn value(at: usize) -> u8 {
    (at / STRIDE_BYTES % 255) as u8 + 1
}
