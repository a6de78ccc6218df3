//! Which servers `shoal serve` runs and where they listen: from flags and from how the directory
//! was made. Pure.
//!
//! INVARIANT: a directory's replicas never change, and none of its data servers is ever left out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};

use crate::args::Serve;
use crate::directory::Made;
use crate::ports::{self, Wanted};

/// Data servers of a new cluster by default.
const DATA_SERVERS_DEFAULT: u16 = 6;
/// A control port is so much higher than the data port beside it; also the most data servers of one
/// process.
const CONTROL_PORT_STEP: u16 = 100;

/// One data server.
#[derive(Clone, Debug)]
pub(crate) struct DataServerPlan {
    /// From 1; names its folder.
    pub(crate) number: u16,
    /// For clients.
    pub(crate) data: Wanted,
    /// For the metadata server.
    pub(crate) control: Wanted,
}

/// Everything that runs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// NFSv4.
    pub(crate) nfs: Wanted,
    /// For data servers to register.
    pub(crate) control: Wanted,
    /// Metrics; `None` turns them off.
    pub(crate) metrics: Option<Wanted>,
    /// Data servers.
    pub(crate) data_servers: Vec<DataServerPlan>,
    /// Where metadata replicas talk to each other; empty for one replica.
    pub(crate) replicas: Vec<Wanted>,
}

impl Plan {
    /// Makes a plan. `made` says how the directory was made, if it was.
    ///
    /// # Errors
    /// Says which flags contradict each other or the directory, and what to do.
    pub(crate) fn new(serve: &Serve, made: Option<&Made>) -> anyhow::Result<Self> {
        let wanted =
            |ip: IpAddr, port: u16, what: String, flag| Wanted { address: (ip, port).into(), what, flag };
        let ports = ports_of_replicas(serve, made)?;
        let replica = |(index, port): (usize, &u16)| {
            let what = format!("metadata replica {}", index + 1);
            wanted(Ipv4Addr::LOCALHOST.into(), *port, what, "--control-port (on the first start)")
        };
        let plan = Self {
            nfs: wanted(serve.ip, serve.port, "the metadata server (NFS)".to_owned(), "--port"),
            control: wanted(
                serve.ip,
                serve.control_port,
                "the metadata server (control)".to_owned(),
                "--control-port",
            ),
            metrics: (serve.metrics_port != 0)
                .then(|| wanted(serve.ip, serve.metrics_port, "metrics".to_owned(), "--metrics-port")),
            data_servers: data_servers(serve, made)?,
            replicas: ports.iter().enumerate().map(replica).collect(),
        };
        Ok(plan)
    }

    /// Checks that every port is free, and fills in those that the system chooses.
    ///
    /// # Errors
    /// Names the port, who wants it, and the flag to change.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        let mut all = vec![&mut self.nfs, &mut self.control];
        all.extend(&mut self.metrics);
        all.extend(self.data_servers.iter_mut().flat_map(|server| [&mut server.data, &mut server.control]));
        all.extend(&mut self.replicas);
        ports::settle(&mut all)
    }

    /// What is to be remembered of the directory.
    pub(crate) fn made(&self) -> Made {
        let ports: Vec<_> = self.replicas.iter().map(|replica| replica.address.port()).collect();
        let data_servers = u16::try_from(self.data_servers.len()).expect("counted by a u16");
        Made::new(data_servers, if ports.is_empty() { 1 } else { 3 }, ports)
    }

    /// Where data servers reach the metadata server.
    pub(crate) fn control_target(&self) -> SocketAddr {
        let mut target = self.control.address;
        if target.ip().is_unspecified() {
            let loopback = if target.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            };
            target.set_ip(loopback);
        }
        target
    }
}

fn ports_of_replicas(serve: &Serve, made: Option<&Made>) -> anyhow::Result<Vec<u16>> {
    if let Some(made) = made {
        let asked = serve.replicas.unwrap_or(made.replicas);
        if asked != made.replicas {
            let (dir, have) = (serve.dir.display(), made.replicas);
            bail!(
                "{dir} was made with --replicas {have}, which is fixed; leave --replicas out, or take another --dir"
            );
        }
        return Ok(made.replica_ports.clone());
    }
    match serve.replicas.unwrap_or(1) {
        1 => Ok(Vec::new()),
        count => {
            (1..=u16::from(count)).map(|step| above(serve.control_port, step, "--control-port")).collect()
        }
    }
}

/// How many data servers there are to be.
fn count(serve: &Serve, made: Option<&Made>) -> anyhow::Result<u16> {
    let named = u16::try_from(serve.ds_ip.len()).context("--ds-ip names too many addresses")?;
    let default = match (made, named) {
        (None, 0) => DATA_SERVERS_DEFAULT,
        (Some(made), 0) => made.data_servers,
        (_, named) => named,
    };
    let count = serve.ds.unwrap_or(default);
    if named != 0 && named != count {
        bail!(
            "--ds-ip names {named} addresses, --ds asks for {count} data servers; give one address for each"
        );
    }
    if let Some(made) = made.filter(|made| count < made.data_servers) {
        let flag = if serve.ds.is_some() { "--ds" } else { "--ds-ip" };
        return Err(left_out(&serve.dir, made.data_servers, count, flag));
    }
    if count == 0 || CONTROL_PORT_STEP < count {
        bail!(
            "--ds {count}: expected 1 to {CONTROL_PORT_STEP}; more run as processes of their own (shoal ds)"
        );
    }
    Ok(count)
}

