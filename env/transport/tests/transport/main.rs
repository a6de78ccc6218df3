//! The transport as its users see it, over a network in memory (and once over TCP).
//!
//! Time is real where nothing waits for it, and moved by hand where something does.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod bed;
mod budget;
mod calls;
mod hostile;
mod lifecycle;
