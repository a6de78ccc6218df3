//! Service addresses on this machine: rtnetlink, AF_PACKET, and a guard for when the process dies.
//!
//! Needs CAP_NET_ADMIN and CAP_NET_RAW.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::guard::{self, Place};
use super::interfaces::{self, Interface};
use super::{guard_line, netlink, raw_packets, silence};
use crate::addresses::{Addresses, ServiceAddress};
use crate::frames;

/// Sequence numbers of stray acknowledgements: no window is so large that both are inside.
const STRAY_SEQUENCES: [u32; 2] = [0, 1 << 31];

/// Why service addresses cannot be had here.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// No interface fits.
    #[error(
        "service address {address}: no interface of this machine has an address in that network; name one with service_interface"
    )]
    NoNetwork {
        /// Which.
        address: ServiceAddress,
    },
    /// The interface that was named is not there.
    #[error("there is no network interface `{name}`; there are: {present}")]
    NoInterface {
        /// What was named.
        name: String,
        /// What there is.
        present: String,
    },
    /// It is no Ethernet.
    #[error("service address {address}: interface {name} is no Ethernet")]
    NotEthernet {
        /// Which.
        address: ServiceAddress,
        /// On what.
        name: String,
    },
    /// Not allowed.
    #[error(
        "service addresses need the rights CAP_NET_ADMIN and CAP_NET_RAW (run as root, or AmbientCapabilities= in a systemd unit): {0}"
    )]
    NotAllowed(io::Error),
    /// The system refuses.
    #[error("service addresses: {0}")]
    Io(#[from] io::Error),
}

/// Where an address belongs. An interface that is recreated (hot-plug, the network's restart) has
/// another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Site {
    address: ServiceAddress,
    interface: u32,
    mac: [u8; 6],
}

/// The line to the guard of this process; clones are the same.
#[derive(Clone, Default)]
pub struct GuardLine {
    line: Option<Arc<OwnedFd>>,
    ips: Arc<Vec<IpAddr>>,
}

impl GuardLine {
    /// Has a connection outlive this process, if it is at a service address; says whether it is.
    pub(super) fn guard(&self, local: IpAddr, socket: BorrowedFd<'_>) -> bool {
        let Some(line) = &self.line else { return false };
        // One that cannot be guarded ends with the process as any other does.
        self.ips.contains(&local.to_canonical()) && guard_line::send_socket(line, socket).is_ok()
    }
}

/// This machine's.
pub struct OsAddresses {
    sites: Mutex<Vec<Site>>,
    /// The interface that was named, if one was.
    interface: Option<String>,
    guard: GuardLine,
    /// Never waited for: it ends after this process, or lets go of everything when it is killed.
    process: Mutex<Option<Child>>,
}

impl OsAddresses {
    /// Finds the interfaces, takes away what a predecessor may have left, and starts the guard:
    /// `guard` is the command of a process that calls [`run_guard`] with the same addresses.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn new(
        addresses: &[ServiceAddress],
        interface: Option<&str>,
        guard: Option<Command>,
    ) -> Result<Self, PlaceError> {
        let sites = sites(addresses, interface)?;
        raw_packets::allowed().map_err(PlaceError::NotAllowed)?;
        for site in &sites {
            site.remove().map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => PlaceError::NotAllowed(error),
                _ => PlaceError::Io(error),
            })?;
        }
        let (line, process) = match guard {
            None => (None, None),
            Some(command) => {
                let (line, process) = guard::start(command)?;
                (Some(Arc::new(line)), Some(process))
            }
        };
        let ips = Arc::new(addresses.iter().map(|address| address.ip).collect());
        Ok(Self {
            sites: Mutex::new(sites),
            interface: interface.map(str::to_owned),
            guard: GuardLine { line, ips },
            process: Mutex::new(process),
        })
    }

    /// What [`TokioNet`](super::tokio_net::TokioNet) tells of connections that it accepts.
    #[must_use]
    pub fn guard(&self) -> GuardLine {
        self.guard.clone()
    }

    /// The process that guards, if there is one.
    #[must_use]
    pub fn guard_process(&self) -> Option<u32> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Child::id)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Site>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn site(&self, address: ServiceAddress) -> io::Result<Site> {
        let sites = self.lock();
        sites
            .iter()
            .find(|site| site.address == address)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Looks where an address belongs now.
    fn look_again(&self, address: ServiceAddress) -> Result<Site, PlaceError> {
        let all = interfaces::all()?;
        let before = self.site(address)?;
        let now = before.again(&all, self.interface.as_deref())?;
        if before.interface != now.interface {
            // Its interface may have another name now, and the address still be on it.
            let _ = before.remove();
        }
        self.lock().iter_mut().filter(|site| site.address == address).for_each(|site| *site = now);
        Ok(now)
    }
}

