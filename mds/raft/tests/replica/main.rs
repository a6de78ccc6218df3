//! Whole replicas through the crate's public interface: restarts of one, and several that replicate
//! each other.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod clocks;
mod failure;
mod founders;
mod install;
mod join;
mod lease;
mod lost;
mod many;
mod members;
mod partition;
mod restart;
mod scene;
mod strangers;
