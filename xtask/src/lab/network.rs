//! The lab's network: one bridge, a tap for each guest, addresses for servers on this side.
//!
//! Lives in the sandbox's network namespace, so names and addresses are the same in every lab and
//! nothing is undone.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;

const BRIDGE: &str = "br0";

/// This side's own address.
pub(crate) const HOST: &str = "10.77.0.254";
/// Where a server's metadata service answers, on this side or in a guest.
pub(crate) const SERVER: &str = "10.77.0.1";
/// Where knfsd answers when it runs beside the server under test.
pub(crate) const REFERENCE: &str = "10.77.0.9";

/// Makes the bridge.
///
/// # Errors
/// When `ip` refuses.
pub(crate) fn bring_up() -> Result<()> {
    process::words(&format!("ip link add {BRIDGE} type bridge forward_delay 0"))?;
    process::words(&format!("ip link set {BRIDGE} up"))?;
    add_address(HOST)
}

/// Makes a tap on the bridge for one guest.
///
/// # Errors
/// When `ip` refuses.
pub(crate) fn add_tap(name: &str) -> Result<()> {
    process::words(&format!("ip tuntap add dev {name} mode tap"))?;
    process::words(&format!("ip link set {name} master {BRIDGE} up"))?;
    Ok(())
}

/// Takes a guest's tap away.
pub(crate) fn drop_tap(name: &str) {
    let _ = process::words(&format!("ip link del {name}"));
}

/// Gives this side one more address.
///
/// # Errors
/// When `ip` refuses.
pub(crate) fn add_address(address: &str) -> Result<()> {
    process::words(&format!("ip addr add {address}/24 dev {BRIDGE}")).map(drop)
}

/// Takes an address away: who talks to it hears nothing any more.
///
/// # Errors
/// When `ip` refuses.
pub(crate) fn drop_address(address: &str) -> Result<()> {
    process::words(&format!("ip addr del {address}/24 dev {BRIDGE}")).map(drop)
}

/// A machine of its own as far as the network goes: a namespace with one interface on the bridge.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
}

impl Node {
    /// Makes it.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub(crate) fn make(name: &str, address: &str) -> Result<Self> {
        // Names of namespaces are files: this lab's own ones.
        process::words("mkdir -p /run/netns")?;
        if process::words("mountpoint -q /run/netns").is_err() {
            process::words("mount -t tmpfs tmpfs /run/netns")?;
        }
        let node = Self { name: name.to_owned() };
        process::words(&format!("ip netns add {name}"))?;
        process::words(&format!("ip link add v-{name} type veth peer name eth0 netns {name}"))?;
        node.connect(true)?;
        for words in [&format!("addr add {address}/24 dev eth0"), "link set eth0 up", "link set lo up"] {
            process::words(&format!("ip -n {name} {words}"))?;
        }
        Ok(node)
    }

    /// A command that runs there.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Puts it on the bridge, or takes it off: its own end notices nothing but silence.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub(crate) fn connect(&self, on: bool) -> Result<()> {
        let master = if on { format!("master {BRIDGE}") } else { "nomaster".to_owned() };
        process::words(&format!("ip link set v-{} {master} up", self.name)).map(drop)
    }

    /// Takes it away; what runs there has ended.
    pub(crate) fn remove(&self) {
        let _ = process::words(&format!("ip link del v-{}", self.name));
        let _ = process::words(&format!("ip netns del {}", self.name));
    }
}
