//! How far repair is, and how long it will take. Time is an argument.

/// Images being made again: from the look that first finds some missing until one finds none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    began_ms: Option<u64>,
    made_bytes: u64,
    left_bytes: u64,
}

impl Progress {
    /// A look found so many bytes of images that are to be made again.
    pub(super) fn found(&mut self, left_bytes: u64, now_ms: u64) {
        match (left_bytes, self.began_ms) {
            (0, _) => *self = Self::default(),
            (_, None) => *self = Self { began_ms: Some(now_ms), made_bytes: 0, left_bytes },
            (_, Some(_)) => self.left_bytes = left_bytes,
        }
    }

    /// An image was made again.
    pub(super) fn made(&mut self, bytes: u64) {
        self.made_bytes += bytes;
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
    }

    /// Bytes of images that are still to be made again.
    pub(crate) fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// Seconds until all are there, if it goes on as since it began; `None` while nothing was made, or nothing is left.
    pub(crate) fn eta_s(&self, now_ms: u64) -> Option<u64> {
        let took_ms = u128::from(now_ms.saturating_sub(self.began_ms?));
        if self.made_bytes == 0 || self.left_bytes == 0 {
            return None;
        }
        let left_ms = took_ms * u128::from(self.left_bytes) / u128::from(self.made_bytes);
        u64::try_from(left_ms.div_ceil(1_000)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_long_it_will_take() {
        let mut progress = Progress::default();
        progress.found(0, 5);
        assert_eq!((progress.left_bytes(), progress.eta_s(10)), (0, None));
        progress.found(1000, 1_000);
        assert_eq!(progress.eta_s(2_000), None, "nothing was made yet");
        progress.made(100);
        assert_eq!((progress.left_bytes(), progress.eta_s(3_000)), (900, Some(18)));
        progress.found(1900, 3_000);
        assert_eq!(progress.eta_s(3_000), Some(38), "another server died");
        progress.made(5000);
        assert_eq!((progress.left_bytes(), progress.eta_s(4_000)), (0, None));
        progress.found(0, 5_000);
        progress.found(10, 6_000);
        assert_eq!(progress.eta_s(7_000), None, "another repair");
    }
}
