//! One file for each operation of a COMPOUND.
//!
//! Each has one `run_op(context, arguments) -> answer`, which the table in `op_table` refers to.
//! Operations reach clock, sockets and disk only through the context.
//!
//! Spec: RFC 8881 §18; RFC 7862 §15.

pub(crate) mod access;
pub(crate) mod backchannel_ctl;
pub(crate) mod bind_conn_to_session;
pub(crate) mod close;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod create_session;
pub(crate) mod delegreturn;
pub(crate) mod destroy_clientid;
pub(crate) mod destroy_session;
pub(crate) mod exchange_id;
pub(crate) mod free_stateid;
pub(crate) mod getattr;
pub(crate) mod getdeviceinfo;
pub(crate) mod getfh;
pub(crate) mod layoutcommit;
pub(crate) mod layouterror;
pub(crate) mod layoutget;
pub(crate) mod layoutreturn;
pub(crate) mod layoutstats;
pub(crate) mod link;
pub(crate) mod lock;
pub(crate) mod lockt;
pub(crate) mod locku;
pub(crate) mod lookup;
pub(crate) mod lookupp;
pub(crate) mod nverify;
pub(crate) mod open;
pub(crate) mod open_downgrade;
pub(crate) mod putfh;
pub(crate) mod putpubfh;
pub(crate) mod putrootfh;
pub(crate) mod read;
pub(crate) mod readdir;
pub(crate) mod readlink;
pub(crate) mod reclaim_complete;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod restorefh;
pub(crate) mod savefh;
pub(crate) mod secinfo;
pub(crate) mod secinfo_no_name;
pub(crate) mod setattr;
pub(crate) mod test_stateid;
pub(crate) mod verify;
pub(crate) mod write;
