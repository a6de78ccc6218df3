//! Runs one seed. A process for each: so that nothing that a run left behind is there in the next.
//!
//! Takes the place of the system's source of randomness, so that what asks it behind our back (the
//! order in hash tables, the fairness of tokio's `select!`, the engine's election timeouts) repeats
//! too.

use std::ffi::c_void;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser as _;
use conformance_sim::{Arguments, Outcome};

static RANDOM: AtomicU64 = AtomicU64::new(0);

/// What the C library calls `getrandom`: the standard library and the crate of that name find this
/// one before it. Not random at all: each call's bytes follow from the seed and the calls before.
///
/// # Safety
/// `buffer` must hold `length` bytes, as for the system's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: u32) -> isize {
    if length == 0 {
        return 0;
    }
    // SAFETY: the caller's promise, which is that of getrandom(2).
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for chunk in bytes.chunks_mut(8) {
        // Steps of SplitMix64, without a lock.
        let mut word = RANDOM.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        chunk.copy_from_slice(&word.to_be_bytes()[..chunk.len()]);
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// Has memory come in large pieces, from the kernel once: a run takes and gives back a lot of it.
#[cfg(target_env = "gnu")]
fn set_allocator() {
    const PIECE_BYTES: i32 = 32 << 20;
    for (what, value) in [
        // All threads from where the first takes it: elsewhere it grows by a page at a time.
        (libc::M_ARENA_MAX, 1),
        (libc::M_TOP_PAD, PIECE_BYTES),
        (libc::M_MMAP_THRESHOLD, PIECE_BYTES),
        (libc::M_TRIM_THRESHOLD, i32::MAX),
    ] {
        // SAFETY: takes numbers, and there is one thread so far. What it refuses stays as it was.
        unsafe { libc::mallopt(what, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn set_allocator() {}

fn main() -> ExitCode {
    set_allocator();
    let arguments = Arguments::parse();
    conformance_sim::trace(&arguments);
    // A thread that has asked for nothing yet, so that nothing before it counts.
    let run = std::thread::Builder::new().name("sim".to_owned()).spawn(move || {
        RANDOM.store(arguments.seed, Ordering::Relaxed);
        conformance_sim::run_seed(&arguments)
    });
    match run.map(std::thread::JoinHandle::join) {
        Ok(Ok(Outcome::Held)) => ExitCode::SUCCESS,
        Ok(Ok(Outcome::Broken)) => ExitCode::from(1),
        Ok(Err(_)) => ExitCode::from(2),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(3)
        }
    }
}
