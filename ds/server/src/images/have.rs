//! HAVE: which images have a file here, as the disk says now.
//!
//! INVARIANT: false is answered only of what the disk surely does not have, at that length, by the
//! server that was meant.
//! Spec: docs/protocol/seal.md §10.

use ds_image::ImageId;
use wire_nfs::control::Refusal;
use wire_nfs::control::images::{HadImages, HaveImages, HeldImage};

use super::Images;
use crate::core::Core;

/// Carries out HAVE. The directory was listed before anybody could ask.
pub(crate) async fn run(core: &Core, ask: HaveImages) -> Result<HadImages, Refusal> {
    let own = core.server().filter(|_| core.is_serving()).ok_or(Refusal::Busy)?;
    if own.0 != ask.server {
        return Err(Refusal::Busy);
    }
    let mut have = Vec::with_capacity(ask.images.len());
    for held in &ask.images {
        have.push(is_there(&core.images, held).await);
    }
    Ok(HadImages { have })
}

async fn is_there(images: &Images, held: &HeldImage) -> bool {
    let image = ImageId(held.image);
    if looks_there(images, held).await {
        return true;
    }
    // What is being made now is not missing. Whoever was making it a moment ago has given it its
    // name by now.
    if images.dir.is_claimed(image) || looks_there(images, held).await {
        return true;
    }
    tracing::warn!(%image, bytes = held.file_bytes, "an image is not here any more");
    images.close(image);
    false
}

async fn looks_there(images: &Images, held: &HeldImage) -> bool {
    match images.dir.on_disk(ImageId(held.image)).await {
        Ok(found) => found == Some(u64::from(held.file_bytes)),
        Err(error) => {
            tracing::warn!(image = %ImageId(held.image), %error, "the disk does not tell whether an image is here");
            true
        }
    }
}
