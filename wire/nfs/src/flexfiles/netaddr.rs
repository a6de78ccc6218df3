//! `netaddr4`: where a data server listens, as a network id and a universal address.
//!
//! A universal address is the address, then the port as two more numbers of eight bits:
//! "192.0.2.1.8.1" is port 2049.
//!
//! Spec: RFC 8881 §3.3.9; RFC 5665 §5.2.3.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use crate::{
    body::xdr_body,
    limits::{NETID_BYTES_MAX, UADDR_BYTES_MAX},
};

/// How the address is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// RPC over RDMA.
    Rdma,
}

/// A network address as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetAddr {
    /// "tcp", "tcp6", "rdma" or "rdma6".
    pub netid: Bytes,
    /// The universal address.
    pub uaddr: Bytes,
}

xdr_body! { NetAddr { netid: opaque(NETID_BYTES_MAX), uaddr: opaque(UADDR_BYTES_MAX) } }

impl NetAddr {
    /// The wire form of an address. An IPv6 scope or flow is left out: it means nothing on another
    /// machine.
    #[must_use]
    pub fn new(transport: Transport, address: SocketAddr) -> Self {
        let netid = match (transport, address.ip()) {
            (Transport::Tcp, IpAddr::V4(_)) => "tcp",
            (Transport::Tcp, IpAddr::V6(_)) => "tcp6",
            (Transport::Rdma, IpAddr::V4(_)) => "rdma",
            (Transport::Rdma, IpAddr::V6(_)) => "rdma6",
        };
        let [high, low] = address.port().to_be_bytes();
        let uaddr = format!("{}.{high}.{low}", address.ip());
        assert!(uaddr.len() <= UADDR_BYTES_MAX, "45 bytes of address, 8 of port");
        Self { netid: Bytes::from_static(netid.as_bytes()), uaddr: uaddr.into() }
    }

    /// How and where; `None` if the network id is not one of ours or the address does not fit it.
    #[must_use]
    pub fn resolve(&self) -> Option<(Transport, SocketAddr)> {
        let (transport, is_v6) = match self.netid.as_ref() {
            b"tcp" => (Transport::Tcp, false),
            b"tcp6" => (Transport::Tcp, true),
            b"rdma" => (Transport::Rdma, false),
            b"rdma6" => (Transport::Rdma, true),
            _ => return None,
        };
        let uaddr = std::str::from_utf8(&self.uaddr).ok()?;
        let mut parts = uaddr.rsplitn(3, '.');
        let low = port_byte(parts.next()?)?;
        let high = port_byte(parts.next()?)?;
        let host = parts.next()?;
        let ip = if is_v6 {
            IpAddr::V6(host.parse::<Ipv6Addr>().ok()?)
        } else {
            IpAddr::V4(host.parse::<Ipv4Addr>().ok()?)
        };
        Some((transport, SocketAddr::new(ip, u16::from_be_bytes([high, low]))))
    }
}

/// A number of a port: digits only, where `parse` alone would let a sign through.
fn port_byte(text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(netid: &'static str, uaddr: &'static str) -> NetAddr {
        NetAddr { netid: Bytes::from_static(netid.as_bytes()), uaddr: Bytes::from_static(uaddr.as_bytes()) }
    }

    /// Spec: RFC 5665 §5.2.3.3, §5.2.3.4.
    #[test]
    fn both_families_in_both_directions() {
        for (transport, address, netid, uaddr) in [
            (Transport::Tcp, "192.0.2.1:2049", "tcp", "192.0.2.1.8.1"),
            (Transport::Tcp, "[2001:db8::1]:20049", "tcp6", "2001:db8::1.78.81"),
            (Transport::Rdma, "10.0.0.255:65535", "rdma", "10.0.0.255.255.255"),
            (Transport::Rdma, "[::ffff:10.0.0.1]:1", "rdma6", "::ffff:10.0.0.1.0.1"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            let wire = NetAddr::new(transport, address);
            assert_eq!(wire, text(netid, uaddr));
            assert_eq!(wire.resolve(), Some((transport, address)));
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for (netid, uaddr) in [
            ("udp", "192.0.2.1.8.1"),
            ("tcp6", "192.0.2.1.8.1"),
            ("tcp", "2001:db8::1.8.1"),
            ("tcp", "192.0.2.1.8.256"),
            ("tcp", "192.0.2.1.8"),
            ("tcp", "192.0.2.1.+8.1"),
            ("tcp", "192.0.2.1.8."),
            ("tcp", ""),
        ] {
            assert_eq!(text(netid, uaddr).resolve(), None, "{netid} {uaddr}");
        }
    }
}
