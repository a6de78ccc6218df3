//! Which images are being repaired, and which were tried lately.

use std::collections::HashMap;

use ds_image::ImageId;

use crate::limits::{MEND_AGAIN_MS, MENDED_KNOWN_MAX, MENDING_MAX};

/// Images under repair, and those that were tried lately.
#[derive(Default)]
pub(super) struct Mending {
    now: usize,
    /// Not to be tried again before.
    until_ms: HashMap<ImageId, u64>,
}

impl Mending {
    /// Notes that a repair begins; `false` if the image is under repair or was lately, or too many
    /// are.
    pub(super) fn begin(&mut self, image: ImageId, now_ms: u64) -> bool {
        if MENDED_KNOWN_MAX <= self.until_ms.len() {
            self.until_ms.retain(|_, until_ms| now_ms < *until_ms);
        }
        let lately = self.until_ms.get(&image).is_some_and(|until_ms| now_ms < *until_ms);
        if lately || MENDING_MAX <= self.now || MENDED_KNOWN_MAX <= self.until_ms.len() {
            return false;
        }
        self.now += 1;
        assert!(self.now <= MENDING_MAX, "repairs at a time are bounded");
        self.until_ms.insert(image, u64::MAX);
        true
    }

    /// Notes that a repair has ended, whatever came of it.
    pub(super) fn end(&mut self, image: ImageId, now_ms: u64) {
        assert!(0 < self.now, "a repair that ends has begun");
        self.now -= 1;
        self.until_ms.insert(image, now_ms + MEND_AGAIN_MS);
    }
}
