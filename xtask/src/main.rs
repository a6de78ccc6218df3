//! `cargo xtask`: what is done with this repository, in Rust. Each sub-command is a file; `main`
//! only chooses.
//!
//! It uses none of the product's crates: it builds them, runs the program `shoal`, and looks from
//! outside.
#![allow(
    clippy::disallowed_methods,
    reason = "it times and waits for real programs; nothing here is simulated"
)]

mod bench;
mod ci;
mod deny;
mod deps;
mod faults;
mod fuzz;
mod guest;
mod hostile;
mod house;
mod lab;
mod process;
mod pynfs;
mod sim;
mod test_run;
mod tidy;
mod tools;
mod unsafe_code;
mod up;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests, runs and measures Shoal.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Builds Shoal, starts a whole cluster on this machine and prints the lines that mount it.
    Up(up::Up),
    /// Runs every test of the workspace.
    Test {
        /// Passed on to the test runner.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<String>,
    },
    /// Runs what CI runs: fmt, tidy, deps, deny, clippy, test, doc, hostile, lab.
    Ci(ci::Ci),
    /// Checks the rules of STYLE.md that files show.
    Tidy(tidy::Tidy),
    /// Measures how the source hangs together: circles of files, structs taken whole, asserts,
    /// functions.
    House(house::HouseArgs),
    /// Checks who depends on whom.
    Deps,
    /// Checks licences, duplicate versions and advisories of dependencies.
    Deny(deny::Deny),
    /// Names, or as root installs, what the lab and the bench need on a Debian machine.
    Tools(tools::Tools),
    /// Fuzzes what takes bytes from a wire or a disk.
    Fuzz(fuzz::Fuzz),
    /// Crashes, kills and corrupts data servers in memory, and looks for what was lost.
    Faults(faults::Faults),
    /// Runs whole clusters in simulated time, from seeds, with all that can go wrong.
    Sim(sim::Sim),
    /// Boots stock Linux kernels and uses a cluster through their NFS client.
    Lab(lab::Lab),
    /// Attacks a cluster of real servers, beside an honest client whose bytes and latency are
    /// checked.
    Hostile(hostile::Hostile),
    /// Runs the public pynfs suite, and compares with the checked-in results.
    Pynfs(pynfs::Pynfs),
    /// Measures Shoal beside its rivals.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Serves the lab's commands inside a guest.
    #[command(hide = true)]
    GuestAgent {
        #[arg(long)]
        listen: String,
    },
    /// Does something on the mount inside a guest.
    #[command(hide = true, subcommand)]
    GuestOp(guest::GuestOp),
}

fn main() {
    if let Err(error) = act() {
        eprintln!("{error:#}");
        lab::leave(1);
    }
}

fn act() -> Result<()> {
    match Arguments::parse().act {
        Act::Up(up) => up.run(),
        Act::Test { more } => test_run::run_tests(&more),
        Act::Ci(ci) => ci.run(),
        Act::Tidy(tidy) => tidy.run(),
        Act::House(house) => house.run(),
        Act::Deps => deps::check_walls(),
        Act::Deny(deny) => deny.run(),
        Act::Tools(tools) => tools.run(),
        Act::Fuzz(fuzz) => fuzz.run(),
        Act::Faults(faults) => faults.run(),
        Act::Sim(sim) => sim.run(),
        Act::Lab(lab) => lab.run(),
        Act::Hostile(hostile) => hostile.run(),
        Act::Pynfs(pynfs) => pynfs.run(),
        Act::Bench(bench) => bench.run(),
        Act::GuestAgent { listen } => lab::serve_guest(&listen),
        Act::GuestOp(op) => op.run(),
    }
}
