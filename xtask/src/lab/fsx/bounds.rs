//! The bounds that the command line sets to the exerciser.

use crate::guest::Plant;

/// What all arrangements take together unless `--minutes` says otherwise.
const MINUTES: u64 = 3;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// For all arrangements together.
    pub(in crate::lab) minutes: Option<u64>,
    pub(in crate::lab) operations: Option<u64>,
    pub(in crate::lab) plant: Option<Plant>,
    /// `KIND=NUMBER` beyond those of the arrangement.
    pub(in crate::lab) weights: Vec<String>,
    /// How many arrangements are played.
    pub(in crate::lab) arrangements: u64,
}

impl Bounds {
    /// For each arrangement.
    pub(super) fn seconds(&self) -> u64 {
        self.minutes.unwrap_or(MINUTES) * 60 / self.arrangements.max(1)
    }
}
