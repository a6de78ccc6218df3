//! Which images are being repaired, and which were tried lately.

use std::collections::HashMap;

use ds_image::ImageId;

use crate::limits::{MEND_AGAIN_MS, MENDED_KNOWN_MAX, MENDING_MAX};

/// What is being mended, and what was tried lately.
#[derive(Default)]
pub(super) struct Mending {
    pub(super) now: usize,
    /// Not to be tried again before.
    pub(super) until_ms: HashMap<ImageId, u64>,
}

impl Mending {
    pub(super) fn begin(&mut self, image: ImageId, now_ms: u64) -> bool {
        if MENDED_KNOWN_MAX <= self.until_ms.len() {
            self.until_ms.retain(|_, until_ms| now_ms < *until_ms);
        }
        let lately = self.until_ms.get(&image).is_some_and(|until_ms| now_ms < *until_ms);
        if lately || MENDING_MAX <= self.now || MENDED_KNOWN_MAX <= self.until_ms.len() {
            return false;
        }
        self.now += 1;
        self.until_ms.insert(image, u64::MAX);
        true
    }

    pub(super) fn end(&mut self, image: ImageId, now_ms: u64) {
        self.now -= 1;
        self.until_ms.insert(image, now_ms + MEND_AGAIN_MS);
    }
}
