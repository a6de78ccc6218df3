//! Back ends that talk to the machine. The only module of the workspace that holds `unsafe`.

mod clock;
mod entropy;

pub use clock::OsClock;
pub use entropy::OsEntropy;
