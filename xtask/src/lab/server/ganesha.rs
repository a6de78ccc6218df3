//! nfs-ganesha over a folder of this machine (FSAL VFS) or a GlusterFS volume (FSAL GLUSTER), in
//! the sandbox.

use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context, Result};

use super::setup::{Setup, wait_for_port};
use crate::lab::network;
use crate::process;

const CONFIG: &str = include_str!("../../../../conformance/lab/ganesha.conf");

/// The words for a GlusterFS volume.
const GLUSTER_FSAL: &str = "Name = GLUSTER; hostname = @HOST@; volume = vol;";

/// Size of the file system whose names are durable.
const DURABLE_BYTES: u64 = 8 << 30;

/// What is exported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Export {
    /// A folder.
    Folder,
    /// A folder whose file system commits each new or removed name before the call returns.
    DurableFolder,
    /// A GlusterFS volume that runs already, and has this machine's fixed places and the address in
    /// hand.
    Volume,
}

/// The daemon.
#[derive(Debug)]
pub(crate) struct Ganesha {
    setup: Setup,
    export: Export,
    child: Option<Child>,
}

impl Ganesha {
    pub(super) fn start(mut setup: Setup, export: Export) -> Result<Self> {
        let (path, fsal) = if export == Export::Volume {
            (PathBuf::from("/"), GLUSTER_FSAL.replace("@HOST@", network::SERVER))
        } else {
            (make_folder(&mut setup, export)?, "Name = VFS;".to_owned())
        };
        let config = CONFIG.replace("@EXPORTED@", &path.display().to_string()).replace("@FSAL@", &fsal);
        std::fs::write(setup.data.join("ganesha.conf"), config)?;
        let mut server = Self { setup, export, child: None };
        server.resume()?;
        Ok(server)
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        let mut command = Command::new("ganesha.nfsd");
        command.args(["-F", "-p", "/run/ganesha/pid", "-f"]).arg(self.setup.data.join("ganesha.conf"));
        command.arg("-L").arg(self.log());
        let mut child = process::start_logged(&mut command, &self.log())?;
        wait_for_port(network::SERVER, 2049, &mut child, &self.log())?;
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
        self.setup.folder.join("ganesha.log")
    }
}

/// The exported folder, and what else the daemon needs of this machine.
fn make_folder(setup: &mut Setup, export: Export) -> Result<PathBuf> {
    let exported = setup.data.join("exported");
    std::fs::create_dir_all(&exported)?;
    if export == Export::DurableFolder {
        // This machine's own file system may have no journal, and then `dirsync` writes without a
        // flush.
        setup.capacity_bytes.get_or_insert(DURABLE_BYTES);
    }
    if let Some(bytes) = setup.capacity_bytes {
        let disk = setup.data.join("disk.img");
        process::output(Command::new("fallocate").arg("-l").arg(bytes.to_string()).arg(&disk))?;
        process::output(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk))?;
        process::output(Command::new("mount").args(["-o", "loop"]).arg(&disk).arg(&exported))?;
    }
    if export == Export::DurableFolder {
        process::output(Command::new("chattr").arg("+D").arg(&exported)).context("no dirsync")?;
    }
    // The daemon keeps its clients' names there; this machine's own folder stays as it is.
    process::words("mount -t tmpfs tmpfs /var/lib/nfs")?;
    std::fs::create_dir_all("/var/lib/nfs/ganesha")?;
    process::words("mount -t tmpfs tmpfs /run")?;
    std::fs::create_dir_all("/run/ganesha")?;
    network::add_address(network::SERVER)?;
    Ok(exported)
}

impl Drop for Ganesha {
    fn drop(&mut self) {
        self.kill();
        if self.export == Export::Volume {
            return;
        }
        let _ = network::drop_address(network::SERVER);
        for mount in ["/run", "/var/lib/nfs"] {
            let _ = process::words(&format!("umount {mount}"));
        }
        if self.setup.capacity_bytes.is_some() {
            let _ = process::output(Command::new("umount").arg(self.setup.data.join("exported")));
        }
    }
}
