//! The version of RPC.
//!
//! Spec: RFC 5531 §9.

/// The version of the RPC protocol itself (RFC 5531 §9).
pub const RPC_VERSION: u32 = 2;
