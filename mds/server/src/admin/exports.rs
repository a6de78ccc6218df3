//! EXPORTS_SET: replaces the cluster's exports, on all nodes, from the log entry on.
//!
//! Spec: docs/protocol/admin.md §8.

use wire_nfs::control::Refusal;
use wire_nfs::control::exports::{ExportsRuling, SetExports};
use wire_nfs::control::limits::WORDS_BYTES_MAX;

use crate::cluster_exports::SetError;
use crate::export::compare::Difference;
use crate::export::entry::export;
use crate::export::{Export, Exports};
use crate::server::Server;

/// Replaces the exports.
pub(super) async fn replace_exports(server: &Server, ask: SetExports) -> Result<ExportsRuling, Refusal> {
    server.shards.read_barrier().await.map_err(|error| server.refusal_of(error))?;
    let before = server.exports();
    let no = |words: String| {
        Ok(ExportsRuling { done: false, words: cut(words), version: server.exports().version() })
    };
    let exports: Vec<Export> = match ask.exports.into_iter().map(export).collect() {
        Ok(exports) => exports,
        Err(error) => return no(error.to_string()),
    };
    match server.set_exports(ask.replaces, &exports).await {
        Ok(version) => {
            let mut words = words(&before, &exports, version, server.is_alone());
            tracing::info!(version, "an administrator has set what is exported: {words}");
            if let Some(restricted) = server.fenced_for(version).await {
                words = format!("{words}. {}", restricted.words());
            }
            Ok(ExportsRuling { done: true, words: cut(words), version })
        }
        Err(SetError::Propose(error)) => Err(server.refusal_of(error)),
        Err(SetError::Late) => Err(Refusal::Busy),
        Err(error @ (SetError::Bad(_) | SetError::Changed(_) | SetError::Path(_) | SetError::Refused(_))) => {
            no(error.to_string())
        }
    }
}

fn words(before: &Exports, exports: &[Export], version: u64, is_alone: bool) -> String {
    let old: Vec<&Export> = before.iter().map(|(_, export)| export).collect();
    let new: Vec<&Export> = exports.iter().collect();
    let difference = Difference::between(&old, &new);
    let mut words = format!("version {version} of the exports is in force: ");
    if difference.is_none() {
        words += "they are as they were";
    } else {
        words += &difference.words("is exported now", "is exported no longer");
    }
    if is_alone {
        words += ". This metadata server is alone: when it starts again, its own configuration file counts";
    }
    words
}

/// Truncates a text to what a reply can carry.
fn cut(mut words: String) -> String {
    const MORE: &str = " ...";
    if WORDS_BYTES_MAX < words.len() {
        let end = words.floor_char_boundary(WORDS_BYTES_MAX - MORE.len());
        words.truncate(end);
        words += MORE;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_a_reply() {
        assert_eq!(cut("as they were".to_owned()), "as they were");
        let long = cut("\u{e9}".repeat(WORDS_BYTES_MAX));
        assert!(long.len() <= WORDS_BYTES_MAX && long.ends_with("\u{e9} ..."), "{long}");
    }
}
