//! The machine's network interfaces: names, numbers, hardware addresses, networks.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    /// None if it is no Ethernet, as the loop-back interface.
    pub(super) mac: Option<[u8; 6]>,
    pub(super) addresses: Vec<IpAddr>,
}

/// All interfaces that are there.
pub(super) fn all() -> io::Result<Vec<Interface>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `first` is a live pointer for the call to fill.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: getifaddrs returned a list whose entries live until freeifaddrs, and `next` is
        // one of them.
        let entry = unsafe { &*next };
        // SAFETY: the name of an entry is a C string that lives as long as the entry.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        let interface = found.entry(name.clone()).or_default();
        interface.name = name;
        // SAFETY: an address of an entry is null or points to as many bytes as its family says.
        unsafe { read_address(entry.ifa_addr, interface) };
        next = entry.ifa_next;
    }
    // SAFETY: `first` came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(first) };
    Ok(found.into_values().collect())
}

/// # Safety
/// `address` is null, or a socket address with all bytes that its family has.
unsafe fn read_address(address: *const libc::sockaddr, interface: &mut Interface) {
    if address.is_null() {
        return;
    }
    // SAFETY: the caller says that it is a socket address; the family is in the first bytes of
    // each.
    let family = i32::from(unsafe { (*address).sa_family });
    match family {
        libc::AF_INET => {
            // SAFETY: of this family, so it is that long; it may be badly aligned.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            interface.addresses.push(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr)).into());
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            interface.addresses.push(Ipv6Addr::from(v6.sin6_addr.s6_addr).into());
        }
        libc::AF_PACKET => {
            // SAFETY: as above.
            let link = unsafe { address.cast::<libc::sockaddr_ll>().read_unaligned() };
            interface.index = u32::try_from(link.sll_ifindex).unwrap_or(0);
            let is_ethernet = link.sll_hatype == libc::ARPHRD_ETHER && link.sll_halen == 6;
            interface.mac = is_ethernet.then(|| *link.sll_addr.first_chunk().expect("8 bytes hold 6"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_loop_back_interface_is_there() {
        let all = super::all().unwrap();
        let own = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(own.index != 0 && own.mac.is_none(), "{own:?}");
    }
}
