//! The lab's network: one bridge, a tap for each guest, addresses for servers on this side.
//!
//! Lives in the sandbox's network namespace, so names and addresses are the same in every lab and nothing is undone.

use anyhow::Result;

use crate::process;

const BRIDGE: &str = "br0";

/// This side's own address.
pub(crate) const HOST: &str = "10.77.0.254";
/// Where a server's metadata service answers, on this side or in a guest.
pub(crate) const SERVER: &str = "10.77.0.1";

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
