//! Service addresses as a trait: addresses that move between machines, and what clients must notice
//! when they do.
//!
//! Nothing here decides where an address should be. An address that is taken away goes in silence:
//! its connections end here without a word to the other side, which is told by the machine that
//! takes the address next.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An address and the length of its network's prefix, `10.0.0.100/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAddress {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the prefix: at most 32 or 128.
    pub prefix_bits: u8,
}

impl ServiceAddress {
    /// Whether another address is in the same network.
    #[must_use]
    pub fn has_in_network(&self, other: IpAddr) -> bool {
        let shift = |bits: u32| bits - u32::from(self.prefix_bits);
        match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.ip, self.prefix_bits)
    }
}

/// Why a text is no service address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not ADDRESS/BITS, for example 10.0.0.100/24")]
pub struct BadServiceAddress(String);

impl FromStr for ServiceAddress {
    type Err = BadServiceAddress;

    fn from_str(text: &str) -> Result<Self, BadServiceAddress> {
        let bad = || BadServiceAddress(text.to_owned());
        let (ip, bits) = text.split_once('/').ok_or_else(bad)?;
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let prefix_bits: u8 = bits.parse().map_err(|_| bad())?;
        let (bits_max, usable) = match ip {
            IpAddr::V4(ip) => (32, !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast()),
            IpAddr::V6(ip) => (128, !ip.is_unspecified() && !ip.is_multicast()),
        };
        if usable && (1..=bits_max).contains(&prefix_bits) {
            Ok(Self { ip, prefix_bits })
        } else {
            Err(bad())
        }
    }
}

/// A machine's addresses, as far as they are service addresses. Calls return when it is done; none
/// waits for the network.
pub trait Addresses: Send + Sync {
    /// Gives this machine an address, or goes on with it. It goes by itself after `valid_s`
    /// seconds.
    ///
    /// # Errors
    /// What the system says; most of all that it is not allowed.
    fn add(&self, address: ServiceAddress, valid_s: u32) -> io::Result<()>;

    /// Takes an address away; false if it was not here.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, address: ServiceAddress) -> io::Result<bool>;

    /// Those of the addresses that may come here which are here now.
    ///
    /// # Errors
    /// What the system says.
    fn present(&self) -> io::Result<Vec<ServiceAddress>>;

    /// Tells the network that an address is here: a gratuitous ARP, or an unsolicited neighbour
    /// advertisement.
    ///
    /// # Errors
    /// What the system says.
    fn announce(&self, address: ServiceAddress) -> io::Result<()>;

    /// Makes a client notice that its connection has no other end any more: a stray
    /// acknowledgement, which it answers, and that answer is refused by this machine's kernel. Of
    /// no consequence to a connection that has.
    ///
    /// # Errors
    /// What the system says.
    fn tickle(&self, service: SocketAddr, client: SocketAddr) -> io::Result<()>;

    /// Ends this process's connections at an address, without a word to their other ends if the
    /// address has gone. Says how many.
    fn end_connections(&self, ip: IpAddr) -> usize;

    /// The process lives, and may keep its addresses for so long. The guard takes them away
    /// afterwards, or when it dies; zero: it has none.
    fn keep(&self, lease_ms: u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["10.0.0.100/24", "10.0.0.1/32", "fd00::5/64"] {
            assert_eq!(text.parse::<ServiceAddress>().unwrap().to_string(), text);
        }
        for bad in [
            "10.0.0.1",
            "10.0.0.1/33",
            "10.0.0.1/0",
            "0.0.0.0/8",
            "224.0.0.1/8",
            "::/64",
            "ff02::1/64",
            "x/24",
            "10.0.0.1/",
        ] {
            let error = bad.parse::<ServiceAddress>().unwrap_err();
            assert!(error.to_string().contains("10.0.0.100/24"), "{bad}");
        }
    }

    #[test]
    fn a_network_is_told_by_its_prefix() {
        let address: ServiceAddress = "10.0.1.100/23".parse().unwrap();
        let has = |text: &str| address.has_in_network(text.parse().unwrap());
        assert!(has("10.0.0.7") && has("10.0.1.255") && !has("10.0.2.1") && !has("fd00::1"));
        let address: ServiceAddress = "fd00::5/64".parse().unwrap();
        assert!(address.has_in_network("fd00::9".parse().unwrap()));
        assert!(!address.has_in_network("fd00:0:0:1::9".parse().unwrap()));
    }
}
