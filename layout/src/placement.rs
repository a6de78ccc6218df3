//! Which data server becomes the primary of a new extent, or one of equal ones its replica.
//!
//! More free space, more extents; equal ones take turns. Does not know what a server is doing, only
//! whether it is up and how much room it says it has.
//!
//! Free space is sorted into [`PLACEMENT_STEPS`] steps of the freest server's. In one cycle each
//! server gets as many turns as its step says, spread over the cycle in rounds: round k goes to the
//! servers whose step is above k. So servers on the same step alternate strictly, and a half-full
//! one gets every second turn.
//!
//! Spec: none; the rule is ours.

use crate::data_server::DataServerId;
use crate::limits::{EXTENT_BYTES, PLACEMENT_STEPS};

/// A data server that may become a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub id: DataServerId,
    /// Bytes it can still take.
    pub free_bytes: u64,
    /// It has a lease and takes writes.
    pub up: bool,
}

/// Chooses the primary of the next extent; `None` if no server that is up has room.
///
/// `rotation` is a counter that moves by one with each extent placed. The order of the candidates
/// does not matter.
#[must_use]
pub fn choose(candidates: &[Candidate], rotation: u64) -> Option<DataServerId> {
    let mut fit = fit_for(candidates, EXTENT_BYTES);
    if fit.is_empty() {
        // Room for less than an extent everywhere. Files are often smaller than that.
        fit = fit_for(candidates, 1);
    }
    let freest = fit.iter().map(|candidate| candidate.free_bytes).max()?;
    fit.sort_unstable_by_key(|candidate| candidate.id);
    let steps: Vec<u64> = fit.iter().map(|candidate| step_of(candidate.free_bytes, freest)).collect();
    let cycle: u64 = steps.iter().sum();
    assert!(0 < cycle, "the freest server has turns");
    let mut turn = rotation % cycle;
    for round in 0..PLACEMENT_STEPS {
        let mut takers = fit.iter().zip(&steps).filter(|(_, step)| round < **step);
        let count = steps.iter().filter(|step| round < **step).count() as u64;
        if turn < count {
            let place = usize::try_from(turn).expect("below the number of candidates");
            return takers.nth(place).map(|(candidate, _)| candidate.id);
        }
        turn -= count;
    }
    unreachable!("the rounds have as many turns as the cycle")
}

fn fit_for(candidates: &[Candidate], bytes: u64) -> Vec<Candidate> {
    candidates.iter().filter(|candidate| candidate.up && bytes <= candidate.free_bytes).copied().collect()
}

/// The step of a server, from 1 to [`PLACEMENT_STEPS`]. Nearly as free as the freest counts as just
/// as free.
fn step_of(free_bytes: u64, freest_bytes: u64) -> u64 {
    assert!(free_bytes <= freest_bytes, "the freest was looked for");
    let step = u128::from(free_bytes) * u128::from(PLACEMENT_STEPS) / u128::from(freest_bytes.max(1));
    // Rounded to the nearest above, so that equal servers do not fall apart by one extent.
    u64::try_from(step).map_or(PLACEMENT_STEPS, |step| (step + 1).min(PLACEMENT_STEPS))
}

#[cfg(test)]
mod tests;
