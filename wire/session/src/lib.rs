//! Sessions of NFSv4.1 and NFSv4.2: client ids, slots, the reply cache, leases, and the server's
//! calls to the client.
//!
//! Sans-io: requests and time come in, verdicts go out. Client records are decided here and kept by
//! `mds-state`, because they outlive a server, and so are sessions; what one server has of a
//! session is kept here: slots, replies, connections. A server that takes a session over begins
//! with what the state knows of its slots. Nothing here runs an operation, sends a byte, or waits.
//!
//! `server` is what answers; `requester` is the other end of a slot table, which a server needs for
//! its callbacks.
//!
//! INVARIANT: between one new request on a slot and its completion nothing else is executed on that
//! slot.
//! Spec: RFC 8881 §2.10, §18.34 to §18.37, §18.46, §20.9.

#![forbid(unsafe_code)]

pub mod limits;
pub mod requester;
pub mod server;
