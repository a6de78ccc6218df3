//! The attacks, grouped by what they go for.

mod connections;
mod disks;
mod export_walls;
mod files_and_modes;
mod floods;
mod handles;
mod hanging;
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
    hanging::attacks,
    processes::attacks,
];

/// A host in no export's `clients`, unless an attack's exports say otherwise.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// With these exports it is an admitted host: shares of an address are then its own, and not the honest client's.
const TWO_HOSTS: &str = "[[export]]\npath = \"/\"\nclients = [\"127.0.0.1/32\", \"127.0.0.2/32\"]\n";

/// A user of an admitted host that owns nothing.
const USER: u32 = 1000;

/// All in one process, exported to the honest client's host.
fn serve() -> Setting {
    Setting {
        shape: Shape::Serve,
        exports: "",
        metadata_disk_bytes: 0,
        data_disk_bytes: 0,
        needs_root: false,
    }
}

/// Each server a process.
fn apart() -> Setting {
    Setting { shape: Shape::Apart, ..serve() }
}

/// The way of an admitted host.
fn inside(stage: &Stage) -> Via {
    Via::host(HOST, stage.options.reserved)
}

/// The way of another host, which is admitted nowhere unless the exports say so, and whose root takes part.
fn outside(stage: &Stage) -> Via {
    Via::host(STRANGER, stage.options.reserved)
}

/// A client of an admitted host, as a user.
async fn client(stage: &Stage, uid: u32, owner: &str) -> Outcome<Client> {
    Client::begin(inside(stage), stage.cluster.nfs, uid, owner).await
}

/// What must be refused was not, or there was no answer: silence, a lost connection and DELAY are no refusal.
fn must_be_refused<T>(evidence: &mut Evidence, what: &str, outcome: &Outcome<T>) {
    match outcome {
        Ok(_) => evidence.exceeded(what),
        Err(error) if error.0.contains("NFS4ERR_DELAY") => evidence.broken(format!("{what}: {error}")),
        Err(error) if error.0.contains("NFS4ERR") || error.0.contains("AuthError") => {}
        Err(error) => evidence.broken(format!("{what} is not refused by an answer: {error}")),
    }
}

/// An attack with less than half of what it is to do shows nothing, unless a server's bound is what stopped it.
fn must_have_happened(
    evidence: &mut Evidence,
    what: &str,
    (done, wanted): (usize, usize),
    bound: Option<String>,
) {
    match bound {
        _ if wanted <= done * 2 => {}
        Some(bound) => evidence.note(format!("{done} of {wanted} {what}: {bound}")),
        None => evidence
            .broken(format!("not played: {done} of {wanted} {what}, and no bound of a server says why")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Evidence, must_be_refused, must_have_happened};
    use crate::failed::{Outcome, failed};

    #[test]
    fn silence_and_delay_are_no_refusal() {
        let mut evidence = Evidence::default();
        must_be_refused(&mut evidence, "OPEN", &Outcome::<()>::Err(failed("OPEN: NFS4ERR_ACCESS")));
        assert_eq!((evidence.exceeded.len(), evidence.broken.len()), (0, 0));
        must_be_refused(&mut evidence, "OPEN", &Outcome::<()>::Err(failed("no reply in time")));
        must_be_refused(&mut evidence, "OPEN", &Outcome::<()>::Err(failed("OPEN: NFS4ERR_DELAY")));
        assert_eq!((evidence.exceeded.len(), evidence.broken.len()), (0, 2));
        must_be_refused(&mut evidence, "OPEN", &Ok(()));
        assert_eq!((evidence.exceeded.len(), evidence.broken.len()), (1, 2));
    }

    #[test]
    fn half_an_attack_is_one_and_less_needs_a_bound() {
        let mut evidence = Evidence::default();
        must_have_happened(&mut evidence, "records", (50, 100), None);
        must_have_happened(&mut evidence, "records", (49, 100), Some("a bound".to_owned()));
        assert_eq!((evidence.notes.len(), evidence.broken.len()), (1, 0));
        must_have_happened(&mut evidence, "records", (49, 100), None);
        assert_eq!((evidence.notes.len(), evidence.broken.len()), (1, 1));
    }
}
