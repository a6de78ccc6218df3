//! Three metadata servers and three data servers, each a process in a network namespace of its own,
//! with a service address that follows the leader. A fourth metadata server may join them.
//!
//! INVARIANT: a node's only way to any other is its link to the bridge.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::setup::{Setup, wait_for_port};
use super::shoal::read_metrics;
use crate::lab::metrics::Metrics;
use crate::lab::network::{self, Node};
use crate::process;

/// Metadata servers that the cluster is made with, and as many data servers.
pub(crate) const NODES: usize = 3;
/// The metadata server that may join them.
pub(crate) const JOINED: usize = NODES + 1;
const METADATA: [&str; JOINED] = ["10.77.0.21", "10.77.0.22", "10.77.0.23", "10.77.0.24"];
const DATA: [&str; NODES] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
const METRICS_PORT: u16 = 9049;
const CONFIG: &str = include_str!("../../../../conformance/lab/shoal.toml");
/// A leader is there by then, whatever has just died.
const LEADER_SECONDS_MAX: u64 = 30;
/// By then all shards have a metadata server again that lost its disk.
const READMIT_SECONDS_MAX: u64 = 120;

/// The processes, and the nodes that they are on.
#[derive(Debug)]
pub(crate) struct Replicas {
    setup: Setup,
    /// Three, or four once another one has joined.
    metadata: Vec<Option<Child>>,
    data: Vec<Option<Child>>,
    metadata_nodes: Vec<Node>,
    data_nodes: Vec<Node>,
}

/// Shards of the name space: new clusters have one (docs/admin/cluster.md).
pub(crate) const SHARDS: u32 = 1;

impl Replicas {
    pub(super) fn start(setup: Setup) -> Result<Self> {
        let config = format!("{CONFIG}service_addresses = [\"{}/24\"]\n", network::SERVER);
        std::fs::write(setup.folder.join("shoal.toml"), config)?;
        let (mut metadata_nodes, mut data_nodes) = (Vec::new(), Vec::new());
        for number in 1..=NODES {
            metadata_nodes.push(metadata_node(number)?);
            data_nodes.push(Node::make(&format!("d{number}"), DATA[number - 1])?);
        }
        let none = || (0..NODES).map(|_| None).collect();
        let mut server = Self { setup, metadata: none(), data: none(), metadata_nodes, data_nodes };
        server.resume()?;
        Ok(server)
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        // Before any of them runs: the first one makes the key that all have.
        for number in self.metadata_numbers() {
            self.spawn_metadata(number)?;
            if number == 1 {
                let key = self.setup.data.join("key");
                wait("a cluster key", || key.exists())?;
            }
        }
        for number in self.metadata_numbers() {
            self.wait_for_metadata(number)?;
        }
        for number in 1..=NODES {
            let mut child = process::start_logged(&mut self.data_server(number), &self.log())?;
            wait_for_port(DATA[number - 1], METRICS_PORT, &mut child, &self.log())?;
            self.data[number - 1] = Some(child);
        }
        self.leader().map(drop)
    }

    /// Numbers of the metadata servers that there are, whether they run or not.
    pub(crate) fn metadata_numbers(&self) -> RangeInclusive<usize> {
        1..=self.metadata.len()
    }

    /// Has the fourth metadata server join those that run; returns when it knows a leader.
    pub(crate) fn join_metadata(&mut self) -> Result<()> {
        ensure!(self.metadata.len() < JOINED, "metadata server {JOINED} has joined already");
        self.metadata_nodes.push(metadata_node(JOINED)?);
        self.metadata.push(None);
        self.start_metadata(JOINED)
    }

    /// Starts a metadata server again; returns when it takes part.
    pub(crate) fn start_metadata(&mut self, number: usize) -> Result<()> {
        self.spawn_metadata(number)?;
        self.wait_for_metadata(number)
    }

