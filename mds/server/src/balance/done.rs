//! What follows when something has moved, or has not.

use super::memory::State;
use crate::limits::BALANCE_REST_MS;
use crate::server::Server;

/// Something has moved, or has not.
pub(super) fn done(server: &Server, state: &mut State, bytes: u64, moved: bool) {
    if moved {
        state.progress.done(bytes);
        server.metrics.balanced(bytes);
    } else {
        // Not at once again.
        state.look_ms = server.now_ms() + BALANCE_REST_MS;
        state.progress.given_up(bytes);
    }
}
