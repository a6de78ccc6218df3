//! The fuzzer: one target of the table under libFuzzer.
//!
//! `SHOAL_FUZZ_TARGET` names the target, and `list` prints the table's names with the longest input
//! of each. What stands on the command line is libFuzzer's. If `SHOAL_FUZZ_SEEDS` names a folder,
//! the target's seeds are first written there. At the end it says what was allocated at most, and
//! what part of the bound that was.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use conformance_fuzz::mutation::mutate_words;
use conformance_fuzz::target::{Shape, Target};
use conformance_fuzz::{Ran, TARGETS, find, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(init: begin(), |input: &[u8]| {
    WORST.note(&run(target(), input));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Every other time libFuzzer's own: it knows what comparisons failed.
    if target().shape == Shape::Words && seed.is_multiple_of(2) {
        mutate_words(data, size, max_size, seed / 2)
    } else {
        fuzzer_mutate(data, size, max_size)
    }
});

fn target() -> &'static Target {
    TARGET.get().expect("libFuzzer begins with begin()")
}

fn begin() {
    let name = std::env::var("SHOAL_FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.input_bytes_max));
        std::process::exit(0);
    }
    let Some(found) = find(&name) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("SHOAL_FUZZ_TARGET={name:?} is none of {names:?}");
        std::process::exit(2);
    };
    assert!(TARGET.set(found).is_ok(), "libFuzzer begins once");
    if let Some(folder) = std::env::var_os("SHOAL_FUZZ_SEEDS")
        && let Err(error) = write_seeds(found, Path::new(&folder))
    {
        eprintln!("seeds cannot be written to {}: {error}", folder.display());
        std::process::exit(2);
    }
    // SAFETY: the function is of the type that is asked for, and may be called at any time.
    unsafe { libc::atexit(print_worst) };
}

fn write_seeds(target: &Target, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:04}")), seed)?;
    }
    Ok(())
}

/// The most that any run allocated, and the most it came to of its bound.
struct Worst {
    single_bytes: AtomicUsize,
    live_bytes: AtomicUsize,
    permille: AtomicUsize,
}

static WORST: Worst = Worst {
    single_bytes: AtomicUsize::new(0),
    live_bytes: AtomicUsize::new(0),
    permille: AtomicUsize::new(0),
};

impl Worst {
    fn note(&self, ran: &Ran) {
        let of = |part: usize, whole: usize| 1000 * part / whole.max(1);
        let permille = of(ran.peak.single_bytes, ran.bound.single_bytes)
            .max(of(ran.peak.live_bytes, ran.bound.live_bytes));
        self.single_bytes.fetch_max(ran.peak.single_bytes, Ordering::Relaxed);
        self.live_bytes.fetch_max(ran.peak.live_bytes, Ordering::Relaxed);
        self.permille.fetch_max(permille, Ordering::Relaxed);
    }
}

extern "C" fn print_worst() {
    let single = WORST.single_bytes.load(Ordering::Relaxed);
    let live = WORST.live_bytes.load(Ordering::Relaxed);
    let percent = WORST.permille.load(Ordering::Relaxed).div_ceil(10);
    eprintln!("memory: single {single} live {live} percent {percent}");
}