    /// Takes away what a metadata server that was killed had on its disk.
    pub(crate) fn wipe_metadata(&self, number: usize) -> Result<()> {
        let folder = self.metadata_folder(number);
        std::fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))
    }

    /// Starts a metadata server whose disk was wiped, and has it taken in again; returns when all
    /// shards have it and it takes part.
    pub(crate) fn readmit_metadata(&mut self, number: usize) -> Result<()> {
        self.spawn_metadata(number)?;
        self.readmit(number).with_context(|| {
            let log = self.metadata_log(number);
            let said = process::tail(&log, 20);
            format!("metadata server {number} is not taken in again; {} ends with\n{said}\n", log.display())
        })?;
        // Its counters' port is bound when it knows a leader: not before it was taken in.
        self.wait_for_metadata(number)
    }

    /// Asks until it is done.
    fn readmit(&mut self, number: usize) -> Result<()> {
        let (began, limit) = (Instant::now(), Duration::from_secs(READMIT_SECONDS_MAX));
        loop {
            let left = limit.saturating_sub(began.elapsed());
            let asked = self.administer(&["mds", "readmit", &number.to_string()], left);
            let Err(refused) = asked else { return Ok(()) };
            let child = self.metadata[number - 1].as_mut().context("it was not started")?;
            if let Some(status) = child.try_wait()? {
                bail!("it ended: {status}");
            }
            // It is refused as long as the others do not reach it: it has only just been started.
            if limit <= began.elapsed() {
                return Err(refused.context(format!("not after {READMIT_SECONDS_MAX} s")));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Runs `shoal admin` against all metadata servers, for so long at most; what it printed.
    fn administer(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", &limit.as_secs().max(1).to_string()]).arg(&self.setup.shoal);
        command.args(["admin", "--control", &first(2050)]);
        command.arg("--cluster-key").arg(self.setup.data.join("key")).args(arguments);
        process::output(&mut command)
    }

    fn spawn_metadata(&mut self, number: usize) -> Result<()> {
        let log = self.metadata_log(number);
        let child = process::start_logged(&mut self.metadata_server(number), &log)?;
        self.metadata[number - 1] = Some(child);
        Ok(())
    }

    fn wait_for_metadata(&mut self, number: usize) -> Result<()> {
        let log = self.metadata_log(number);
        let child = self.metadata[number - 1].as_mut().context("it was not started")?;
        wait_for_port(METADATA[number - 1], METRICS_PORT, child, &log)
    }

    fn metadata_server(&self, number: usize) -> Command {
        let own = METADATA[number - 1];
        let mut command = self.metadata_nodes[number - 1].command(&self.setup.shoal);
        command.arg("mds").arg("--dir").arg(self.metadata_folder(number));
        command.arg("--config").arg(self.setup.folder.join("shoal.toml"));
        command.arg("--cluster-key").arg(self.setup.data.join("key"));
        command.args(["--listen", "0.0.0.0:2049", "--control", &format!("{own}:2050")]);
        command.args(["--metrics", &format!("{own}:{METRICS_PORT}"), "--id", &number.to_string()]);
        command.args(["--controls", &numbered(2050)]);
        match number {
            JOINED => command.args(["--members", &format!("{number}={own}:2051"), "--join", &first(2051)]),
            _ => command.args(["--members", &numbered(2051)]),
        };
        command
    }

    fn data_server(&self, number: usize) -> Command {
        let own = DATA[number - 1];
        let mut command = self.data_nodes[number - 1].command(&self.setup.shoal);
        command.arg("ds").arg("--dir").arg(self.setup.data.join(format!("ds{number}")));
        command.arg("--cluster-key").arg(self.setup.data.join("key"));
        command.args(["--listen", &format!("{own}:3049"), "--control", &format!("{own}:3149")]);
        command.args(["--metrics", &format!("{own}:{METRICS_PORT}"), "--mds", &first(2050)]);
        command.args(["--host", &format!("d{number}")]);
        command
    }

    /// The metadata server that has the service address: numbers begin at 1.
    pub(crate) fn leader(&self) -> Result<usize> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(LEADER_SECONDS_MAX) {
            for number in self.metadata_numbers() {
                let has = |metrics: Metrics| metrics.sum("shoal_service_address", &[]) == 1.0;
                if self.metadata[number - 1].is_some() && self.metadata_metrics(number).is_ok_and(has) {
                    return Ok(number);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("no node has the service address after {LEADER_SECONDS_MAX} s")
    }

    /// The counters of one metadata server.
    pub(crate) fn metadata_metrics(&self, number: usize) -> Result<Metrics> {
        Ok(Metrics::parse(&read_metrics(METADATA[number - 1])?))
    }

    /// Kills a metadata server, and nothing else on its node.
    pub(crate) fn kill_metadata(&mut self, number: usize) {
        if let Some(mut child) = self.metadata[number - 1].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops a metadata server in order.
    pub(crate) fn stop_metadata(&mut self, number: usize) -> Result<()> {
        let mut child = self.metadata[number - 1].take().context("it does not run")?;
        process::words(&format!("kill -TERM {}", child.id()))?;
        let status = child.wait()?;
        ensure!(status.success(), "metadata server {number} stopped with {status}");
        Ok(())
    }

    /// Has a metadata server do nothing at all, or go on.
    pub(crate) fn hang(&self, number: usize, still: bool) -> Result<()> {
        let child = self.metadata[number - 1].as_ref().context("it does not run")?;
        let signal = if still { "STOP" } else { "CONT" };
        process::words(&format!("kill -{signal} {}", child.id())).map(drop)
    }

    /// Takes a metadata server's node off the network, or puts it back.
    pub(crate) fn partition(&self, number: usize, apart: bool) -> Result<()> {
        self.metadata_nodes[number - 1].connect(!apart)
    }

    /// Whether one that was away has caught up: it names a leader, and has applied what the leader
    /// had.
    pub(crate) fn has_caught_up(&self, number: usize) -> Result<bool> {
        let leader = self.leader()?;
        let wanted = self.applied(leader)?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(LEADER_SECONDS_MAX) {
            if self.applied(number).is_ok_and(|applied| wanted <= applied) {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(false)
    }

    fn applied(&self, number: usize) -> Result<u64> {
        let status: serde_json::Value =
            serde_json::from_str(&super::shoal::read_page(METADATA[number - 1], "/status/own")?)?;
        status["applied_index"].as_u64().context("no applied_index")
    }

    pub(super) fn kill(&mut self) {
        // All first, then the waiting: none is to see the others die.
        for child in self.metadata.iter_mut().chain(&mut self.data).flatten() {
            let _ = child.kill();
        }
        for child in self.metadata.iter_mut().chain(&mut self.data) {
            if let Some(mut child) = child.take() {
                let _ = child.wait();
            }
        }
    }

    pub(super) fn metrics(&self) -> Result<Metrics> {
        let metadata = METADATA.iter().zip(&self.metadata).filter(|(_, child)| child.is_some());
        let data = DATA.iter().zip(&self.data).filter(|(_, child)| child.is_some());
        let texts = metadata.chain(data).map(|(address, _)| read_metrics(address));
        Ok(Metrics::parse(&texts.collect::<Result<Vec<_>>>()?.join("\n")))
    }

    pub(super) fn process_ids(&self) -> Vec<u32> {
        self.metadata.iter().chain(&self.data).flatten().map(Child::id).collect()
    }

    pub(super) fn data_addresses() -> &'static [&'static str] {
        &DATA
    }

    fn metadata_folder(&self, number: usize) -> PathBuf {
        self.setup.data.join(format!("mds{number}"))
    }

    /// What a metadata server says.
    pub(crate) fn metadata_log(&self, number: usize) -> PathBuf {
        self.setup.folder.join(format!("mds{number}.log"))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.setup.folder.join("shoal.log")
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.kill();
        // Guards of servers that were killed end by themselves in a moment; their namespaces must
        // not be in use then.
        std::thread::sleep(Duration::from_millis(100));
        self.metadata_nodes.iter().chain(&self.data_nodes).for_each(Node::remove);
    }
}

fn metadata_node(number: usize) -> Result<Node> {
    Node::make(&format!("m{number}"), METADATA[number - 1])
}

/// A port of each of the first three metadata servers: where others find them, before and after
/// another one has joined.
fn first(port: u16) -> String {
    let each = METADATA[..NODES].iter().map(|address| format!("{address}:{port}"));
    each.collect::<Vec<_>>().join(",")
}

/// The same with their numbers.
fn numbered(port: u16) -> String {
    let each = METADATA[..NODES].iter().zip(1..).map(|(address, id)| format!("{id}={address}:{port}"));
    each.collect::<Vec<_>>().join(",")
}

fn wait(what: &str, mut there: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !there() {
        ensure!(began.elapsed() < Duration::from_secs(LEADER_SECONDS_MAX), "{what} is not there");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
