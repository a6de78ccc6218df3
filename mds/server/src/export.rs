//! Exports: which parts of the tree clients may see, and as whom.
//!
//! An export is a directory of the namespace with options. Where `/` itself is not exported, the directories above
//! the exports form a read-only tree in which only the way to the exports is visible.
//!
//! Spec: RFC 8881 §7.3 (server pseudo file system).

use std::net::IpAddr;

use layout::ec::Profile;
use mds_namespace::Caller;

use crate::handle::ExportId;
use crate::report::ExportLine;

/// One export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Absolute path in the namespace, `/` for all of it. No `.`, `..` or empty components.
    pub path: String,
    /// Refuses every change with ROFS.
    pub read_only: bool,
    /// Which users become nobody.
    pub squash: Squash,
    /// What a squashed user becomes.
    pub anonymous: Anonymous,
    /// Who may use it; empty means everybody.
    pub clients: Vec<Network>,
    /// Layouts are given out; else all I/O goes through the metadata server.
    pub pnfs: bool,
    /// Extents that one segment of a layout may have, for clients that can: a power of two up to
    /// [`STRIPES_MAX`](crate::limits::STRIPES_MAX). 1: no stripes.
    pub stripes: u32,
    /// The code that files made through it are sealed under; `None`: the cluster's.
    pub code: Option<Profile>,
}

/// Which users an export maps to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// Nobody is mapped.
    None,
    /// User 0 and group 0 are mapped.
    Root,
    /// Everybody is mapped.
    All,
}

/// The identity of squashed users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Default for Anonymous {
    fn default() -> Self {
        Self { uid: 65534, gid: 65534 }
    }
}

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a network is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an IP address.
    #[error("`{0}` is not an IP address; expected for example 10.0.0.0/8, 192.0.2.7 or fd00::/8")]
    Address(String),
    /// A prefix length that does not fit.
    #[error("`{0}` is not a prefix length for this address (0 to 32 for IPv4, 0 to 128 for IPv6)")]
    Prefix(String),
}

impl std::str::FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address(address.to_owned()))?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(p) => p
                .parse()
                .ok()
                .filter(|bits| *bits <= bits_max)
                .ok_or_else(|| NetworkError::Prefix(p.to_owned()))?,
        };
        Ok(Self { address, prefix_bits })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Network {
    /// True if the address lies in the network. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(a)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                shift == 32 || network.to_bits() >> shift == a.to_bits() >> shift
            }
            (IpAddr::V6(network), IpAddr::V6(a)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                shift == 128 || network.to_bits() >> shift == a.to_bits() >> shift
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl Export {
    /// The whole tree, read and write, root is root: what serves when nothing is configured. With AUTH_SYS a client
    /// says itself who its users are, so squashing root by default would hinder the newcomer and hold off nobody.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            path: "/".to_owned(),
            read_only: false,
            squash: Squash::None,
            anonymous: Anonymous::default(),
            clients: Vec::new(),
            pnfs: true,
            stripes: 1,
            code: None,
        }
    }

    /// True if a client at this address may use the export.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|network| network.contains(address))
    }

    /// Whom a caller counts as.
    #[must_use]
    pub fn squash(&self, mut caller: Caller) -> Caller {
        match self.squash {
            Squash::None => caller,
            Squash::All => Caller { uid: self.anonymous.uid, gid: self.anonymous.gid, gids: Vec::new() },
            Squash::Root => {
                if caller.uid == 0 {
                    caller.uid = self.anonymous.uid;
                }
                if caller.gid == 0 {
                    caller.gid = self.anonymous.gid;
                }
                caller.gids.retain(|gid| *gid != 0);
                caller
            }
        }
    }

    /// The export in words, for administrators.
    #[must_use]
    pub fn line(&self) -> ExportLine {
        let squash = match self.squash {
            Squash::None => "none",
            Squash::Root => "root",
            Squash::All => "all",
        };
        ExportLine {
            path: self.path.clone(),
            access: if self.read_only { "ro" } else { "rw" }.to_owned(),
            squash: squash.to_owned(),
            clients: self.clients.iter().map(ToString::to_string).collect(),
            pnfs: self.pnfs,
            stripes: self.stripes,
            erasure_code: self.code.map(|code| code.to_string()),
        }
    }

    /// The components of the path.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter(|component| !component.is_empty())
    }
}

/// The exports of a cluster.
#[derive(Clone, Debug)]
pub struct Exports {
    list: Vec<Export>,
}

impl Exports {
    /// Takes over a checked list; an empty one means [`Export::everything`].
    #[must_use]
    pub fn new(mut list: Vec<Export>) -> Self {
        if list.is_empty() {
            list.push(Export::everything());
        }
        assert!(list.len() < usize::from(u16::MAX));
        Self { list }
    }

    /// The options behind an id; `None` for [`ExportId::PSEUDO`] and for exports that are configured no longer.
    #[must_use]
    pub fn option(&self, id: ExportId) -> Option<&Export> {
        self.list.get(usize::from(id.0))
    }

    /// All, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ExportId, &Export)> {
        self.list.iter().enumerate().map(|(index, export)| {
            (ExportId(u16::try_from(index).expect("fewer exports than u16 holds")), export)
        })
    }

    /// The export whose path has exactly these components.
    pub fn at_path(&self, path: &[&[u8]]) -> Option<ExportId> {
        self.iter()
            .find(|(_, export)| export.components().map(str::as_bytes).eq(path.iter().copied()))
            .map(|(id, _)| id)
    }

    /// Names that lead from this directory of the pseudo tree towards an export.
    pub fn names_below<'a>(&'a self, path: &'a [&'a [u8]]) -> impl Iterator<Item = &'a str> {
        self.list.iter().filter_map(move |export| {
            let mut components = export.components();
            path.iter()
                .all(|name| components.next().map(str::as_bytes) == Some(name))
                .then(|| components.next())?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32, gid: u32, gids: &[u32]) -> Caller {
        Caller { uid, gid, gids: gids.to_vec() }
    }

    #[test]
    fn networks_contain_what_their_prefix_says() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains("10.1.255.1".parse().unwrap()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network.contains("10.2.0.1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("192.0.2.1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("fd00::1".parse().unwrap()));
        assert!(!"fd00::/8".parse::<Network>().unwrap().contains("10.0.0.1".parse().unwrap()));
        assert_eq!("10.0.0.0/33".parse::<Network>(), Err(NetworkError::Prefix("33".into())));
        assert_eq!("host".parse::<Network>(), Err(NetworkError::Address("host".into())));
    }

    #[test]
    fn root_squash_takes_root_from_user_group_and_groups() {
        let export = Export { squash: Squash::Root, ..Export::everything() };
        assert_eq!(export.squash(user(0, 0, &[0, 4])), user(65534, 65534, &[4]));
        assert_eq!(export.squash(user(1000, 100, &[4])), user(1000, 100, &[4]));
        let all = Export { squash: Squash::All, ..Export::everything() };
        assert_eq!(all.squash(user(1000, 100, &[4])), user(65534, 65534, &[]));
    }

    #[test]
    fn the_pseudo_tree_shows_only_the_way() {
        let at = |path: &str| Export { path: path.to_owned(), ..Export::everything() };
        let exports = Exports::new(vec![at("/a/b"), at("/a/c"), at("/d")]);
        assert_eq!(exports.names_below(&[]).collect::<Vec<_>>(), ["a", "a", "d"]);
        assert_eq!(exports.names_below(&[b"a"]).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(exports.at_path(&[b"a", b"b"]), Some(ExportId(0)));
        assert_eq!(exports.at_path(&[b"a"]), None);
    }
}
