//! REGISTER: a data server says who and where it is, and gets its id, its first lease and the
//! sealed handle key.
//!
//! Spec: docs/protocol/control.md §2.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list, xdr_struct};

use super::body::text;
use super::copies::Directory;
use super::handles::HandleKeys;
use super::heartbeat::JournalEnd;
use super::limits;

pub use super::sealed_key::{SealBroken, SealedKey};

/// Arguments of REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The store's identity, made when it was formatted.
    pub uuid: [u8; 16],
    /// The write verifier of this start.
    pub instance: u64,
    /// Universal addresses clients reach the server at, the best first.
    pub addresses: Vec<String>,
    /// Where its control service listens, `ip:port`.
    pub control: String,
    /// What it may hold.
    pub capacity_bytes: u64,
    /// What counts against it.
    pub used_bytes: u64,
    /// Zone it stands in; empty is unknown. Copies of an extent are kept apart by zone, rack and
    /// host.
    pub zone: String,
    /// Rack it stands in.
    pub rack: String,
    /// Machine it runs on.
    pub host: String,
    /// What people call it; empty if it was not given a name.
    pub name: String,
    /// How far the journal went when it was found, the least of all starts that were not judged.
    pub found: JournalEnd,
    /// The operator accepts that something may be missing.
    pub is_loss_accepted: bool,
}

struct Text(String);

impl Decode for Text {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        text(r, "address").map(Self)
    }
}

impl Decode for Register {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let (uuid, instance) = (r.fixed()?, r.u64()?);
        let addresses: Vec<Text> = list(r, limits::DATA_ADDRESSES_MAX)?;
        if addresses.is_empty() {
            return Err(XdrError::Invalid { field: "addresses" });
        }
        let addresses = addresses.into_iter().map(|Text(address)| address).collect();
        let control = text(r, "control")?;
        let (capacity_bytes, used_bytes) = (r.u64()?, r.u64()?);
        let (zone, rack, host) = (text(r, "zone")?, text(r, "rack")?, text(r, "host")?);
        let name = text(r, "name")?;
        let (found, is_loss_accepted) = (JournalEnd::decode(r)?, r.bool()?);
        Ok(Self {
            uuid,
            instance,
            addresses,
            control,
            capacity_bytes,
            used_bytes,
            zone,
            rack,
            host,
            name,
            found,
            is_loss_accepted,
        })
    }
}

struct TextRef<'a>(&'a str);

impl Encode for TextRef<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.0);
    }
}

impl Encode for Register {
    fn encode(&self, w: &mut Writer) {
        w.fixed(&self.uuid);
        w.u64(self.instance);
        let addresses: Vec<TextRef<'_>> = self.addresses.iter().map(|address| TextRef(address)).collect();
        put_list(w, &addresses);
        w.string(&self.control);
        w.u64(self.capacity_bytes);
        w.u64(self.used_bytes);
        w.string(&self.zone);
        w.string(&self.rack);
        w.string(&self.host);
        w.string(&self.name);
        self.found.encode(w);
        w.bool(self.is_loss_accepted);
    }
}

/// Body of REGISTER's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The data server's id, for good.
    pub server: u32,
    /// How long the lease lasts from the moment REGISTER was sent; 0: there is none yet, and it is
    /// to register again.
    pub lease_ms: u32,
    /// The keys of data-server handles.
    pub keys: HandleKeys,
    /// The clock by which metadata servers say when handles were made, milliseconds.
    pub clock_ms: u64,
    /// Version of the exports that ADMITTED tells.
    pub exports: u64,
    /// How long an extent rests before it is sealed; 0: sealing is off.
    pub seal_idle_ms: u32,
    /// All data servers.
    pub directory: Directory,
    /// What the store had acknowledged, if it lacks a part of that: it serves nothing.
    pub behind: Option<JournalEnd>,
}

xdr_struct! { Registered { server, lease_ms, keys, clock_ms, exports, seal_idle_ms, directory, behind } }
