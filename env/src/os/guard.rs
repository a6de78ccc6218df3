//! The guard of a server's service addresses: a small process that outlives the server for a
//! moment.
//!
//! It has duplicates of the sockets with clients at these addresses, so that the kernel says
//! nothing to the clients when the server dies; it takes the addresses away and ends the sockets in
//! silence. To clients and the other nodes it is then as if the machine had died, and the node that
//! takes the addresses wakes the clients up. It does the same when the server hangs.
//!
//! INVARIANT: an address is gone before a connection at it ends.
//! Spec: docs/protocol/addresses.md §3.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use super::OsClock;
use super::guard_line::{self, Word};
use super::{interfaces, netlink, silence};
use crate::addresses::ServiceAddress;
use crate::clock::Clock;
use crate::limits::GUARDED_SOCKETS_MAX;

/// An address and the number of the interface it belongs on.
pub(super) type Place = (u32, ServiceAddress);

/// Starts `command` with the guard's end of a line as its standard input; the server's end, and the
/// process.
pub(super) fn start(mut command: Command) -> io::Result<(OwnedFd, Child)> {
    let (server, guard) = guard_line::pair()?;
    let child = command.stdin(Stdio::from(guard)).stdout(Stdio::null()).spawn()?;
    Ok((server, child))
}

/// Guards until the server ends. `line` is the guard's end.
pub(super) fn guard_addresses(line: &OwnedFd, places: &[Place]) -> io::Result<()> {
    ignore_signals();
    let clock = OsClock::new();
    let mut held: Vec<OwnedFd> = Vec::new();
    let mut deadline_ms = None;
    loop {
        let events = wait(line, &held, deadline_ms, clock.monotonic_ms())?;
        // Sockets that both sides are through with are dropped.
        let mut over = events.iter().skip(1).map(|event| event.revents != 0);
        held.retain(|_| !over.next().unwrap_or(false));
        if events.first().is_some_and(|event| event.revents != 0) {
            match guard_line::receive(line) {
                Ok(Some(Word::Socket(socket))) if held.len() < GUARDED_SOCKETS_MAX => held.push(socket),
                Ok(Some(Word::Socket(_))) => {}
                Ok(Some(Word::Lease(0))) => deadline_ms = None,
                Ok(Some(Word::Lease(lease_ms))) => {
                    deadline_ms = Some(clock.monotonic_ms() + u64::from(lease_ms))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) | Err(_) => {
                    give_up(places, &mut held);
                    return Ok(());
                }
            }
        } else if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= clock.monotonic_ms()) {
            give_up(places, &mut held);
            deadline_ms = None;
        }
    }
}

fn give_up(places: &[Place], held: &mut Vec<OwnedFd>) {
    for (interface, address) in places {
        if netlink::remove(*interface, *address).is_err() {
            remove_anywhere(*address);
        }
    }
    for socket in held.drain(..) {
        // One that cannot be ended in silence is closed, and has no address to speak from.
        let _ = silence::end(socket.as_fd());
    }
}

/// An address that is not where it was when the guard began has gone by itself, or is on an
/// interface that was recreated.
fn remove_anywhere(address: ServiceAddress) {
    let all = interfaces::all().unwrap_or_default();
    for interface in all.iter().filter(|interface| interface.addresses.contains(&address.ip)) {
        // There is no caller to tell.
        let _ = netlink::remove(interface.index, address);
    }
}

/// Waits until the server says something, a socket is over, or the lease is.
fn wait(
    line: &OwnedFd,
    held: &[OwnedFd],
    deadline_ms: Option<u64>,
    now_ms: u64,
) -> io::Result<Vec<libc::pollfd>> {
    let of = |socket: &OwnedFd, events| libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    let mut events = vec![of(line, libc::POLLIN)];
    // Of these only ends and errors are told, which need not be asked for.
    events.extend(held.iter().map(|socket| of(socket, 0)));
    let left_ms = deadline_ms
        .map_or(-1, |deadline_ms| i32::try_from(deadline_ms.saturating_sub(now_ms)).unwrap_or(i32::MAX));
    let count = libc::nfds_t::try_from(events.len()).map_err(io::Error::other)?;
    // SAFETY: the array is live and its own length is passed with it.
    let told = unsafe { libc::poll(events.as_mut_ptr(), count, left_ms) };
    match told {
        0.. => Ok(events),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            error => Err(error),
        },
    }
}

/// Whatever is meant for the server must not end its guard first.
fn ignore_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE] {
        // SAFETY: no handler of ours is involved.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_stay_open_until_the_server_ends_and_not_when_it_closes_them() {
        let (server, line) = guard_line::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut first, mut second) = (connect(), connect());
        let (own_first, own_second) = (listener.accept().unwrap().0, listener.accept().unwrap().0);
        for socket in [&own_first, &own_second] {
            guard_line::send_socket(&server, socket.as_fd()).unwrap();
        }
        let guard = std::thread::spawn(move || guard_addresses(&line, &[]));
        // Closed by the server, both ways: the client hears of it though the guard had a duplicate.
        own_first.shutdown(std::net::Shutdown::Both).unwrap();
        drop(own_first);
        assert_eq!(first.read(&mut [0; 8]).unwrap(), 0);
        // The server is gone with the second one: nothing is said until the guard ends it.
        second.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        drop(own_second);
        assert_eq!(second.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(server);
        guard.join().unwrap().unwrap();
    }

    #[test]
    fn a_silent_server_loses_its_sockets() {
        let (server, line) = guard_line::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut own = listener.accept().unwrap().0;
        guard_line::send_socket(&server, own.as_fd()).unwrap();
        guard_line::send_lease(&server, 10).unwrap();
        let guard = std::thread::spawn(move || guard_addresses(&line, &[]));
        if super::super::raw_packets::allowed().is_ok() {
            assert!(own.read(&mut [0; 8]).is_err(), "an end of the stream would be the client's word");
        }
        drop(server);
        guard.join().unwrap().unwrap();
    }
}
