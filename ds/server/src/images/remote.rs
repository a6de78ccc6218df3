//! Bytes of images that are on other servers.
//!
//! INVARIANT: what comes from here is as long as was asked for, and nothing else is known of it.
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
use crate::limits::{IMAGE_CALL_MS_MAX, SILENT_MS};
use crate::link::AskError;

impl Images {
    /// Bytes of an image's file from the server that has it, this one perhaps. At most
    /// [`IMAGE_DATA_BYTES_MAX`].
    pub(crate) async fn fetch(
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
            return self.raw(image, range.start, length).await;
        }
        let neighbour = self.directory.neighbour(&self.env, server).ok_or(NoBytes::Unreachable)?;
        let args = ReadImage { image: image.0, offset: range.start, length };
        let answer =
            neighbour.link.ask_within::<ImageData>(Procedure::ReadImage, &args, IMAGE_CALL_MS_MAX).await;
        match answer {
            Ok(found) if found.data.len() == length as usize => Ok(found.data),
            Ok(_) | Err(AskError::Refused(Refusal::NoImage | Refusal::Invalid)) => Err(NoBytes::Absent),
            Err(error) => {
                tracing::debug!(server = server.0, %image, %error, "bytes of an image did not come");
                if matches!(error, AskError::Call(_)) {
                    self.fell_silent(server);
                    neighbour.link.disconnect_if_silent(&error);
                }
                Err(NoBytes::Unreachable)
            }
        }
    }

    /// The server did not answer a moment ago: others are asked first.
    pub(super) fn is_silent(&self, server: DataServerId) -> bool {
        let now_ms = self.env.clock.monotonic_ms();
        self.silent.lock().get(&server.0).is_some_and(|until_ms| now_ms < *until_ms)
    }

    fn fell_silent(&self, server: DataServerId) {
        // As many as the directory has, at most.
        self.silent.lock().insert(server.0, self.env.clock.monotonic_ms() + SILENT_MS);
    }
}

/// The bytes of an image's file on another server.
pub(super) struct RemoteBytes {
    pub(super) images: Arc<Images>,
    pub(super) server: DataServerId,
    pub(super) image: ImageId,
    pub(super) file_bytes: u64,
    pub(super) trouble: Arc<Trouble>,
    /// It gave nothing: it is not asked once for each frame.
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
                let came = images.fetch(server, image, at..stop).await.map_err(|why| {
                    trouble.note(why);
                    gone.store(true, Ordering::Relaxed);
                    io::Error::from(io::ErrorKind::NotFound)
                })?;
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
