//! Asking again and again until the cluster has done what it was asked for.
//!
//! The cluster goes on by itself once it has begun: a moment without a leader does not end the
//! questions, and a command that is ended ends nothing.

use client::control::ControlError;
use env::Clock;
use wire_nfs::control::Refusal;

/// How often it is asked how far it is.
pub(super) const ASK_MS: u64 = 1_000;
/// How often in a row that may fail once a metadata server has answered: another one comes to lead.
pub(super) const FAILURES_MAX: u32 = 60;

/// What is to be done after an answer.
pub(super) enum Next<T> {
    /// It is under way: ask again after a while.
    Later,
    /// Ask again at once.
    Now,
    /// That is the end.
    End(T),
}

/// Asks until an answer is the end, or an error that does not pass.
///
/// # Errors
/// The error of the last question.
pub(super) async fn follow<T>(
    clock: &dyn Clock,
    mut ask: impl AsyncFnMut() -> Result<Next<T>, ControlError>,
) -> Result<T, ControlError> {
    let (mut has_answered, mut failures) = (false, 0);
    loop {
        match ask().await {
            Ok(Next::End(end)) => return Ok(end),
            Ok(Next::Now) => {
                (has_answered, failures) = (true, 0);
                continue;
            }
            Ok(Next::Later) => (has_answered, failures) = (true, 0),
            Err(error) if has_answered && failures < FAILURES_MAX && may_pass(&error) => failures += 1,
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
pub(super) mod tests {
    use env::memory::ManualClock;

    use super::*;

    /// What these answers, and then for ever the last of them, come to by `step`, which has what
    /// was asked; seconds waited.
    pub(in crate::admin) async fn played<A: Clone, T>(
        answers: &[Result<A, ControlError>],
        mut step: impl FnMut(Result<A, ControlError>) -> Result<Next<T>, ControlError>,
    ) -> (Result<T, ControlError>, u64) {
        let (clock, mut at) = (ManualClock::new(0), 0);
        let ask = async || {
            at += 1;
            step(answers[at.min(answers.len()) - 1].clone())
        };
        let time = async {
            loop {
                clock.advance_ms(ASK_MS);
                tokio::task::yield_now().await;
            }
        };
        let end = tokio::select! {
            biased;
            end = follow(&clock, ask) => end,
            () = time => unreachable!("time does not end"),
        };
        (end, clock.monotonic_ms() / 1_000)
    }

    /// Numbers below 9 are on the way.
    async fn asked(answers: &[Result<u32, ControlError>]) -> (Result<u32, ControlError>, u64) {
        let step = |answer: Result<u32, ControlError>| {
            answer.map(|number| if number < 9 { Next::Later } else { Next::End(number) })
        };
        played(answers, step).await
    }

    fn busy() -> Result<u32, ControlError> {
        Err(ControlError::Refused(Refusal::Busy))
    }

    #[tokio::test]
    async fn it_is_asked_once_a_second_until_the_end() {
        assert_eq!(asked(&[Ok(9)]).await, (Ok(9), 0));
        assert_eq!(asked(&[Ok(1), Ok(1), Ok(2), Ok(9)]).await, (Ok(9), 3));
    }

    #[tokio::test]
    async fn a_moment_without_a_leader_is_waited_out_once_one_has_answered() {
        assert_eq!(asked(&[busy(), Ok(9)]).await, (busy(), 0));
        let unled = || Err(ControlError::Refused(Refusal::NotLeader { leader: String::new() }));
        assert_eq!(asked(&[Ok(1), busy(), unled(), Ok(9)]).await, (Ok(9), 3));
        assert_eq!(asked(&[Ok(1), busy()]).await, (busy(), u64::from(FAILURES_MAX) + 1));
        let stranger = || Err(ControlError::Refused(Refusal::WrongPeer));
        assert_eq!(asked(&[Ok(1), stranger()]).await, (stranger(), 1));
    }
}
