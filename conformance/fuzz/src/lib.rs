//! Everything in Shoal that takes bytes from a wire or a disk, as functions to be fuzzed, with
//! their memory bounded.
//!
//! [`target::TARGETS`] is the table. The program `fuzz` (behind a feature, as it needs a C++
//! compiler) runs a row under libFuzzer; the test of this crate runs every row over its seeds and
//! over `regression/`, where each input that once broke something stays for good. `cargo xtask
//! fuzz` builds and runs it; docs/fuzz.md tells how, and what came of it.
//!
//! INVARIANT: a target is a function of its input alone, so an input that fails once fails always.
//! `whole_server` keeps its servers from one input to the next, and comes as near as a directory
//! and a restarted client for each input allow.

pub mod allocation;
pub mod mutation;
pub mod round_trip;
pub mod run;
pub mod seed;
pub mod target;

pub use run::{Ran, run};
pub use target::{TARGETS, Target, find};
