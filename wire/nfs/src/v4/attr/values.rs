//! The attributes' values that are more than a number or a string.
//!
//! Spec: RFC 8881 §3.2, §5.8, §5.12.4; RFC 7862 §12.2.3; RFC 8275 §5.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list, xdr_struct};

use crate::{
    enumeration::xdr_enum,
    limits::THRESHOLD_ITEMS_MAX,
    v4::{Bitmap, Nfstime4},
};

xdr_enum! {
    /// What an object is.
    pub enum FileType, "nfs_ftype4" {
        /// A regular file.
        Regular = 1,
        /// A directory.
        Directory = 2,
        /// A block device.
        Block = 3,
        /// A character device.
        Character = 4,
        /// A symbolic link.
        Link = 5,
        /// A socket.
        Socket = 6,
        /// A named pipe.
        Fifo = 7,
        /// A directory of named attributes.
        AttributeDirectory = 8,
        /// A named attribute.
        NamedAttribute = 9,
    }
}

xdr_enum! {
    /// How the change attribute moves (RFC 7862 §12.2.3).
    pub enum ChangeAttrType, "change_attr_type4" {
        /// It only grows.
        MonotonicIncr = 0,
        /// It grows by one with each change.
        VersionCounter = 1,
        /// It grows by one with each change, unless pNFS is used.
        VersionCounterNopnfs = 2,
        /// It is made from the time of the last metadata change.
        TimeMetadata = 3,
        /// Nothing is promised.
        Undefined = 4,
    }
}

/// A layout type, known or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutType(pub u32);

impl LayoutType {
    /// LAYOUT4_NFSV4_1_FILES.
    pub const FILES: Self = Self(1);
    /// LAYOUT4_OSD2_OBJECTS.
    pub const OSD2_OBJECTS: Self = Self(2);
    /// LAYOUT4_BLOCK_VOLUME.
    pub const BLOCK_VOLUME: Self = Self(3);
    /// LAYOUT4_FLEX_FILES (RFC 8435 §5).
    pub const FLEX_FILES: Self = Self(4);
    /// LAYOUT4_SCSI.
    pub const SCSI: Self = Self(5);
}

impl Decode for LayoutType {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        r.u32().map(Self)
    }
}

impl Encode for LayoutType {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.0);
    }
}

/// A file system's identity: it changes where another file system begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fsid {
    /// First half.
    pub major: u64,
    /// Second half.
    pub minor: u64,
}

xdr_struct! { Fsid { major, minor } }

/// The numbers of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SpecData {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

xdr_struct! { SpecData { major, minor } }

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetTime {
    /// The server's clock says.
    Server,
    /// This one.
    Client(Nfstime4),
}

impl Decode for SetTime {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match r.u32()? {
            0 => Ok(Self::Server),
            1 => Nfstime4::decode(r).map(Self::Client),
            value => Err(XdrError::BadDiscriminant { what: "time_how4", value }),
        }
    }
}

impl Encode for SetTime {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Server => w.u32(0),
            Self::Client(time) => {
                w.u32(1);
                time.encode(w);
            }
        }
    }
}

/// Some of the permission bits (RFC 8881 §6.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ModeMasked {
    /// The bits' new values.
    pub value: u32,
    /// The bits that change.
    pub mask: u32,
}

xdr_struct! { ModeMasked { value, mask } }

/// The mode of a new object, and the umask that goes with it unless an inherited ACL replaces that
/// (RFC 8275 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ModeUmask {
    /// The mode as the application gave it.
    pub mode: u32,
    /// The bits to clear in it.
    pub umask: u32,
}

xdr_struct! { ModeUmask { mode, umask } }

/// Below which sizes I/O had better go to the metadata server, by layout type (RFC 8881 §5.12.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MdsThreshold {
    /// One item for each layout type.
    pub hints: Vec<ThresholdItem>,
}

impl Decode for MdsThreshold {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        list(r, THRESHOLD_ITEMS_MAX).map(|hints| Self { hints })
    }
}

impl Encode for MdsThreshold {
    fn encode(&self, w: &mut Writer) {
        put_list(w, &self.hints);
    }
}

/// The thresholds of one layout type, in bytes. A field that is `None` is no hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdItem {
    /// Of which layouts.
    pub layout_type: LayoutType,
    /// Files smaller than this are read through the metadata server.
    pub read_size: Option<u64>,
    /// Files smaller than this are written through the metadata server.
    pub write_size: Option<u64>,
    /// Reads smaller than this go to the metadata server.
    pub read_iosize: Option<u64>,
    /// Writes smaller than this go to the metadata server.
    pub write_iosize: Option<u64>,
}

/// Bytes of the four hints we know; more may follow from a peer that knows more.
const HINT_LIST_BYTES_MAX: usize = 1024;

impl ThresholdItem {
    fn hints(&self) -> [Option<u64>; 4] {
        [self.read_size, self.write_size, self.read_iosize, self.write_iosize]
    }
}

impl Decode for ThresholdItem {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let layout_type = LayoutType::decode(r)?;
        let hint_set = Bitmap::decode(r)?;
        let hint_list: Bytes = r.opaque(HINT_LIST_BYTES_MAX)?;
        let mut values = Reader::new(hint_list);
        let mut hint = |number| if hint_set.contains(number) { values.u64().map(Some) } else { Ok(None) };
        // In ascending order of the hint's number; hints behind the fourth are not known, and are
        // left unread.
        let (read_size, write_size) = (hint(0)?, hint(1)?);
        let (read_iosize, write_iosize) = (hint(2)?, hint(3)?);
        Ok(Self { layout_type, read_size, write_size, read_iosize, write_iosize })
    }
}

impl Encode for ThresholdItem {
    fn encode(&self, w: &mut Writer) {
        let hints = self.hints();
        self.layout_type.encode(w);
        (0u32..)
            .zip(hints)
            .filter(|(_, hint)| hint.is_some())
            .map(|(number, _)| number)
            .collect::<Bitmap>()
            .encode(w);
        let present = hints.into_iter().flatten();
        w.count(8 * present.clone().count());
        present.for_each(|hint| w.u64(hint));
    }
}
