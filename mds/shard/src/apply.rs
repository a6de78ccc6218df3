//! Carrying out commands.

pub mod lock_ranges;
