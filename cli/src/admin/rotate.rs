//! `shoal admin key rotate handles`: has the key of data-server handles replaced, and asks until the one before is dropped.
//!
//! The cluster goes on by itself once it has begun. Nothing is kept here: the same command says how far one is that is under way.

use std::cell::Cell;

use client::control::ControlError;
use env::Clock;
use env::os::OsClock;
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::{HandleKeyRotation, RotationStage};

use super::act::{control, unasked};
use super::{Done, heed};
use crate::args::Admin;
use crate::output::waiting;

/// How often it is asked how far it is.
const ASK_MS: u64 = 1_000;
/// How often in a row that may fail once a metadata server has answered: another one comes to lead.
const FAILURES_MAX: u32 = 60;

/// What was heard last.
type Heard = Cell<Option<HandleKeyRotation>>;

/// Runs until the key is replaced.
///
/// # Errors
/// If nobody answers, or it is refused: in words.
pub(super) async fn run(admin: &Admin) -> anyhow::Result<()> {
    let (control, clock, heard) = (control(admin)?, OsClock::new(), Heard::default());
    let followed = follow(&clock, &heard, async |replaces| control.rotate_handle_key(replaces).await);
    match waiting(&clock, || progress(heard.get()), followed).await {
        Ok(HandleKeyRotation { key, version, .. }) => {
            let words = format!("handle key {key} has taken the place of the one before");
            let done = Done { done: true, words: &words, version: Some(version), routes: None };
            heed(admin, "admin.key.rotate.handles", &done)
        }
        Err(error) => {
            let error = unasked(admin, &error);
            Err(match heard.get() {
                None => error,
                Some(_) => error.context("the same command says how the replacement goes on"),
            })
        }
    }
}

fn progress(heard: Option<HandleKeyRotation>) -> String {
    match heard {
        Some(HandleKeyRotation { stage: RotationStage::Spreading, servers, .. }) => {
            format!("a new handle key: {servers} data servers have not said that they have it")
        }
        Some(HandleKeyRotation { stage: RotationStage::Leaving, key, .. }) => {
            format!("handle key {key} is in use: layouts given out with the one before are recalled")
        }
        Some(HandleKeyRotation { stage: RotationStage::None, .. }) | None => {
            "asking for another handle key".to_owned()
        }
    }
}

/// Has it begun, unless one is under way, and asks until it is done. Once that was heard, a moment without a leader does not end it.
async fn follow(
    clock: &dyn Clock,
    heard: &Heard,
    mut ask: impl AsyncFnMut(Option<u64>) -> Result<HandleKeyRotation, ControlError>,
) -> Result<HandleKeyRotation, ControlError> {
    let (mut failures, mut replaces, mut first) = (0, None, None);
    loop {
        match ask(replaces).await {
            Ok(rotation) => {
                heard.set(Some(rotation));
                failures = 0;
                let before = *first.get_or_insert(rotation.version);
                match rotation.stage {
                    // To ask twice for the place of one version replaces one key.
                    RotationStage::None if rotation.version == before => replaces = Some(before),
                    RotationStage::None => return Ok(rotation),
                    RotationStage::Spreading | RotationStage::Leaving => replaces = None,
                }
                if replaces.is_some() {
                    continue;
                }
            }
            Err(error) if heard.get().is_some() && failures < FAILURES_MAX && may_pass(&error) => {
                failures += 1;
            }
            Err(error) => return Err(error),
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

    type Answer = Result<HandleKeyRotation, ControlError>;

    fn at(stage: RotationStage, version: u64) -> HandleKeyRotation {
        HandleKeyRotation { stage, version, key: 1, servers: 2 }
    }

    fn busy() -> Answer {
        Err(ControlError::Refused(Refusal::Busy))
    }

    /// What these answers, and then for ever the last of them, come to; what was asked.
    async fn asked(answers: &[Answer]) -> (Answer, Vec<Option<u64>>) {
        let (clock, heard, mut all) = (ManualClock::new(0), Heard::default(), Vec::new());
        let ask = async |replaces| {
            all.push(replaces);
            answers[all.len().min(answers.len()) - 1].clone()
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
        (end, all)
    }

    #[tokio::test]
    async fn it_is_begun_once_and_asked_for_until_it_is_done() {
        use RotationStage::{Leaving, None as Rest, Spreading};
        let answers = [Ok(at(Rest, 1)), busy(), Ok(at(Spreading, 2)), Ok(at(Leaving, 2)), Ok(at(Rest, 3))];
        let (end, all) = asked(&answers).await;
        assert_eq!(end, Ok(at(Rest, 3)));
        assert_eq!(all, [None, Some(1), Some(1), None, None], "the answer to the first request was lost");
    }

    #[tokio::test]
    async fn one_that_is_under_way_is_followed() {
        use RotationStage::{Leaving, None as Rest};
        let (end, all) = asked(&[Ok(at(Leaving, 2)), Ok(at(Rest, 3))]).await;
        assert_eq!((end, all), (Ok(at(Rest, 3)), vec![None, None]));
    }

    #[tokio::test]
    async fn what_does_not_pass_ends_it() {
        assert_eq!(asked(&[busy()]).await, (busy(), vec![None]));
        let stranger = || Err(ControlError::Refused(Refusal::WrongPeer));
        let (end, all) = asked(&[Ok(at(RotationStage::Spreading, 2)), stranger()]).await;
        assert_eq!((end, all.len()), (stranger(), 2));
        let (end, all) = asked(&[Ok(at(RotationStage::Spreading, 2)), busy()]).await;
        assert_eq!((end, all.len()), (busy(), FAILURES_MAX as usize + 2));
    }
}
