//! Clients that are connected to the leader's service addresses. The leader reports them to the
//! other members, so that the next leader can wake these clients up. Kept in memory only, and only
//! a hint.
//!
//! Spec: docs/protocol/raft.md, CALLERS; docs/protocol/addresses.md §4.

use std::net::SocketAddr;
use std::sync::Arc;

use env::Env;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::network::Links;
use crate::limits::{CALLERS_AGAIN_MS, CALLERS_MAX};

/// A connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// The service address and port that it goes to.
    pub service: SocketAddr,
    /// The client's address and port.
    pub client: SocketAddr,
}

/// A leader's report of its callers: all of them, each time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The leader's term.
    pub(crate) term: u64,
    pub(crate) callers: Vec<Caller>,
}

/// The report that this member received, and the one that it sends.
pub(crate) struct Callers {
    heard: Mutex<Told>,
    tells: watch::Sender<Told>,
}

impl Callers {
    pub(crate) fn new() -> Self {
        Self { heard: Mutex::default(), tells: watch::Sender::default() }
    }

    /// Handles a report of the leader of a term. A late report of a former leader is ignored.
    pub(crate) fn hear(&self, told: Told) {
        let mut heard = self.heard.lock();
        if heard.term <= told.term && told.callers.len() <= CALLERS_MAX {
            *heard = told;
        }
    }

    /// The callers of the last leader that reported any.
    pub(crate) fn heard(&self) -> Vec<Caller> {
        self.heard.lock().callers.clone()
    }

    /// Sets the callers that are reported to the other members.
    pub(crate) fn tell(&self, term: u64, mut callers: Vec<Caller>) {
        callers.truncate(CALLERS_MAX);
        self.tells.send_if_modified(|told| {
            let told_now = Told { term, callers };
            let differs = *told != told_now;
            *told = told_now;
            differs
        });
    }

    /// Stops reporting: this member does not lead any more.
    pub(crate) fn fall_silent(&self) {
        self.tells.send_if_modified(|told| std::mem::take(told) != Told::default());
    }

    /// Sends reports to one other member, for as long as `self` lives.
    pub(crate) async fn tell_member(self: Arc<Self>, env: Env, links: Arc<Links>, member: SocketAddr) {
        let mut tells = self.tells.subscribe();
        loop {
            let told = tells.borrow_and_update().clone();
            if told.term != 0 {
                links.tell(member, &told).await;
            }
            tokio::select! {
                biased;
                changed = tells.changed() => if changed.is_err() { return },
                () = env.clock.sleep_ms(CALLERS_AGAIN_MS) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(port: u16) -> Caller {
        Caller { service: ([10, 0, 0, 100], 2049).into(), client: ([10, 0, 0, 7], port).into() }
    }

    #[test]
    fn reports_of_a_former_leader_and_oversized_reports_are_ignored() {
        let callers = Callers::new();
        callers.hear(Told { term: 5, callers: vec![caller(700)] });
        callers.hear(Told { term: 4, callers: Vec::new() });
        callers.hear(Told { term: 6, callers: vec![caller(701); CALLERS_MAX + 1] });
        assert_eq!(callers.heard(), [caller(700)]);
        callers.hear(Told { term: 5, callers: vec![caller(702)] });
        assert_eq!(callers.heard(), [caller(702)], "the same leader has others now");
    }

    #[test]
    fn an_unchanged_list_is_sent_once() {
        let callers = Callers::new();
        let mut tells = callers.tells.subscribe();
        callers.tell(3, vec![caller(700)]);
        assert!(tells.has_changed().unwrap());
        tells.mark_unchanged();
        callers.tell(3, vec![caller(700)]);
        assert!(!tells.has_changed().unwrap());
        callers.fall_silent();
        assert_eq!(tells.borrow_and_update().term, 0);
    }
}
