//! `shoal admin mds readmit`: has a metadata server taken in again that lost its disk, and asks
//! until all shards have it.
//!
//! Nothing is kept here: the same command says how far it is.

use std::cell::Cell;

use anyhow::anyhow;
use env::os::OsClock;
use wire_nfs::control::admin::{Readmitted, Ruling};

use super::act::{control, unasked};
use super::follow::{Next, follow};
use super::outcome::{Done, heed};
use crate::args::Admin;
use crate::output::waiting;

/// Shards that have it, and all there are, as was heard last.
type Heard = Cell<Option<(u64, u64)>>;

/// Runs until all shards have it.
///
/// # Errors
/// If no metadata server answers, or one refuses: in words.
pub(super) async fn readmit_server(admin: &Admin, number: u64) -> anyhow::Result<()> {
    let (control, clock, heard) = (control(admin)?, OsClock::new(), Heard::default());
    let followed = follow(&clock, async || control.readmit(number).await.map(|told| step(told, &heard)));
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

/// It is done when all shards have it, or it is refused.
fn step(told: Readmitted, heard: &Heard) -> Next<Readmitted> {
    match told {
        Readmitted { words, shards, done } if words.is_empty() && done < shards => {
            heard.set(Some((done, shards)));
            Next::Later
        }
        end => Next::End(end),
    }
}

#[cfg(test)]
mod tests {
    use client::control::ControlError;

    use super::super::follow::tests::played;
    use super::*;

    type Answer = Result<Readmitted, ControlError>;

    /// Of four shards.
    fn done(done: u64) -> Answer {
        Ok(Readmitted { words: String::new(), shards: 4, done })
    }

    fn refused(words: &str) -> Answer {
        Ok(Readmitted { words: words.to_owned(), ..Readmitted::default() })
    }

    /// What these answers, and then for ever the last of them, come to; what was heard last;
    /// seconds waited.
    async fn asked(answers: &[Answer]) -> (Answer, Option<(u64, u64)>, u64) {
        let heard = Heard::default();
        let (end, seconds) = played(answers, |answer| answer.map(|told| step(told, &heard))).await;
        (end, heard.get(), seconds)
    }

    #[tokio::test]
    async fn it_is_asked_until_all_shards_have_it() {
        assert_eq!(asked(&[done(4)]).await, (done(4), None, 0));
        assert_eq!(asked(&[done(0), done(0), done(3), done(4)]).await, (done(4), Some((3, 4)), 3));
    }

    #[tokio::test]
    async fn a_refusal_ends_it() {
        assert_eq!(asked(&[refused("no")]).await, (refused("no"), None, 0));
        assert_eq!(asked(&[done(1), refused("gone")]).await, (refused("gone"), Some((1, 4)), 1));
    }

    #[test]
    fn progress_is_told_in_a_line() {
        assert_eq!(progress(2, None), "asking for metadata server 2 to be taken in again");
        assert_eq!(progress(2, Some((3, 64))), "taking metadata server 2 in again: 3 of 64 shards");
    }
}
