//! Who takes part: the honest client's host, strangers, users; and the clusters they meet.

use std::net::Ipv4Addr;

use crate::cluster::{Setting, Shape};
use crate::failed::Outcome;
use crate::honest::HOST;
use crate::net::Via;
use crate::session::Client;
use crate::stage::Stage;

/// A host in no export's `clients`, unless an attack's exports say otherwise.
pub(super) const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// With these exports it is an admitted host: shares of an address are then its own, and not the
/// honest client's.
pub(super) const TWO_HOSTS: &str =
    "[[export]]\npath = \"/\"\nclients = [\"127.0.0.1/32\", \"127.0.0.2/32\"]\n";

/// A user of an admitted host that owns nothing.
pub(super) const USER: u32 = 1000;

/// All in one process, exported to the honest client's host.
pub(super) fn serve() -> Setting {
    Setting {
        shape: Shape::Serve,
        exports: "",
        metadata_disk_bytes: 0,
        data_disk_bytes: 0,
        needs_root: false,
    }
}

/// Each server a process.
pub(super) fn apart() -> Setting {
    Setting { shape: Shape::Apart, ..serve() }
}

/// The way of an admitted host.
pub(super) fn inside(stage: &Stage) -> Via {
    Via::host(HOST, stage.options.reserved)
}

/// The way of another host, which is admitted nowhere unless the exports say so, and whose root
/// takes part.
pub(super) fn outside(stage: &Stage) -> Via {
    Via::host(STRANGER, stage.options.reserved)
}

/// A client of an admitted host, as a user.
pub(super) async fn client(stage: &Stage, uid: u32, owner: &str) -> Outcome<Client> {
    Client::begin(inside(stage), stage.cluster.nfs, uid, owner).await
}
