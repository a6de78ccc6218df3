//! Clients that are connected to the leader's service addresses. The leader reports them to the
//! other members, so that the next leader can wake these clients up. Kept in memory only, and only
//! a hint.
//!
//! Spec: docs/protocol/raft.md, CALLERS; docs/protocol/addresses.md §4.

use std::net::SocketAddr;
use std::sync::Arc;

use env::Env;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::caller::{Caller, CallersReport};
use super::network::Links;
use crate::limits::{CALLERS_AGAIN_MS, CALLERS_MAX};

/// The report that this member received, and the one that it sends.
pub(crate) struct Callers {
    received: Mutex<CallersReport>,
    reports: watch::Sender<CallersReport>,
}

impl Callers {
    pub(crate) fn new() -> Self {
        Self { received: Mutex::default(), reports: watch::Sender::default() }
    }

    /// Handles a report of the leader of a term. Ignores late reports of a former leader, and too
    /// long ones.
    pub(crate) fn handle_report(&self, report: CallersReport) {
        let mut received = self.received.lock();
        if received.term <= report.term && report.callers.len() <= CALLERS_MAX {
            *received = report;
        }
        assert!(received.callers.len() <= CALLERS_MAX, "a bounded number of callers is kept");
    }

    /// The callers of the last leader that reported any.
    pub(crate) fn reported(&self) -> Vec<Caller> {
        self.received.lock().callers.clone()
    }

    /// Sets the callers that are reported to the other members.
    pub(crate) fn set_callers(&self, term: u64, mut callers: Vec<Caller>) {
        callers.truncate(CALLERS_MAX);
        assert!(callers.len() <= CALLERS_MAX, "one message reports all callers");
        self.reports.send_if_modified(|report| {
            let next = CallersReport { term, callers };
            let differs = *report != next;
            *report = next;
            differs
        });
    }

    /// Stops reporting: this member does not lead any more.
    pub(crate) fn stop_reporting(&self) {
        self.reports.send_if_modified(|report| std::mem::take(report) != CallersReport::default());
    }

    /// Sends reports to one other member, for as long as `self` lives.
    pub(crate) async fn report_to(self: Arc<Self>, env: Env, links: Arc<Links>, member: SocketAddr) {
        let mut reports = self.reports.subscribe();
        loop {
            let report = reports.borrow_and_update().clone();
            if report.term != 0 {
                links.report_callers(member, &report).await;
            }
            tokio::select! {
                biased;
                changed = reports.changed() => if changed.is_err() { return },
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
        callers.handle_report(CallersReport { term: 5, callers: vec![caller(700)] });
        callers.handle_report(CallersReport { term: 4, callers: Vec::new() });
        callers.handle_report(CallersReport { term: 6, callers: vec![caller(701); CALLERS_MAX + 1] });
        assert_eq!(callers.reported(), [caller(700)]);
        callers.handle_report(CallersReport { term: 5, callers: vec![caller(702)] });
        assert_eq!(callers.reported(), [caller(702)], "the same leader has others now");
    }

    #[test]
    fn an_unchanged_list_is_sent_once() {
        let callers = Callers::new();
        let mut reports = callers.reports.subscribe();
        callers.set_callers(3, vec![caller(700)]);
        assert!(reports.has_changed().unwrap());
        reports.mark_unchanged();
        callers.set_callers(3, vec![caller(700)]);
        assert!(!reports.has_changed().unwrap());
        callers.stop_reporting();
        assert_eq!(reports.borrow_and_update().term, 0);
    }
}
