//! The kernel's own server, in a guest: ext4 on a disk that is a file of this machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::Setup;
use crate::lab::guest::{Guest, Plan};
use crate::lab::network;
use crate::process;

const DISK_BYTES: u64 = 12 << 30;
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
        let disk = setup.data.join("disk.img");
        let bytes = setup.capacity_bytes.unwrap_or(DISK_BYTES);
        std::fs::File::create(&disk)?.set_len(bytes)?;
        process::output(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=1"]).arg(&disk))?;
        let plan = Plan {
            name: "server".to_owned(),
            address: network::SERVER.to_owned(),
            memory_mib: 2048,
            disk: Some(disk),
        };
        let log = setup.folder.join("console-server.log");
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
