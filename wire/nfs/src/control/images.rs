//! IMAGES, READ_IMAGE, PUT_IMAGE and END_IMAGE: what data servers ask about the images they hold,
//! and how the bytes of an image go from one to another. THAW and ADOPT: whether an image is all
//! there is of its extent, and what is done when it is all that is left.
//!
//! What an image is, and what its bytes mean, is `layout`'s and `ds-image`'s. Data are not copied:
//! they are a part of the message they came in. HAVE: whether images are where they are thought to
//! be. AT_REST: whether a reader may answer from an image.
//!
//! Spec: docs/protocol/seal.md §2, §3, §5, §8 to §11.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list, xdr_struct};

use super::extent::ExtentName;
use super::limits;

/// An image's id: 16 random bytes.
pub type ImageName = [u8; 16];

/// What a data server says that an image is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An extent's image that its journal does not use.
    Unused,
    /// A parity image.
    Parity,
    /// The image that its journal uses, and those of all replicas of the set too, as the primary of
    /// the extent says.
    Used,
}

impl Decode for Standing {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(match r.u32()? {
            1 => Self::Unused,
            2 => Self::Parity,
            3 => Self::Used,
            value => return Err(XdrError::BadDiscriminant { what: "standing of an image", value }),
        })
    }
}

impl Encode for Standing {
    fn encode(&self, w: &mut Writer) {
        w.u32(match self {
            Self::Unused => 1,
            Self::Parity => 2,
            Self::Used => 3,
        });
    }
}

/// One image that a data server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownImage {
    /// Which one.
    pub image: ImageName,
    /// What it is to the caller.
    pub standing: Standing,
    /// Whose image it is; zeros for parity.
    pub extent: ExtentName,
    /// [`Standing::Unused`]: the extent's epoch when it was sealed. [`Standing::Used`]: the epoch
    /// of the set that uses it. 0 for parity.
    pub epoch: u64,
    /// [`Standing::Unused`]: up to which act it says the extent. [`Standing::Used`]: the last act
    /// of the extent, 0 if nothing lies above the image. 0 for parity.
    pub sequence: u64,
    /// Bytes of the extent it holds, from its start; 0 for parity.
    pub content_bytes: u32,
    /// Bytes of its file; of parity, of its payload.
    pub file_bytes: u32,
    /// BLAKE3 of its file; of parity, of its payload.
    pub sum: [u8; 32],
    /// What its frames are checked by (docs/formats/image.md §4); zeros for parity.
    pub root: [u8; 32],
}

xdr_struct! { ShownImage { image, standing, extent, epoch, sequence, content_bytes, file_bytes, sum, root } }

/// Arguments of IMAGES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowImages {
    /// Who shows them.
    pub server: u32,
    /// At most [`limits::IMAGES_MAX`].
    pub images: Vec<ShownImage>,
}

impl Decode for ShowImages {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { server: r.u32()?, images: list(r, limits::IMAGES_MAX)? })
    }
}

impl Encode for ShowImages {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.server);
        put_list(w, &self.images);
    }
}

/// What a data server is to do with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageWord {
    /// Keep it and ask again soon.
    Wait,
    /// Have the journals use it.
    Use,
    /// Keep it.
    Keep,
    /// Delete its file.
    Delete,
}

impl Decode for ImageWord {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(match r.u32()? {
            1 => Self::Wait,
            2 => Self::Use,
            3 => Self::Keep,
            4 => Self::Delete,
            value => return Err(XdrError::BadDiscriminant { what: "word for an image", value }),
        })
    }
}

impl Encode for ImageWord {
    fn encode(&self, w: &mut Writer) {
        w.u32(match self {
            Self::Wait => 1,
            Self::Use => 2,
            Self::Keep => 3,
            Self::Delete => 4,
        });
    }
}

/// Body of IMAGES' reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageWords {
    /// One for each that was shown, in order.
    pub words: Vec<ImageWord>,
}

impl Decode for ImageWords {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { words: list(r, limits::IMAGES_MAX)? })
    }
}

impl Encode for ImageWords {
    fn encode(&self, w: &mut Writer) {
        put_list(w, &self.words);
    }
}

/// Arguments of READ_IMAGE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadImage {
    /// Which image.
    pub image: ImageName,
    /// From which byte of its file.
    pub offset: u64,
    /// How many bytes, at most [`limits::IMAGE_DATA_BYTES_MAX`].
    pub length: u32,
}

xdr_struct! { ReadImage { image, offset, length } }

