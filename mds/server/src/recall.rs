//! Layout recalls: asking clients to give layouts back, waiting, and taking what does not come
//! back.
//!
//! A client answers a recall with OK and returns the layout soon after, says that it holds none, or
//! is silent. What has not come back in time is revoked, and the extents of the file are fenced.
//!
//! INVARIANT: a recall names the layout's sequence plus one, which the log has made the layout's
//! own.
//! Spec: RFC 8881 §12.5.5, §20.3; RFC 8435 §2.2.

mod table;

use env_transport::LogRate;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;

use layout::Iomode;
use mds_namespace::{Ino, op};
use mds_state::command::data::Fence;
use mds_state::command::layout::{LayoutRecall, LayoutReturn, Recall, Returned};
use mds_state::{Command, Outcome, StateidValue};
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::callback::layoutrecall::{Args, RecallFile, RecallScope};
use wire_nfs::v4::layout::{Iomode as WireIomode, LENGTH_TO_END};
use wire_nfs::v4::{CbOp, Filehandle, Nfsstat4};

use crate::callback::{self, CallbackError};
use crate::handle::{ExportId, FileHandle};
use crate::limits::FENCED_EXTENTS_MAX;
use crate::server::Server;
use crate::stateid::wire_stateid;
use crate::{revocation, status};

pub(crate) use table::Recalls;

/// Between two attempts to reach a client that said DELAY.
const RETRY_MS: u64 = 100;

impl Server {
    /// Asks other clients to return layouts for writing before a file is cut. Does not wait for
    /// them: their handles for what is cut are fenced by the new epoch.
    pub(crate) async fn recall_for_truncation(self: &Arc<Self>, ino: Ino, except_client: Option<u64>) {
        let others = match self.view().map(|view| view.layouts_of(ino)) {
            Ok(Ok(layouts)) => {
                layouts.iter().any(|(c, layout)| Some(*c) != except_client && layout.read_write)
            }
            Ok(Err(_)) | Err(_) => false,
        };
        if others {
            self.recall(LayoutRecall { ino, iomode: Some(Iomode::ReadWrite), except_client }).await;
        }
    }

    /// Recalls the layouts of files whose extents get another home: these name a data server that
    /// is dead or about to yield. Done before the requests that wait for new layouts are woken.
    pub(crate) async fn recall_files(self: &Arc<Self>, files: BTreeSet<Ino>) {
        let recalls = files.into_iter().filter_map(|ino| {
            let held = self.view().ok()?.layouts_of(ino).ok()?;
            let what = LayoutRecall { ino, iomode: None, except_client: None };
            (!held.is_empty()).then(|| self.recall(what))
        });
        join_all(recalls).await;
    }

    /// A client asked for a layout of which the log says that it is recalled from it, and was
    /// refused. Who followed that up may be gone, with the server that led before; then somebody
    /// does from now on, or the client would be refused for ever.
    pub(crate) async fn take_up_recall(self: &Arc<Self>, client: u64, ino: Ino) {
        if self.recalls.is_under_way(client, ino) {
            return;
        }
        let Ok(Ok(Some(held))) = self.view().map(|view| view.layout(ino, client)) else { return };
        if held.recall_seqid == Some(held.seqid) {
            let stateid = StateidValue { seqid: held.seqid, other: held.other };
            let recall = Recall { client, stateid, iomode: held.held() };
            tokio::spawn(follow(Arc::clone(self), ino, recall));
        } else if held.recall_seqid.is_some() {
            // It gave a part of it back since, which moved the sequence on. Of the others only
            // those are asked that hold as much.
            self.recall(LayoutRecall { ino, iomode: held.held(), except_client: None }).await;
        }
    }

    /// Sends recalls; each is followed up by a task of its own. Answers how many there are.
    pub(crate) async fn recall(self: &Arc<Self>, what: LayoutRecall) -> usize {
        let ino = what.ino;
        let Ok(Outcome::Recalls(recalls)) = self.propose(Command::LayoutRecall(what)).await else { return 0 };
        let count = recalls.len();
        for recall in recalls {
            tokio::spawn(follow(Arc::clone(self), ino, recall));
        }
        count
    }
}

/// One recall from the first call to the return, or to the fence.
async fn follow(server: Arc<Server>, ino: Ino, recall: Recall) {
    let Some(returned) = server.recalls.begin(recall.client, ino) else { return };
    server.metrics.recalled();
    let given_back = async {
        loop {
            returned.notified().await;
            if !is_out(&server, ino, &recall) {
                break;
            }
        }
    };
    let answer = tokio::select! {
        biased;
        () = given_back => None,
        answer = answered(&server, ino, &recall) => Some(answer),
    };
    let revoked = match answer {
        Some(answer) => take_back(&server, ino, &recall, answer).await,
        None => false,
    };
    // Not before it is taken back, or a LAYOUTGET in between would have it followed up once more;
    // and no later, or the next recall would not be followed.
    server.recalls.end(recall.client, ino);
    if revoked {
        if let Ok(Ok(Some(stored))) = server.view().map(|view| view.client(recall.client)) {
            let (parts, other) = ((&server.front, &server.revoked), recall.stateid.other);
            revocation::note_revoked(parts, &stored.record, other, server.now_ms());
        }
        fence_file(&server, ino).await;
    }
}

/// Whether what was recalled has still not come back, as far as can be told now.
fn is_out(server: &Server, ino: Ino, recall: &Recall) -> bool {
    match server.view().map(|view| view.layout(ino, recall.client)) {
        Ok(Ok(held)) => {
            held.is_some_and(|held| held.other == recall.stateid.other && held.recall_seqid.is_some())
        }
        Ok(Err(_)) | Err(_) => true,
    }
}

