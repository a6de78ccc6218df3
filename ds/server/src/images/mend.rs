//! Writes the bad frames of an image here anew, from its group: beside what was asked for, one at a time; and for the scrub.
//!
//! INVARIANT: the image that replaces a damaged one has its root; every frame in it was compared with its hash.
//! Spec: docs/formats/image.md §6; docs/formats/group.md §6.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use ds_image::{BadFrame, Image, ImageId, StoredImage};
use ds_store::ImageRef;

use super::groups::Found;
use super::remote::Trouble;
use super::{Images, joined};
use crate::limits::{MEND_AGAIN_MS, MEND_FRAMES_MAX, MENDED_KNOWN_MAX, MENDING_MAX};

/// What is being mended, and what was tried lately.
#[derive(Default)]
pub(super) struct Mending {
    now: usize,
    /// Not to be tried again before.
    until_ms: HashMap<ImageId, u64>,
}

impl Mending {
    fn begin(&mut self, image: ImageId, now_ms: u64) -> bool {
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

    fn end(&mut self, image: ImageId, now_ms: u64) {
        self.now -= 1;
        self.until_ms.insert(image, now_ms + MEND_AGAIN_MS);
    }
}

/// Has an image mended, unless it is, or was tried lately, or too many are.
pub(super) fn begin(images: &Arc<Images>, image: &ImageRef) {
    if !images.mending.lock().begin(image.image, images.env.clock.monotonic_ms()) {
        return;
    }
    let (images, image) = (Arc::clone(images), *image);
    tokio::spawn(async move {
        let mended = run(&images, &image).await;
        images.close(image.image);
        images.mending.lock().end(image.image, images.env.clock.monotonic_ms());
        match mended {
            Ok(frames) => {
                images.metrics.mended_images.inc();
                tracing::info!(image = %image.image, frames, "bad frames were written anew");
            }
            Err(error) => tracing::warn!(image = %image.image, %error, "an image cannot be mended now"),
        }
    });
}

async fn run(images: &Arc<Images>, image: &ImageRef) -> Result<usize, String> {
    let opened = images.dir.open_any(image.image).await.map_err(|error| error.to_string())?;
    let StoredImage::Extent(damaged) = opened else { return Err("parity in place of an extent".to_owned()) };
    if damaged.info().root.0 != image.root {
        return Err("another image of the same name".to_owned());
    }
    let walked = damaged.verify(|_| std::future::ready(())).await.map_err(|error| error.to_string())?;
    let found = images.group_of(image.image).await.map_err(|none| format!("no group: {none:?}"))?;
    frames(images, &found, &damaged, &walked).await
}

/// Writes these frames anew; answers how many they are.
pub(crate) async fn frames(
    images: &Arc<Images>,
    found: &Found,
    damaged: &Image,
    walked: &[BadFrame],
) -> Result<usize, String> {
    if MEND_FRAMES_MAX < walked.len() {
        return Err(format!("{} bad frames", walked.len()));
    }
    let bytes = images.rebuilding(&found.group, found.slot, &Arc::new(Trouble::default()));
    let whole = damaged.through(bytes);
    let mut given = BTreeMap::new();
    for bad in walked {
        given.insert(bad.frame, frame(&whole, bad.frame).await?);
    }
    let image = damaged.info().identity.image;
    images.dir.repair(image, &given).await.map_err(|error| error.to_string())?;
    images.close(image);
    Ok(given.len())
}

/// A frame's stored bytes.
async fn frame(whole: &Image, frame: u16) -> Result<Bytes, String> {
    let place = whole.stored_frame(frame).ok_or("a hole is bad")?;
    let read = whole.read_raw(place.offset, place.stored_bytes).await;
    Ok(joined(read.map_err(|error| error.to_string())?.iter()))
}
