//! Logs when this process was paused: stopped by a signal, or with its virtual machine.
//!
//! Nothing depends on it: all time-outs of the server count only the time in which it runs
//! (`env::awake`). So leases of data servers and clients, recalls and calls under way keep their
//! remaining time. The Raft engine's clock continues, since another replica may lead by then.

use std::sync::Arc;

use env::Clock;

use crate::limits::PAUSE_LOOK_MS;

/// Checks for pauses, for as long as the server lives. `awake` stands still while this process does
/// not run, `machine` does not.
pub(crate) async fn log_pauses(awake: Arc<dyn Clock>, machine: Arc<dyn Clock>) {
    let mut known_ms = paused_ms(&*awake, &*machine);
    loop {
        machine.sleep_ms(PAUSE_LOOK_MS).await;
        let paused_ms = paused_ms(&*awake, &*machine);
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
fn paused_ms(awake: &dyn Clock, machine: &dyn Clock) -> u64 {
    let awake_ns = awake.monotonic_ns();
    // A pause between the two readings shows at the next check.
    machine.monotonic_ns().saturating_sub(awake_ns) / 1_000_000
}
