//! Who is connected to the leader's service addresses: the leader tells the other members, so that whoever leads next can wake these
//! clients up. Kept in memory only, and only ever a hint.
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
    /// Where it comes from.
    pub client: SocketAddr,
}

/// What a leader tells of its callers: all of them, each time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The leader's term.
    pub(crate) term: u64,
    pub(crate) callers: Vec<Caller>,
}

/// What this member was told, and what it tells.
pub(crate) struct Callers {
    heard: Mutex<Told>,
    tells: watch::Sender<Told>,
}

impl Callers {
    pub(crate) fn new() -> Self {
        Self { heard: Mutex::default(), tells: watch::Sender::default() }
    }

    /// Another member, which leads in this term, has these. What a former leader says late is not heard.
    pub(crate) fn hear(&self, told: Told) {
        let mut heard = self.heard.lock();
        if heard.term <= told.term && told.callers.len() <= CALLERS_MAX {
            *heard = told;
        }
    }

    /// What the last leader said that told this member of any.
    pub(crate) fn heard(&self) -> Vec<Caller> {
        self.heard.lock().callers.clone()
    }

    /// From now on the others are told these.
    pub(crate) fn tell(&self, term: u64, mut callers: Vec<Caller>) {
        callers.truncate(CALLERS_MAX);
        self.tells.send_if_modified(|told| {
            let told_now = Told { term, callers };
            let differs = *told != told_now;
            *told = told_now;
            differs
        });
    }

    /// This member does not lead any more.
    pub(crate) fn fall_silent(&self) {
        self.tells.send_if_modified(|told| std::mem::take(told) != Told::default());
    }

    /// Tells one other member whatever there is to tell, for as long as this is kept.
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
    fn a_former_leader_is_not_heard_and_neither_is_too_much() {
        let callers = Callers::new();
        callers.hear(Told { term: 5, callers: vec![caller(700)] });
        callers.hear(Told { term: 4, callers: Vec::new() });
        callers.hear(Told { term: 6, callers: vec![caller(701); CALLERS_MAX + 1] });
        assert_eq!(callers.heard(), [caller(700)]);
        callers.hear(Told { term: 5, callers: vec![caller(702)] });
        assert_eq!(callers.heard(), [caller(702)], "the same leader has others now");
    }

    #[test]
    fn the_same_list_is_told_once() {
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
