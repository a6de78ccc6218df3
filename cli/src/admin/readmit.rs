//! `shoal admin mds readmit`: has a metadata server taken in again that lost its disk, and asks until all shards have it.
//!
//! The cluster goes on by itself once it has begun. Nothing is kept here: whoever asks again hears how far it is.

use std::cell::Cell;

use anyhow::anyhow;
use client::control::ControlError;
use env::Clock;
use env::os::OsClock;
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::{Readmitted, Ruling};

use super::act::{control, unasked};
use super::{Done, heed};
use crate::args::Admin;
use crate::output::waiting;

/// How often it is asked how far it is.
const ASK_MS: u64 = 1_000;
/// How often in a row that may fail once it was begun: another metadata server comes to lead.
const FAILURES_MAX: u32 = 60;

/// Shards that have it, and all there are, as was heard last.
type Heard = Cell<Option<(u64, u64)>>;

/// Runs until all shards have it.
///
/// # Errors
/// If nobody answers, or it is refused: in words.
pub(super) async fn run(admin: &Admin, number: u64) -> anyhow::Result<()> {
    let (control, clock, heard) = (control(admin)?, OsClock::new(), Heard::default());
    let followed = follow(&clock, &heard, async || control.readmit(number).await);
    let error = match waiting(&clock, || progress(number, heard.get()), followed).await {
        Ok(Readmitted { words, shards, done }) if words.is_empty() => {
            let words =
                format!("metadata server {number} is in the cluster: {done} of {shards} shards have it");
            let ruling = Ruling { done: true, words };
            return heed(admin, "admin.mds.readmit", &Done::of(&ruling));
        }
        Ok(refused) => anyhow!("{}", refused.words),
        Err(error) => unasked(admin, &error),
    };
    Err(match heard.get() {
        None => error,
        Some((done, shards)) => error.context(format!(
            "{done} of {shards} shards have metadata server {number}; the same command says how it goes on"
        )),
    })
}

fn progress(number: u64, heard: Option<(u64, u64)>) -> String {
    match heard {
        None => format!("asking for metadata server {number} to be taken in again"),
        Some((done, shards)) => {
            format!("taking metadata server {number} in again: {done} of {shards} shards")
        }
    }
}

/// Asks until all shards have it, or it is refused. Once it was begun, a moment without a leader does not end it.
async fn follow(
    clock: &dyn Clock,
    heard: &Heard,
    mut ask: impl AsyncFnMut() -> Result<Readmitted, ControlError>,
) -> Result<Readmitted, ControlError> {
    let mut failures = 0;
    loop {
        match ask().await {
            Ok(Readmitted { words, shards, done }) if words.is_empty() && done < shards => {
                heard.set(Some((done, shards)));
                failures = 0;
            }
            Err(error) if heard.get().is_some() && failures < FAILURES_MAX && may_pass(&error) => {
                failures += 1;
            }
            end => return end,
        }
        clock.sleep_ms(ASK_MS).await;
    }
}

/// Whether the next one to lead may answer.
fn may_pass(error: &ControlError) -> bool {
    match error {
        ControlError::Unreachable(_) | ControlError::Refused(Refusal::Busy | Refusal::NotLeader { .. }) => {
            true
        }
        ControlError::Refused(_) | ControlError::Garbage(_) | ControlError::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use env::memory::ManualClock;

    use super::*;

    type Answer = Result<Readmitted, ControlError>;

    /// Of four shards.
    fn done(done: u64) -> Answer {
        Ok(Readmitted { words: String::new(), shards: 4, done })
    }

    fn refused(words: &str) -> Answer {
        Ok(Readmitted { words: words.to_owned(), ..Readmitted::default() })
    }

    fn busy() -> Answer {
        Err(ControlError::Refused(Refusal::Busy))
    }

    /// What these answers, and then for ever the last of them, come to; what was heard last; seconds waited.
    async fn asked(answers: &[Answer]) -> (Answer, Option<(u64, u64)>, u64) {
        let (clock, heard) = (ManualClock::new(0), Heard::default());
        let mut at = 0;
        let ask = async || {
            at += 1;
            answers[at.min(answers.len()) - 1].clone()
        };
        let time = async {
            loop {
                clock.advance_ms(ASK_MS);
                tokio::task::yield_now().await;
            }
        };
        let end = tokio::select! {
            biased;
            end = follow(&clock, &heard, ask) => end,
            () = time => unreachable!("time does not end"),
        };
        (end, heard.get(), clock.monotonic_ms() / 1_000)
    }

    #[tokio::test]
    async fn it_is_asked_once_a_second_until_all_shards_have_it() {
        assert_eq!(asked(&[done(4)]).await, (done(4), None, 0));
        assert_eq!(asked(&[done(0), done(0), done(3), done(4)]).await, (done(4), Some((3, 4)), 3));
    }

    #[tokio::test]
    async fn a_refusal_ends_it() {
        assert_eq!(asked(&[refused("no")]).await, (refused("no"), None, 0));
        assert_eq!(asked(&[done(1), refused("gone")]).await, (refused("gone"), Some((1, 4)), 1));
    }

    #[tokio::test]
    async fn a_moment_without_a_leader_is_waited_out_once_it_was_begun() {
        assert_eq!(asked(&[busy(), done(4)]).await, (busy(), None, 0));
        let nobody = || Err(ControlError::Refused(Refusal::NotLeader { leader: String::new() }));
        assert_eq!(asked(&[done(1), busy(), nobody(), done(4)]).await, (done(4), Some((1, 4)), 3));
        let (end, heard, seconds) = asked(&[done(1), busy()]).await;
        assert_eq!((end, heard, seconds), (busy(), Some((1, 4)), u64::from(FAILURES_MAX) + 1));
        let stranger = || Err(ControlError::Refused(Refusal::WrongPeer));
        assert_eq!(asked(&[done(1), stranger()]).await, (stranger(), Some((1, 4)), 1));
    }

    #[test]
    fn progress_is_told_in_a_line() {
        assert_eq!(progress(2, None), "asking for metadata server 2 to be taken in again");
        assert_eq!(progress(2, Some((3, 64))), "taking metadata server 2 in again: 3 of 64 shards");
    }
}
