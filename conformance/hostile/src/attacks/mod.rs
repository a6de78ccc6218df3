//! The attacks, grouped by what they go for.

mod connections;
mod disks;
mod export_walls;
mod files_and_modes;
mod floods;
mod handles;
mod memory;
mod nodes;
mod ports;
mod processes;
mod strangers;
mod takeover;

use std::net::Ipv4Addr;

use crate::attack::{Attack, Evidence};
use crate::cluster::{Setting, Shape};
use crate::failed::Outcome;
use crate::honest::HOST;
use crate::net::Via;
use crate::session::Client;
use crate::stage::Stage;

/// Each group's attacks.
pub(crate) const GROUPS: &[fn() -> Vec<Attack>] = &[
    strangers::attacks,
    takeover::attacks,
    export_walls::attacks,
    handles::attacks,
    files_and_modes::attacks,
    ports::attacks,
    nodes::attacks,
    connections::attacks,
    floods::attacks,
    memory::attacks,
    disks::attacks,
    processes::attacks,
];

/// A host in no export's `clients`, unless an attack's exports say otherwise.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A user of an admitted host that owns nothing.
const USER: u32 = 1000;

/// All in one process, exported to the honest client's host.
fn serve() -> Setting {
    Setting { shape: Shape::Serve, exports: "", metadata_disk_bytes: 0 }
}

/// Each server a process.
fn apart() -> Setting {
    Setting { shape: Shape::Apart, ..serve() }
}

/// The way of an admitted host.
fn inside(stage: &Stage) -> Via {
    Via::host(HOST, stage.options.reserved)
}

/// The way of a host that is admitted nowhere, and whose root takes part.
fn outside(stage: &Stage) -> Via {
    Via::host(STRANGER, stage.options.reserved)
}

/// A client of an admitted host, as a user.
async fn client(stage: &Stage, uid: u32, owner: &str) -> Outcome<Client> {
    Client::begin(inside(stage), stage.cluster.nfs, uid, owner).await
}

/// What must be refused was not.
fn must_be_refused<T>(evidence: &mut Evidence, what: &str, outcome: &Outcome<T>) {
    match outcome {
        Ok(_) => evidence.exceeded(what),
        Err(error) if error.0.contains("NFS4ERR") || error.0.contains("AuthError") => {}
        Err(error) => evidence.note(format!("{what}: {error}")),
    }
}
