//! Sessions and the connections they are bound to: the front's memory, gone after a restart.
//!
//! Clients make new sessions then and keep all their state, which is in the shard.
//!
//! Spec: RFC 8881 §2.10.

use std::collections::HashMap;

use env_transport::Connection;
use parking_lot::Mutex;
use wire_session::server::{ConnectionId, Sessions};

/// Sessions and connections.
pub(crate) struct Front {
    /// The table of sessions. Never held over an await.
    pub(crate) sessions: Mutex<Sessions>,
    connections: Mutex<HashMap<u64, Connection>>,
}

impl Front {
    /// No sessions. `boot` must be random.
    #[must_use]
    pub(crate) fn new(boot: u64, lease_ms: u64) -> Self {
        Self { sessions: Mutex::new(Sessions::new(boot, lease_ms)), connections: Mutex::default() }
    }

    /// Remembers a connection, for callbacks.
    pub(crate) fn seen(&self, connection: &Connection) {
        let mut connections = self.connections.lock();
        connections.entry(connection.id()).or_insert_with(|| connection.clone());
    }

    /// The connection a callback may use.
    #[must_use]
    pub(crate) fn connection(&self, id: ConnectionId) -> Option<Connection> {
        self.connections.lock().get(&id.0).cloned()
    }

    /// A connection is gone.
    pub(crate) fn closed(&self, connection_id: u64) {
        self.connections.lock().remove(&connection_id);
        self.sessions.lock().connection_closed(ConnectionId(connection_id));
    }
}
