//! The group `fsx`: a file-system exerciser on one guest or two, in several arrangements of the
//! server.
//!
//! The operations follow from the seed and are compared with a model, byte by byte. Sizes are
//! compared only sometimes: a stat has a Linux client report what it wrote, which hides a stale
//! size. A healthy client retries, so the whole model must hold over `kill -9` of servers, too.

pub(super) mod beside;
mod bounds;

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

use self::beside::Beside;
pub(crate) use self::bounds::Bounds;
use super::agent::Ask;
use super::guest::Guest;
use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::stage::Stage;

/// The last file, and a report of what is wrong, take this long at most after the time is over.
const ENDING_SECONDS_MAX: u64 = 420;
/// Where guest 1 waits for guest 0.
const TURNS_AT: &str = "10.77.0.3:7701";
/// Exercisers that run side by side have seeds that far apart.
const SEEDS_APART: u64 = 1_000_000;

/// Who uses the files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Users {
    /// So many exercisers on guest a, each with files of its own.
    One(u64),
    /// Guests a and b, the same file; how they share it is the option's value.
    Two(&'static str),
}

/// How the exerciser is used.
#[derive(Clone, Copy, Debug)]
struct Arrangement {
    users: Users,
    /// `KIND=NUMBER,...` where they are not the usual ones.
    weights: &'static str,
    /// Threads that open and close the file all the time.
    neighbours: u32,
    /// Another server than the run's.
    kind: Option<Kind>,
    beside: Beside,
}

/// One exerciser on one guest, on the run's server.
const ALONE: Arrangement =
    Arrangement { users: Users::One(1), weights: "", neighbours: 0, kind: None, beside: Beside::Nothing };
/// No fsync, no stat: the client reports its writes when it closes, and not before.
const SILENT: &str = "fsync=0,fdatasync=0,stat=0";
/// Files rest now and then, so that they are sealed while they are open.
const RESTING: &str = "pause=3";

const fn row(
    name: &'static str,
    needs: Needs,
    play: fn(&mut Stage) -> Result<()>,
    proves: &'static str,
) -> Scenario {
    Scenario { group: "fsx", name, proves, needs, play }
}

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("fsx-plain", Needs::Mount, |stage| play(stage, "fsx-plain", ALONE), "random operations on one guest"),
    row(
        "fsx-silent",
        Needs::Mount,
        |stage| play(stage, "fsx-silent", Arrangement { weights: SILENT, ..ALONE }),
        "the same without fsync and fstat",
    ),
    row(
        "fsx-neighbours",
        Needs::Mount,
        |stage| play(stage, "fsx-neighbours", Arrangement { weights: SILENT, neighbours: 3, ..ALONE }),
        "the same while others open and close the file and list its directory",
    ),
    row(
        "fsx-locks",
        Needs::Mount,
        |stage| play(stage, "fsx-locks", Arrangement { users: Users::Two("locks"), ..ALONE }),
        "two guests, each operation under a lock of the whole file",
    ),
    row(
        "fsx-hand-over",
        Needs::Mount,
        |stage| {
            play(
                stage,
                "fsx-hand-over",
                Arrangement { users: Users::Two("hand-over"), weights: SILENT, ..ALONE },
            )
        },
        "two guests, one opens the file when the other has closed it",
    ),
    row(
        "fsx-restart",
        Needs::Mount,
        |stage| play(stage, "fsx-restart", Arrangement { beside: Beside::AllKilled, ..ALONE }),
        "beside kill -9 of all server processes",
    ),
    row(
        "fsx-mds-killed",
        Needs::DataServers,
        |stage| {
            let (kind, beside) = (Some(Kind::ShoalSplit), Beside::MetadataServerKilled);
            play(stage, "fsx-mds-killed", Arrangement { kind, beside, ..ALONE })
        },
        "beside kill -9 of the metadata server",
    ),
    row(
        "fsx-ds-killed",
        Needs::DataServers,
        |stage| {
            let (kind, beside) = (Some(Kind::ShoalSplit), Beside::DataServersKilled);
            play(stage, "fsx-ds-killed", Arrangement { kind, beside, ..ALONE })
        },
        "beside kill -9 of data servers, the disk lost every second time",
    ),
    row(
        "fsx-leader-killed",
        Needs::DataServers,
        |stage| {
            let (kind, beside) = (Some(Kind::ShoalReplicas), Beside::LeaderKilled);
            play(stage, "fsx-leader-killed", Arrangement { kind, beside, ..ALONE })
        },
        "beside kill -9 of the leader of three metadata servers",
    ),
    row(
        "fsx-sealing",
        Needs::DataServers,
        |stage| {
            let (users, kind) = (Users::One(3), Some(Kind::ShoalSealing));
            play(stage, "fsx-sealing", Arrangement { users, kind, weights: RESTING, ..ALONE })
        },
        "files that rest for a second are sealed",
    ),
    row(
        "fsx-stripes",
        Needs::DataServers,
        |stage| play(stage, "fsx-stripes", Arrangement { kind: Some(Kind::ShoalStriped), ..ALONE }),
        "an export with four stripes",
    ),
    row(
        "fsx-three-copies",
        Needs::DataServers,
        |stage| play(stage, "fsx-three-copies", Arrangement { kind: Some(Kind::ShoalThreeCopies), ..ALONE }),
        "three copies of each extent",
    ),
];

