//! Writes the bad frames of an image here anew, from its group: beside what was asked for, one at a
//! time; and for the scrub.
//!
//! INVARIANT: the image that replaces a damaged one has its root; every frame in it was compared
//! with its hash.
//! Spec: docs/formats/image.md §6; docs/formats/group.md §6.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ds_image::{BadFrame, Image, StoredImage};
use ds_store::ImageRef;

use super::Images;
use super::groups::Found;
use super::pieces::joined;
use super::trouble::Trouble;
use crate::limits::MEND_FRAMES_MAX;

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
