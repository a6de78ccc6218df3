//! Whole replicas through the crate's front door: restarts of one, and several that keep each other alike.

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
