//! CREATE: makes anything but a regular file, in the current directory.
//!
//! Spec: RFC 8881 §18.4.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::{
    body::xdr_body,
    limits::{COMPONENT_BYTES_MAX, LINK_TEXT_BYTES_MAX},
    v4::{
        Bitmap, ChangeInfo, Fattr4,
        attr::{FileType, SpecData},
    },
};

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectType {
    /// A symbolic link to this target.
    Link(Bytes),
    /// A block device.
    Block(SpecData),
    /// A character device.
    Character(SpecData),
    /// A socket.
    Socket,
    /// A named pipe.
    Fifo,
    /// A directory.
    Directory,
    /// A type that cannot be made this way: BADTYPE.
    Other(u32),
}

impl Decode for ObjectType {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let number = r.u32()?;
        Ok(match FileType::from_u32(number) {
            Some(FileType::Link) => Self::Link(r.opaque(LINK_TEXT_BYTES_MAX)?),
            Some(FileType::Block) => Self::Block(SpecData::decode(r)?),
            Some(FileType::Character) => Self::Character(SpecData::decode(r)?),
            Some(FileType::Socket) => Self::Socket,
            Some(FileType::Fifo) => Self::Fifo,
            Some(FileType::Directory) => Self::Directory,
            _ => Self::Other(number),
        })
    }
}

impl Encode for ObjectType {
    fn encode(&self, w: &mut Writer) {
        let number = match self {
            Self::Link(_) => FileType::Link.as_u32(),
            Self::Block(_) => FileType::Block.as_u32(),
            Self::Character(_) => FileType::Character.as_u32(),
            Self::Socket => FileType::Socket.as_u32(),
            Self::Fifo => FileType::Fifo.as_u32(),
            Self::Directory => FileType::Directory.as_u32(),
            Self::Other(number) => *number,
        };
        w.u32(number);
        match self {
            Self::Link(target) => w.opaque(target),
            Self::Block(device) | Self::Character(device) => device.encode(w),
            Self::Socket | Self::Fifo | Self::Directory | Self::Other(_) => {}
        }
    }
}

/// What to make, under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The type, with what it needs.
    pub object: ObjectType,
    /// The name.
    pub name: Bytes,
    /// The attributes it begins with.
    pub attributes: Fattr4,
}

xdr_body! { Args { object, name: opaque(COMPONENT_BYTES_MAX), attributes } }

/// What became of the directory and the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Of the current directory.
    pub change: ChangeInfo,
    /// The attributes that were set.
    pub attrs_set: Bitmap,
}

xdr_body! { ResOk { change, attrs_set } }
