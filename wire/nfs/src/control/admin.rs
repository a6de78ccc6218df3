//! DS_REMOVE, DS_DRAIN, VERIFY, REBALANCE, MDS_READMIT and HANDLE_KEY_ROTATE: what administrators
//! ask of the leading metadata server.
//!
//! Spec: docs/protocol/admin.md.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list, xdr_struct};

use super::images::ImageName;
use super::limits;
use crate::enumeration::xdr_enum;

/// Arguments of DS_REMOVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveServer {
    /// Which data server.
    pub server: u32,
}

xdr_struct! { RemoveServer { server } }

/// Arguments of DS_DRAIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainServer {
    /// Which data server.
    pub server: u32,
    /// False: what it has may stay.
    pub drain: bool,
}

xdr_struct! { DrainServer { server, drain } }

/// Body of the replies to DS_REMOVE and DS_DRAIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// It is so now.
    pub done: bool,
    /// For a person: why not, or what follows; at most [`limits::WORDS_BYTES_MAX`] bytes.
    pub words: String,
}

impl Decode for Ruling {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { done: r.bool()?, words: words(r)? })
    }
}

impl Encode for Ruling {
    fn encode(&self, w: &mut Writer) {
        w.bool(self.done);
        w.string(&self.words);
    }
}

/// Arguments of VERIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// A path from the root of the file system, at most [`limits::PATH_BYTES_MAX`] bytes.
    pub path: Vec<u8>,
    /// Index of the first extent asked for.
    pub from: u32,
}

impl Decode for Verify {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { path: r.string(limits::PATH_BYTES_MAX)?.to_vec(), from: r.u32()? })
    }
}

impl Encode for Verify {
    fn encode(&self, w: &mut Writer) {
        w.opaque(&self.path);
        w.u32(self.from);
    }
}

xdr_enum! {
    /// Where the bytes of an extent are.
    pub enum ExtentState, "state of an extent" {
        /// In the journals of primary and replicas.
        Hot = 1,
        /// In an image, and something may lie above it.
        Sealed = 2,
        /// In an image, all of them.
        AtRest = 3,
    }
}

xdr_enum! {
    /// How a data server that holds something is.
    pub enum HolderState, "state of a holder" {
        /// It has a lease.
        Up = 1,
        /// It has none.
        Down = 2,
        /// It does not hold everything yet.
        Filling = 3,
        /// It is up, and what it has moves away.
        Draining = 4,
    }
}

/// A data server that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which one; 0 for an empty member of a group.
    pub server: u32,
    /// How it is.
    pub state: HolderState,
}

xdr_struct! { Holder { server, state } }

/// The image of an extent, and the group that gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedImage {
    /// Which image.
    pub image: ImageName,
    /// Up to which act it says the extent.
    pub sequence: u64,
    /// Its group.
    pub group: u64,
    /// Members of the group's code.
    pub data: u32,
    /// Parity images of the group's code.
    pub parity: u32,
    /// Which slot of the group it is.
    pub slot: u32,
    /// Where the images of the group are, by slot; at most [`limits::GROUP_SLOTS_MAX`].
    pub holders: Vec<Holder>,
}

impl Decode for VerifiedImage {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self {
            image: r.fixed()?,
            sequence: r.u64()?,
            group: r.u64()?,
            data: r.u32()?,
            parity: r.u32()?,
            slot: r.u32()?,
            holders: list(r, limits::GROUP_SLOTS_MAX)?,
        })
    }
}

impl Encode for VerifiedImage {
    fn encode(&self, w: &mut Writer) {
        self.image.encode(w);
        w.u64(self.sequence);
        w.u64(self.group);
        w.u32(self.data);
        w.u32(self.parity);
        w.u32(self.slot);
        put_list(w, &self.holders);
    }
}

/// An erasure code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedCode {
    /// Members of a group.
    pub data: u32,
    /// Parity images of a group.
    pub parity: u32,
}

xdr_struct! { NamedCode { data, parity } }

/// One extent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedExtent {
    /// Which 64 MiB of the file.
    pub index: u32,
    /// Where its bytes are.
    pub state: ExtentState,
    /// Its epoch.
    pub epoch: u64,
    /// Who serves it.
    pub home: Holder,
    /// Who else keeps what is hot; at most [`limits::BACKUPS_MAX`].
    pub backups: Vec<Holder>,
    /// Its oldest image, if it has one.
    pub image: Option<VerifiedImage>,
    /// How many servers may be lost besides; `None` if something cannot be read now.
    pub survives: Option<u32>,
    /// Everything is as it should be.
    pub whole: bool,
    /// The code it is to be sealed under, if that is not the cluster's.
    pub code: Option<NamedCode>,
}

