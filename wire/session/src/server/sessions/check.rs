//! What must hold between the parts of the table of sessions, checked in builds with assertions.
//!
//! Spec: RFC 8881 §2.10.

use super::{Session, Sessions};
use crate::limits::SESSIONS_PER_CLIENT_MAX;

impl Sessions {
    /// Checks what is counted of a client against its sessions. Does nothing in release builds: the
    /// costs are those of all slots of the client.
    pub(super) fn check_client(&self, client: u64) {
        if !cfg!(debug_assertions) {
            return;
        }
        let Some(known) = self.clients.get(&client) else { return };
        assert!(known.sessions.len() <= SESSIONS_PER_CLIENT_MAX, "a client has few sessions");
        let own = || self.sessions_of(client);
        assert_eq!(own().count(), known.sessions.len(), "each session of a client is in the table");
        assert!(own().all(|session| session.client() == client), "a session belongs to one client");
        let running: usize = own().map(Session::running).sum();
        assert_eq!(running, known.running, "running requests are counted as slots have them");
        let bytes: u64 = own().map(Session::bytes).sum();
        assert_eq!(bytes, self.shares.of(client), "a client's share is what its sessions take");
    }
}
