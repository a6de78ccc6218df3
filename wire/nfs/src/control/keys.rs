//! What a node holds of the cluster's keys: all of it, or what was derived for its role; and which
//! key proves what.
//!
//! INVARIANT: `ClusterKey::link_key` is the one place where a key is chosen for a connection.
//! INVARIANT: what was derived for a role gives neither the cluster key nor the key of another
//! role, or of another data server.
//! Spec: docs/protocol/control.md §1; docs/formats/key.md.

use std::fmt;

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::node_kind::NodeKind;

const CONTEXT_METADATA: &str = "shoal 2026-11-25 control: metadata servers";
const CONTEXT_DATA: &str = "shoal 2026-11-25 control: a data server and metadata servers";
const CONTEXT_NEIGHBOURS: &str = "shoal 2026-11-25 control: data servers among each other";
const CONTEXT_ADMINISTRATOR: &str = "shoal 2026-11-25 control: administrators";
const CONTEXT_FINGERPRINT: &str = "shoal 2026-11-25 cluster key: fingerprint";

/// Which node of its kind a node is. For data servers with a key of their own: a hash of the name,
/// which is proven. For metadata servers: another one for each node, which is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity([u8; 32]);

impl Decode for Identity {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self(r.fixed()?))
    }
}

impl Encode for Identity {
    fn encode(&self, w: &mut Writer) {
        w.fixed(&self.0);
    }
}

impl Identity {
    /// Of a node that may be any of its kind: it holds the whole cluster key.
    pub const ANY: Self = Self([0; 32]);

    /// Of the data server with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self(*blake3::hash(name.as_bytes()).as_bytes())
    }

    /// Of the metadata server with this number.
    #[must_use]
    pub fn of_node(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// One end of a connection: what it is, and which of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) kind: NodeKind,
    pub(super) identity: Identity,
}

/// A key under which the two ends of a connection prove themselves.
pub(super) struct LinkKey([u8; 32]);

impl LinkKey {
    pub(super) fn keyed(&self, input: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, input)
    }
}

/// What a node holds. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey(Held);

#[derive(Clone, PartialEq, Eq)]
enum Held {
    Whole([u8; 32]),
    DataServer(DataServerKey),
    Administrator([u8; 32]),
}

/// What lets a host be one data server, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct DataServerKey {
    /// The data server's name.
    pub name: String,
    /// Proves that to metadata servers, and them to it.
    pub own: [u8; 32],
    /// Proves that it is a data server, to the others.
    pub neighbours: [u8; 32],
}

impl fmt::Debug for DataServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataServerKey({}, ..)", self.name)
    }
}

impl ClusterKey {
    /// Takes 32 random bytes as the key: the whole of it.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Held::Whole(bytes))
    }

    /// What a data server was given.
    #[must_use]
    pub fn data_server(key: DataServerKey) -> Self {
        Self(Held::DataServer(key))
    }

    /// What an administrator was given.
    #[must_use]
    pub fn administrator(bytes: [u8; 32]) -> Self {
        Self(Held::Administrator(bytes))
    }

    /// The whole key's bytes, if this is it. Never to be logged.
    #[must_use]
    pub fn whole(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Held::Whole(bytes) => Some(bytes),
            Held::DataServer(_) | Held::Administrator(_) => None,
        }
    }

    /// The data server that its holder can be, if it can be one alone.
    #[must_use]
    pub fn only_data_server(&self) -> Option<&DataServerKey> {
        match &self.0 {
            Held::DataServer(key) => Some(key),
            Held::Whole(_) | Held::Administrator(_) => None,
        }
    }

    /// The bytes of an administrator's key, if this is one. Never to be logged.
    #[must_use]
    pub fn only_administrator(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Held::Administrator(bytes) => Some(bytes),
            Held::Whole(_) | Held::DataServer(_) => None,
        }
    }

    /// What its holder can be, in words.
    #[must_use]
    pub fn role(&self) -> String {
        match &self.0 {
            Held::Whole(_) => "every node".to_owned(),
            Held::DataServer(key) => format!("data server {}", key.name),
            Held::Administrator(_) => "an administrator".to_owned(),
        }
    }

    /// 8 hex digits that tell keys apart, and from which nothing of a key is learnt. The cluster
    /// key and the keys of all data servers that were derived from it have the same; an
    /// administrator's has another.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let shown = match &self.0 {
            Held::Whole(whole) => derived(CONTEXT_NEIGHBOURS, whole),
            Held::DataServer(key) => key.neighbours,
            Held::Administrator(key) => *key,
        };
        derived(CONTEXT_FINGERPRINT, &shown)[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the data server with this name needs; `None` if this is not the whole key.
    #[must_use]
    pub fn for_data_server(&self, name: &str) -> Option<DataServerKey> {
        let whole = self.whole()?;
        let own = of_data_server(whole, Identity::of_name(name));
        Some(DataServerKey { name: name.to_owned(), own, neighbours: derived(CONTEXT_NEIGHBOURS, whole) })
    }

    /// What an administrator needs; `None` if this is not the whole key.
    #[must_use]
    pub fn for_administrator(&self) -> Option<[u8; 32]> {
        self.whole().map(|whole| derived(CONTEXT_ADMINISTRATOR, whole))
    }

    /// Who its holder is as a node of a kind.
    pub(super) fn identity(&self) -> Identity {
        match &self.0 {
            Held::DataServer(key) => Identity::of_name(&key.name),
            Held::Whole(_) | Held::Administrator(_) => Identity::ANY,
        }
    }

    /// The key of a connection between these two. `None` if its holder has none for that.
    pub(super) fn link_key(&self, caller: End, callee: End) -> Option<LinkKey> {
        use NodeKind::{Administrator, Data, Metadata};
        let key = match (caller.kind, callee.kind, &self.0) {
            (Metadata, Metadata, Held::Whole(whole)) => derived(CONTEXT_METADATA, whole),
            (Data, Metadata, Held::Whole(whole)) => of_data_server(whole, caller.identity),
            (Metadata, Data, Held::Whole(whole)) => of_data_server(whole, callee.identity),
            (Data, Metadata, Held::DataServer(key)) if caller.identity == Identity::of_name(&key.name) => {
                key.own
            }
            (Metadata, Data, Held::DataServer(key)) if callee.identity == Identity::of_name(&key.name) => {
                key.own
            }
            (Data, Data, Held::Whole(whole)) => derived(CONTEXT_NEIGHBOURS, whole),
            (Data, Data, Held::DataServer(key)) => key.neighbours,
            (Administrator, Metadata, Held::Whole(whole)) => derived(CONTEXT_ADMINISTRATOR, whole),
            (Administrator, Metadata, Held::Administrator(key)) => *key,
            _ => return None,
        };
        Some(LinkKey(key))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({}, ..)", self.role())
    }
}