/// Plays an arrangement on its server.
fn play(stage: &mut Stage, name: &'static str, arrangement: Arrangement) -> Result<()> {
    match arrangement.kind {
        None => exercise(stage, name, arrangement),
        Some(kind) => stage.with_server_of(kind, None, |stage| {
            stage.dir = format!("/mnt/c/{name}");
            stage.a.run(&format!("mkdir -p {}", stage.dir))?;
            exercise(stage, name, arrangement)
        }),
    }
}

/// Runs the exercisers, and beside them what the arrangement does to the servers.
fn exercise(stage: &mut Stage, name: &'static str, arrangement: Arrangement) -> Result<()> {
    let seconds = stage.fsx.seconds();
    let commands = commands(stage, name, arrangement, seconds)?;
    let (a, b, server, seed) = (&stage.a, &stage.b, &mut stage.server, stage.seed);
    let (outcomes, disturbed) = std::thread::scope(|scope| {
        let start = |command: &Command| {
            let guest = if command.on_b { b } else { a };
            let script = command.script.clone();
            scope.spawn(move || run(guest, script, seconds + ENDING_SECONDS_MAX))
        };
        let running: Vec<_> = commands.iter().map(start).collect();
        let is_over = || running.iter().all(std::thread::ScopedJoinHandle::is_finished);
        let disturbed = arrangement.beside.play(server, seed, &is_over);
        let outcomes: Vec<Result<String>> = running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect();
        (outcomes, disturbed)
    });
    let mut failures = Vec::new();
    for (command, outcome) in commands.iter().zip(outcomes) {
        match outcome {
            Ok(said) => println!("  {}: {}", command.what, said.trim()),
            Err(error) => failures.push(format!("{}: {error:#}{}", command.what, keep_log(stage, command))),
        }
    }
    match &disturbed {
        Ok(said) if !said.is_empty() => println!("  {said}"),
        Ok(_) => {}
        Err(error) => failures.push(format!("{error:#}")),
    }
    ensure!(failures.is_empty(), "{}\n{}", failures.join("\n"), again(stage, name));
    Ok(())
}

/// One exerciser.
struct Command {
    on_b: bool,
    script: String,
    /// What a report calls it.
    what: String,
    /// Its log's name in the run's folder.
    log: String,
}

fn commands(stage: &Stage, name: &str, arrangement: Arrangement, seconds: u64) -> Result<Vec<Command>> {
    let mut options = format!(" --seconds {seconds} --neighbours {}", arrangement.neighbours);
    let asked = stage.fsx.weights.iter().map(String::as_str);
    for weight in [arrangement.weights].into_iter().filter(|own| !own.is_empty()).chain(asked) {
        options += &format!(" --weights {weight}");
    }
    if arrangement.beside.kills_data_servers() {
        options += " --sync-before-direct";
    }
    if let Some(operations) = stage.fsx.operations {
        options += &format!(" --operations {operations}");
    }
    if let Some(plant) = stage.fsx.plant.and_then(|plant| plant.to_possible_value()) {
        options += &format!(" --plant {}", plant.get_name());
    }
    let command = |guest: &Guest, number: u64, more: &str| -> Result<Command> {
        let seed = stage.seed + number * SEEDS_APART;
        let log = format!("{name}-{}-{}-{seed}.log", guest.kernel.name, guest.plan.name);
        let script =
            guest.op(&format!("fsx {} --seed {seed} --log /mnt/lab/{log}{options}{more}", stage.dir))?;
        let what = format!("guest {}, seed {seed}", guest.plan.name);
        Ok(Command { on_b: guest.plan.name == stage.b.plan.name, script, what, log })
    };
    match arrangement.users {
        Users::One(count) => (0..count).map(|number| command(&stage.a, number, "")).collect(),
        Users::Two(sharing) => Ok(vec![
            command(&stage.b, 0, &format!(" --sharing {sharing} --listen {TURNS_AT}"))?,
            command(&stage.a, 0, &format!(" --sharing {sharing} --connect {TURNS_AT}"))?,
        ]),
    }
}

/// What the exerciser wrote when it ended well; its report otherwise.
fn run(guest: &Guest, script: String, timeout_s: u64) -> Result<String> {
    let reply = guest.ask(&Ask { script, uid: None, timeout_s })?;
    match reply.code {
        Some(0) => Ok(reply.stdout),
        Some(_) => bail!("{}{}", reply.stdout, reply.stderr),
        None => bail!("not done after {timeout_s} s\n{}{}", reply.stdout, reply.stderr),
    }
}

/// Copies the log of a failed exerciser to where it outlives the run; says where.
fn keep_log(stage: &Stage, command: &Command) -> String {
    let kept: PathBuf = stage.folder.parent().unwrap_or(&stage.folder).join(&command.log);
    match std::fs::copy(stage.folder.join(&command.log), &kept) {
        Ok(_) => format!("all operations of the file: {}", kept.display()),
        Err(error) => format!("its log is not kept: {error}"),
    }
}

/// How it is played again.
fn again(stage: &Stage, name: &str) -> String {
    format!(
        "again: cargo xtask lab fsx --only {name} --kernel {} with the seed and operations of the report",
        stage.a.kernel.name
    )
}