/// Body of READ_IMAGE's reply: fewer bytes than asked only where the file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageData {
    /// At most [`limits::IMAGE_DATA_BYTES_MAX`].
    pub data: Bytes,
}

impl Decode for ImageData {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { data: r.opaque(limits::IMAGE_DATA_BYTES_MAX)? })
    }
}

impl Encode for ImageData {
    fn encode(&self, w: &mut Writer) {
        w.opaque_bytes(self.data.clone());
    }
}

/// Arguments of PUT_IMAGE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutImage {
    /// Which image.
    pub image: ImageName,
    /// Bytes its file will have.
    pub file_bytes: u32,
    /// Where the data belong.
    pub offset: u32,
    /// At most [`limits::IMAGE_DATA_BYTES_MAX`].
    pub data: Bytes,
}

impl Decode for PutImage {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let (image, file_bytes, offset) = (r.fixed()?, r.u32()?, r.u32()?);
        Ok(Self { image, file_bytes, offset, data: r.opaque(limits::IMAGE_DATA_BYTES_MAX)? })
    }
}

impl Encode for PutImage {
    fn encode(&self, w: &mut Writer) {
        w.fixed(&self.image);
        w.u32(self.file_bytes);
        w.u32(self.offset);
        w.opaque_bytes(self.data.clone());
    }
}

/// Arguments of END_IMAGE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndImage {
    /// Which image.
    pub image: ImageName,
    /// Bytes of its file.
    pub file_bytes: u32,
    /// BLAKE3 of its file, parity's footer included.
    pub sum: [u8; 32],
}

xdr_struct! { EndImage { image, file_bytes, sum } }

/// Arguments of THAW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thaw {
    /// Who says so: the extent's primary.
    pub server: u32,
    /// Of which extent.
    pub extent: ExtentName,
    /// The first act above the image.
    pub sequence: u64,
}

xdr_struct! { Thaw { server, extent, sequence } }

/// Arguments of PROMISE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The caller: the extent's primary.
    pub server: u32,
    /// Of which extent.
    pub extent: ExtentName,
}

xdr_struct! { Promise { server, extent } }

/// Arguments of ADOPT. Its reply is a [`KnownEpoch`](super::extent::KnownEpoch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopt {
    /// Which extent.
    pub extent: ExtentName,
    /// Its epoch from now on, unless it is higher already.
    pub epoch: u64,
    /// The lowest sequence that the image may get.
    pub sequence: u64,
    /// Bytes to keep, from the start of the extent.
    pub keep_bytes: u32,
    /// The payload of an IMAGE record (docs/formats/journal.md §2).
    pub image: [u8; limits::IMAGE_RECORD_DATA_BYTES],
}

xdr_struct! { Adopt { extent, epoch, sequence, keep_bytes, image } }

/// Arguments of AT_REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskAtRest {
    /// Which extent.
    pub extent: ExtentName,
    /// The epoch that it must have.
    pub epoch: u64,
}

xdr_struct! { AskAtRest { extent, epoch } }

/// Body of AT_REST's reply: what an extent is made of, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtRest {
    /// Bytes of the file, by the log.
    pub size_bytes: u64,
    /// The image that says every byte of the extent: the payload of an IMAGE record
    /// (docs/formats/journal.md §2).
    pub image: [u8; limits::IMAGE_RECORD_DATA_BYTES],
}

xdr_struct! { AtRest { size_bytes, image } }

/// An image that a data server is thought to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldImage {
    /// Which one.
    pub image: ImageName,
    /// Bytes of its file, parity's footer included.
    pub file_bytes: u32,
}

xdr_struct! { HeldImage { image, file_bytes } }

/// Arguments of HAVE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaveImages {
    /// Who is asked; another data server is `Busy`.
    pub server: u32,
    /// At most [`limits::IMAGES_MAX`].
    pub images: Vec<HeldImage>,
}

impl Decode for HaveImages {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { server: r.u32()?, images: list(r, limits::IMAGES_MAX)? })
    }
}

impl Encode for HaveImages {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.server);
        put_list(w, &self.images);
    }
}

/// Body of HAVE's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HadImages {
    /// One for each that was asked for, in order: false if its file is surely not there, or has
    /// another length.
    pub have: Vec<bool>,
}

impl Decode for HadImages {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { have: list(r, limits::IMAGES_MAX)? })
    }
}

impl Encode for HadImages {
    fn encode(&self, w: &mut Writer) {
        put_list(w, &self.have);
    }
}
