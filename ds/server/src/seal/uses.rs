//! Puts an image into use: every replica of the set says it, then the journal here does.
//!
//! The replicas come first. Until the journal here says the image this server shows it as unused,
//! and a metadata server says USE again: so a replica that did not hear of it does not keep its
//! bytes for ever.
//!
//! INVARIANT: the journal drops bytes only after a metadata server has said that the image is in a
//! group, and only while the set has the epoch of the image.
//! Spec: docs/protocol/seal.md §2, §4.

use std::sync::Arc;

use ds_store::{ImageRef, Store};
use layout::{Epoch, ExtentId};
use prometheus_client::metrics::counter::Counter;
use wire_nfs::control::copies::CopySet;

use super::known::Sealing;
use crate::copies::image::Asked;
use crate::copies::{Replication, SettleError};
use crate::lease::Serving;

/// Why an image was not put into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotUsed {
    /// Another data server is primary.
    NotPrimary,
    /// The set is not what it was when the image was made.
    Outdated,
    /// Not now.
    Later,
}

/// What images are put into use with.
pub(crate) struct Uses {
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) replication: Arc<Replication>,
    /// Images that the journal was told to use.
    pub(crate) used: Counter,
}

impl Uses {
    /// Carries out USE. Answers the epoch of the set that uses the image.
    pub(super) async fn use_image(&self, sealing: &Sealing) -> Result<Epoch, NotUsed> {
        let Sealing { extent, epoch, sequence, image } = sealing;
        let set = self.find_set(*extent).await?;
        if Epoch(set.epoch) != *epoch {
            return Err(NotUsed::Outdated);
        }
        if let Some(kept) = self.replication.adopt_set(&set) {
            let said = kept.have_image_said(&self.replication, *epoch, *sequence, image).await;
            said.map_err(|error| not_said(image, error, NotUsed::Outdated))?;
        }
        let used = self.store.use_image(*extent, *epoch, *sequence, image).await;
        used.map_err(|error| {
            self.serving.note_error(&error);
            tracing::debug!(%extent, %error, "an image is not put into use");
            NotUsed::Later
        })?;
        self.used.inc();
        let server = self.replication.directory.own().map(|own| own.0);
        tracing::debug!(server, %extent, image = %image.image, sequence, "in use");
        Ok(*epoch)
    }

    /// Checks that all replicas use the image that the journal here uses already. Answers the epoch
    /// of the set.
    pub(super) async fn confirm_use(&self, extent: ExtentId, image: &ImageRef) -> Result<Epoch, NotUsed> {
        let set = self.find_set(extent).await?;
        let epoch = Epoch(set.epoch);
        let used = self.store.image(extent).await.map_err(|_| NotUsed::Later)?;
        let Some((sequence, _)) = used.filter(|(_, used)| used.image == image.image) else {
            return Err(NotUsed::Outdated);
        };
        if let Some(kept) = self.replication.adopt_set(&set) {
            let used = kept.check_image_used(&self.replication, epoch, sequence, image.image).await;
            used.map_err(|error| not_said(image, error, NotUsed::Later))?;
        }
        Ok(epoch)
    }

    /// The set, if this server is primary of it and no replica is being filled.
    async fn find_set(&self, extent: ExtentId) -> Result<CopySet, NotUsed> {
        match self.replication.ask_set_at_rest(extent).await {
            Asked::Primary(set) if set.backups.iter().any(|one| one.filling) => Err(NotUsed::Later),
            Asked::Primary(set) => Ok(set),
            Asked::NotPrimary => Err(NotUsed::NotPrimary),
            Asked::Unknown => Err(NotUsed::Later),
        }
    }
}

/// What it means that not every replica says an image: `other` if one goes on with another.
fn not_said(image: &ImageRef, error: SettleError, other: NotUsed) -> NotUsed {
    tracing::debug!(image = %image.image, ?error, "not every replica says the image");
    // What is below the other one there will never show.
    if error == SettleError::OtherImage { other } else { NotUsed::Later }
}
