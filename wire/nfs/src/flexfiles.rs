//! Flexible files: the bodies that are opaque to NFSv4.1 itself.
//!
//! Device addresses and layouts go to the client, errors and statistics come back. The words of RFC
//! 8435 are kept (mirror, data server, stripe unit); what a good layout is, the metadata server
//! knows. Hints of the client for the layout of a new file are not read.
//!
//! Spec: RFC 8435 §4, §5, §9.

mod device;
mod layout;
mod netaddr;
mod report;
mod whole_body;

pub use device::{DeviceAddr, DeviceVersion};
pub use layout::{DataServer, FfLayout, LayoutBodyError, Mirror, flags};
pub use netaddr::{NetAddr, Transport};
pub use report::{FfLayoutReturn, FfLayoutUpdate, IoError, IoLatency, IoStats};
pub use whole_body::{decode_body, encode_body};

#[cfg(test)]
mod tests;
