//! Back ends that talk to the machine. The only module of the workspace that holds `unsafe`.

mod addresses;
mod allocator;
mod blocking_disk;
mod clock;
mod descriptors;
mod entropy;
mod file_calls;
mod file_modes;
mod guard;
mod guard_line;
mod interfaces;
mod netlink;
mod open_disk;
mod prompt_disk;
mod raw_packets;
mod silence;
mod thread_pool;
pub mod tokio_net;
mod uring_disk;
mod uring_operation;
mod uring_ring;

pub use addresses::{GuardLine, OsAddresses, PlaceError, run_guard};
pub use allocator::keep_large_buffers;
pub use blocking_disk::BlockingDisk;
pub use clock::OsClock;
pub use descriptors::raise_descriptor_limit;
pub use entropy::OsEntropy;
pub use file_modes::keep_files_private;
pub use open_disk::{BackEnd, Preference, open_disk};
pub use prompt_disk::PromptDisk;
pub use uring_disk::UringDisk;
