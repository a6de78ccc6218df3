//! `shoal admin key rotate handles`: has the key of data-server handles replaced, and asks until
//! the one before is dropped.
//!
//! Nothing is kept here: the same command says how far a replacement is that is under way.

use std::cell::Cell;

use env::os::OsClock;
use wire_nfs::control::admin::{HandleKeyRotation, RotationStage};

use super::act::{control, unasked};
use super::follow::{Next, follow};
use super::outcome::{Done, heed};
use crate::args::Admin;
use crate::output::waiting;

/// What was heard, first and last.
#[derive(Default)]
struct Heard {
    first: Cell<Option<HandleKeyRotation>>,
    last: Cell<Option<HandleKeyRotation>>,
}

impl Heard {
    /// The version that a new key is to be added to: only when none was being replaced, and none
    /// was added since. To ask twice for the place of one version replaces one key.
    fn replaces(&self) -> Option<u64> {
        let (first, last) = (self.first.get()?, self.last.get()?);
        (last.stage == RotationStage::None && first.version == last.version).then_some(first.version)
    }

    fn step(&self, rotation: HandleKeyRotation) -> Next<HandleKeyRotation> {
        self.first.set(self.first.get().or(Some(rotation)));
        let is_asked_for = self.last.replace(Some(rotation)).is_some();
        match rotation.stage {
            RotationStage::None if self.replaces().is_none() => Next::End(rotation),
            RotationStage::None if !is_asked_for => Next::Now,
            RotationStage::None | RotationStage::Spreading | RotationStage::Leaving => Next::Later,
        }
    }
}

/// Runs until the key is replaced.
///
/// # Errors
/// If no metadata server answers, or one refuses: in words.
pub(super) async fn rotate_handles(admin: &Admin) -> anyhow::Result<()> {
    let (control, clock, heard) = (control(admin)?, OsClock::new(), Heard::default());
    let ask = async || control.rotate_handle_key(heard.replaces()).await.map(|told| heard.step(told));
    match waiting(&clock, || progress(heard.last.get()), follow(&clock, ask)).await {
        Ok(HandleKeyRotation { key, version, .. }) => {
            let words = format!("handle key {key} has taken the place of the one before");
            let done = Done { done: true, words: &words, version: Some(version), routes: None };
            heed(admin, "admin.key.rotate.handles", &done)
        }
        Err(error) => {
            let error = unasked(admin, &error);
            Err(match heard.last.get() {
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

#[cfg(test)]
mod tests {
    use client::control::ControlError;
    use wire_nfs::control::Refusal;

    use super::super::follow::tests::played;
    use super::RotationStage::{Leaving, None as Rest, Spreading};
    use super::*;

    type Answer = Result<HandleKeyRotation, ControlError>;

    fn at(stage: RotationStage, version: u64) -> Answer {
        Ok(HandleKeyRotation { stage, version, key: 1, servers: 2 })
    }

    /// What these answers come to; what was asked.
    async fn asked(answers: &[Answer]) -> (Answer, Vec<Option<u64>>) {
        let (heard, mut all) = (Heard::default(), Vec::new());
        let step = |answer: Answer| {
            all.push(heard.replaces());
            answer.map(|told| heard.step(told))
        };
        let (end, _) = played(answers, step).await;
        (end, all)
    }

    #[tokio::test]
    async fn it_is_begun_once_and_asked_for_until_it_is_done() {
        let busy = Err(ControlError::Refused(Refusal::Busy));
        let answers = [at(Rest, 1), busy, at(Spreading, 2), at(Leaving, 2), at(Rest, 3)];
        let (end, all) = asked(&answers).await;
        assert_eq!(end, at(Rest, 3));
        assert_eq!(all, [None, Some(1), Some(1), None, None], "the answer to the first request was lost");
    }

    #[tokio::test]
    async fn one_that_is_under_way_is_followed() {
        let (end, all) = asked(&[at(Leaving, 2), at(Rest, 3)]).await;
        assert_eq!((end, all), (at(Rest, 3), vec![None, None]));
    }
}
