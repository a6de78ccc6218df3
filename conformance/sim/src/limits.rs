//! Named bounds of the simulator.

/// Lines of the event log that are kept to be read.
pub(crate) const LOG_LINES_KEPT: usize = 2_000_000;

/// Bytes under way in one direction of a connection: the window.
pub(crate) const WINDOW_BYTES: usize = 1 << 20;

/// Connections that wait to be accepted.
pub(crate) const BACKLOG: usize = 128;

/// Time after which a connection that moves nothing is given up: TCP's user timeout.
pub(crate) const STALL_NS_MAX: u64 = 15_000_000_000;

/// Time between two attempts to deliver what cannot be: a retransmission.
pub(crate) const RETRY_NS: u64 = 200_000_000;

/// Time between two looks of the Raft engine at its clock.
pub(crate) const TICK_NS: u64 = 10_000_000;

/// States that the search for an order looks at before it gives a history up as too hard.
pub(crate) const SEARCH_STATES_MAX: usize = 300_000;
