//! Rewrites the bad frames of an image here, from its group: beside the read that met them, one
//! image at a time; and for the scrub.
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

/// Starts a task that mends an image, unless one is at it, or was lately, or too many are.
pub(super) fn start_mending(images: &Arc<Images>, image: &ImageRef) {
    if !images.mending.lock().begin(image.image, images.clock.monotonic_ms()) {
        return;
    }
    let (images, image) = (Arc::clone(images), *image);
    tokio::spawn(async move {
        let mended = mend_image(&images, &image).await;
        images.shelf.close_image(image.image);
        images.mending.lock().end(image.image, images.clock.monotonic_ms());
        match mended {
            Ok(frames) => {
                images.shelf.metrics.mended_images.inc();
                tracing::info!(image = %image.image, frames, "bad frames were rewritten");
            }
            Err(error) => tracing::warn!(
                image = %image.image, %error,
                "an image cannot be mended now"
            ),
        }
    });
}

async fn mend_image(images: &Arc<Images>, image: &ImageRef) -> Result<usize, String> {
    let opened = images.shelf.dir.open_any(image.image).await.map_err(|error| error.to_string())?;
    let StoredImage::Extent(damaged) = opened else { return Err("parity in place of an extent".to_owned()) };
    if damaged.info().root.0 != image.root {
        return Err("another image of the same name".to_owned());
    }
    let walked = damaged.verify(|_| std::future::ready(())).await.map_err(|error| error.to_string())?;
    let found = images.find_group(image.image).await.map_err(|none| format!("no group: {none:?}"))?;
    rewrite_frames(images, &found, &damaged, &walked).await
}

/// Rewrites these frames; answers how many they are.
pub(crate) async fn rewrite_frames(
    images: &Arc<Images>,
    found: &Found,
    damaged: &Image,
    walked: &[BadFrame],
) -> Result<usize, String> {
    if MEND_FRAMES_MAX < walked.len() {
        return Err(format!("{} bad frames", walked.len()));
    }
    let bytes = images.rebuilt_bytes(&found.group, found.slot, &Arc::new(Trouble::default()));
    let whole = damaged.through(bytes);
    let mut given = BTreeMap::new();
    for bad in walked {
        given.insert(bad.frame, read_frame(&whole, bad.frame).await?);
    }
    assert!(given.len() <= walked.len(), "only bad frames are rewritten");
    let image = damaged.info().identity.image;
    images.shelf.dir.repair(image, &given).await.map_err(|error| error.to_string())?;
    images.shelf.close_image(image);
    Ok(given.len())
}

/// A frame's stored bytes.
async fn read_frame(whole: &Image, frame: u16) -> Result<Bytes, String> {
    let place = whole.stored_frame(frame).ok_or("a hole is bad")?;
    let read = whole.read_raw(place.offset, place.stored_bytes).await;
    Ok(joined(read.map_err(|error| error.to_string())?.iter()))
}
