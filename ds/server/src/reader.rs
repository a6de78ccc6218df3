//! READ of an extent whose primary is another server: a client's second mirror.
//!
//! This server has nothing of the extent that would tell whether something was written since it was
//! sealed: the primary may be alive, and only this client cannot reach it. So each READ asks the
//! metadata server, which has heard of every WRITE above the image before that WRITE was answered.
//! This server keeps no such answer: a client that opens the file after another one closed it must
//! see what that one wrote.
//!
//! INVARIANT: bytes go out only if, at some moment after the READ came, the image said every byte
//! that was ever promised of the extent.
//! Spec: docs/protocol/seal.md §11.

use std::sync::Arc;

use bytes::Bytes;
use layout::DsHandle;
use layout::ec::ImageRef;
use wire_nfs::control::Procedure;
use wire_nfs::control::images::{AskAtRest, AtRest};
use wire_nfs::v3::Nfsstat3;

use crate::images::Images;
use crate::link::extent_name;
use crate::metadata::MetadataQueries;
use crate::status;

const ZEROS_BYTES: usize = 64 << 10;
static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

/// The bytes of an answer to a READ.
pub(crate) struct Answer {
    pub(crate) data: Vec<Bytes>,
    pub(crate) bytes: u64,
    pub(crate) eof: bool,
}

/// Reads at most `count` bytes from `offset` of the extent.
///
/// # Units
/// `offset` counts bytes from the start of the extent; the range lies within it.
/// # Errors
/// STALE if the extent is not at rest at the handle's epoch (any more); JUKEBOX while no metadata
/// server says that, or not enough of the group answers; IO if the group gives no right bytes.
pub(crate) async fn read_at_rest(
    queries: &MetadataQueries,
    images: &Arc<Images>,
    handle: &DsHandle,
    offset: u32,
    count: u32,
) -> Result<Answer, Nfsstat3> {
    let extent = handle.extent;
    let metrics = images.metrics();
    let asked = query_rest(queries, handle).await;
    let (size_bytes, image) = asked.inspect_err(|status| {
        if *status == Nfsstat3::Stale {
            metrics.reader_refusals.inc();
        }
    })?;
    let content_end = extent.first_byte() + u64::from(image.content_bytes);
    let file_end = size_bytes.max(content_end);
    let from = extent.first_byte() + u64::from(offset);
    let bytes = u64::from(count).min(file_end.saturating_sub(from));
    let imaged = count.min(image.content_bytes.saturating_sub(offset));
    assert!(u64::from(imaged) <= bytes, "the file reaches at least as far as the image");
    let mut data = Vec::new();
    if 0 < imaged {
        let content = images.content(&image, offset, imaged).await;
        data = content.map_err(status::of_image)?;
        if data.iter().map(Bytes::len).sum::<usize>() != imaged as usize {
            return Err(Nfsstat3::Io);
        }
    }
    // A hole lies behind the content, below the end of the file.
    let mut left = bytes - u64::from(imaged);
    while 0 < left {
        let step = left.min(ZEROS_BYTES as u64);
        data.push(Bytes::from_static(&ZEROS[..usize::try_from(step).expect("at most 64 KiB")]));
        left -= step;
    }
    let whole: u64 = data.iter().map(|piece| piece.len() as u64).sum();
    assert_eq!(whole, bytes, "an answer has the bytes that it says");
    metrics.reader_reads.inc();
    metrics.reader_bytes.inc_by(bytes);
    Ok(Answer { data, bytes, eof: file_end <= from + bytes })
}

/// The file's length, and the image that says all of the extent.
async fn query_rest(queries: &MetadataQueries, handle: &DsHandle) -> Result<(u64, ImageRef), Nfsstat3> {
    let args = AskAtRest { extent: extent_name(handle.extent), epoch: handle.epoch.0 };
    let told: AtRest = queries.query(Procedure::AtRest, &args).await?;
    // The metadata server holds the cluster key: if its image makes no sense, another one may lead
    // soon.
    ImageRef::decode(&told.image).map(|image| (told.size_bytes, image)).map_err(|error| {
        tracing::error!(%error, "a metadata server names an image that cannot be");
        Nfsstat3::Jukebox
    })
}
