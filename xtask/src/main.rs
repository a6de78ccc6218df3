//! `cargo xtask`: what is done with this repository, in Rust. Each sub-command is a file; `main` only chooses.
//!
//! It uses none of the product's crates: it builds them, runs the program `shoal`, and looks from outside.
#![allow(clippy::disallowed_methods, reason = "it times and waits for real programs; nothing here is simulated")]

mod guest;
mod lab;
mod process;
mod tools;

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
    /// Names, or as root installs, what the lab and the bench need on a Debian machine.
    Tools(tools::Tools),
    /// Boots stock Linux kernels and uses a cluster through their NFS client.
    Lab(lab::Lab),
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

fn main() -> Result<()> {
    match Arguments::parse().act {
        Act::Tools(tools) => tools.run(),
        Act::Lab(lab) => lab.run(),
        Act::GuestAgent { listen } => lab::serve_guest(&listen),
        Act::GuestOp(op) => op.run(),
    }
}
