//! Our own server with three data servers on addresses of their own: `shoal serve`, or a process
//! for each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::setup::{Setup, wait_for_port};
use crate::lab::metrics::Metrics;
use crate::lab::network;
use crate::process;

/// Where the data servers answer, the first ones of it if there are fewer.
const DATA_ADDRESSES: [&str; 6] =
    ["10.77.0.11", "10.77.0.12", "10.77.0.13", "10.77.0.14", "10.77.0.15", "10.77.0.16"];
const METRICS_PORT: u16 = 9049;
const CONFIG: &str = include_str!("../../../../conformance/lab/shoal.toml");

/// How many servers there are, in how many processes, and what they are told beyond the lab's own
/// options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrangement {
    /// Each server is a process of its own.
    pub(crate) split: bool,
    pub(crate) data_servers: usize,
    /// So many of them, the last ones, are not started with the others.
    pub(crate) late: usize,
    /// Lines for the section `[cluster]` of the configuration, and sections after it.
    pub(crate) options: &'static str,
}

impl Arrangement {
    /// `shoal serve` with three data servers.
    pub(crate) const WHOLE: Self = Self { split: false, data_servers: 3, late: 0, options: "" };

    fn addresses(self) -> &'static [&'static str] {
        &DATA_ADDRESSES[..self.data_servers]
    }
}

/// The processes: one that plays all roles, or a metadata server and its data servers.
#[derive(Debug)]
pub(crate) struct Shoal {
    setup: Setup,
    arrangement: Arrangement,
    /// All roles in the first, or the metadata server first, then the data servers in order.
    children: Vec<Option<Child>>,
}

impl Shoal {
    pub(super) fn start(setup: Setup, arrangement: Arrangement) -> Result<Self> {
        network::add_address(network::SERVER)?;
        let count = if arrangement.split { 1 + arrangement.data_servers } else { 1 };
        let mut server = Self { setup, arrangement, children: (0..count).map(|_| None).collect() };
        for address in arrangement.addresses() {
            network::add_address(address)?;
        }
        let config = format!("{CONFIG}{}\n", arrangement.options);
        std::fs::write(server.setup.folder.join("shoal.toml"), config)?;
        server.resume()?;
        Ok(server)
    }

