//! The few packets that tell a network where an address is now. Pure: addresses in, bytes out.
//!
//! Spec: RFC 826 and RFC 5227 §3 (ARP announcements); RFC 4861 §4.4, §7.2.6 (unsolicited neighbour
//! advertisements); RFC 791, RFC 8200, RFC 9293 §3.10.7.4 (an unacceptable segment is answered by
//! an acknowledgement).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where every Ethernet card listens.
const EVERYBODY: [u8; 6] = [0xFF; 6];
/// Where every card with IPv6 listens: the group of all nodes, ff02::1.
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86DD;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The flag that makes receivers change what they knew (RFC 4861 §4.4).
const OVERRIDE: u8 = 0x20;
const TCP: u8 = 6;
const TCP_ACK: u8 = 0x10;
const HOPS: u8 = 64;

/// The frames that say that `ip` is at `mac`. For IPv4 both forms of a gratuitous ARP: there are
/// receivers that heed only one.
#[must_use]
pub(crate) fn announcements(ip: IpAddr, mac: [u8; 6]) -> Vec<Vec<u8>> {
    match ip {
        IpAddr::V4(ip) => vec![arp(ARP_REQUEST, ip, mac), arp(ARP_REPLY, ip, mac)],
        IpAddr::V6(ip) => vec![advertisement(ip, mac)],
    }
}

fn arp(operation: u16, ip: Ipv4Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut frame = ethernet(EVERYBODY, mac, ETHERTYPE_ARP);
    // Ethernet, IPv4, and the lengths of their addresses.
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(operation.to_be_bytes());
    frame.extend(mac);
    frame.extend(ip.octets());
    frame.extend(if operation == ARP_REQUEST { [0; 6] } else { mac });
    frame.extend(ip.octets());
    frame
}

fn advertisement(ip: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut body = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    body.extend(ip.octets());
    // Option: the target's link-layer address, eight bytes.
    body.extend([2, 1]);
    body.extend(mac);
    let sum = checksum(&[&pseudo_header(IpAddr::V6(ip), IpAddr::V6(ALL_NODES), ICMPV6, body.len()), &body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet(ALL_NODES_MAC, mac, ETHERTYPE_IPV6);
    // RFC 4861 §7.1.2: a hop limit of 255 proves that no router passed it on.
    frame.extend(ipv6(ip, ALL_NODES, ICMPV6, 255, body.len()));
    frame.extend(body);
    frame
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend(to);
    frame.extend(from);
    frame.extend(kind.to_be_bytes());
    frame
}

/// An IP packet with an empty acknowledgement from `from` to `to` that no connection of `to`
/// expects. `None` if the two are not of one family.
#[must_use]
pub(crate) fn stray_acknowledgement(from: SocketAddr, to: SocketAddr, sequence: u32) -> Option<Vec<u8>> {
    let mut segment = Vec::with_capacity(20);
    segment.extend(from.port().to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(0_u32.to_be_bytes());
    // Five words of header, and a window of no meaning.
    segment.extend([5 << 4, TCP_ACK, 4, 210, 0, 0, 0, 0]);
    let sum = checksum(&[&pseudo_header(from.ip(), to.ip(), TCP, segment.len()), &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut packet = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, TCP, segment.len()),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, TCP, HOPS, segment.len()),
        _ => return None,
    };
    packet.extend(segment);
    Some(packet)
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body_bytes: usize) -> Vec<u8> {
    let total = u16::try_from(20 + body_bytes).expect("a packet of ours is small");
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    // No fragments; the rest is zero until the checksum is known.
    header.extend([0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, hops: u8, body_bytes: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(u16::try_from(body_bytes).expect("a packet of ours is small").to_be_bytes());
    header.extend([protocol, hops]);
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

/// What the checksums of TCP and ICMPv6 count beside the packet (RFC 9293 §3.1, RFC 8200 §8.1).
fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, body_bytes: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(40);
    for ip in [from, to] {
        match ip {
            IpAddr::V4(ip) => header.extend(ip.octets()),
            IpAddr::V6(ip) => header.extend(ip.octets()),
        }
    }
    header.extend(u32::try_from(body_bytes).expect("a packet of ours is small").to_be_bytes());
    header.extend(u32::from(protocol).to_be_bytes());
    header
}

/// The Internet checksum (RFC 1071) over parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while 0xFFFF < sum {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0x53, 0x48, 0x4F, 0x41, 9];

    #[test]
    fn an_arp_announcement_is_as_the_rfc_draws_it() {
        let frames = announcements("10.77.0.1".parse().unwrap(), MAC);
        let expected: [&[u8]; 2] = [
            b"\xff\xff\xff\xff\xff\xff\x02SHOA\x09\x08\x06\0\x01\x08\0\x06\x04\0\x01\x02SHOA\x09\x0aM\0\x01\0\0\0\0\0\0\x0aM\0\x01",
            b"\xff\xff\xff\xff\xff\xff\x02SHOA\x09\x08\x06\0\x01\x08\0\x06\x04\0\x02\x02SHOA\x09\x0aM\0\x01\x02SHOA\x09\x0aM\0\x01",
        ];
        assert_eq!(frames, expected);
    }

    #[test]
    fn an_advertisement_overrides_and_its_checksum_is_right() {
        let ip: Ipv6Addr = "fd00::5".parse().unwrap();
        let frames = announcements(IpAddr::V6(ip), MAC);
        let [frame] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!(frame.len(), 14 + 40 + 32);
        assert_eq!((frame[54], frame[58], frame[21]), (NEIGHBOUR_ADVERTISEMENT, OVERRIDE, 255));
        assert_eq!(frame[80..], MAC);
        let pseudo = pseudo_header(IpAddr::V6(ip), IpAddr::V6(ALL_NODES), ICMPV6, 32);
        assert_eq!(checksum(&[&pseudo, &frame[54..]]), 0, "a checksum over itself is zero");
    }

    #[test]
    fn a_stray_acknowledgement_has_good_checksums_and_no_data() {
        let (from, to) = ("10.77.0.1:2049".parse().unwrap(), "10.77.0.2:800".parse().unwrap());
        let packet = stray_acknowledgement(from, to, 1 << 31).unwrap();
        assert_eq!(packet.len(), 40);
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let pseudo = pseudo_header(from.ip(), to.ip(), TCP, 20);
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        assert_eq!(packet[20..24], [8, 1, 3, 32]);
        assert_eq!(packet[33], TCP_ACK);
        assert_eq!(stray_acknowledgement(from, "[fd00::1]:1".parse().unwrap(), 0), None);
        let (from, to) = ("[fd00::1]:2049".parse().unwrap(), "[fd00::2]:800".parse().unwrap());
        assert_eq!(stray_acknowledgement(from, to, 0).unwrap().len(), 60);
    }
}
