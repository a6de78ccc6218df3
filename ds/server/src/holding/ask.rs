//! Asks a metadata server whether layouts are held: many questions in one call, one call at a time.
//!
//! Requests that wait for an answer look into the table again whenever a call was answered, or came
//! to nothing: then they ask again, and the next call is made after a pause. What READs ask
//! metadata servers (`metadata.rs`) holds none of these calls up.
//!
//! Spec: docs/protocol/control.md §7.

use std::sync::Arc;

use wire_nfs::control::Procedure;
use wire_nfs::control::handles::{AskHeld, Held};
use wire_nfs::v3::Nfsstat3;

use super::{Judged, Question};
use crate::core::Core;
use crate::limits::{HELD_PAUSE_MS, HELD_WAIT_MS_MAX};

/// Whether a client's handle that is so many steps old is good; `false` says that it was waited for
/// and that everything is to be looked at again.
///
/// # Errors
/// STALE if its layout ended; JUKEBOX if no metadata server tells, or too much is to be asked.
pub(crate) async fn check(core: &Core, question: Question, age_steps: u32) -> Result<bool, Nfsstat3> {
    let holding = &core.holding;
    match holding.holders.judge(&question, age_steps, now_s(core)) {
        Judged::Good => return Ok(true),
        Judged::GoodSoonAsked => {
            if holding.holders.begin_to_ask(&question, now_s(core)) && !holding.want(question) {
                holding.holders.give_up(&question);
            }
            return Ok(true);
        }
        Judged::Gone => return Err(gone(core)),
        Judged::Ask => {}
    }
    let told = async {
        loop {
            let answered = holding.answered.notified();
            tokio::pin!(answered);
            answered.as_mut().enable();
            match holding.holders.judge(&question, age_steps, now_s(core)) {
                Judged::Good | Judged::GoodSoonAsked => return Ok(false),
                Judged::Gone => return Err(gone(core)),
                Judged::Ask if !holding.want(question) => return Err(Nfsstat3::Jukebox),
                Judged::Ask => answered.await,
            }
        }
    };
    tokio::select! {
        biased;
        told = told => told,
        () = core.env.clock.sleep_ms(HELD_WAIT_MS_MAX) => Err(Nfsstat3::Jukebox),
    }
}

fn gone(core: &Core) -> Nfsstat3 {
    core.metrics.handle_refused();
    Nfsstat3::Stale
}

fn now_s(core: &Core) -> u64 {
    core.lease_now_ms() / 1_000
}

/// Asks what is to be asked, for as long as the server lives.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        core.holding.wanted.notified().await;
        loop {
            let batch = core.holding.take();
            if batch.is_empty() {
                break;
            }
            if !ask(&core, &batch).await {
                core.env.clock.sleep_ms(HELD_PAUSE_MS).await;
            }
        }
    }
}

/// Asks about a batch; whether that was answered.
async fn ask(core: &Core, batch: &[Question]) -> bool {
    let holding = &core.holding;
    // What is said counts from now: the layout may end before the answer is here.
    let asked_s = now_s(core);
    let args = AskHeld { holders: batch.iter().map(|question| question.name).collect() };
    core.metrics.held_asked(batch.len());
    let told = match core.directory.metadata() {
        Some(link) => link.ask::<Held>(Procedure::Held, &args).await.map(|told| told.held),
        None => Ok(Vec::new()),
    };
    let is_answered = match told {
        Ok(all) if all.len() == batch.len() => {
            for (question, held) in batch.iter().zip(all) {
                holding.holders.note(question, held, asked_s);
            }
            true
        }
        failed => {
            tracing::debug!(questions = batch.len(), error = ?failed.err(), "no metadata server says which layouts are held");
            batch.iter().for_each(|question| holding.holders.give_up(question));
            false
        }
    };
    holding.close(batch);
    holding.answered.notify_waiters();
    is_answered
}