fn derived(context: &str, whole: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key(context, whole)
}

fn of_data_server(whole: &[u8; 32], identity: Identity) -> [u8; 32] {
    *blake3::keyed_hash(&derived(CONTEXT_DATA, whole), identity.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn keys_have_their_golden_bytes() {
        let whole = ClusterKey::new([7; 32]);
        let n7 = whole.for_data_server("n7").unwrap();
        let role =
            blake3::derive_key("shoal 2026-11-25 control: a data server and metadata servers", &[7; 32]);
        assert_eq!(n7.own, *blake3::keyed_hash(&role, blake3::hash(b"n7").as_bytes()).as_bytes());
        let keys =
            [n7.own, n7.neighbours, whole.for_administrator().unwrap(), derived(CONTEXT_METADATA, &[7; 32])];
        assert_eq!(
            keys.map(|key| hex(&key)),
            [
                "1cf51c0a7ce60faea5d798103ef39e5e15f40c87886d59211c08ba4fdc39f904",
                "5f63754aa1be9ceb2d1791d7c5e04702dbdc7af37ad8f8d9acb2066defe387e6",
                "f5cd34fa95fd712ab59980ce32d1efa8a9a6c09ba69f5d2041a1b03eec452632",
                "049e461e1c4c37f47a7277a6444669974ee3e25f50e299b1e28d9c2e54a790d3",
            ]
        );
    }

    #[test]
    fn nodes_of_one_cluster_key_show_one_fingerprint() {
        let whole = ClusterKey::new([7; 32]);
        let [n7, n8] = ["n7", "n8"].map(|name| ClusterKey::data_server(whole.for_data_server(name).unwrap()));
        let administrator = ClusterKey::administrator(whole.for_administrator().unwrap());
        assert_eq!(whole.fingerprint(), "090758ff");
        assert_eq!([n7, n8].map(|key| key.fingerprint()), [whole.fingerprint(), whole.fingerprint()]);
        assert_ne!(administrator.fingerprint(), whole.fingerprint());
        assert_ne!(ClusterKey::new([8; 32]).fingerprint(), whole.fingerprint());
    }

    #[test]
    fn no_two_keys_are_equal_and_none_is_the_whole_one() {
        let whole = ClusterKey::new([7; 32]);
        let (n7, n8) = (whole.for_data_server("n7").unwrap(), whole.for_data_server("n8").unwrap());
        let metadata = derived(CONTEXT_METADATA, &[7; 32]);
        let any = of_data_server(&[7; 32], Identity::ANY);
        let all = [[7; 32], n7.own, n8.own, n7.neighbours, whole.for_administrator().unwrap(), metadata, any];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{at}");
        }
        assert_eq!(n7.neighbours, n8.neighbours);
        let derived = [ClusterKey::data_server(n7), ClusterKey::administrator([1; 32])];
        for key in derived {
            assert!(key.whole().is_none() && key.for_data_server("n8").is_none());
            assert!(key.for_administrator().is_none());
        }
    }

    #[test]
    fn each_holder_has_the_keys_of_its_own_links_alone() {
        use NodeKind::{Administrator, Data, Gateway, Metadata};
        let whole = ClusterKey::new([7; 32]);
        let n7 = ClusterKey::data_server(whole.for_data_server("n7").unwrap());
        let administrator = ClusterKey::administrator(whole.for_administrator().unwrap());
        let (own, other, any) = (Identity::of_name("n7"), Identity::of_name("n8"), Identity::ANY);
        for (caller, callee, of_n7, of_administrator) in [
            ((Metadata, any), (Metadata, any), false, false),
            ((Data, own), (Metadata, any), true, false),
            ((Data, other), (Metadata, any), false, false),
            ((Data, any), (Metadata, any), false, false),
            ((Metadata, any), (Data, own), true, false),
            ((Metadata, any), (Data, other), false, false),
            ((Data, other), (Data, own), true, false),
            ((Administrator, any), (Metadata, any), false, true),
        ] {
            let end = |(kind, identity)| End { kind, identity };
            let key = |holder: &ClusterKey| holder.link_key(end(caller), end(callee)).map(|key| key.0);
            let right = key(&whole);
            assert!(right.is_some(), "{caller:?} {callee:?}");
            assert_eq!(key(&n7), right.filter(|_| of_n7), "{caller:?} {callee:?}");
            assert_eq!(key(&administrator), right.filter(|_| of_administrator), "{caller:?} {callee:?}");
        }
        let end = |kind| End { kind, identity: any };
        for (caller, callee) in [(Gateway, Metadata), (Administrator, Data), (Metadata, Administrator)] {
            assert!(whole.link_key(end(caller), end(callee)).is_none());
        }
    }
}
