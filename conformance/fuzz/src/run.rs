//! One run of a target over one input, with its memory measured.

use crate::allocation::{Peak, measure};
use crate::target::Target;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Messages or values that were valid.
    pub valid: usize,
    /// What was allocated.
    pub peak: Peak,
    /// What could have been.
    pub bound: Peak,
}

/// Runs a target.
///
/// # Panics
/// If the target does, or if it allocates more than its bound: then it is run again, to print
/// where.
pub fn run(target: &Target, input: &[u8]) -> Ran {
    let bound = target.bound.of(input.len());
    let (valid, peak) = measure(None, || (target.run)(input));
    if !peak.is_within(&bound) {
        let (_, again) = measure(Some(bound), || (target.run)(input));
        let (name, bytes) = (target.name, input.len());
        panic!("{name}: allocated {peak:?}, then {again:?}, for {bytes} bytes, above {bound:?}");
    }
    Ran { valid, peak, bound }
}
