//! `ff_layout4`: which data servers have a range of a file, as which handle, and for whom.
//!
//! Spec: RFC 8435 §5.

use bytes::Bytes;
use wire_xdr::{Encode, Writer};

use crate::{
    body::xdr_body,
    limits::{FH_VERSIONS_MAX, LAYOUT_BODY_BYTES_MAX, MIRROR_SERVERS_MAX, MIRRORS_MAX, PRINCIPAL_BYTES_MAX},
    v4::{DeviceId, Filehandle, Stateid},
};

/// Flags of a layout.
pub mod flags {
    /// LAYOUTCOMMIT is not needed.
    pub const NO_LAYOUTCOMMIT: u32 = 1;
    /// No I/O through the metadata server, whatever happens.
    pub const NO_IO_THRU_MDS: u32 = 2;
    /// A read-write layout that is not to be read through.
    pub const NO_READ_IO: u32 = 4;
    /// Writing to one mirror is enough. QUIRK(linux): writes to all.
    pub const WRITE_ONE_MIRROR: u32 = 8;
}

/// The body of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FfLayout {
    /// Bytes of a stripe on one data server; 0 without striping.
    pub stripe_unit_bytes: u64,
    /// Copies of the data. A write goes to each.
    pub mirrors: Vec<Mirror>,
    /// Bits of [`flags`].
    pub flags: u32,
    /// Seconds between two LAYOUTSTATS; 0 leaves it to the client.
    pub stats_collect_hint_s: u32,
}

xdr_body! { FfLayout { stripe_unit_bytes, mirrors: list(MIRRORS_MAX), flags, stats_collect_hint_s } }

/// One copy of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The data servers that share it. QUIRK(linux): exactly one before 6.18, whose client fails
    /// the application.
    pub data_servers: Vec<DataServer>,
}

xdr_body! { Mirror { data_servers: list(MIRROR_SERVERS_MAX) } }

/// A file on a data server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataServer {
    /// The data server.
    pub device: DeviceId,
    /// How much it is to be preferred for reading: higher is better.
    pub efficiency: u32,
    /// For data servers of NFSv4; anonymous for NFSv3.
    pub stateid: Stateid,
    /// The file's handle, for each version in the device's list. QUIRK(linux): the first is used,
    /// none is a crash.
    pub filehandles: Vec<Filehandle>,
    /// Whose data it is. See [`decimal`](Self::decimal).
    pub user: Bytes,
    /// Whose group's.
    pub group: Bytes,
}

xdr_body! {
    DataServer {
        device,
        efficiency,
        stateid,
        filehandles: list(FH_VERSIONS_MAX),
        user: opaque(PRINCIPAL_BYTES_MAX),
        group: opaque(PRINCIPAL_BYTES_MAX),
    }
}

impl DataServer {
    /// A user or a group as a layout names it. QUIRK(linux): a plain decimal number without leading
    /// zeros, or the layout is refused.
    #[must_use]
    pub fn decimal(id: u32) -> Bytes {
        id.to_string().into()
    }
}

/// Why a layout cannot be given to a client. Ours, always: the client should go through the
/// metadata server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutBodyError {
    /// It is larger than a client reads.
    #[error("layout body of {bytes} bytes, above {LAYOUT_BODY_BYTES_MAX}")]
    TooLarge {
        /// Bytes that the body would have.
        bytes: usize,
    },
    /// A list in it is empty that clients take for granted.
    #[error("layout without {what}")]
    Empty {
        /// Which.
        what: &'static str,
    },
    /// Several data servers share a mirror, and the stripe unit is 0 or the mirrors differ in their
    /// number.
    #[error("layout with uneven stripes")]
    Striping,
}

impl FfLayout {
    /// The body, if it is one that clients accept.
    ///
    /// # Errors
    /// [`LayoutBodyError`]: one variant for each demand.
    pub fn to_body(&self) -> Result<Bytes, LayoutBodyError> {
        self.check_lists()?;
        let mut w = Writer::with_capacity(LAYOUT_BODY_BYTES_MAX);
        self.encode(&mut w);
        match w.len() {
            bytes if bytes <= LAYOUT_BODY_BYTES_MAX => Ok(w.into_bytes()),
            bytes => Err(LayoutBodyError::TooLarge { bytes }),
        }
    }

    fn check_lists(&self) -> Result<(), LayoutBodyError> {
        let empty = |what| Err(LayoutBodyError::Empty { what });
        let Some(first) = self.mirrors.first() else { return empty("mirrors") };
        let width = first.data_servers.len();
        if width == 0 {
            return empty("data servers");
        }
        if self.mirrors.iter().any(|mirror| mirror.data_servers.len() != width) {
            return Err(LayoutBodyError::Striping);
        }
        if 1 < width && self.stripe_unit_bytes == 0 {
            return Err(LayoutBodyError::Striping);
        }
        let mut servers = self.mirrors.iter().flat_map(|mirror| &mirror.data_servers);
        if servers.any(|server| server.filehandles.is_empty()) { empty("filehandles") } else { Ok(()) }
    }
}
