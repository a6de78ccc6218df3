//! The addresses that clients mount, and the mount command.

use std::net::{IpAddr, SocketAddr};

/// The port that `mount` uses by default.
const NFS_PORT: u16 = 2049;

/// Addresses for mounts: service addresses, else the address that NFS listens on, else, if that is
/// all addresses, the one on which other servers reach this one. Empty if none is reachable from
/// another machine.
pub(crate) fn mount_addresses(
    service: &[IpAddr],
    listens: SocketAddr,
    control: Option<SocketAddr>,
) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, listens.port());
    if !service.is_empty() {
        return service.iter().copied().map(at).collect();
    }
    let own = [Some(listens), control].into_iter().flatten().map(|address| address.ip());
    own.filter(|ip| !ip.is_unspecified()).map(at).take(1).collect()
}

/// The command that mounts an export.
#[must_use]
pub fn mount_command(server: SocketAddr, path: &str) -> String {
    let host = match server {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    let port = if server.port() == NFS_PORT { String::new() } else { format!(",port={}", server.port()) };
    let host = if server.ip().is_unspecified() { "ADDRESS".to_owned() } else { host };
    format!("mount -t nfs4 -o vers=4.2{port} {host}:{path} /mnt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_commands_name_only_an_unusual_port() {
        let at = |text: &str| mount_command(text.parse().unwrap(), "/");
        assert_eq!(at("127.0.0.1:2049"), "mount -t nfs4 -o vers=4.2 127.0.0.1:/ /mnt");
        assert_eq!(at("10.0.0.1:20490"), "mount -t nfs4 -o vers=4.2,port=20490 10.0.0.1:/ /mnt");
        assert_eq!(at("[::1]:2049"), "mount -t nfs4 -o vers=4.2 [::1]:/ /mnt");
        assert_eq!(at("0.0.0.0:2049"), "mount -t nfs4 -o vers=4.2 ADDRESS:/ /mnt");
    }

    #[test]
    fn clients_mount_what_other_machines_can_reach() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (any, own) = (at("0.0.0.0:2050"), at("10.0.0.1:2051"));
        let service = [ip("10.0.0.100"), ip("fd00::1")];
        assert_eq!(mount_addresses(&service, any, Some(own)), [at("10.0.0.100:2050"), at("[fd00::1]:2050")]);
        assert_eq!(mount_addresses(&[], at("10.0.0.7:2049"), Some(own)), [at("10.0.0.7:2049")]);
        assert_eq!(mount_addresses(&[], any, Some(own)), [at("10.0.0.1:2050")]);
        assert_eq!(mount_addresses(&[], any, Some(any)), []);
        assert_eq!(mount_addresses(&[], any, None), []);
    }
}
