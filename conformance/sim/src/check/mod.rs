//! What must be true of a run, whatever happened in it.

pub(crate) mod content;
pub(crate) mod linearizable;
pub(crate) mod linux;
pub(crate) mod locks;
pub(crate) mod moves;
pub(crate) mod names;
pub(crate) mod state;
