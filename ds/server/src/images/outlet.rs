//! The way of an image that is being made, front to back: into the directory here, or to another
//! server.
//!
//! INVARIANT: an image that [`Outlet::end`] has answered is on stable storage, and was read back
//! and compared with what was put.
//! Spec: docs/protocol/seal.md §3.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ds_image::limits::RAW_BLOCK_BYTES;
use ds_image::{CreateError, ImageId, ImageReceiver, ImageSum};
use layout::DataServerId;
use wire_nfs::control::images::{EndImage, PutImage};
use wire_nfs::control::limits::IMAGE_DATA_BYTES_MAX;
use wire_nfs::control::{Nothing, Procedure, Refusal};

use super::shelf::Shelf;
use crate::directory::Directory;
use crate::limits::{IMAGE_CALL_MS_MAX, IMAGE_END_MS_MAX};

/// Why an image was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutletError {
    /// The other server does not answer, or has no room.
    Elsewhere,
    /// The disk here failed, or gave back other bytes.
    Here,
}

/// What outlets of this server work with.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) shelf: Arc<Shelf>,
    pub(super) directory: Arc<Directory>,
}

/// An image on its way.
pub(super) struct Outlet {
    site: Site,
    image: ImageId,
    file_bytes: u64,
    pending: BytesMut,
    put_bytes: u64,
    sum: blake3::Hasher,
    to: To,
}

enum To {
    Here(ImageReceiver),
    /// The image is here already: only its sum is compared.
    Nowhere,
    Server(DataServerId),
}

impl Outlet {
    /// Begins an image of `file_bytes`. One that is here already is only compared.
    pub(super) async fn begin(
        site: &Site,
        server: DataServerId,
        image: ImageId,
        file_bytes: u64,
    ) -> Result<Self, OutletError> {
        let to = if site.directory.own() != Some(server) {
            To::Server(server)
        } else if site.shelf.dir.contains(image) {
            To::Nowhere
        } else {
            To::Here(begun(image, site.shelf.dir.receive(image, file_bytes).await)?)
        };
        Ok(Self::to(site, image, file_bytes, to))
    }

    /// Begins an image of `file_bytes` here, in place of one that is here already and is no good.
    pub(super) async fn begin_replacing(
        site: &Site,
        image: ImageId,
        file_bytes: u64,
    ) -> Result<Self, OutletError> {
        let dir = &site.shelf.dir;
        let receiver = if dir.contains(image) {
            dir.replace(image, file_bytes).await
        } else {
            dir.receive(image, file_bytes).await
        };
        Ok(Self::to(site, image, file_bytes, To::Here(begun(image, receiver)?)))
    }

    fn to(site: &Site, image: ImageId, file_bytes: u64, to: To) -> Self {
        let (pending, sum, site) = (BytesMut::new(), blake3::Hasher::new(), site.clone());
        Self { site, image, file_bytes, pending, put_bytes: 0, sum, to }
    }

    /// Takes the next bytes.
    pub(super) async fn put(&mut self, bytes: &[u8]) -> Result<(), OutletError> {
        self.sum.update(bytes);
        self.pending.extend_from_slice(bytes);
        while IMAGE_DATA_BYTES_MAX <= self.pending.len() {
            self.send_chunk().await?;
        }
        assert!(self.pending.len() < IMAGE_DATA_BYTES_MAX, "less than a chunk waits");
        Ok(())
    }

    async fn send_chunk(&mut self) -> Result<(), OutletError> {
        let (offset, data) = (self.put_bytes, next_chunk(&mut self.pending));
        assert!(!data.is_empty(), "a chunk has bytes");
        self.put_bytes += data.len() as u64;
        match &mut self.to {
            To::Nowhere => Ok(()),
            To::Here(receiver) => {
                receiver.write(offset, vec![data]).await.map_err(|error| failed(self.image, &error))
            }
            To::Server(server) => {
                let narrow = |bytes: u64| u32::try_from(bytes).map_err(|_| OutletError::Here);
                let (file_bytes, offset) = (narrow(self.file_bytes)?, narrow(offset)?);
                let args = PutImage { image: self.image.0, file_bytes, offset, data };
                self.site.send(*server, Procedure::PutImage, &args, IMAGE_CALL_MS_MAX).await
            }
        }
    }

    /// Ends the image.
    pub(super) async fn end(mut self) -> Result<ImageSum, OutletError> {
        while !self.pending.is_empty() {
            self.send_chunk().await?;
        }
        if self.put_bytes != self.file_bytes {
            return Err(OutletError::Here);
        }
        let sum = ImageSum(*self.sum.finalize().as_bytes());
        let (site, image) = (self.site, self.image);
        match self.to {
            To::Nowhere if site.shelf.is_whole(image, sum).await => {}
            To::Nowhere => return Err(OutletError::Here),
            To::Here(receiver) => {
                receiver.finish_any(Some(sum)).await.map_err(|error| failed(image, &error))?;
                site.shelf.close_image(image);
            }
            To::Server(server) => {
                let file_bytes = u32::try_from(self.file_bytes).map_err(|_| OutletError::Here)?;
                let args = EndImage { image: image.0, file_bytes, sum: sum.0 };
                site.send(server, Procedure::EndImage, &args, IMAGE_END_MS_MAX).await?;
            }
        }
        Ok(sum)
    }

    /// Gives the image up. Another server forgets it by itself.
    pub(super) async fn abandon(self) {
        if let To::Here(receiver) = self.to {
            receiver.abandon().await;
        }
    }
}

fn begun(image: ImageId, receiver: Result<ImageReceiver, CreateError>) -> Result<ImageReceiver, OutletError> {
    receiver.map_err(|error| {
        tracing::warn!(%image, %error, "an image cannot be made here");
        OutletError::Here
    })
}

fn failed(image: ImageId, error: &dyn std::error::Error) -> OutletError {
    tracing::error!(%image, %error, "an image could not be made here");
    OutletError::Here
}

/// The bytes of the next message, which may be short.
fn next_chunk(pending: &mut BytesMut) -> Bytes {
    pending.split_to(IMAGE_DATA_BYTES_MAX.min(pending.len())).freeze()
}

impl Site {
    async fn send(
        &self,
        server: DataServerId,
        procedure: Procedure,
        args: &impl wire_xdr::Encode,
        ms_max: u64,
    ) -> Result<(), OutletError> {
        let neighbour = self.directory.neighbour(server).ok_or(OutletError::Elsewhere)?;
        let told = neighbour.link.ask_within::<Nothing>(procedure, args, ms_max).await;
        told.map(drop).map_err(|error| {
            tracing::warn!(
                server = server.0, ?procedure, %error,
                "another server does not take an image"
            );
            neighbour.link.disconnect_if_silent(&error);
            OutletError::Elsewhere
        })
    }
}

impl From<OutletError> for Refusal {
    fn from(error: OutletError) -> Self {
        match error {
            OutletError::Elsewhere => Self::Busy,
            OutletError::Here => Self::Io,
        }
    }
}

const _: () =
    assert!((IMAGE_DATA_BYTES_MAX as u64).is_multiple_of(RAW_BLOCK_BYTES), "chunks are whole blocks");
