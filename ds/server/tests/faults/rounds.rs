//! How often, and from which seed: what `cargo xtask faults` sets.

/// `SHOAL_FAULT_ROUNDS`, or what an ordinary run of the tests does.
pub(crate) fn rounds(ordinary: u64) -> u64 {
    number("SHOAL_FAULT_ROUNDS").unwrap_or(ordinary)
}

/// `SHOAL_FAULT_SEED`, or 1.
pub(crate) fn seed() -> u64 {
    number("SHOAL_FAULT_SEED").unwrap_or(1)
}

/// `SHOAL_FAULT_LIFE`, or 0: lives before it are left out.
pub(crate) fn first_life() -> u64 {
    number("SHOAL_FAULT_LIFE").unwrap_or(0)
}

/// Whether a developer asked for so many rounds, and wants to see how it goes.
pub(crate) fn is_long() -> bool {
    number("SHOAL_FAULT_ROUNDS").is_some()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
