//! The sessions and connections of this node, in memory.
//!
//! INVARIANT: the table of sessions is never held over an await.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use env_transport::Connection;
use parking_lot::Mutex;
use wire_nfs::v4::SessionId;
use wire_session::server::{ConnectionId, Sessions};

use super::turn::Turn;

/// Sessions and connections.
pub(crate) struct Front {
    /// The table of sessions. Never held over an await.
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) connections: Mutex<HashMap<u64, Connection>>,
    /// The term in which this node leads and has dropped sessions that are not its own; 0 before
    /// the first.
    pub(crate) term: AtomicU64,
    pub(crate) looking: tokio::sync::Mutex<()>,
    /// One for each session that is being resumed: at most one for each request in execution.
    pub(super) taking: Mutex<HashMap<SessionId, Arc<Turn>>>,
}

impl Front {
    /// No sessions.
    #[must_use]
    pub(crate) fn new(lease_ms: u64) -> Self {
        Self {
            sessions: Mutex::new(Sessions::new(lease_ms)),
            connections: Mutex::default(),
            term: AtomicU64::new(0),
            looking: tokio::sync::Mutex::default(),
            taking: Mutex::default(),
        }
    }

    /// Remembers a connection, for callbacks; true if it is new.
    pub(crate) fn seen(&self, connection: &Connection) -> bool {
        match self.connections.lock().entry(connection.id()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(connection.clone());
                true
            }
        }
    }

    /// Both ends of each known connection: ours, and the client's.
    #[must_use]
    pub(crate) fn ends(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.connections.lock().values().map(|one| (one.local(), one.peer())).collect()
    }

    /// The connection a callback may use.
    #[must_use]
    pub(crate) fn connection(&self, id: ConnectionId) -> Option<Connection> {
        self.connections.lock().get(&id.0).cloned()
    }

    /// Forgets a closed connection.
    pub(crate) fn closed(&self, connection_id: u64) {
        self.connections.lock().remove(&connection_id);
        self.sessions.lock().connection_closed(ConnectionId(connection_id));
    }

    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.sessions.lock().session(session).is_some()
    }

    pub(super) fn turn_to_take(&self, session: SessionId) -> Arc<Turn> {
        let mut taking = self.taking.lock();
        taking.retain(|_, turn| 1 < Arc::strong_count(turn));
        Arc::clone(taking.entry(session).or_default())
    }
}