impl Decode for VerifiedExtent {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self {
            index: r.u32()?,
            state: ExtentState::decode(r)?,
            epoch: r.u64()?,
            home: Holder::decode(r)?,
            backups: list(r, limits::BACKUPS_MAX)?,
            image: Option::decode(r)?,
            survives: Option::decode(r)?,
            whole: r.bool()?,
            code: Option::decode(r)?,
        })
    }
}

impl Encode for VerifiedExtent {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.index);
        self.state.encode(w);
        w.u64(self.epoch);
        self.home.encode(w);
        put_list(w, &self.backups);
        self.image.encode(w);
        self.survives.encode(w);
        w.bool(self.whole);
        self.code.encode(w);
    }
}

/// Body of VERIFY's reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// For a person: why there is nothing to say. Empty if there is.
    pub words: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// Its bytes are with the metadata.
    pub inline: bool,
    /// Copies of what is hot that are wished.
    pub copies: u32,
    /// Its extents in order; at most [`limits::VERIFY_EXTENTS_MAX`].
    pub extents: Vec<VerifiedExtent>,
    /// Where to ask on.
    pub next: Option<u32>,
}

impl Decode for Verified {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self {
            words: words(r)?,
            size_bytes: r.u64()?,
            inline: r.bool()?,
            copies: r.u32()?,
            extents: list(r, limits::VERIFY_EXTENTS_MAX)?,
            next: Option::decode(r)?,
        })
    }
}

impl Encode for Verified {
    fn encode(&self, w: &mut Writer) {
        w.string(&self.words);
        w.u64(self.size_bytes);
        w.bool(self.inline);
        w.u32(self.copies);
        put_list(w, &self.extents);
        self.next.encode(w);
    }
}

/// Arguments of REBALANCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// Nothing is moved: it is only asked what would be.
    pub dry_run: bool,
}

xdr_struct! { Rebalance { dry_run } }

/// What moves from one data server to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it is.
    pub from: u32,
    /// Where it should be.
    pub to: u32,
    /// Images of groups.
    pub images: u64,
    /// Copies of extents.
    pub extents: u64,
    /// Bytes of both.
    pub bytes: u64,
}

xdr_struct! { Route { from, to, images, extents, bytes } }

/// Body of REBALANCE's reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalanced {
    /// It has begun, or what would be moved is known.
    pub done: bool,
    /// For a person.
    pub words: String,
    /// What would be moved; at most [`limits::ROUTES_MAX`].
    pub routes: Vec<Route>,
}

impl Decode for Rebalanced {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { done: r.bool()?, words: words(r)?, routes: list(r, limits::ROUTES_MAX)? })
    }
}

impl Encode for Rebalanced {
    fn encode(&self, w: &mut Writer) {
        w.bool(self.done);
        w.string(&self.words);
        put_list(w, &self.routes);
    }
}

/// Arguments of MDS_READMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readmit {
    /// Which metadata server.
    pub number: u64,
}

xdr_struct! { Readmit { number } }

/// Body of MDS_READMIT's reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readmitted {
    /// For a person: why it is not taken in. Empty if it is.
    pub words: String,
    /// Shards of the cluster.
    pub shards: u64,
    /// Those that have the metadata server as it is now; no more than `shards`.
    pub done: u64,
}

impl Decode for Readmitted {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let read = Self { words: words(r)?, shards: r.u64()?, done: r.u64()? };
        if read.done <= read.shards { Ok(read) } else { Err(XdrError::Invalid { field: "done" }) }
    }
}

impl Encode for Readmitted {
    fn encode(&self, w: &mut Writer) {
        w.string(&self.words);
        w.u64(self.shards);
        w.u64(self.done);
    }
}

/// Arguments of HANDLE_KEY_ROTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateHandleKey {
    /// Begin, if the keys are still of this version; `None`: only say how it is.
    pub replaces: Option<u64>,
}

xdr_struct! { RotateHandleKey { replaces } }

xdr_enum! {
    /// How far the replacement of a handle key is.
    pub enum RotationStage, "stage of a rotation" {
        /// None is under way.
        None = 1,
        /// Data servers learn the new key.
        Spreading = 2,
        /// The new key is used; layouts with handles under the one before are recalled.
        Leaving = 3,
    }
}

/// Body of HANDLE_KEY_ROTATE's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandleKeyRotation {
    /// How far it is.
    pub stage: RotationStage,
    /// Version of the keys; moves when one is added and when one is dropped.
    pub version: u64,
    /// Number of the key that handles are sealed under.
    pub key: u32,
    /// Data servers that hold a lease, or may, and have not said that they have these keys.
    pub servers: u32,
}

xdr_struct! { HandleKeyRotation { stage, version, key, servers } }

fn words(r: &mut Reader) -> Result<String, XdrError> {
    let bytes = r.string(limits::WORDS_BYTES_MAX)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| XdrError::Invalid { field: "words" })
}

#[cfg(test)]
mod tests;
