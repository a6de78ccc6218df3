//! COPIES and KEEP: which servers keep an extent, as a primary asks it and as a metadata server
//! says it; and the directory of data servers, so that they find each other.
//!
//! Spec: docs/protocol/control.md §2; docs/protocol/replicate.md §3, §4.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list, xdr_struct};

use super::body::text;
use super::extent::ExtentName;
use super::limits;

/// A data server that keeps a further copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBy {
    /// Its id.
    pub server: u32,
    /// The extent's epoch when it became a replica this time.
    pub since: u64,
    /// It does not hold everything yet.
    pub filling: bool,
}

xdr_struct! { KeptBy { server, since, filling } }

/// The copies of an extent: arguments of KEEP, body of COPIES' reply, and a part of CUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySet {
    /// Which extent.
    pub extent: ExtentName,
    /// At which epoch.
    pub epoch: u64,
    /// Who serves it.
    pub home: u32,
    /// Who else keeps it; at most [`limits::BACKUPS_MAX`].
    pub backups: Vec<KeptBy>,
}

impl Decode for CopySet {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let (extent, epoch, home) = (ExtentName::decode(r)?, r.u64()?, r.u32()?);
        Ok(Self { extent, epoch, home, backups: list(r, limits::BACKUPS_MAX)? })
    }
}

impl Encode for CopySet {
    fn encode(&self, w: &mut Writer) {
        self.extent.encode(w);
        w.u64(self.epoch);
        w.u32(self.home);
        put_list(w, &self.backups);
    }
}

/// What a primary says of a replica, or is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing: it only wants to know the copies.
    Ask,
    /// It cannot be reached, or does not answer in time.
    Lost,
    /// It holds everything now.
    Filled,
    /// Nothing: the primary is about to seal the extent, and wants to know whether it may, and at
    /// which epoch.
    Seal,
    /// Nothing: a replica, or the primary, wants to know who is primary.
    Who,
}

impl Decode for Word {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(match r.u32()? {
            0 => Self::Ask,
            1 => Self::Lost,
            2 => Self::Filled,
            3 => Self::Seal,
            4 => Self::Who,
            value => return Err(XdrError::BadDiscriminant { what: "word about a backup", value }),
        })
    }
}

impl Encode for Word {
    fn encode(&self, w: &mut Writer) {
        w.u32(match self {
            Self::Ask => 0,
            Self::Lost => 1,
            Self::Filled => 2,
            Self::Seal => 3,
            Self::Who => 4,
        });
    }
}

/// Arguments of COPIES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskCopies {
    /// Who asks: the extent's primary; with [`Word::Who`], a replica of it too.
    pub server: u32,
    /// Which extent.
    pub extent: ExtentName,
    /// What is said.
    pub word: Word,
    /// Of which replica; 0 with [`Word::Ask`], [`Word::Seal`] and [`Word::Who`].
    pub backup: u32,
    /// The replica's `since`.
    pub since: u64,
}

xdr_struct! { AskCopies { server, extent, word, backup, since } }

/// Where a data server can be reached by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub server: u32,
    /// Its control address, `ip:port`.
    pub control: String,
}

impl Decode for Listed {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { server: r.u32()?, control: text(r, "control")? })
    }
}

impl Encode for Listed {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.server);
        w.string(&self.control);
    }
}

/// All data servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Stands for the content: another one, another number.
    pub version: u64,
    /// At most [`limits::DIRECTORY_MAX`].
    pub servers: Vec<Listed>,
}

impl Decode for Directory {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { version: r.u64()?, servers: list(r, limits::DIRECTORY_MAX)? })
    }
}

impl Encode for Directory {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.version);
        put_list(w, &self.servers);
    }
}
