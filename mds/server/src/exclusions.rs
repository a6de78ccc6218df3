//! Data servers that a client reported as unreachable or full. A report is a claim (RFC 8435 §9.1):
//! it affects the layouts of the client that sent it, and of no other.
//!
//! Time is an argument. INVARIANT: no client has more than [`EXCLUSIONS_EACH_MAX`], however often
//! it reports.

use std::collections::VecDeque;

use layout::DataServerId;
use parking_lot::Mutex;

use crate::limits::{EXCLUSIONS_EACH_MAX, EXCLUSIONS_MAX};

/// Kind of a client's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// It could not use the server.
    Unreachable,
    /// A WRITE was refused for want of room.
    Full,
}

struct Exclusion {
    client: u64,
    server: DataServerId,
    complaint: Complaint,
    until_ms: u64,
}

/// Recent reports of all clients.
#[derive(Default)]
pub(crate) struct Exclusions {
    said: Mutex<VecDeque<Exclusion>>,
}

impl Exclusions {
    /// Records a report until `until_ms`. At a limit, the oldest of this client, or of all, is
    /// dropped.
    pub(crate) fn note(
        &self,
        (client, server): (u64, DataServerId),
        complaint: Complaint,
        now_ms: u64,
        until_ms: u64,
    ) {
        let mut said = self.said.lock();
        said.retain(|e| {
            now_ms < e.until_ms && (e.client, e.server, e.complaint) != (client, server, complaint)
        });
        if EXCLUSIONS_EACH_MAX <= said.iter().filter(|e| e.client == client).count() {
            let oldest = said.iter().position(|e| e.client == client).expect("it has some");
            said.remove(oldest);
        } else if said.len() == EXCLUSIONS_MAX {
            said.pop_front();
        }
        said.push_back(Exclusion { client, server, complaint, until_ms });
    }

    /// Whether the client recently reported this of the server.
    pub(crate) fn has(&self, client: u64, server: DataServerId, complaint: Complaint, now_ms: u64) -> bool {
        let said = self.said.lock();
        said.iter()
            .any(|e| (e.client, e.server, e.complaint) == (client, server, complaint) && now_ms < e.until_ms)
    }

    /// The servers that the client recently reported.
    pub(crate) fn of(&self, client: u64, now_ms: u64) -> Vec<DataServerId> {
        let said = self.said.lock();
        said.iter().filter(|e| e.client == client && now_ms < e.until_ms).map(|e| e.server).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_affects_no_other_client() {
        let exclusions = Exclusions::default();
        exclusions.note((1, DataServerId(7)), Complaint::Full, 0, 10);
        assert!(exclusions.has(1, DataServerId(7), Complaint::Full, 9));
        assert!(!exclusions.has(1, DataServerId(7), Complaint::Full, 10), "it is over");
        assert!(!exclusions.has(1, DataServerId(7), Complaint::Unreachable, 9));
        assert!(!exclusions.has(2, DataServerId(7), Complaint::Full, 9));
        assert_eq!((exclusions.of(1, 9), exclusions.of(2, 9)), (vec![DataServerId(7)], vec![]));
    }

    #[test]
    fn a_client_with_many_reports_drops_its_own() {
        let exclusions = Exclusions::default();
        exclusions.note((1, DataServerId(0)), Complaint::Full, 0, 10);
        for server in 0..2 * u32::try_from(EXCLUSIONS_MAX).unwrap() {
            exclusions.note((2, DataServerId(server)), Complaint::Unreachable, 0, 10);
        }
        assert_eq!(exclusions.of(2, 0).len(), EXCLUSIONS_EACH_MAX);
        assert_eq!(exclusions.of(1, 0), [DataServerId(0)]);
    }
}
