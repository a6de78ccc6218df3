//! A metadata server that does not run for a while, and clocks that are wrong.

use std::time::Duration;

use tokio::time::sleep;

use super::hosts::{apart, serve};
use crate::attack::{Attack, Evidence, Play};
use crate::failed::{Outcome, failed};
use crate::stage::Stage;

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "paused_metadata_server",
            line: 15,
            row: "a metadata server does not run for 25 s, longer than the leases of data servers",
            setting: apart(),
            quick: false,
            play: Play::Once(|stage| Box::pin(pause(stage))),
        },
        Attack {
            name: "wrong_clock",
            line: 16,
            row: "one metadata server's clock is off by seconds, minutes, years",
            setting: serve(),
            quick: false,
            // A clock of the machine cannot be moved for one process alone.
            play: Play::CoveredBy(&[
                (
                    "mds/raft/tests/replica/clocks.rs",
                    "a_leader_whose_clock_is_set_wrong_hands_over_and_dates_nothing",
                ),
                ("mds/raft/src/clocks/tests.rs", "a_node_that_is_alone_waits_before_a_step_counts"),
                ("mds/raft/src/clocks/tests.rs", "times_step_back_only_from_far_ahead"),
                ("ds/server/src/clock.rs", "a_clock_that_is_set_wrong_dates_nothing"),
            ]),
        },
    ]
}

/// Longer than the leases that data servers have, and than it takes to write one off.
const PAUSE: Duration = Duration::from_secs(25);
/// What follows is watched for so long.
const AFTER: Duration = Duration::from_secs(10);

async fn pause(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    stage.cluster.processes.lock()[0].signal("STOP")?;
    sleep(PAUSE).await;
    // It did not run, all the time: what is stopped stays so until it is told.
    if !stage.cluster.processes.lock()[0].is_stopped() {
        return Err(failed("the metadata server was not stopped"));
    }
    stage.cluster.processes.lock()[0].signal("CONT")?;
    let done = stage.meter.operations();
    sleep(AFTER).await;
    // What an application would see as EIO is counted by the honest client.
    if stage.meter.operations() == done {
        evidence.broken(format!("no operation of the honest client ends in the {AFTER:?} after it"));
    }
    evidence.note(format!("{} operations in the {AFTER:?} after it", stage.meter.operations() - done));
    Ok(evidence)
}