fn left_out(dir: &Path, have: u16, count: u16, flag: &str) -> anyhow::Error {
    let dir = dir.display();
    anyhow::anyhow!(
        "{dir} has {have} data servers, with {flag} {count} the data on {} of them could not be read; \
         give {have} or more, or leave {flag} out",
        have - count
    )
}

fn data_servers(serve: &Serve, made: Option<&Made>) -> anyhow::Result<Vec<DataServerPlan>> {
    let count = count(serve, made)?;
    let unspecified = |ip: &IpAddr| ip.is_unspecified();
    if serve.ds_ip.iter().any(unspecified) || (serve.ds_ip.is_empty() && serve.ip.is_unspecified()) {
        let flag = if serve.ds_ip.is_empty() { "--ip" } else { "--ds-ip" };
        bail!(
            "{flag}: clients are told this address to reach data servers at, so it must be one of this machine's own"
        );
    }
    let plan = |index: u16| {
        let own_ip = serve.ds_ip.get(usize::from(index)).copied();
        let (ip, step) = own_ip.map_or((serve.ip, index), |ip| (ip, 0));
        let number = index + 1;
        let data = above(serve.ds_port, step, "--ds-port")?;
        let control = above(serve.ds_port, step + CONTROL_PORT_STEP, "--ds-port")?;
        let wanted = |port, what| Wanted { address: (ip, port).into(), what, flag: "--ds-port" };
        Ok(DataServerPlan {
            number,
            data: wanted(data, format!("data server {number}")),
            control: wanted(control, format!("data server {number} (control)")),
        })
    };
    (0..count).map(plan).collect()
}

/// A port some steps above a base; 0 stays "any".
fn above(base: u16, step: u16, flag: &str) -> anyhow::Result<u16> {
    if base == 0 {
        return Ok(0);
    }
    base.checked_add(step)
        .with_context(|| format!("{flag} {base}: there is no port {}", u32::from(base) + u32::from(step)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn serve(flags: &str) -> Serve {
        let line = format!("shoal serve --dir D {flags}");
        match Arguments::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Serve(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    fn refused(flags: &str, made: Option<&Made>) -> String {
        Plan::new(&serve(flags), made).unwrap_err().to_string()
    }

    #[test]
    fn without_flags_there_are_six_on_loopback() {
        let plan = Plan::new(&serve(""), None).unwrap();
        let addresses: Vec<_> =
            plan.data_servers.iter().map(|s| (s.data.address, s.control.address)).collect();
        assert_eq!(addresses.len(), 6);
        assert_eq!(addresses[5], ("127.0.0.1:3054".parse().unwrap(), "127.0.0.1:3154".parse().unwrap()));
        assert_eq!(plan.nfs.address, "127.0.0.1:2049".parse().unwrap());
        assert_eq!(plan.made(), Made::new(6, 1, vec![]));
    }

    #[test]
    fn data_servers_with_addresses_share_a_port() {
        let plan = Plan::new(&serve("--ip 0.0.0.0 --ds-ip 10.0.0.1,10.0.0.2"), None).unwrap();
        let last = &plan.data_servers[1];
        assert_eq!(last.data.address, "10.0.0.2:3049".parse().unwrap());
        assert_eq!(last.control.address, "10.0.0.2:3149".parse().unwrap());
        assert_eq!(plan.control_target(), "127.0.0.1:2050".parse().unwrap());
        assert!(refused("--ds 3 --ds-ip 10.0.0.1", None).contains("--ds-ip names 1"));
        assert!(refused("--ip 0.0.0.0", None).starts_with("--ip"));
    }

    #[test]
    fn a_directory_keeps_what_it_was_made_with() {
        let made = Made::new(3, 1, vec![]);
        assert_eq!(Plan::new(&serve(""), Some(&made)).unwrap().data_servers.len(), 3);
        assert_eq!(Plan::new(&serve("--ds 4"), Some(&made)).unwrap().made(), Made::new(4, 1, vec![]));
        assert!(refused("--ds 2", Some(&made)).contains("with --ds 2 the data on 1 of them"));
        assert!(refused("--replicas 3", Some(&made)).contains("made with --replicas 1"));
    }

    #[test]
    fn three_replicas_listen_above_the_control_port_for_ever() {
        let plan = Plan::new(&serve("--replicas 3 --control-port 4000"), None).unwrap();
        let made = plan.made();
        assert_eq!(made, Made::new(6, 3, vec![4001, 4002, 4003]));
        let again = Plan::new(&serve("--control-port 5000"), Some(&made)).unwrap();
        assert_eq!(again.made(), made);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (flags, word) in [("--ds 0", "--ds 0"), ("--ds 101", "1 to 100"), ("--ds-port 65500", "no port")]
        {
            assert!(refused(flags, None).contains(word), "{flags}");
        }
        let any = Plan::new(&serve("--port 0 --ds-port 0 --control-port 0 --replicas 3"), None).unwrap();
        assert!(any.data_servers.iter().all(|server| server.control.address.port() == 0));
    }
}
