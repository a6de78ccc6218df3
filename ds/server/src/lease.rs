//! Whether this server may serve: the lease that metadata servers give it.
//!
//! INVARIANT: a lease counts from when the call that renewed it was *sent*, and ends before its
//! whole time is over, so it ends here before it ends there, by clocks that go at somewhat
//! different rates.
//! Spec: docs/protocol/control.md §2.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::limits::LEASE_MARGIN_PARTS;

/// The lease of one data server. Times are monotonic milliseconds of one clock, with those for
/// which the machine was suspended.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// First millisecond at which it does not hold any more.
    until_ms: AtomicU64,
    /// Times that it was gained after it had been lost.
    gained: AtomicU64,
    renewed: Notify,
    /// It never holds again.
    ended: AtomicBool,
    /// It does not hold, and is not renewed, for now.
    suspended: AtomicBool,
}

impl Lease {
    /// A call sent at `sent_ms` was answered with a lease of `lease_ms`.
    pub(crate) fn renew(&self, sent_ms: u64, lease_ms: u32, now_ms: u64) {
        if self.suspended.load(Ordering::SeqCst) {
            return;
        }
        let before = self.until_ms.fetch_max(sent_ms.saturating_add(used_ms(lease_ms)), Ordering::SeqCst);
        if before <= now_ms {
            self.gained.fetch_add(1, Ordering::SeqCst);
        }
        self.renewed.notify_waiters();
    }

    /// Returns when it is renewed. Whoever looks whether it holds asks for this first, so that no
    /// renewal is missed.
    pub(crate) fn renewed(&self) -> Notified<'_> {
        self.renewed.notified()
    }

    /// Another number after each time without a lease. Somebody else may have served our extents
    /// meanwhile, so what clients wrote before and did not commit may be gone.
    pub(crate) fn term(&self) -> u64 {
        self.gained.load(Ordering::SeqCst).saturating_sub(1)
    }

    /// A metadata server does not know us: nothing is served until it does.
    pub(crate) fn revoke(&self) {
        self.until_ms.store(0, Ordering::SeqCst);
    }

    /// It holds no more, whatever answers to earlier calls still come: this start serves nothing
    /// any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        // Requests that wait for a renewal look again.
        self.renewed.notify_waiters();
    }

    /// It is given up until [`resume`](Self::resume), and has to be gained again then.
    pub(crate) fn suspend(&self) {
        self.suspended.store(true, Ordering::SeqCst);
        self.until_ms.store(0, Ordering::SeqCst);
        // Requests that wait for a renewal look again.
        self.renewed.notify_waiters();
    }

    /// It may be gained again.
    pub(crate) fn resume(&self) {
        self.suspended.store(false, Ordering::SeqCst);
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.load(Ordering::SeqCst)
            && !self.ended.load(Ordering::SeqCst)
            && !self.suspended.load(Ordering::SeqCst)
    }
}

/// So much of a lease is used.
pub(crate) fn used_ms(lease_ms: u32) -> u64 {
    u64::from(lease_ms - lease_ms / LEASE_MARGIN_PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_when_it_was_asked_for() {
        let lease = Lease::default();
        assert!(!lease.holds(0));
        lease.renew(1_000, 800, 1_001);
        assert!(
            lease.holds(1_599) && !lease.holds(1_600),
            "a quarter is left for clocks that go faster than this one"
        );
        lease.renew(900, 800, 1_100);
        assert!(lease.holds(1_599), "a late answer to an older call takes nothing away");
        assert_eq!(lease.term(), 0);
        lease.renew(1_590, 800, 1_601);
        assert_eq!(
            lease.term(),
            1,
            "it was lost for a moment, whatever the clock said when it was asked for"
        );
        lease.revoke();
        assert!(!lease.holds(1_000));
        lease.renew(1_800, 800, 1_801);
        assert_eq!(lease.term(), 2);
        lease.suspend();
        lease.renew(1_810, 800, 1_811);
        assert!(!lease.holds(1_811), "given up, whatever is answered");
        lease.resume();
        assert!(!lease.holds(1_812), "it has to be gained again");
        lease.renew(1_820, 800, 1_821);
        assert!(lease.holds(1_821));
        assert_eq!(lease.term(), 3);
        lease.end();
        lease.renew(1_900, 800, 1_901);
        assert!(!lease.holds(1_902), "an answer that was on its way gives nothing back");
    }
}
