//! A shared mapping of a part of a file, for one read or one write.
//!
//! A client that believes the file to be shorter than it is answers an access with SIGBUS: a
//! handler puts an empty page there, so that the access ends, and the fault is reported.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail, ensure};

use super::operation::Range;

const PAGE_BYTES: usize = 4096;

/// The address of the first access that met no page of the file; 0 for none.
static FAULT: AtomicUsize = AtomicUsize::new(0);
static HANDLER: Once = Once::new();

/// Pages of a file in memory.
struct Mapped {
    address: *mut libc::c_void,
    bytes: usize,
    /// Where the wanted range begins.
    skip: usize,
    range: Range,
}

impl Mapped {
    fn new(file: &File, range: Range) -> Result<Self> {
        HANDLER.call_once(handle_missing_pages);
        let skip = (range.at % PAGE_BYTES as u64) as usize;
        let bytes = skip + range.bytes as usize;
        // SAFETY: a new shared mapping of an open file at an address that the kernel chooses.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                (range.at - skip as u64) as libc::off_t,
            )
        };
        ensure!(address != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Ok(Self { address, bytes, skip, range })
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: `skip` is less than a page, and the mapping has one page at least.
        unsafe { self.address.cast::<u8>().add(self.skip) }
    }

    /// Fails if an access since the last call met no page of the file.
    fn expect_no_fault(&self) -> Result<()> {
        match FAULT.swap(0, Ordering::AcqRel) {
            0 => Ok(()),
            address => {
                let at = self.range.at - self.skip as u64 + (address - self.address as usize) as u64;
                bail!("DIFFERENCE: SIGBUS at {at}: the client believes that the file ends before")
            }
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: address and length are those of the mapping, which nothing refers to any more.
        unsafe { libc::munmap(self.address, self.bytes) };
    }
}

/// Reads `range`, which lies before the end of the file.
pub(super) fn read(file: &File, range: Range) -> Result<Vec<u8>> {
    let mapped = Mapped::new(file, range)?;
    let mut bytes = vec![0; range.bytes as usize];
    // SAFETY: the mapping covers the range, and the vector is memory of its own of that length.
    unsafe { std::ptr::copy_nonoverlapping(mapped.start(), bytes.as_mut_ptr(), bytes.len()) };
    mapped.expect_no_fault()?;
    Ok(bytes)
}

/// Stores `bytes` into `range`, which lies before the end of the file.
pub(super) fn write(file: &File, range: Range, bytes: &[u8], sync: bool) -> Result<()> {
    let mapped = Mapped::new(file, range)?;
    assert!(bytes.len() as u64 == range.bytes);
    // SAFETY: the mapping covers the range and is writable; `bytes` is memory of its own.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), mapped.start(), bytes.len()) };
    mapped.expect_no_fault()?;
    if sync {
        // SAFETY: address and length are those of the mapping.
        let synced = unsafe { libc::msync(mapped.address, mapped.bytes, libc::MS_SYNC) };
        ensure!(synced == 0, "msync: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

fn handle_missing_pages() {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = put_page;
    // SAFETY: a zeroed sigaction is a valid one without flags and with an empty mask; the handler
    // has the signature that SA_SIGINFO asks for.
    let set = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut())
    };
    assert!(set == 0, "SIGBUS is a signal that can be handled");
}

/// Notes the address and puts a page of zeros there. Calls nothing but mmap and abort.
extern "C" fn put_page(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo, which has an address for SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    // The first one counts; a later one changes nothing.
    let _ = FAULT.compare_exchange(0, address, Ordering::AcqRel, Ordering::Relaxed);
    let page = (address / PAGE_BYTES * PAGE_BYTES) as *mut libc::c_void;
    // SAFETY: the page belongs to a mapping of this module, the only accesses that end in SIGBUS
    // here; it is replaced by a private one of the same length.
    unsafe {
        let placed = libc::mmap(
            page,
            PAGE_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        );
        if placed == libc::MAP_FAILED {
            libc::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Range, read, write};

    #[test]
    fn a_page_beyond_the_end_is_reported() {
        let file = tempfile();
        file.set_len(5000).unwrap();
        write(&file, Range { at: 4090, bytes: 10 }, &[7; 10], true).unwrap();
        assert_eq!(read(&file, Range { at: 4090, bytes: 11 }).unwrap()[8..], [7, 7, 0]);
        let error = read(&file, Range { at: 4090, bytes: 9000 }).unwrap_err().to_string();
        assert!(error.contains("SIGBUS at 8192"), "{error}");
        assert!(read(&file, Range { at: 0, bytes: 5000 }).is_ok(), "one fault is reported once");
    }

    fn tempfile() -> std::fs::File {
        let path = std::env::temp_dir().join(format!("shoal-fsx-mapped-{}", std::process::id()));
        let file =
            std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }
}
