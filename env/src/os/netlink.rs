//! Addresses of interfaces, by rtnetlink: one request, one answer.
//!
//! Spec: Linux rtnetlink(7), netlink(7); include/uapi/linux/if_addr.h.
#![allow(clippy::host_endian_bytes, reason = "netlink speaks the machine's own byte order")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::addresses::ServiceAddress;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
/// The address is used at once: the node that had it before is dead, or gives it up.
const IFA_F_NODAD: u8 = 0x02;
const HEADER_BYTES: usize = 16;
/// An answer is an error number with the header that it answers.
const ANSWER_BYTES_MAX: usize = 4096;

/// Gives an interface an address for `valid_s` seconds, or renews it.
pub(super) fn add(interface: u32, address: ServiceAddress, valid_s: u32) -> io::Result<()> {
    let mut request = begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, interface, address);
    // Preferred and valid seconds, and two times of the kernel's own. An IPv6 address that is not
    // preferred is not taken as the source of connections from this machine, which would end when
    // it leaves; of IPv4 addresses the first one is.
    let preferred_s = if address.ip.is_ipv6() { 0 } else { valid_s };
    let life: Vec<u8> = [preferred_s, valid_s, 0, 0].iter().flat_map(|field| field.to_ne_bytes()).collect();
    attribute(&mut request, IFA_CACHEINFO, &life);
    exchange(request)
}

/// Takes an address from an interface.
pub(super) fn remove(interface: u32, address: ServiceAddress) -> io::Result<()> {
    exchange(begin(RTM_DELADDR, 0, interface, address))
}

fn begin(kind: u16, flags: u16, interface: u32, address: ServiceAddress) -> Vec<u8> {
    let mut request = vec![0; 4];
    request.extend(kind.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    // Sequence 1, port: the kernel's choice.
    request.extend(1_u32.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    let (family, flags) = match address.ip {
        IpAddr::V4(_) => (libc::AF_INET, 0),
        IpAddr::V6(_) => (libc::AF_INET6, IFA_F_NODAD),
    };
    request.extend([u8::try_from(family).expect("families are small"), address.prefix_bits, flags, 0]);
    request.extend(interface.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        match address.ip {
            IpAddr::V4(ip) => attribute(&mut request, kind, &ip.octets()),
            IpAddr::V6(ip) => attribute(&mut request, kind, &ip.octets()),
        }
    }
    request
}

/// Appends an attribute whose value is a multiple of four bytes.
fn attribute(request: &mut Vec<u8>, kind: u16, value: &[u8]) {
    debug_assert!(value.len().is_multiple_of(4));
    request.extend(u16::try_from(4 + value.len()).expect("attributes are small").to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(value);
}

fn exchange(mut request: Vec<u8>) -> io::Result<()> {
    let bytes = u32::try_from(request.len()).expect("requests are small");
    request[..4].copy_from_slice(&bytes.to_ne_bytes());
    // SAFETY: no memory is handed over.
    let socket =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just opened and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the buffer is live and its own length is passed with it.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = [0_u8; ANSWER_BYTES_MAX];
    // SAFETY: as above; the kernel answers a request of rtnetlink before `send` returns, so this
    // does not wait.
    let got = unsafe { libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    verdict(answer.get(..got).unwrap_or_default())
}

/// What an answer says.
fn verdict(answer: &[u8]) -> io::Result<()> {
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, "netlink's answer makes no sense");
    let kind = answer.get(4..6).and_then(|bytes| bytes.first_chunk()).ok_or_else(garbled)?;
    let code = answer
        .get(HEADER_BYTES..HEADER_BYTES + 4)
        .and_then(|bytes| bytes.first_chunk())
        .ok_or_else(garbled)?;
    match (u16::from_ne_bytes(*kind), i32::from_ne_bytes(*code)) {
        (NLMSG_ERROR, 0) => Ok(()),
        (NLMSG_ERROR, code) if code < 0 => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Err(garbled()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_the_kernel_reads_them() {
        let request = begin(RTM_DELADDR, 0, 7, "10.0.0.1/24".parse().unwrap());
        assert_eq!(request.len(), 16 + 8 + 8 + 8);
        assert_eq!(request[16..20], [2, 24, 0, 0]);
        assert_eq!(request[20..24], 7_u32.to_ne_bytes());
        assert_eq!(request[28..32], [10, 0, 0, 1]);
        let request = begin(RTM_NEWADDR, NLM_F_CREATE, 7, "fd00::1/64".parse().unwrap());
        assert_eq!((request.len(), request[18]), (16 + 8 + 20 + 20, IFA_F_NODAD));
    }

    #[test]
    fn answers_are_checked() {
        let answer = |code: i32| {
            let mut bytes = vec![0; 16];
            bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        assert!(verdict(&answer(0)).is_ok());
        assert_eq!(verdict(&answer(-libc::EPERM)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        for end in 0..20 {
            assert!(verdict(&answer(0)[..end]).is_err());
        }
        assert!(verdict(&answer(5)).is_err());
    }

    #[test]
    fn the_kernel_answers_even_if_only_to_refuse() {
        // No interface has this number: refused for that, or for want of a right.
        assert!(remove(0x7FFF_FFFF, "192.0.2.1/32".parse().unwrap()).is_err());
    }
}
