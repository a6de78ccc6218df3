//! The setup that a server is started with, and the wait until its port is open.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::lab::kernels::Kernel;

/// What a server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The run's folder: logs go here.
    pub(crate) folder: PathBuf,
    /// The server's own folder below it.
    pub(crate) data: PathBuf,
    /// The kernel of a server that is a guest.
    pub(crate) kernel: Kernel,
    /// How much it may store, where a scenario wants it full.
    pub(crate) capacity_bytes: Option<u64>,
    /// The program `shoal`.
    pub(crate) shoal: PathBuf,
}

/// Waits until something listens there.
pub(super) fn wait_for_port(address: &str, port: u16, child: &mut Child, log: &Path) -> Result<()> {
    let target = format!("{address}:{port}").parse()?;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        if TcpStream::connect_timeout(&target, Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("the server ended: {status}\n{}", crate::process::tail(log, 20));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nothing listens at {address}:{port} after 60 s\n{}", crate::process::tail(log, 20))
}
