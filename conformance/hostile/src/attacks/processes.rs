//! A metadata server that does not run for a while, and clocks that are wrong.

use std::time::Duration;

use tokio::time::sleep;

use super::{apart, serve};
use crate::attack::{Attack, Evidence, Play};
use crate::failed::Outcome;
use crate::stage::Stage;

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "paused_metadata_server",
            line: 15,
            row: "a metadata server does not run for 25 s, longer than the leases of data servers",
            setting: apart(),
            quick: false,
            problems: &[],
            play: Play::Once(|stage| Box::pin(pause(stage))),
        },
        Attack {
            name: "wrong_clock",
            line: 16,
            row: "one metadata server's clock is off by seconds, minutes, years",
            setting: serve(),
            quick: false,
            problems: &[],
            // A clock of the machine cannot be moved for one process alone.
            play: Play::CoveredBy("the simulator, which owns the clocks (docs/sim.md)"),
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
    stage.cluster.processes.lock()[0].signal("CONT")?;
    let done = stage.meter.operations();
    sleep(AFTER).await;
    // What an application would see as EIO is counted by the honest client.
    evidence.note(format!("{} operations in the {AFTER:?} after it", stage.meter.operations() - done));
    Ok(evidence)
}
