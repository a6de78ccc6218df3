//! Back ends for tests: nothing here touches the machine, and a run repeats from its seed.

mod addresses;
mod clock;
mod disk;
mod entropy;
pub mod net;

pub use addresses::{MemoryAddresses, Said};
pub use clock::ManualClock;
pub use disk::{Broken, Crash, CrashPoint, DiskCounts, MemoryDisk, Operation, Reached};
pub use entropy::SeededEntropy;
