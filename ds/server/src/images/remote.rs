//! Bytes of images that are on other servers.
//!
//! INVARIANT: bytes that come from here are as many as were asked for, and nothing else is known of
//! them.
//! Spec: docs/protocol/seal.md §5.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use ds_image::{ImageBytes, ImageId};
use env::BoxFuture;
use layout::DataServerId;
use wire_nfs::control::images::{ImageData, ReadImage};
use wire_nfs::control::limits::IMAGE_DATA_BYTES_MAX;
use wire_nfs::control::{Procedure, Refusal};

use super::Images;
use super::trouble::{NoBytes, Trouble};
use crate::limits::IMAGE_CALL_MS_MAX;
use crate::link::AskError;

impl Images {
    /// Fetches bytes of an image's file from the server that has it, this one perhaps. At most
    /// [`IMAGE_DATA_BYTES_MAX`].
    pub(crate) async fn fetch_file(
        &self,
        server: DataServerId,
        image: ImageId,
        range: Range<u64>,
    ) -> Result<Bytes, NoBytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = u32::try_from(range.end - range.start).map_err(|_| NoBytes::Absent)?;
        if self.directory.own() == Some(server) {
            return self.shelf.read_file(image, range.start, length).await;
        }
        let neighbour = self.directory.neighbour(server).ok_or(NoBytes::Unreachable)?;
        let args = ReadImage { image: image.0, offset: range.start, length };
        let answer =
            neighbour.link.ask_within::<ImageData>(Procedure::ReadImage, &args, IMAGE_CALL_MS_MAX).await;
        match answer {
            Ok(found) if found.data.len() == length as usize => Ok(found.data),
            Ok(_) | Err(AskError::Refused(Refusal::NoImage | Refusal::Invalid)) => Err(NoBytes::Absent),
            Err(error) => {
                tracing::debug!(
                    server = server.0, %image, %error,
                    "bytes of an image did not come"
                );
                if matches!(error, AskError::Call(_)) {
                    self.note_silence(server);
                    neighbour.link.disconnect_if_silent(&error);
                }
                Err(NoBytes::Unreachable)
            }
        }
    }
}

/// The bytes of an image's file on another server.
pub(super) struct RemoteBytes {
    pub(super) images: Arc<Images>,
    pub(super) server: DataServerId,
    pub(super) image: ImageId,
    pub(super) file_bytes: u64,
    pub(super) trouble: Arc<Trouble>,
    /// The server gave nothing: it is not asked once for each frame.
    pub(super) gone: Arc<AtomicBool>,
}

impl ImageBytes for RemoteBytes {
    fn file_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        Box::pin(std::future::ready(Ok(self.file_bytes)))
    }

    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        let (images, trouble) = (Arc::clone(&self.images), Arc::clone(&self.trouble));
        let (server, image, gone) = (self.server, self.image, Arc::clone(&self.gone));
        let end = offset.saturating_add(length as u64).min(self.file_bytes);
        Box::pin(async move {
            let (mut all, mut at) = (BytesMut::new(), offset);
            while at < end {
                if gone.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let stop = end.min(at + IMAGE_DATA_BYTES_MAX as u64);
                let came = images.fetch_file(server, image, at..stop).await.map_err(|why| {
                    trouble.note(why);
                    gone.store(true, Ordering::Relaxed);
                    io::Error::from(io::ErrorKind::NotFound)
                })?;
                assert_eq!(came.len() as u64, stop - at, "a server gives all bytes or none");
                // Nearly always it is one piece.
                if at == offset && stop == end {
                    return Ok(came);
                }
                all.extend_from_slice(&came);
                at = stop;
            }
            Ok(all.freeze())
        })
    }
}
