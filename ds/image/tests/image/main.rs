//! Images through their public door: over a disk in memory that crashes and corrupts, and over a
//! real one.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod bed;
mod crash;
mod damage;
mod directory;
mod forged;
mod golden;
mod gone;
mod hostile;
mod parity;
mod receive;
mod round_trip;
