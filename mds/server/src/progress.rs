//! Progress and remaining time of work on bytes: repair and rebalancing. Time is an argument.

/// From the scan that first finds work until one finds none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    began_ms: Option<u64>,
    done_bytes: u64,
    left_bytes: u64,
}

impl Progress {
    /// Records the bytes that a scan found. The total done stays until there is new work.
    pub(crate) fn found(&mut self, left_bytes: u64, now_ms: u64) {
        match (left_bytes, self.began_ms) {
            (0, _) => (self.began_ms, self.left_bytes) = (None, 0),
            (_, None) => *self = Self { began_ms: Some(now_ms), done_bytes: 0, left_bytes },
            (_, Some(_)) => self.left_bytes = left_bytes,
        }
    }

    /// Records bytes that are done.
    pub(crate) fn done(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
    }

    /// Records bytes that will not be done after all.
    pub(crate) fn given_up(&mut self, bytes: u64) {
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
    }

    /// Bytes still to be done.
    pub(crate) fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// Bytes done, in this run or the last.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    /// Seconds until all is done, at the speed so far; `None` while nothing was done, or nothing is
    /// left.
    pub(crate) fn eta_s(&self, now_ms: u64) -> Option<u64> {
        let took_ms = u128::from(now_ms.saturating_sub(self.began_ms?));
        if self.done_bytes == 0 || self.left_bytes == 0 {
            return None;
        }
        let left_ms = took_ms * u128::from(self.left_bytes) / u128::from(self.done_bytes);
        u64::try_from(left_ms.div_ceil(1_000)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_estimates_the_remaining_time() {
        let mut progress = Progress::default();
        progress.found(0, 5);
        assert_eq!((progress.left_bytes(), progress.eta_s(10)), (0, None));
        progress.found(1000, 1_000);
        assert_eq!(progress.eta_s(2_000), None, "nothing was done yet");
        progress.done(100);
        assert_eq!((progress.left_bytes(), progress.eta_s(3_000)), (900, Some(18)));
        progress.found(1900, 3_000);
        assert_eq!(progress.eta_s(3_000), Some(38), "another server died");
        progress.done(5000);
        assert_eq!((progress.left_bytes(), progress.eta_s(4_000)), (0, None));
        progress.found(0, 5_000);
        assert_eq!(progress.done_bytes(), 5_100);
        progress.found(10, 6_000);
        assert_eq!(progress.eta_s(7_000), None, "a new run");
        progress.given_up(4);
        assert_eq!((progress.left_bytes(), progress.done_bytes()), (6, 0));
    }
}
