//! Modelled NFSv4.1 clients: what a kernel's client does, as far as a checker needs it.

pub(crate) mod backchannel;
pub(crate) mod compound;
pub(crate) mod content;
pub(crate) mod linux;
pub(crate) mod locks;
pub(crate) mod moves;
pub(crate) mod names;
mod opens;
pub(crate) mod session;
pub(crate) mod watch;
pub(crate) mod workload;
