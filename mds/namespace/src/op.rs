//! The operations of the namespace, one file each.
//!
//! Reads take a view, changes an open transaction; time and caller are arguments. A change that
//! returns an error has written nothing, so that many can share one transaction.

pub mod access;
pub mod access_time;
pub mod copies;
pub mod create;
pub mod exclusive;
pub mod extent;
pub mod format;
pub mod formers;
pub mod hand_over;
pub mod held;
pub mod inline;
pub mod link;
pub mod lookup;
pub mod move_to_extents;
pub mod prove;
pub mod queue;
pub mod readdir;
pub mod readlink;
pub mod reap;
pub mod remove;
pub mod rename;
pub mod seal;
pub mod setattr;
pub mod settle;
pub mod size;
pub mod statfs;
pub mod work;
pub mod write_part;
