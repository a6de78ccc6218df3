//! Whether this server may serve: the lease that metadata servers give it, and the disk without
//! which it gives the lease up.
//!
//! INVARIANT: a lease counts from when the registrar *sent* the call that renewed it, and ends
//! before its whole time is over, so it ends here before it ends at the metadata server, by clocks
//! that go at somewhat different rates.
//! INVARIANT: after a failed write or flush the lease never holds again in this start.
//! Spec: docs/protocol/control.md §2.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ds_store::{ChangeError, Store};
use env::Clock;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use wire_nfs::control::limits::WORDS_BYTES_MAX;
use wire_nfs::v3::Nfsstat3;

use crate::limits::{LEASE_MARGIN_PARTS, LEASE_MS_MAX, LEASE_MS_MIN, LEASE_WAIT_MS_MAX, WATCH_LOOK_MS};
use crate::watch::{Change, DiskWatch};

/// The lease of one data server. Times are monotonic milliseconds of one clock, with those for
/// which the machine was suspended.
#[derive(Debug, Default)]
struct Lease {
    /// First millisecond at which the lease does not hold any more.
    until_ms: AtomicU64,
    /// Times that the lease was gained after it had been lost.
    gained: AtomicU64,
    renewed: Notify,
    /// The lease never holds again.
    ended: AtomicBool,
    /// The lease does not hold, and is not renewed, for now.
    suspended: AtomicBool,
}

impl Lease {
    /// A metadata server answered a call that was sent at `sent_ms` with a lease of `lease_ms`.
    fn renew(&self, sent_ms: u64, lease_ms: u32, now_ms: u64) {
        if self.suspended.load(Ordering::SeqCst) {
            return;
        }
        let before = self.until_ms.fetch_max(sent_ms.saturating_add(used_ms(lease_ms)), Ordering::SeqCst);
        if before <= now_ms {
            self.gained.fetch_add(1, Ordering::SeqCst);
        }
        self.renewed.notify_waiters();
    }

    /// Returns when the lease is renewed. A request calls this before it checks the lease, so that
    /// it misses no renewal.
    fn renewed(&self) -> Notified<'_> {
        self.renewed.notified()
    }

    /// Another number after each time without a lease. Another data server may have served the
    /// extents meanwhile, so what clients wrote before and did not commit may be gone.
    fn term(&self) -> u64 {
        self.gained.load(Ordering::SeqCst).saturating_sub(1)
    }

    /// A metadata server does not know this server: nothing is served until it does.
    fn revoke(&self) {
        self.until_ms.store(0, Ordering::SeqCst);
    }

    /// Ends the lease for ever, whatever answers to earlier calls still come.
    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        // Requests that wait for a renewal check again.
        self.renewed.notify_waiters();
    }

    /// Gives the lease up until [`resume`](Self::resume); it has to be gained again then.
    fn suspend(&self) {
        self.suspended.store(true, Ordering::SeqCst);
        self.until_ms.store(0, Ordering::SeqCst);
        // Requests that wait for a renewal check again.
        self.renewed.notify_waiters();
    }

    /// Lets the lease be gained again.
    fn resume(&self) {
        assert!(self.suspended.swap(false, Ordering::SeqCst), "only a suspended lease is resumed");
    }

    /// Whether the lease holds.
    fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.load(Ordering::SeqCst)
            && !self.ended.load(Ordering::SeqCst)
            && !self.suspended.load(Ordering::SeqCst)
    }
}

/// The part of a lease that this server uses.
pub(crate) fn used_ms(lease_ms: u32) -> u64 {
    let used_ms = lease_ms - lease_ms / LEASE_MARGIN_PARTS;
    assert!(used_ms <= lease_ms, "a lease ends here no later than at the metadata server");
    u64::from(used_ms)
}

/// Whether this start of the server may serve: its lease, and its disk.
pub(crate) struct Serving {
    clock: Arc<dyn Clock>,
    store: Store,
    lease: Lease,
    watch: DiskWatch,
    /// Why this start serves nothing any more, once the disk has failed.
    failure: OnceLock<String>,
    /// Wakes the registrar when the disk fails or hangs.
    failed: Notify,
}

impl Serving {
    /// Without a lease yet. `watch` sees the I/O of `store`.
    pub(crate) fn new(clock: Arc<dyn Clock>, store: Store, watch: DiskWatch) -> Self {
        let (lease, failure, failed) = (Lease::default(), OnceLock::new(), Notify::new());
        Self { clock, store, lease, watch, failure, failed }
    }

    /// Now, as leases count: they go on while this machine is suspended.
    ///
    /// # Units
    /// Milliseconds, monotonic.
    pub(crate) fn now_ms(&self) -> u64 {
        // In this order: a suspension between the two ends a lease.
        let now_ms = self.clock.monotonic_ms();
        now_ms + self.clock.suspended_ms()
    }

    /// Whether requests may be served now.
    pub(crate) fn is_serving(&self) -> bool {
        self.check(self.now_ms()).is_ok()
    }

    /// Whether a request may be served.
    ///
    /// # Errors
    /// JUKEBOX without a lease: the client asks again, and by then either the lease is back or the
    /// client's layout is not. STALE once the disk has failed, and while it hangs: the client comes
    /// back for another layout at once.
    fn check(&self, now_ms: u64) -> Result<(), Nfsstat3> {
        if self.has_failed() {
            return Err(Nfsstat3::Stale);
        }
        if self.lease.holds(now_ms) { Ok(()) } else { Err(Nfsstat3::Jukebox) }
    }

