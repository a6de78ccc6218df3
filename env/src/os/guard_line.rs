//! The line between a server and its guard: a pair of sockets on which descriptors travel.
//!
//! A message is a kind and four bytes. It ends when the server does: the kernel closes its end,
//! however the server died.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What a server tells its guard.
#[derive(Debug)]
pub(super) enum Word {
    /// The server lives; silence of more than so many milliseconds means that it does not serve.
    /// Zero: it has no addresses.
    Lease(u32),
    /// A connection at a service address.
    Socket(OwnedFd),
}

const LEASE: u8 = 1;
const SOCKET: u8 = 2;
/// A message without its descriptor.
const WORD_BYTES: usize = 5;
/// Room for one descriptor beside a message; aligned as the kernel wants it.
#[repr(C, align(8))]
struct Beside([u8; 64]);

/// A new line: the server's end and the guard's. The server's waits for at most some milliseconds,
/// then an error comes.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: two live ints for the call to fill.
    let made = unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr())
    };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: two descriptors that were just opened and have no other owner.
    let (server, guard) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    let patience = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    let bytes = libc::socklen_t::try_from(size_of_val(&patience)).expect("a time is small");
    // SAFETY: the descriptor is open; `patience` lives and its own size is passed with it.
    let done = unsafe {
        libc::setsockopt(
            server.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDTIMEO,
            (&raw const patience).cast(),
            bytes,
        )
    };
    if done == 0 { Ok((server, guard)) } else { Err(io::Error::last_os_error()) }
}

/// Tells the guard how long the server may be silent.
pub(super) fn send_lease(line: &OwnedFd, lease_ms: u32) -> io::Result<()> {
    send(line, LEASE, lease_ms, None)
}

/// Gives the guard a duplicate of a socket.
pub(super) fn send_socket(line: &OwnedFd, socket: BorrowedFd<'_>) -> io::Result<()> {
    send(line, SOCKET, 0, Some(socket))
}

fn send(line: &OwnedFd, kind: u8, value: u32, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut word = [kind; WORD_BYTES];
    word[1..].copy_from_slice(&value.to_be_bytes());
    let mut part = libc::iovec { iov_base: word.as_mut_ptr().cast(), iov_len: word.len() };
    let mut beside = Beside([0; 64]);
    // SAFETY: all bytes zero are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(socket) = socket {
        let fd_bytes = u32::try_from(size_of::<libc::c_int>()).expect("an int is small");
        message.msg_control = beside.0.as_mut_ptr().cast();
        // SAFETY: these two only compute; the first header is inside `beside`, which has room for
        // it and is aligned.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(fd_bytes) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(fd_bytes) as _;
            libc::CMSG_DATA(header).cast::<libc::c_int>().write_unaligned(socket.as_raw_fd());
        }
    }
    // SAFETY: the message points to live buffers with their own lengths.
    let sent = unsafe { libc::sendmsg(line.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The next word; `None` at the end of the server.
pub(super) fn receive(line: &OwnedFd) -> io::Result<Option<Word>> {
    let mut word = [0; WORD_BYTES];
    let mut part = libc::iovec { iov_base: word.as_mut_ptr().cast(), iov_len: word.len() };
    let mut beside = Beside([0; 64]);
    // SAFETY: all bytes zero are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = beside.0.as_mut_ptr().cast();
    message.msg_controllen = beside.0.len() as _;
    // SAFETY: the message points to live buffers with their own lengths.
    let got = unsafe { libc::recvmsg(line.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel wrote the headers inside `beside` and set their length.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    let mut socket = None;
    // SAFETY: not null, so it is a header within `beside`.
    if !header.is_null() && unsafe { (*header).cmsg_type } == libc::SCM_RIGHTS {
        // SAFETY: a header of this kind is followed by a descriptor, which is ours alone from here
        // on.
        socket = Some(unsafe {
            OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned())
        });
    }
    let value = u32::from_be_bytes([word[1], word[2], word[3], word[4]]);
    match (got, word[0], socket) {
        (0, _, _) => Ok(None),
        (_, SOCKET, Some(socket)) => Ok(Some(Word::Socket(socket))),
        (_, LEASE, _) => Ok(Some(Word::Lease(value))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a word that no server says")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn sockets_and_leases_arrive_and_the_end_is_seen() {
        let (server, guard) = pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        send_lease(&server, 1500).unwrap();
        send_socket(&server, client.as_fd()).unwrap();
        assert!(matches!(receive(&guard), Ok(Some(Word::Lease(1500)))));
        let Ok(Some(Word::Socket(socket))) = receive(&guard) else { panic!("no socket") };
        assert_eq!(TcpStream::from(socket).local_addr().unwrap(), client.local_addr().unwrap());
        drop(server);
        assert!(matches!(receive(&guard), Ok(None)));
    }
}
