//! EXPORTS_SET: an administrator says what the cluster exports.
//!
//! Spec: docs/protocol/admin.md §8.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list};

use super::admin::NamedCode;
use super::limits;
use crate::enumeration::xdr_enum;

xdr_enum! {
    /// Which users an export maps to its anonymous user.
    pub enum Squashing, "squashing" {
        /// None of them.
        None = 0,
        /// User 0 and group 0.
        Root = 1,
        /// Everybody.
        All = 2,
    }
}

/// A network of clients, as text: `10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkText(pub String);

impl Decode for NetworkText {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self(text(r, limits::NETWORK_BYTES_MAX, "network")?))
    }
}

impl Encode for NetworkText {
    fn encode(&self, w: &mut Writer) {
        w.string(&self.0);
    }
}

/// One export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportEntry {
    /// Its path, at most [`limits::EXPORT_PATH_BYTES_MAX`] bytes.
    pub path: String,
    /// Changes are refused.
    pub read_only: bool,
    /// Which users become the anonymous user.
    pub squash: Squashing,
    /// The user that they become.
    pub anonymous_uid: u32,
    /// And the group.
    pub anonymous_gid: u32,
    /// Who may use it, at most [`limits::EXPORT_CLIENTS_MAX`]; empty: everybody.
    pub clients: Vec<NetworkText>,
    /// Layouts are given out.
    pub pnfs: bool,
    /// Extents of a segment of a layout.
    pub stripes: u32,
    /// The code that files are sealed under, if that is not the cluster's.
    pub code: Option<NamedCode>,
    /// Requests must come from a source port below 1024.
    pub secure: bool,
}

impl Decode for ExportEntry {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self {
            path: text(r, limits::EXPORT_PATH_BYTES_MAX, "path")?,
            read_only: r.bool()?,
            squash: Squashing::decode(r)?,
            anonymous_uid: r.u32()?,
            anonymous_gid: r.u32()?,
            clients: list(r, limits::EXPORT_CLIENTS_MAX)?,
            pnfs: r.bool()?,
            stripes: r.u32()?,
            code: Option::decode(r)?,
            secure: r.bool()?,
        })
    }
}

impl Encode for ExportEntry {
    fn encode(&self, w: &mut Writer) {
        w.string(&self.path);
        w.bool(self.read_only);
        self.squash.encode(w);
        w.u32(self.anonymous_uid);
        w.u32(self.anonymous_gid);
        put_list(w, &self.clients);
        w.bool(self.pnfs);
        w.u32(self.stripes);
        self.code.encode(w);
        w.bool(self.secure);
    }
}

/// Arguments of EXPORTS_SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetExports {
    /// The version that is to be replaced; `None`: whichever there is.
    pub replaces: Option<u64>,
    /// The exports, and no others; at most [`limits::EXPORTS_MAX`].
    pub exports: Vec<ExportEntry>,
}

impl Decode for SetExports {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { replaces: Option::decode(r)?, exports: list(r, limits::EXPORTS_MAX)? })
    }
}

impl Encode for SetExports {
    fn encode(&self, w: &mut Writer) {
        self.replaces.encode(w);
        put_list(w, &self.exports);
    }
}

/// Body of EXPORTS_SET's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportsRuling {
    /// It is so now.
    pub done: bool,
    /// For a person: why not, or what was changed; at most [`limits::WORDS_BYTES_MAX`] bytes.
    pub words: String,
    /// The version of what is exported; 0 if nothing was said yet.
    pub version: u64,
}

impl Decode for ExportsRuling {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { done: r.bool()?, words: text(r, limits::WORDS_BYTES_MAX, "words")?, version: r.u64()? })
    }
}

impl Encode for ExportsRuling {
    fn encode(&self, w: &mut Writer) {
        w.bool(self.done);
        w.string(&self.words);
        w.u64(self.version);
    }
}

fn text(r: &mut Reader, bytes_max: usize, field: &'static str) -> Result<String, XdrError> {
    let bytes = r.string(bytes_max)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| XdrError::Invalid { field })
}

#[cfg(test)]
mod tests;