    /// The time (as [`now_ms`](Self::now_ms)) at which a request may be served. A request that
    /// comes while there is no lease waits a while for it: a client that was told to ask again
    /// would sit for five seconds first.
    ///
    /// # Errors
    /// JUKEBOX if there is no lease for too long; STALE if the disk has failed or hangs.
    pub(crate) async fn wait_for_lease(&self) -> Result<u64, Nfsstat3> {
        let check = || {
            let now_ms = self.now_ms();
            self.check(now_ms).map(|()| now_ms)
        };
        match check() {
            Err(Nfsstat3::Jukebox) => {}
            found => return found,
        }
        let again = async {
            loop {
                let renewed = self.lease.renewed();
                tokio::pin!(renewed);
                renewed.as_mut().enable();
                match check() {
                    Err(Nfsstat3::Jukebox) => renewed.await,
                    found => return found,
                }
            }
        };
        tokio::select! {
            biased;
            found = again => found,
            () = self.clock.sleep_ms(LEASE_WAIT_MS_MAX) => Err(Nfsstat3::Jukebox),
        }
    }

    /// Renews the lease: a metadata server answered a call that was sent at `sent_ms`.
    pub(crate) fn renew_lease(&self, sent_ms: u64, lease_ms: u32) {
        assert!((LEASE_MS_MIN..=LEASE_MS_MAX).contains(&lease_ms), "the registrar clamps leases");
        self.lease.renew(sent_ms, lease_ms, self.now_ms());
    }

    /// A metadata server does not know this server: nothing is served until it does.
    pub(crate) fn revoke_lease(&self) {
        self.lease.revoke();
    }

    /// Whether the lease holds now.
    pub(crate) fn holds_lease(&self) -> bool {
        self.lease.holds(self.now_ms())
    }

    /// The write verifier: another one after each start, and after each time without a lease.
    pub(crate) fn verifier(&self) -> [u8; 8] {
        self.store.instance().wrapping_add(self.lease.term()).to_be_bytes()
    }

    /// The number by which metadata servers know this start. Another one after each time that the
    /// disk hung: a report of that hang which was long on its way must not end a lease that was
    /// given since.
    pub(crate) fn instance(&self) -> u64 {
        self.store.instance().wrapping_add(self.watch.survived())
    }

    /// Ends service if the error says that the disk failed. What a disk holds after a failed write
    /// or flush is not known: this server ends its lease at once, so that replicas become primary
    /// of its extents, and serves nothing until a restart.
    pub(crate) fn note_error(&self, error: &ChangeError) {
        if let ChangeError::Failed(reason) = error {
            self.fail_disk(&reason.to_string());
        }
    }

    /// The disk has failed: see [`note_error`](Self::note_error).
    pub(crate) fn fail_disk(&self, reason: &str) {
        let words = &reason[..reason.floor_char_boundary(WORDS_BYTES_MAX)];
        assert!(words.len() <= WORDS_BYTES_MAX, "a heartbeat has room for the reason");
        if self.failure.set(words.to_owned()).is_ok() {
            self.lease.end();
            tracing::error!(reason, "the disk failed: this data server serves nothing until a restart");
            self.failed.notify_one();
            assert!(!self.holds_lease(), "a server whose disk has failed has no lease");
        }
    }

    /// Whether the disk is known to have failed, or hangs.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some() || self.watch.hangs()
    }

    /// Why nothing is served, if the disk has failed or hangs.
    pub(crate) fn failure(&self) -> Option<String> {
        // The journal also fails where no request waits for it: under compaction.
        if let (None, Some(error)) = (self.failure.get(), self.store.failure()) {
            self.note_error(&error);
        }
        self.failure.get().cloned().or_else(|| self.watch.reason())
    }

    /// Returns once the disk has failed or hangs, once for each time.
    pub(crate) async fn wait_for_failure(&self) {
        self.failed.notified().await;
    }

    /// Gives the lease up while the disk hangs, for ever. It runs on the thread of the lease: a
    /// runtime whose threads all wait for the disk must not keep it from looking.
    pub(crate) async fn watch_disk(&self) {
        loop {
            self.clock.sleep_ms(WATCH_LOOK_MS).await;
            match self.watch.look_at_disk(self.clock.monotonic_ms()) {
                Change::None => {}
                Change::Hangs(_) => {
                    self.lease.suspend();
                    self.failed.notify_one();
                    let reason = self.watch.reason().unwrap_or_default();
                    tracing::error!("{reason}: this data server serves nothing until it answers");
                }
                Change::Answers => {
                    self.lease.resume();
                    tracing::warn!("the disk answers again: this data server registers again");
                }
            }
        }
    }

    /// How often a hang of the disk has begun or ended.
    pub(crate) fn disk_turns(&self) -> u64 {
        self.watch.turns()
    }

    /// Returns once a hang has begun or ended since [`disk_turns`](Self::disk_turns) was `turns`.
    pub(crate) async fn wait_for_turn(&self, turns: u64) {
        self.watch.wait_for_turn(turns).await;
    }
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
