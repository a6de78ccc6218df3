//! Says when this process did not run for a while: it was stopped, or its virtual machine was.
//!
//! Nothing here is needed for what then happens: all time-outs of the server count the time in which it ran (`env::awake`), so that leases
//! of data servers and clients, recalls and calls under way have what was left to them. What the Raft engine counts goes on, for another
//! replica may lead by then.

use std::sync::Arc;

use crate::limits::PAUSE_LOOK_MS;
use crate::server::Server;

/// Looks again and again, for as long as the server lives.
pub(crate) async fn drive(server: Arc<Server>) {
    let mut known_ms = paused_ms(&server);
    loop {
        server.machine_clock.sleep_ms(PAUSE_LOOK_MS).await;
        let paused_ms = paused_ms(&server);
        let pause_ms = paused_ms.saturating_sub(known_ms);
        if 0 < pause_ms {
            tracing::warn!(
                pause_ms,
                "this process did not run: leases of data servers and clients go on from here"
            );
        }
        known_ms = paused_ms;
    }
}

/// For how long it did not run so far, milliseconds.
fn paused_ms(server: &Server) -> u64 {
    let awake_ns = server.env.clock.monotonic_ns();
    // A pause between the two readings is seen at the next look.
    server.machine_clock.monotonic_ns().saturating_sub(awake_ns) / 1_000_000
}
