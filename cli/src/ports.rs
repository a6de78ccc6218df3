//! Ports before they are used: are they free, and if not, which flag moves them.
//!
//! All of them are bound at once and then released, so that a clash is reported before any server
//! has started, and ports the system chooses (0) differ.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use anyhow::{anyhow, bail};

/// A port that a server is about to listen on.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Where. Port 0 becomes one that the system chose.
    pub(crate) address: SocketAddr,
    /// What will listen there, for people.
    pub(crate) what: String,
    /// The flag that changes it.
    pub(crate) flag: &'static str,
}

/// Checks all, and fills in the ports that the system chooses.
///
/// # Errors
/// Names the first that cannot be had, why, and the flag to change.
pub(crate) fn settle(wanted: &mut [&mut Wanted]) -> anyhow::Result<()> {
    for (index, one) in wanted.iter().enumerate() {
        let same =
            wanted[..index].iter().find(|other| one.address.port() != 0 && other.address == one.address);
        if let Some(other) = same {
            let (address, flag) = (one.address, one.flag);
            bail!(
                "{} and {} would both listen on {address}; change {flag} or {}",
                other.what,
                one.what,
                other.flag
            );
        }
    }
    let mut held = Vec::with_capacity(wanted.len());
    // Ports that were asked for come first: the system must not choose one of them.
    for zero in [false, true] {
        for one in wanted.iter_mut().filter(|one| (one.address.port() == 0) == zero) {
            let listener = TcpListener::bind(one.address).map_err(|error| explain(one, &error))?;
            one.address = listener.local_addr()?;
            held.push(listener);
        }
    }
    Ok(())
}

fn explain(wanted: &Wanted, error: &std::io::Error) -> anyhow::Error {
    let Wanted { address, what, flag } = wanted;
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!("{what}: {address} is in use; choose another with {flag}"),
        ErrorKind::AddrNotAvailable => {
            anyhow!("{what}: {} is not an address of this machine; see {flag} and --ip", address.ip())
        }
        ErrorKind::PermissionDenied => {
            anyhow!("{what}: ports below 1024 are for root; choose one above {} with {flag}", address.port())
        }
        _ => anyhow!("{what}: cannot listen on {address}: {error}; see {flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(port: u16) -> Wanted {
        Wanted { address: ([127, 0, 0, 1], port).into(), what: "the server".to_owned(), flag: "--port" }
    }

    #[test]
    fn ports_chosen_by_the_system_differ() {
        let (mut a, mut b) = (wanted(0), wanted(0));
        settle(&mut [&mut a, &mut b]).unwrap();
        assert!(a.address.port() != 0 && b.address.port() != 0 && a.address != b.address);
    }

    #[test]
    fn a_port_in_use_names_its_flag() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut one = wanted(other.local_addr().unwrap().port());
        let message = settle(&mut [&mut one]).unwrap_err().to_string();
        assert!(message.contains("is in use") && message.contains("--port"), "{message}");
        let (mut a, mut b) = (wanted(9), wanted(9));
        assert!(settle(&mut [&mut a, &mut b]).unwrap_err().to_string().contains("both listen"));
        let mut elsewhere = Wanted { address: "192.0.2.1:0".parse().unwrap(), ..wanted(0) };
        assert!(
            settle(&mut [&mut elsewhere]).unwrap_err().to_string().contains("not an address of this machine")
        );
    }
}
