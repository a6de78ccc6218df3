//! READ of an extent whose home is another server: a client's second mirror.
//!
//! We have nothing of the extent that would tell whether something was written since it was sealed:
//! the home may be alive, and only this client cannot reach it. So each READ asks the metadata
//! server, which has heard of every WRITE above the image before that was answered. Nothing that it
//! says is kept: whoever opens the file after somebody closed it must see what was written.
//!
//! INVARIANT: bytes go out only if, at some moment after the READ came, the image said every byte
//! that was ever promised of the extent.
//! Spec: docs/protocol/seal.md §11.

use bytes::Bytes;
use layout::DsHandle;
use layout::ec::ImageRef;
use wire_nfs::control::Procedure;
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::images::{AskAtRest, AtRest};
use wire_nfs::v3::Nfsstat3;

use crate::answer::Answer;
use crate::core::Core;

use crate::{metadata, status};

const ZEROS_BYTES: usize = 64 << 10;
static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

/// Reads at most `count` bytes from `offset` of the extent.
///
/// # Units
/// `offset` counts bytes from the start of the extent; the range lies within it.
/// # Errors
/// STALE if the extent is not at rest at the handle's epoch (any more); JUKEBOX while that, or
/// enough of the group, cannot be asked; IO if the group gives no right bytes.
pub(crate) async fn read(
    core: &Core,
    handle: &DsHandle,
    offset: u32,
    count: u32,
) -> Result<Answer, Nfsstat3> {
    let extent = handle.extent;
    let (size_bytes, image) = at_rest(core, handle).await?;
    let content_end = extent.first_byte() + u64::from(image.content_bytes);
    let file_end = size_bytes.max(content_end);
    let from = extent.first_byte() + u64::from(offset);
    let bytes = u64::from(count).min(file_end.saturating_sub(from));
    let imaged = count.min(image.content_bytes.saturating_sub(offset));
    let mut data = Vec::new();
    if 0 < imaged {
        let content = core.images.content(&image, offset, imaged).await;
        data = content.map_err(status::of_image)?;
        if data.iter().map(Bytes::len).sum::<usize>() != imaged as usize {
            return Err(Nfsstat3::Io);
        }
    }
    // What lies behind the content, below the end of the file, is a hole.
    let mut left = bytes - u64::from(imaged);
    while 0 < left {
        let step = left.min(ZEROS_BYTES as u64);
        data.push(Bytes::from_static(&ZEROS[..usize::try_from(step).expect("at most 64 KiB")]));
        left -= step;
    }
    core.images.metrics.reader_reads.inc();
    core.images.metrics.reader_bytes.inc_by(bytes);
    Ok(Answer { data, bytes, eof: file_end <= from + bytes })
}

/// The file's length, and the image that says all of the extent.
async fn at_rest(core: &Core, handle: &DsHandle) -> Result<(u64, ImageRef), Nfsstat3> {
    let extent = ExtentName { ino: handle.extent.ino, index: handle.extent.index };
    let args = AskAtRest { extent, epoch: handle.epoch.0 };
    let told: AtRest = metadata::ask(core, Procedure::AtRest, &args).await.inspect_err(|status| {
        if *status == Nfsstat3::Stale {
            core.images.metrics.reader_refusals.inc();
        }
    })?;
    // From a metadata server that holds the cluster key: if it makes no sense, another one may lead
    // soon.
    ImageRef::decode(&told.image).map(|image| (told.size_bytes, image)).map_err(|error| {
        tracing::error!(%error, "a metadata server names an image that cannot be");
        Nfsstat3::Jukebox
    })
}
