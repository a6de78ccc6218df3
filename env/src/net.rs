//! The network as a trait: byte streams, nothing of RPC.
