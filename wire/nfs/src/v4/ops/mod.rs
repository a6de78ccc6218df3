//! The operations: one file for each, with its arguments (`Args`) and its result when all went well
//! (`ResOk`).
//!
//! A status that brings a body of its own (DENIED, LAYOUTTRYLATER, TOOSMALL) has it in the
//! operation's file. Operations that are never served have no codec: a server stops the compound at
//! their number.
//!
//! Spec: RFC 8881 §18; RFC 7862 §15; RFC 8276 §8.4.

mod any;

pub mod access;
pub mod allocate;
pub mod backchannel_ctl;
pub mod bind_conn_to_session;
pub mod close;
pub mod commit;
pub mod create;
pub mod create_session;
pub mod deallocate;
pub mod delegreturn;
pub mod destroy_clientid;
pub mod destroy_session;
pub mod exchange_id;
pub mod free_stateid;
pub mod getattr;
pub mod getdeviceinfo;
pub mod getfh;
pub mod getxattr;
pub mod layoutcommit;
pub mod layouterror;
pub mod layoutget;
pub mod layoutreturn;
pub mod layoutstats;
pub mod link;
pub mod listxattrs;
pub mod lock;
pub mod lockt;
pub mod locku;
pub mod lookup;
pub mod lookupp;
pub mod nverify;
pub mod open;
pub mod open_downgrade;
pub mod putfh;
pub mod putpubfh;
pub mod putrootfh;
pub mod read;
pub mod readdir;
pub mod readlink;
pub mod reclaim_complete;
pub mod remove;
pub mod removexattr;
pub mod rename;
pub mod restorefh;
pub mod savefh;
pub mod secinfo;
pub mod secinfo_no_name;
pub mod seek;
pub mod sequence;
pub mod setattr;
pub mod setxattr;
pub mod test_stateid;
pub mod verify;
pub mod write;

pub use any::{AnyArgs, AnyResOk, decode_any};

#[cfg(test)]
mod tests;
