//! What a WRITE or COMMIT waits for long is in the log: which extent, which servers, which wait.

use env::Clock;
use layout::{DataServerId, ExtentId};

use crate::limits::SLOW_MS;

/// Waits, and logs it if that took long. `servers` are those that it is up to, if not this one.
pub(crate) async fn waited<T>(
    clock: &dyn Clock,
    extent: ExtentId,
    waited_for: &'static str,
    servers: impl FnOnce() -> Vec<DataServerId>,
    work: impl Future<Output = T>,
) -> T {
    let began_ms = clock.monotonic_ms();
    let done = work.await;
    let waited_ms = clock.monotonic_ms().saturating_sub(began_ms);
    if SLOW_MS <= waited_ms {
        let servers: Vec<u32> = servers().into_iter().map(|server| server.0).collect();
        tracing::info!(%extent, waited_for, ?servers, waited_ms, "slow operation");
    }
    done
}
