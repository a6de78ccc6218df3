//! Our own server: `shoal serve` with three data servers on addresses of their own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Setup, wait_for_port};
use crate::lab::metrics::Metrics;
use crate::lab::network;
use crate::process;

/// Where the data servers answer.
pub(crate) const DATA_ADDRESSES: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
const METRICS_PORT: u16 = 9049;
const CONFIG: &str = include_str!("../../../../conformance/lab/shoal.toml");

/// The process that plays all roles.
#[derive(Debug)]
pub(crate) struct Shoal {
    setup: Setup,
    child: Option<Child>,
}

impl Shoal {
    pub(super) fn start(setup: Setup) -> Result<Self> {
        network::add_address(network::SERVER)?;
        let mut server = Self { setup, child: None };
        for address in DATA_ADDRESSES {
            network::add_address(address)?;
        }
        std::fs::write(server.setup.folder.join("shoal.toml"), CONFIG)?;
        server.resume()?;
        Ok(server)
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(&self.setup.shoal);
        command.arg("serve").arg("--dir").arg(&self.setup.data);
        command.arg("--config").arg(self.setup.folder.join("shoal.toml"));
        command.args(["--ip", network::SERVER, "--ds", "3", "--ds-ip", &DATA_ADDRESSES.join(",")]);
        command.args(["--metrics-port", &METRICS_PORT.to_string()]);
        if let Some(bytes) = self.setup.capacity_bytes {
            command.args(["--capacity", &bytes.to_string()]);
        }
        let mut child = process::start_logged(&mut command, &self.log())?;
        wait_for_port(2049, &mut child, &self.log())?;
        self.child = Some(child);
        Ok(())
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.setup.folder.join("shoal.log")
    }

    pub(super) fn metrics(&self) -> Result<Metrics> {
        let target = format!("{}:{METRICS_PORT}", network::SERVER).parse()?;
        let mut stream =
            TcpStream::connect_timeout(&target, Duration::from_secs(5)).context("no metrics port")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: shoal\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("the metrics port speaks no HTTP")?;
        if !head.contains(" 200 ") {
            bail!("the metrics port answers: {head}");
        }
        Ok(Metrics::parse(body))
    }
}

impl Drop for Shoal {
    fn drop(&mut self) {
        self.kill();
        for address in DATA_ADDRESSES.into_iter().chain([network::SERVER]) {
            let _ = network::drop_address(address);
        }
    }
}
