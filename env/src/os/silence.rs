//! Ends TCP connections without a word to the other side.
//!
//! A closed connection says so, or resets; a client that hears that connects again at once, to a
//! machine that does not answer. A socket in repair mode (Linux since 3.5, CAP_NET_ADMIN) is
//! disconnected in silence and leaves nothing behind, whatever else has it open. Without that right
//! it is closed, which says nothing either once its address is gone.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Ends the connection.
pub(super) fn end(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let bytes = libc::socklen_t::try_from(size_of_val(&on)).expect("an int is small");
    let fd = socket.as_raw_fd();
    // SAFETY: the descriptor is open while it is borrowed; `on` is a live int and its own size is
    // passed with it.
    let done =
        unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, (&raw const on).cast(), bytes) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let nowhere = libc::sockaddr {
        sa_family: libc::sa_family_t::try_from(libc::AF_UNSPEC).expect("families are small"),
        sa_data: [0; 14],
    };
    let bytes = libc::socklen_t::try_from(size_of_val(&nowhere)).expect("an address is small");
    // SAFETY: as above, with an address that lives through the call.
    match unsafe { libc::connect(fd, &raw const nowhere, bytes) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends all connections of this process at one address of its own; says how many.
pub(super) fn end_all_at(ip: IpAddr) -> usize {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    // The list is read to its end first: its own descriptor is on it.
    let numbers: Vec<RawFd> = numbers.collect();
    numbers.into_iter().filter(|number| end_if_at(*number, ip)).count()
}

fn end_if_at(number: RawFd, ip: IpAddr) -> bool {
    // SAFETY: the number may be anything by now; it is only used to make a duplicate, which fails
    // or is a descriptor of our own.
    let Ok(own) = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned() else { return false };
    let stream = TcpStream::from(own);
    let is_there =
        stream.local_addr().is_ok_and(|local| local.ip().to_canonical() == ip) && stream.peer_addr().is_ok();
    is_there && end(stream.as_fd()).is_ok()
}
