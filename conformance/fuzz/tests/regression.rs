//! Every target over its seeds and over each input that once broke something.
//!
//! Inputs lie in `regression/<target>/`. None may panic or allocate above the target's bound,
//! whatever was done to the code since.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use conformance_fuzz::{TARGETS, Target, find, run};

fn regressions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regression")
}

/// Every target with its seeds, which take a while to find.
fn targets_with_seeds() -> impl Iterator<Item = (&'static Target, &'static Vec<Vec<u8>>)> {
    static SEEDS: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    let seeds = SEEDS.get_or_init(|| TARGETS.iter().map(|target| (target.seeds)()).collect());
    TARGETS.iter().zip(seeds)
}

#[test]
fn seeds_are_valid_and_within_bounds() {
    for (target, seeds) in targets_with_seeds() {
        assert!(!seeds.is_empty(), "{}", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            assert!(seed.len() <= target.input_bytes_max, "{} seed {number}", target.name);
            assert!(
                0 < run(target, seed).valid,
                "{} seed {number}: nothing valid in {seed:02x?}",
                target.name
            );
        }
    }
}

/// A decoder that takes a part of a message for a message would show here: as a panic of the round
/// trip.
#[test]
fn seeds_cut_short_or_changed_break_nothing() {
    for (target, seeds) in targets_with_seeds() {
        for seed in seeds {
            let step = seed.len().div_ceil(16).max(1);
            for len in (0..seed.len()).step_by(step) {
                run(target, &seed[..len]);
                let mut changed = seed.clone();
                changed[len] = !changed[len];
                run(target, &changed);
            }
        }
    }
}

#[test]
fn regressions_stay_fixed() {
    for folder in fs::read_dir(regressions()).unwrap() {
        let folder = folder.unwrap();
        if !folder.file_type().unwrap().is_dir() {
            continue;
        }
        let name = folder.file_name().into_string().unwrap();
        let target = find(&name).unwrap_or_else(|| panic!("regression/{name} is no target"));
        for input in fs::read_dir(folder.path()).unwrap() {
            let path = input.unwrap().path();
            eprintln!("{}", path.display());
            run(target, &fs::read(&path).unwrap());
        }
    }
}

#[test]
fn names_are_unique() {
    for target in TARGETS {
        assert_eq!(TARGETS.iter().filter(|one| one.name == target.name).count(), 1, "{}", target.name);
        assert!(!target.about.is_empty());
    }
}
