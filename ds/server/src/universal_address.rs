//! Universal addresses: an address and a port as an NFS client reads them.
//!
//! Spec: RFC 5665 §5.2.3.3, §5.2.3.4.

use std::net::SocketAddr;

/// `a.b.c.d.p1.p2`, or `x:x::x.p1.p2` for IPv6; the port is `p1 * 256 + p2`.
pub(crate) fn format_universal(address: SocketAddr) -> String {
    let port = address.port();
    format!("{}.{}.{}", address.ip(), port >> 8, port & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families() {
        assert_eq!(format_universal("10.1.2.3:2049".parse().unwrap()), "10.1.2.3.8.1");
        assert_eq!(format_universal("[fe80::1]:20049".parse().unwrap()), "fe80::1.78.81");
    }
}
