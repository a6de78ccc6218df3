//! Sends packets as they are: frames on an interface, IP packets by the routing table. CAP_NET_RAW.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

fn open(domain: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no memory is handed over.
    let socket =
        unsafe { libc::socket(domain, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just opened and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Whether this process may.
pub(super) fn allowed() -> io::Result<()> {
    open(libc::AF_PACKET, 0).and_then(|_| open(libc::AF_INET, libc::IPPROTO_RAW)).map(drop)
}

/// Sends an Ethernet frame out of an interface.
pub(super) fn frame(interface: u32, frame: &[u8]) -> io::Result<()> {
    // Protocol 0: it receives nothing.
    let socket = open(libc::AF_PACKET, 0)?;
    // SAFETY: all bytes zero are a valid sockaddr_ll.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = u16::try_from(libc::AF_PACKET).expect("families are small");
    to.sll_ifindex = i32::try_from(interface).map_err(io::Error::other)?;
    to.sll_halen = 6;
    to.sll_addr[..6].copy_from_slice(frame.get(..6).ok_or(io::ErrorKind::InvalidInput)?);
    send(&socket, frame, &to)
}

/// Sends an IP packet, header and all, to `to`.
pub(super) fn packet(packet: &[u8], to: IpAddr) -> io::Result<()> {
    match to {
        IpAddr::V4(ip) => {
            let socket = open(libc::AF_INET, libc::IPPROTO_RAW)?;
            // SAFETY: all bytes zero are a valid sockaddr_in.
            let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            to.sin_family = u16::try_from(libc::AF_INET).expect("families are small");
            to.sin_addr.s_addr = ip.to_bits().to_be();
            send(&socket, packet, &to)
        }
        IpAddr::V6(ip) => {
            let socket = open(libc::AF_INET6, libc::IPPROTO_RAW)?;
            // SAFETY: all bytes zero are a valid sockaddr_in6.
            let mut to: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            to.sin6_family = u16::try_from(libc::AF_INET6).expect("families are small");
            to.sin6_addr.s6_addr = ip.octets();
            send(&socket, packet, &to)
        }
    }
}

fn send<A>(socket: &OwnedFd, bytes: &[u8], to: &A) -> io::Result<()> {
    let to_bytes = libc::socklen_t::try_from(size_of::<A>()).expect("addresses are small");
    // SAFETY: buffer and address are live and their own lengths are passed with them.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            std::ptr::from_ref(to).cast(),
            to_bytes,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
