//! The kernel's own server, in a guest: ext4 on a disk that is a file of this machine.
//!
//! It is the server under test, at the lab's server address, or the reference beside it, at one of
//! its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::setup::Setup;
use crate::lab::guest::{Guest, Plan};
use crate::lab::network;
use crate::process;

const DISK_BYTES: u64 = 12 << 30;
const MEMORY_MIB: u32 = 2048;
const REFERENCE_MEMORY_MIB: u32 = 1024;
const START: &str = include_str!("../../../../conformance/lab/knfsd-start.sh");

/// A guest that serves.
#[derive(Debug)]
pub(crate) struct Knfsd {
    pub(crate) guest: Guest,
    layouts: bool,
    log: PathBuf,
}

impl Knfsd {
    pub(super) fn start(setup: Setup, layouts: bool) -> Result<Self> {
        Self::start_at(setup, layouts, "server", network::SERVER, MEMORY_MIB)
    }

    /// Starts the server without layouts at [`network::REFERENCE`], beside the server under test.
    ///
    /// # Errors
    /// When it does not come up.
    pub(in crate::lab) fn start_reference(setup: Setup) -> Result<Self> {
        std::fs::create_dir_all(&setup.data)?;
        Self::start_at(setup, false, "reference", network::REFERENCE, REFERENCE_MEMORY_MIB)
    }

    fn start_at(setup: Setup, layouts: bool, name: &str, address: &str, memory_mib: u32) -> Result<Self> {
        let disk = setup.data.join("disk.img");
        let bytes = setup.capacity_bytes.unwrap_or(DISK_BYTES);
        std::fs::File::create(&disk)?.set_len(bytes)?;
        process::output(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=1"]).arg(&disk))?;
        let plan = Plan { name: name.to_owned(), address: address.to_owned(), memory_mib, disk: Some(disk) };
        let log = setup.folder.join(format!("console-{name}.log"));
        let guest = Guest::boot(&setup.folder, &setup.kernel, plan)?;
        let server = Self { guest, layouts, log };
        server.serve()?;
        Ok(server)
    }

    fn serve(&self) -> Result<()> {
        let layouts = if self.layouts { ",pnfs" } else { "" };
        self.guest.run(&format!("LAYOUTS={layouts}\n{START}")).map(drop)
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        self.guest.reboot()?;
        self.serve()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.log.clone()
    }
}
