//! What a data server judges handles by: the handle keys that REGISTER and HEARTBEAT bring, HELD
//! (whether a layout is held) and ADMITTED (which addresses exports admit).
//!
//! Spec: docs/protocol/control.md §2, §7, §8; docs/formats/ds_handle.md.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list, xdr_struct};

use super::limits;
use super::sealed_key::SealedKey;

/// A handle key as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedKey {
    /// How handles name it; below 256.
    pub number: u32,
    /// The key.
    pub key: SealedKey,
}

xdr_struct! { NumberedKey { number, key } }

/// All handle keys that are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandleKeys {
    /// Other keys, another number; never 0.
    pub version: u64,
    /// At most [`limits::HANDLE_KEYS_MAX`].
    pub keys: Vec<NumberedKey>,
}

impl Decode for HandleKeys {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { version: r.u64()?, keys: list(r, limits::HANDLE_KEYS_MAX)? })
    }
}

impl Encode for HandleKeys {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.version);
        put_list(w, &self.keys);
    }
}

/// A layout as handles name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderName {
    /// The file.
    pub ino: u64,
    /// The client tag.
    pub tag: u32,
    /// The layout is for writing.
    pub writes: bool,
}

xdr_struct! { HolderName { ino, tag, writes } }

/// Arguments of HELD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskHeld {
    /// At most [`limits::HELD_MAX`].
    pub holders: Vec<HolderName>,
}

impl Decode for AskHeld {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { holders: list(r, limits::HELD_MAX)? })
    }
}

impl Encode for AskHeld {
    fn encode(&self, w: &mut Writer) {
        put_list(w, &self.holders);
    }
}

/// Body of HELD's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whether it is held, one for each asked, in order.
    pub held: Vec<bool>,
}

impl Decode for Held {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { held: list(r, limits::HELD_MAX)? })
    }
}

impl Encode for Held {
    fn encode(&self, w: &mut Writer) {
        put_list(w, &self.held);
    }
}

/// Whom an export admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedBy {
    /// The export's number; below 65536.
    pub export: u32,
    /// Networks of its clients as text; none: every address.
    pub networks: Vec<String>,
}

struct NetworkText(String);

impl Decode for NetworkText {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let bytes = r.string(limits::NETWORK_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| XdrError::Invalid { field: "network" })?;
        Ok(Self(text.to_owned()))
    }
}

impl Decode for AdmittedBy {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let export = r.u32()?;
        let networks: Vec<NetworkText> = list(r, limits::EXPORT_CLIENTS_MAX)?;
        Ok(Self { export, networks: networks.into_iter().map(|NetworkText(text)| text).collect() })
    }
}

struct TextRef<'a>(&'a str);

impl Encode for TextRef<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.0);
    }
}

impl Encode for AdmittedBy {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.export);
        let networks: Vec<TextRef<'_>> = self.networks.iter().map(|network| TextRef(network)).collect();
        put_list(w, &networks);
    }
}

/// Body of ADMITTED's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The version of the cluster's exports.
    pub version: u64,
    /// All exports.
    pub exports: Vec<AdmittedBy>,
}

impl Decode for Admitted {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { version: r.u64()?, exports: list(r, limits::EXPORTS_MAX)? })
    }
}

impl Encode for Admitted {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.version);
        put_list(w, &self.exports);
    }
}