/// What the client says; if it is to come, after the time that it has for that.
async fn answered(server: &Arc<Server>, ino: Ino, recall: &Recall) -> Answer {
    let deadline = server.env.clock.sleep_ms(server.config.recall_ms);
    let answer = tokio::select! {
        answer = ask(server, ino, recall) => answer,
        () = deadline => Answer::None,
    };
    if answer == Answer::Promised {
        server.env.clock.sleep_ms(server.config.recall_ms).await;
    }
    answer
}

/// Takes what was recalled from the client. True if it was still out, and the client may be using
/// it.
async fn take_back(server: &Server, ino: Ino, recall: &Recall, answer: Answer) -> bool {
    let what = Returned::Recalled { ino, other: recall.stateid.other };
    let revoke = LayoutReturn { client: recall.client, what };
    match server.propose(Command::LayoutReturn(revoke)).await {
        Ok(_) if answer == Answer::HoldsNone => false,
        Ok(_) => {
            static RATE: LogRate = LogRate::new();
            if let Some(suppressed) = RATE.admit(server.now_ms()) {
                tracing::warn!(
                    client = recall.client,
                    ino,
                    suppressed,
                    "layout not returned in time: revoked and fenced"
                );
            }
            true
        }
        Err(status) => {
            tracing::debug!(
                client = recall.client,
                ino,
                status = status.name(),
                "nothing was left to revoke"
            );
            false
        }
    }
}

/// What a client says to a recall.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It holds none.
    HoldsNone,
    /// It will return it.
    Promised,
    /// Nothing, or nothing that helps.
    None,
}

/// Asks by the handle of one export after the other. A client knows a file by the handle of the
/// export it came through, and says to any other that it has no such layout. Through which one that
/// was is not in the log, and after a failover in no memory either.
async fn ask(server: &Arc<Server>, ino: Ino, recall: &Recall) -> Answer {
    let exports = server.exports();
    let listed = exports.iter().map(|(export, _)| export);
    // Those that a client still has layouts through may be exported no longer.
    let gone = match server.view().map(|view| view.handed(ino)) {
        Ok(Ok(handed)) => handed.unwrap_or_default().exports,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let gone = gone.into_iter().map(ExportId).filter(|export| exports.option(*export).is_none());
    for export in listed.chain(gone) {
        match ask_through(server, export, ino, recall).await {
            Answer::HoldsNone => {}
            answer => return answer,
        }
    }
    Answer::HoldsNone
}

async fn ask_through(server: &Arc<Server>, export: ExportId, ino: Ino, recall: &Recall) -> Answer {
    let args = loop {
        match arguments(server, export, ino, recall) {
            Ok(args) => break args,
            // It cannot be told now what there is.
            Err(Nfsstat4::Delay) => server.env.clock.sleep_ms(RETRY_MS).await,
            Err(_) => return Answer::HoldsNone,
        }
    };
    loop {
        match callback::call(server, recall.client, CbOp::Layoutrecall, &args).await {
            Ok(Nfsstat4::Ok) => return Answer::Promised,
            Ok(Nfsstat4::NomatchingLayout | Nfsstat4::BadStateid | Nfsstat4::Badhandle) => {
                return Answer::HoldsNone;
            }
            Ok(Nfsstat4::Delay) | Err(CallbackError::Busy) => server.env.clock.sleep_ms(RETRY_MS).await,
            Ok(status) => {
                static RATE: LogRate = LogRate::new();
                if let Some(suppressed) = RATE.admit(server.now_ms()) {
                    tracing::warn!(
                        client = recall.client,
                        ino,
                        status = status.name(),
                        suppressed,
                        "recall refused"
                    );
                }
                return Answer::None;
            }
            Err(CallbackError::NoPath) => server.env.clock.sleep_ms(RETRY_MS).await,
        }
    }
}

fn arguments(server: &Server, export: ExportId, ino: Ino, recall: &Recall) -> Result<Args, Nfsstat4> {
    let inode = server.view()?.inode(ino).map_err(|e| status::of_refusal(&e))?;
    let filehandle: Filehandle = server.wire_handle(FileHandle { export, generation: inode.generation, ino });
    let iomode = match recall.iomode {
        Some(Iomode::Read) => WireIomode::Read,
        Some(Iomode::ReadWrite) => WireIomode::ReadWrite,
        None => WireIomode::Any,
    };
    let scope = RecallScope::File(RecallFile {
        filehandle,
        offset: 0,
        length: LENGTH_TO_END,
        stateid: wire_stateid(recall.stateid),
    });
    Ok(Args { layout_type: LayoutType::FLEX_FILES, iomode, changed: false, scope })
}

/// Raises the epoch of every extent of a file, so that no handle given out before is served.
async fn fence_file(server: &Server, ino: Ino) {
    let mut next = 0;
    loop {
        let Ok(view) = server.view() else { return };
        let Ok(records) = op::extent::extents(view.namespace(), ino, next, FENCED_EXTENTS_MAX) else {
            return;
        };
        drop(view);
        let Some(last) = records.last() else { break };
        let more = records.len() == FENCED_EXTENTS_MAX;
        next = last.extent.index.saturating_add(1);
        for record in &records {
            let fenced = server.propose(Command::Fence(Fence { extent: record.extent })).await;
            if let Err(status) = fenced {
                tracing::warn!(ino, status = status.name(), "extent not fenced");
            }
        }
        if !more {
            break;
        }
    }
    server.work.wake();
}
