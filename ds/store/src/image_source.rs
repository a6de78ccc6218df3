//! Where the bytes of images come from: the store knows which image says what, not where it is.
//!
//! Spec: docs/protocol/seal.md §5.

use bytes::Bytes;
use env::BoxFuture;
use layout::ExtentId;

use layout::ec::ImageRef;

/// Why an image gave no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageReadError {
    /// No data server that has it, or enough of its group, can be reached now: try later.
    #[error("the image cannot be reached now")]
    Unavailable,
    /// All that could be asked was asked, and it gives no right bytes.
    #[error("the image is damaged")]
    Damaged,
}

/// Reads images, wherever they are.
pub trait ImageSource: Send + Sync {
    /// Bytes of the image's content, `length` of them from `offset` on; the range lies within the
    /// content, is not empty and at most
    /// [`IMAGE_READ_BYTES_MAX`](crate::limits::IMAGE_READ_BYTES_MAX) long. The source has
    /// checked them against the image's root.
    ///
    /// # Units
    /// `offset` counts bytes from the start of the extent.
    /// # Errors
    /// Any [`ImageReadError`].
    fn read(
        &self,
        extent: ExtentId,
        image: &ImageRef,
        offset: u32,
        length: u32,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ImageReadError>>;
}

/// There are no images: for stores whose extents were never sealed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoImages;

impl ImageSource for NoImages {
    fn read(
        &self,
        _: ExtentId,
        _: &ImageRef,
        _: u32,
        _: u32,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ImageReadError>> {
        Box::pin(async { Err(ImageReadError::Unavailable) })
    }
}