impl Site {
    fn of(address: ServiceAddress, found: &Interface) -> Result<Self, PlaceError> {
        let not_ethernet = || PlaceError::NotEthernet { address, name: found.name.clone() };
        Ok(Self { address, interface: found.index, mac: found.mac.ok_or_else(not_ethernet)? })
    }

    /// The same interface as long as it is there: another one in the network is none the better,
    /// and the address may be on this one.
    fn again(self, all: &[Interface], name: Option<&str>) -> Result<Self, PlaceError> {
        let is_same =
            |one: &&Interface| one.index == self.interface && name.is_none_or(|name| one.name == name);
        let found = match all.iter().find(is_same) {
            Some(same) => same,
            None => find(all, self.address, name)?,
        };
        Self::of(self.address, found)
    }

    fn remove(&self) -> io::Result<bool> {
        match netlink::remove(self.interface, self.address) {
            Ok(()) => Ok(true),
            Err(error) if is_not_there(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The address is not on the interface, or has gone with it.
fn is_not_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::ENODEV)
}

fn sites(addresses: &[ServiceAddress], interface: Option<&str>) -> Result<Vec<Site>, PlaceError> {
    let all = interfaces::all()?;
    let site = |address: &ServiceAddress| Site::of(*address, find(&all, *address, interface)?);
    addresses.iter().map(site).collect()
}

/// The interface of that name, or the one with another address in the network.
fn find<'a>(
    all: &'a [Interface],
    address: ServiceAddress,
    name: Option<&str>,
) -> Result<&'a Interface, PlaceError> {
    let Some(name) = name else {
        let is_near = |ip: &IpAddr| *ip != address.ip && address.has_in_network(*ip);
        let found = all.iter().find(|interface| interface.addresses.iter().any(is_near));
        return found.ok_or(PlaceError::NoNetwork { address });
    };
    all.iter().find(|interface| interface.name == name).ok_or_else(|| PlaceError::NoInterface {
        name: name.to_owned(),
        present: all.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// Guards another process, whose end of a line is standard input; returns when that has ended and
/// its addresses are gone.
///
/// # Errors
/// [`PlaceError`].
pub fn run_guard(addresses: &[ServiceAddress], interface: Option<&str>) -> Result<(), PlaceError> {
    let line = io::stdin().as_fd().try_clone_to_owned()?;
    let places: Vec<Place> =
        sites(addresses, interface)?.iter().map(|site| (site.interface, site.address)).collect();
    Ok(guard::guard_addresses(&line, &places)?)
}

impl Addresses for OsAddresses {
    fn add(&self, address: ServiceAddress, valid_s: u32) -> io::Result<()> {
        let Err(error) = netlink::add(self.site(address)?.interface, address, valid_s) else { return Ok(()) };
        // The next call finds it there. Not this one: a caller that renews an address must see that
        // it has gone, and announce it again.
        match self.look_again(address) {
            Ok(_) | Err(PlaceError::Io(_)) => Err(error),
            Err(why) => Err(io::Error::other(format!("{error}; {why}"))),
        }
    }

    fn remove(&self, address: ServiceAddress) -> io::Result<bool> {
        self.site(address)?.remove()
    }

    fn present(&self) -> io::Result<Vec<ServiceAddress>> {
        let all = interfaces::all()?;
        let has = |site: &&Site| {
            all.iter().any(|one| one.index == site.interface && one.addresses.contains(&site.address.ip))
        };
        Ok(self.lock().iter().filter(has).map(|site| site.address).collect())
    }

    fn announce(&self, address: ServiceAddress) -> io::Result<()> {
        // Its hardware address may be another one too.
        let site = self.look_again(address).or_else(|_| self.site(address))?;
        let mut frames = frames::announcements(address.ip, site.mac).into_iter();
        frames.try_for_each(|frame| raw_packets::frame(site.interface, &frame))
    }

    fn tickle(&self, service: SocketAddr, client: SocketAddr) -> io::Result<()> {
        for sequence in STRAY_SEQUENCES {
            let packet = frames::stray_acknowledgement(service, client, sequence)
                .ok_or(io::ErrorKind::InvalidInput)?;
            raw_packets::packet(&packet, client.ip())?;
        }
        Ok(())
    }

    fn end_connections(&self, ip: IpAddr) -> usize {
        silence::end_all_at(ip)
    }

    fn keep(&self, lease_ms: u32) {
        if let Some(line) = &self.guard.line {
            // A guard that is gone can do nothing, and neither can we for it: the addresses' own
            // time runs out.
            let _ = guard_line::send_lease(line, lease_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, index: u32, ip: &str) -> Interface {
        Interface { name: name.to_owned(), index, mac: Some([2; 6]), addresses: vec![ip.parse().unwrap()] }
    }

    #[test]
    fn the_interface_is_the_one_in_the_network_or_the_one_that_is_named() {
        let all = [interface("eth0", 2, "10.0.0.5"), interface("eth1", 3, "10.0.1.5")];
        let address: ServiceAddress = "10.0.1.100/24".parse().unwrap();
        assert_eq!(find(&all, address, None).unwrap().index, 3);
        assert_eq!(find(&all, address, Some("eth0")).unwrap().index, 2);
        let error = find(&all, address, Some("eth7")).unwrap_err().to_string();
        assert!(error.contains("eth7") && error.contains("eth0, eth1"), "{error}");
        let error = find(&all, "10.0.2.1/24".parse().unwrap(), None).unwrap_err().to_string();
        assert!(error.contains("service_interface"), "{error}");
        // The address itself, left over from a predecessor, shows nothing.
        assert!(find(&all[..1], "10.0.0.5/24".parse().unwrap(), None).is_err());
    }

    #[test]
    fn an_interface_that_was_recreated_is_found_again() {
        let address: ServiceAddress = "10.0.0.100/24".parse().unwrap();
        let mut all = [interface("eth0", 2, "10.0.0.5"), interface("eth1", 3, "10.0.0.6")];
        let site = Site::of(address, &all[1]).unwrap();
        // Another one in the network is no reason to move.
        assert_eq!(site.again(&all, None).unwrap(), site);
        all[1].mac = Some([4; 6]);
        assert_eq!(site.again(&all, None).unwrap(), Site { mac: [4; 6], ..site });
        all[1].index = 7;
        assert_eq!(site.again(&all, Some("eth1")).unwrap(), Site { interface: 7, mac: [4; 6], ..site });
        assert_eq!(site.again(&all, None).unwrap().interface, 2, "nothing names one");
        // Its number is there, under another name.
        (all[1].name, all[1].index) = ("old".to_owned(), 3);
        let error = site.again(&all, Some("eth1")).unwrap_err().to_string();
        assert!(error.contains("eth1") && error.contains("eth0, old"), "{error}");
    }

    /// A pair of interfaces; false if there can be none here.
    fn make_pair() -> bool {
        [
            "link add v0 type veth peer name v1",
            "addr add 10.9.0.5/24 dev v0",
            "link set v0 up",
            "link set v1 up",
        ]
        .iter()
        .all(|words| Command::new("ip").args(words.split(' ')).status().is_ok_and(|status| status.success()))
    }

    /// The whole of it, where this may be done: in a network of the thread's own.
    #[test]
    fn an_address_comes_back_on_a_recreated_interface_and_the_guard_finds_it_there() {
        let whole = || {
            // SAFETY: no memory is handed over; this thread alone has another network from here on.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 || !make_pair() {
                return;
            }
            let address: ServiceAddress = "10.9.0.100/24".parse().unwrap();
            let door = OsAddresses::new(&[address], Some("v0"), None).unwrap();
            let before = (door.site(address).unwrap().interface, address);
            door.add(address, 60).unwrap();
            assert_eq!(door.present().unwrap(), [address]);
            assert!(Command::new("ip").args(["link", "del", "v0"]).status().unwrap().success());
            assert!(!door.remove(address).unwrap(), "it has gone with its interface");
            let error = door.add(address, 60).unwrap_err().to_string();
            assert!(error.contains("no network interface `v0`"), "{error}");
            assert!(make_pair());
            assert!(door.add(address, 60).is_err() && door.present().unwrap().is_empty());
            door.add(address, 60).unwrap();
            assert_eq!(door.present().unwrap(), [address]);
            door.announce(address).unwrap();
            let (server, line) = guard_line::pair().unwrap();
            drop(server);
            guard::guard_addresses(&line, &[before]).unwrap();
            assert_eq!(door.present().unwrap(), []);
        };
        std::thread::spawn(whole).join().unwrap();
    }
}
