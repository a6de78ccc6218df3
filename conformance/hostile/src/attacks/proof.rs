//! What an attack must have shown: that it was refused in words, and that it happened.

use crate::attack::Evidence;
use crate::failed::Outcome;

/// What must be refused was not, or there was no answer: silence, a lost connection and DELAY are
/// no refusal.
pub(super) fn must_be_refused<T>(evidence: &mut Evidence, what: &str, outcome: &Outcome<T>) {
    match outcome {
        Ok(_) => evidence.exceeded(what),
        Err(error) if error.0.contains("NFS4ERR_DELAY") => evidence.broken(format!("{what}: {error}")),
        Err(error) if error.0.contains("NFS4ERR") || error.0.contains("AuthError") => {}
        Err(error) => evidence.broken(format!("{what} is not refused by an answer: {error}")),
    }
}

/// An attack with less than half of what it is to do shows nothing, unless a server's bound is what
/// stopped it.
pub(super) fn must_have_happened(
    evidence: &mut Evidence,
    what: &str,
    (done, wanted): (usize, usize),
    bound: Option<String>,
) {
    match bound {
        _ if wanted <= done * 2 => {}
        Some(bound) => evidence.note(format!("{done} of {wanted} {what}: {bound}")),
        None => evidence
            .broken(format!("not played: {done} of {wanted} {what}, and no bound of a server says why")),
    }
}

#[cfg(test)]
mod tests {
    use super::{must_be_refused, must_have_happened};
    use crate::attack::Evidence;
    use crate::failed::{Outcome, failed};

    #[test]
    fn silence_and_delay_are_no_refusal() {
        let mut evidence = Evidence::default();
        must_be_refused(&mut evidence, "OPEN", &Outcome::<()>::Err(failed("OPEN: NFS4ERR_ACCESS")));
        assert_eq!((evidence.exceeded.len(), evidence.broken.len()), (0, 0));
        must_be_refused(&mut evidence, "OPEN", &Outcome::<()>::Err(failed("no reply in time")));
        must_be_refused(&mut evidence, "OPEN", &Outcome::<()>::Err(failed("OPEN: NFS4ERR_DELAY")));
        assert_eq!((evidence.exceeded.len(), evidence.broken.len()), (0, 2));
        must_be_refused(&mut evidence, "OPEN", &Ok(()));
        assert_eq!((evidence.exceeded.len(), evidence.broken.len()), (1, 2));
    }

    #[test]
    fn half_an_attack_is_one_and_less_needs_a_bound() {
        let mut evidence = Evidence::default();
        must_have_happened(&mut evidence, "records", (50, 100), None);
        must_have_happened(&mut evidence, "records", (49, 100), Some("a bound".to_owned()));
        assert_eq!((evidence.notes.len(), evidence.broken.len()), (1, 0));
        must_have_happened(&mut evidence, "records", (49, 100), None);
        assert_eq!((evidence.notes.len(), evidence.broken.len()), (1, 1));
    }
}
