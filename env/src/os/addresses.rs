//! Service addresses on this machine: rtnetlink, AF_PACKET, and a guard for when the process dies.
//!
//! Needs CAP_NET_ADMIN and CAP_NET_RAW.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};

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
    sites: Vec<Site>,
    guard: GuardLine,
    /// Never waited for: it ends after this process, or lets go of everything when it is killed.
    process: Mutex<Option<Child>>,
}

impl OsAddresses {
    /// Finds the interfaces, takes away what a predecessor may have left, and starts the guard: `guard` is the command of a
    /// process that calls [`run_guard`] with the same addresses.
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
        Ok(Self { sites, guard: GuardLine { line, ips }, process: Mutex::new(process) })
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

    fn site(&self, address: ServiceAddress) -> io::Result<&Site> {
        self.sites.iter().find(|site| site.address == address).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Site {
    fn remove(&self) -> io::Result<bool> {
        match netlink::remove(self.interface, self.address) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn sites(addresses: &[ServiceAddress], interface: Option<&str>) -> Result<Vec<Site>, PlaceError> {
    let all = interfaces::all()?;
    let site = |address: &ServiceAddress| {
        let found = find(&all, *address, interface)?;
        let not_ethernet = || PlaceError::NotEthernet { address: *address, name: found.name.clone() };
        Ok(Site { address: *address, interface: found.index, mac: found.mac.ok_or_else(not_ethernet)? })
    };
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

/// Guards another process, whose end of a line is standard input; returns when that has ended and its addresses are gone.
///
/// # Errors
/// [`PlaceError`].
pub fn run_guard(addresses: &[ServiceAddress], interface: Option<&str>) -> Result<(), PlaceError> {
    let line = io::stdin().as_fd().try_clone_to_owned()?;
    let places: Vec<Place> =
        sites(addresses, interface)?.iter().map(|site| (site.interface, site.address)).collect();
    Ok(guard::run(&line, &places)?)
}

impl Addresses for OsAddresses {
    fn add(&self, address: ServiceAddress, valid_s: u32) -> io::Result<()> {
        netlink::add(self.site(address)?.interface, address, valid_s)
    }

    fn remove(&self, address: ServiceAddress) -> io::Result<bool> {
        self.site(address)?.remove()
    }

    fn present(&self) -> io::Result<Vec<ServiceAddress>> {
        let all = interfaces::all()?;
        let has = |site: &&Site| {
            all.iter().any(|one| one.index == site.interface && one.addresses.contains(&site.address.ip))
        };
        Ok(self.sites.iter().filter(has).map(|site| site.address).collect())
    }

    fn announce(&self, address: ServiceAddress) -> io::Result<()> {
        let site = self.site(address)?;
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
            // A guard that is gone can do nothing, and neither can we for it: the addresses' own time runs out.
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
}