    /// Addresses of the data servers, in order.
    pub(crate) fn data_addresses(&self) -> &'static [&'static str] {
        self.arrangement.addresses()
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        for number in 0..self.children.len() - self.arrangement.late {
            self.start_one(number)?;
        }
        Ok(())
    }

    /// Starts a process and waits until it listens.
    pub(crate) fn start_one(&mut self, number: usize) -> Result<()> {
        let (mut command, address, port) = match (self.arrangement.split, number) {
            (false, _) => (self.serve(), network::SERVER, 2049),
            (true, 0) => (self.metadata_server(), network::SERVER, 2049),
            (true, number) => (self.data_server(number), DATA_ADDRESSES[number - 1], 3049),
        };
        let mut child = process::start_logged(&mut command, &self.log())?;
        wait_for_port(address, port, &mut child, &self.log())?;
        // Its counters are asked for from the first moment, and that port is bound last.
        wait_for_port(address, METRICS_PORT, &mut child, &self.log())?;
        self.children[number] = Some(child);
        Ok(())
    }

    fn command(&self, role: &str, folder: &str) -> Command {
        let mut command = Command::new(&self.setup.shoal);
        command.arg(role).arg("--dir").arg(self.setup.data.join(folder));
        command
    }

    fn serve(&self) -> Command {
        let mut command = self.command("serve", "all");
        command.arg("--config").arg(self.setup.folder.join("shoal.toml"));
        let (count, addresses) = (self.arrangement.data_servers.to_string(), self.data_addresses().join(","));
        command.args(["--ip", network::SERVER, "--ds", &count, "--ds-ip", &addresses]);
        command.args(["--metrics-port", &METRICS_PORT.to_string()]);
        if let Some(bytes) = self.setup.capacity_bytes {
            command.args(["--capacity", &(bytes / self.arrangement.data_servers as u64).to_string()]);
        }
        command
    }

    fn metadata_server(&self) -> Command {
        let mut command = self.command("mds", "mds");
        command.arg("--config").arg(self.setup.folder.join("shoal.toml"));
        command.arg("--cluster-key").arg(self.setup.data.join("key"));
        let at = |port: u16| format!("{}:{port}", network::SERVER);
        command.args(["--listen", &at(2049), "--control", &at(2050), "--metrics", &at(METRICS_PORT)]);
        command
    }

    fn data_server(&self, number: usize) -> Command {
        let mut command = self.command("ds", &format!("ds{number}"));
        command.arg("--cluster-key").arg(self.setup.data.join("key"));
        let at = |port: u16| format!("{}:{port}", DATA_ADDRESSES[number - 1]);
        command.args(["--listen", &at(3049), "--control", &at(3149), "--metrics", &at(METRICS_PORT)]);
        command.args(["--mds", &format!("{}:2050", network::SERVER)]);
        if let Some(bytes) = self.setup.capacity_bytes {
            command.args(["--capacity", &(bytes / self.arrangement.data_servers as u64).to_string()]);
        }
        command
    }

    pub(super) fn kill(&mut self) {
        // All first, then the waiting: none is to see the others die.
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
        }
        for child in &mut self.children {
            if let Some(mut child) = child.take() {
                let _ = child.wait();
            }
        }
    }

    /// Kills one data server of several processes; numbers begin at 1.
    pub(crate) fn kill_data_server(&mut self, number: usize) {
        if let Some(mut child) = self.children[number].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills the metadata server of several processes.
    pub(crate) fn kill_metadata_server(&mut self) {
        self.kill_data_server(0);
    }

    /// Takes away what a data server that was killed had on its disk.
    pub(crate) fn wipe_data_server(&self, number: usize) -> Result<()> {
        std::fs::remove_dir_all(self.data_folder(number)).map_err(Into::into)
    }

    /// The folder of one data server of several processes.
    pub(crate) fn data_folder(&self, number: usize) -> PathBuf {
        self.setup.data.join(format!("ds{number}"))
    }

    /// The counters of one data server of several processes.
    pub(crate) fn data_server_metrics(&self, number: usize) -> Result<Metrics> {
        Ok(Metrics::parse(&read_metrics(DATA_ADDRESSES[number - 1])?))
    }

    /// Runs `shoal admin` against the metadata server; what it printed.
    ///
    /// # Errors
    /// With what it said if it was refused.
    pub(crate) fn administer(&self, arguments: &[&str]) -> Result<String> {
        let at = |port: u16| format!("{}:{port}", network::SERVER);
        let mut command = Command::new(&self.setup.shoal);
        command.args(["admin", "--at", &at(METRICS_PORT), "--control", &at(2050)]);
        command.arg("--cluster-key").arg(self.setup.data.join("key")).args(arguments);
        let output = command.output()?;
        if !output.status.success() {
            bail!("shoal admin {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(super) fn process_ids(&self) -> Vec<u32> {
        self.children.iter().flatten().map(Child::id).collect()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.setup.folder.join("shoal.log")
    }

    pub(super) fn metrics(&self) -> Result<Metrics> {
        let addresses = if self.arrangement.split { self.data_addresses() } else { &[] };
        // A data server that was killed has none.
        let runs = |(at, _): &(usize, &&str)| self.children[at + 1].is_some();
        let alive = addresses.iter().enumerate().filter(runs).map(|(_, address)| address);
        let texts = [network::SERVER].iter().chain(alive).map(|address| read_metrics(address));
        Ok(Metrics::parse(&texts.collect::<Result<Vec<_>>>()?.join("\n")))
    }
}

pub(super) fn read_metrics(address: &str) -> Result<String> {
    read_page(address, "/metrics")
}

/// What a metrics port says.
///
/// # Errors
/// If no server answers there, or it says that it cannot.
pub(crate) fn read_metrics_at(target: SocketAddr) -> Result<String> {
    read_page_at(target, "/metrics")
}

/// A page of a server's metrics port.
pub(super) fn read_page(address: &str, path: &str) -> Result<String> {
    read_page_at(format!("{address}:{METRICS_PORT}").parse()?, path)
}

fn read_page_at(target: SocketAddr, path: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect_timeout(&target, Duration::from_secs(5)).context("no metrics port")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: shoal\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("the metrics port speaks no HTTP")?;
    if !head.contains(" 200 ") {
        bail!("the metrics port answers: {head}");
    }
    Ok(body.to_owned())
}

impl Drop for Shoal {
    fn drop(&mut self) {
        self.kill();
        for address in DATA_ADDRESSES.into_iter().chain([network::SERVER]) {
            let _ = network::drop_address(address);
        }
    }
}
