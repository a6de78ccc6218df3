//! Logs when this process was paused: stopped by a signal, or with its virtual machine.
//!
//! Nothing depends on it: all time-outs of the server count only the time in which it runs
//! (`env::awake`). So leases of data servers and clients, recalls and calls under way keep their
//! remaining time. The Raft engine's clock continues, since another replica may lead by then.

use std::sync::Arc;

use crate::limits::PAUSE_LOOK_MS;
use crate::server::Server;

/// Checks for pauses, for as long as the server lives.
pub(crate) async fn log_pauses(server: Arc<Server>) {
    let mut known_ms = paused_ms(&server);
    loop {
        server.machine_clock.sleep_ms(PAUSE_LOOK_MS).await;
        let paused_ms = paused_ms(&server);
        let pause_ms = paused_ms.saturating_sub(known_ms);
        if 0 < pause_ms {
            tracing::warn!(
                pause_ms,
                "this process was paused: leases of data servers and clients continue from here"
            );
        }
        known_ms = paused_ms;
    }
}

/// Total pauses so far, milliseconds.
fn paused_ms(server: &Server) -> u64 {
    let awake_ns = server.env.clock.monotonic_ns();
    // A pause between the two readings shows at the next check.
    server.machine_clock.monotonic_ns().saturating_sub(awake_ns) / 1_000_000
}
