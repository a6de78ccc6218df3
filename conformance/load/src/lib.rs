//! Load on an NFSv4.1 server: many sessions that make, look up, list and remove files, and how long
//! each took.
//!
//! Each session is a client of its own, with one connection and one slot: so many machines that
//! each wait for their last request. Nothing is cached, no data are written, no layouts are taken.
//! It is the same for any server, ours or another; it checks what it is answered and ends with the
//! first answer that is not as it should be.

mod act;
mod error;
pub mod limits;
mod load;
mod measure;
mod request;
mod session;

pub use act::Act;
pub use error::LoadError;
pub use load::{Load, Plan};
pub use measure::Measured;
