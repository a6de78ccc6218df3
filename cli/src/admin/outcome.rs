//! The outcome of a command that changes something: printed, and an error if it was refused.

use serde::Serialize;
use wire_nfs::control::admin::Ruling;

use crate::args::Admin;
use crate::json;
use crate::output::print;

/// What a command that changes something was answered, as a document has it.
#[derive(Serialize)]
pub(super) struct Done<'a> {
    pub(super) done: bool,
    pub(super) words: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) routes: Option<Vec<Moved>>,
}

/// A route as a document has it.
#[derive(Serialize)]
pub(super) struct Moved {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) images: u64,
    pub(super) extents: u64,
    pub(super) bytes: u64,
}

impl<'a> Done<'a> {
    pub(super) fn of(ruling: &'a Ruling) -> Self {
        Self { done: ruling.done, words: &ruling.words, version: None, routes: None }
    }
}

/// Prints what a command that changes something was answered.
///
/// # Errors
/// If it was refused: in words.
pub(super) fn heed(admin: &Admin, kind: &str, done: &Done<'_>) -> anyhow::Result<()> {
    if admin.json {
        print(json::document(kind, done)?)?;
    } else if done.done {
        print(done.words)?;
    }
    if !done.done {
        anyhow::bail!("{}", done.words);
    }
    Ok(())
}
