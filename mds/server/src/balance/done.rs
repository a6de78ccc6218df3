//! Records the end of a move, successful or not.

use super::memory::State;
use crate::limits::BALANCE_REST_MS;
use crate::server::Server;

/// Records the end of a move.
pub(super) fn done(server: &Server, state: &mut State, bytes: u64, moved: bool) {
    if moved {
        state.progress.done(bytes);
        server.metrics.balanced(bytes);
    } else {
        // Not again at once.
        state.look_ms = server.now_ms() + BALANCE_REST_MS;
        state.progress.given_up(bytes);
    }
}
