//! HAVE: which images have a file here, as the disk says now.
//!
//! INVARIANT: false is answered only of an image that the disk surely does not have, at that
//! length, by the server that the call meant.
//! Spec: docs/protocol/seal.md §10.

use ds_image::ImageId;
use wire_nfs::control::Refusal;
use wire_nfs::control::images::{HadImages, HaveImages, HeldImage};

use super::shelf::Shelf;
use crate::directory::Directory;
use crate::lease::Serving;

/// Carries out HAVE. The directory was listed before any node could ask.
///
/// # Errors
/// BUSY if this server may not serve, or is not the one that the call meant.
pub(crate) async fn check_presence(
    shelf: &Shelf,
    serving: &Serving,
    directory: &Directory,
    ask: &HaveImages,
) -> Result<HadImages, Refusal> {
    let own = directory.own().filter(|_| serving.is_serving()).ok_or(Refusal::Busy)?;
    if own.0 != ask.server {
        return Err(Refusal::Busy);
    }
    let mut have = Vec::with_capacity(ask.images.len());
    for held in &ask.images {
        have.push(is_there(shelf, held).await);
    }
    assert_eq!(have.len(), ask.images.len(), "each image that was named has an answer");
    Ok(HadImages { have })
}

async fn is_there(shelf: &Shelf, held: &HeldImage) -> bool {
    let image = ImageId(held.image);
    if is_on_disk(shelf, held).await {
        return true;
    }
    // An image that is being made now is not missing. One that was being made a moment ago has its
    // name by now.
    if shelf.dir.is_claimed(image) || is_on_disk(shelf, held).await {
        return true;
    }
    tracing::warn!(%image, bytes = held.file_bytes, "an image is not here any more");
    shelf.close_image(image);
    false
}

async fn is_on_disk(shelf: &Shelf, held: &HeldImage) -> bool {
    match shelf.dir.on_disk(ImageId(held.image)).await {
        Ok(found) => found == Some(u64::from(held.file_bytes)),
        Err(error) => {
            tracing::warn!(
                image = %ImageId(held.image), %error,
                "the disk does not tell whether an image is here"
            );
            true
        }
    }
}
