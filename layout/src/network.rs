//! A network of clients: an address prefix, as exports list them and as data servers compare
//! addresses with them.
//!
//! INVARIANT: a prefix is no longer than the address.
//! Spec: docs/protocol/admin.md §8; docs/protocol/control.md §8.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(IpAddr, u8)", try_from = "(IpAddr, u8)")]
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

impl From<Network> for (IpAddr, u8) {
    fn from(network: Network) -> Self {
        (network.address, network.prefix_bits)
    }
}

impl TryFrom<(IpAddr, u8)> for Network {
    type Error = NetworkError;

    fn try_from((address, prefix_bits): (IpAddr, u8)) -> Result<Self, NetworkError> {
        if prefix_bits <= bits_max(address) {
            Ok(Self { address, prefix_bits })
        } else {
            Err(NetworkError::Prefix(prefix_bits.to_string()))
        }
    }
}

fn bits_max(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl std::str::FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address(address.to_owned()))?;
        let prefix_bits = match prefix {
            None => bits_max(address),
            Some(p) => p.parse().map_err(|_| NetworkError::Prefix(p.to_owned()))?,
        };
        Self::try_from((address, prefix_bits))
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
        assert!(self.prefix_bits <= bits_max(self.address), "a prefix is within the address");
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

    /// Whether every address of the other network lies in this one.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix_bits <= other.prefix_bits
            && self.contains(other.address)
    }
}
