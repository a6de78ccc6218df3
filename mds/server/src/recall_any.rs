//! CB_RECALL_ANY: asks a client that keeps very many layouts to return those it does not use.
//!
//! Layouts for reading stay with a client after CLOSE, which makes opening the file again cheap.
//! Each is a record in every replica, so their number has a bound. The client chooses the layouts
//! to return; if it returns none, the server chooses.
//!
//! QUIRK(linux): 7.2 answers OK and returns nothing (shown by `cargo xtask lab basic --only
//! layouts-kept`); so layouts still beyond the limit at the next check are recalled file by file.
//!
//! Spec: RFC 8881 §20.6; RFC 8435 §13.

use std::collections::BTreeMap;
use std::sync::Arc;

use mds_state::command::layout::LayoutRecall;
use mds_state::record::StateKind;
use wire_nfs::v4::callback::recall_any::{Args, kinds};
use wire_nfs::v4::{Bitmap, CbOp, Nfsstat4};

use crate::callback;
use crate::server::Server;

/// Time between two requests to the same client: returning many layouts takes a while.
const AGAIN_MS: u64 = 10_000;

/// Recalls sent to one client in one go.
const FILES_MAX: usize = 1024;

/// Clients that were asked, and when.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    at_ms: BTreeMap<u64, u64>,
}

/// The next step for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Ask it to choose.
    Ask,
    /// It was asked before, and still holds too many.
    Recall,
}

impl Asked {
    /// The next step for a client that holds `layouts` and may hold `kept`; records it.
    fn due(&mut self, client: u64, layouts: u32, kept: u32, now_ms: u64) -> Due {
        if layouts <= kept {
            self.at_ms.remove(&client);
            return Due::Nothing;
        }
        let due = match self.at_ms.get(&client) {
            None => Due::Ask,
            Some(at_ms) if at_ms + AGAIN_MS <= now_ms => Due::Recall,
            Some(_) => return Due::Nothing,
        };
        self.at_ms.insert(client, now_ms);
        due
    }

    /// Forgets clients that have ended.
    pub(crate) fn keep_only(&mut self, is_client: impl Fn(u64) -> bool) {
        self.at_ms.retain(|client, _| is_client(*client));
    }
}

/// Asks a client that holds too many layouts to keep half of its limit.
pub(crate) fn ask_if_many(server: &Arc<Server>, asked: &mut Asked, client: u64, layouts: u32) {
    let kept = server.config.layouts_kept;
    let due = asked.due(client, layouts, kept, server.now_ms());
    let server = Arc::clone(server);
    match due {
        Due::Nothing => {}
        Due::Ask => drop(tokio::spawn(async move { ask_to_return(&server, client, kept / 2).await })),
        Due::Recall => drop(tokio::spawn(async move {
            let too_many = usize::try_from(layouts - kept / 2).unwrap_or(FILES_MAX).min(FILES_MAX);
            recall_files(&server, client, too_many).await;
        })),
    }
}

async fn ask_to_return(server: &Arc<Server>, client: u64, keep: u32) {
    let args = Args { objects_to_keep: keep, kinds: Bitmap::of(&[kinds::FLEX_FILES_READ]) };
    server.metrics.recalled_any();
    match callback::call(server, client, CbOp::RecallAny, &args).await {
        Ok(Nfsstat4::Ok) => tracing::info!(client, "client asked to return layouts"),
        Ok(status) => {
            tracing::warn!(client, status = status.name(), "client refuses to choose layouts to return")
        }
        // The layouts do no harm but occupy memory.
        Err(error) => tracing::debug!(client, ?error, "client not reached to return layouts"),
    }
}

/// Recalls layouts of files that no client writes.
async fn recall_files(server: &Arc<Server>, client: u64, files_max: usize) {
    let Ok(view) = server.view() else { return };
    let Ok(files) = view.of_client(client, StateKind::Layout, usize::MAX) else { return };
    drop(view);
    let mut left = files_max;
    for (ino, _) in files {
        if left == 0 {
            return;
        }
        let Ok(Ok(layouts)) = server.view().map(|view| view.layouts_of(ino)) else { return };
        if layouts.iter().all(|(_, layout)| !layout.read_write) {
            server.recall(LayoutRecall { ino, iomode: None, except_client: None }).await;
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_now_and_then_while_it_holds_too_many() {
        let mut asked = Asked::default();
        assert_eq!(asked.due(1, 100, 100, 0), Due::Nothing);
        assert_eq!(asked.due(1, 101, 100, 0), Due::Ask);
        assert_eq!(asked.due(1, 150, 100, AGAIN_MS - 1), Due::Nothing);
        assert_eq!(asked.due(2, 150, 100, AGAIN_MS - 1), Due::Ask);
        assert_eq!(asked.due(1, 150, 100, AGAIN_MS), Due::Recall);
        assert_eq!(asked.due(1, 150, 100, AGAIN_MS + 1), Due::Nothing);
        assert_eq!(asked.due(1, 50, 100, AGAIN_MS + 2), Due::Nothing);
        assert_eq!(asked.due(1, 101, 100, AGAIN_MS + 3), Due::Ask);
        asked.keep_only(|client| client == 2);
        assert_eq!(asked.due(1, 101, 100, AGAIN_MS + 4), Due::Ask);
    }
}
