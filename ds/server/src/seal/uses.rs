//! Putting an image into use: every backup of the set says it, then the journal here does.
//!
//! The backups come first. Until the journal here says it the image is shown as unused, and a
//! metadata server says USE again: so a backup that did not hear of it keeps nobody's bytes for
//! ever.
//!
//! INVARIANT: the journal lets go of bytes only after a metadata server has said that the image is
//! in a group, and only while the set has the epoch of the image.
//! Spec: docs/protocol/seal.md §2, §4.

use std::sync::Arc;

use ds_store::ImageRef;
use layout::{Epoch, ExtentId};
use wire_nfs::control::copies::CopySet;

use super::known::Sealing;
use crate::copies::{self, Asked, SettleError};
use crate::core::Core;

/// Why an image was not put into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotUsed {
    /// Somebody else is home.
    NotHome,
    /// The set is not what it was when the image was made.
    Outdated,
    /// Not now.
    Later,
}

/// Carries out USE. Answers the epoch of the set that uses the image.
pub(super) async fn begin(core: &Arc<Core>, sealing: &Sealing) -> Result<Epoch, NotUsed> {
    let Sealing { extent, epoch, sequence, image } = sealing;
    let set = home(core, *extent).await?;
    if Epoch(set.epoch) != *epoch {
        return Err(NotUsed::Outdated);
    }
    if let Some(kept) = copies::keep(core, &set) {
        let said = kept.say_image(core, *epoch, *sequence, image).await;
        said.map_err(|error| not_said(image, error, NotUsed::Outdated))?;
    }
    let used = core.store.use_image(*extent, *epoch, *sequence, image).await;
    used.map_err(|error| {
        core.note(&error);
        tracing::debug!(%extent, %error, "an image is not put into use");
        NotUsed::Later
    })?;
    core.images.metrics.used.inc();
    let server = core.server().map(|own| own.0);
    tracing::debug!(server, %extent, image = %image.image, sequence, "in use");
    Ok(*epoch)
}

/// Sees that all backups use the image that the journal here uses already. Answers the epoch of the
/// set.
pub(super) async fn confirm(core: &Arc<Core>, extent: ExtentId, image: &ImageRef) -> Result<Epoch, NotUsed> {
    let set = home(core, extent).await?;
    let epoch = Epoch(set.epoch);
    let used = core.store.image(extent).await.map_err(|_| NotUsed::Later)?;
    let Some((sequence, _)) = used.filter(|(_, used)| used.image == image.image) else {
        return Err(NotUsed::Outdated);
    };
    if let Some(kept) = copies::keep(core, &set) {
        let used = kept.use_image(core, epoch, sequence, image.image).await;
        used.map_err(|error| not_said(image, error, NotUsed::Later))?;
    }
    Ok(epoch)
}

/// The set, if we are home of it and no backup is being filled.
async fn home(core: &Core, extent: ExtentId) -> Result<CopySet, NotUsed> {
    match copies::ask(core, extent).await {
        Asked::Home(set) if set.backups.iter().any(|one| one.filling) => Err(NotUsed::Later),
        Asked::Home(set) => Ok(set),
        Asked::NotHome => Err(NotUsed::NotHome),
        Asked::Unknown => Err(NotUsed::Later),
    }
}

/// What it means that not every backup says an image: `other` if one goes on with another.
fn not_said(image: &ImageRef, error: SettleError, other: NotUsed) -> NotUsed {
    tracing::debug!(image = %image.image, ?error, "not every backup says the image");
    // What is below the other one there will never show.
    if error == SettleError::OtherImage { other } else { NotUsed::Later }
}
