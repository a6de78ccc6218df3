//! `hostile`: plays attacks against real servers, beside an honest client whose bytes and latency
//! are checked (docs/hostile.md).
//!
//! `cargo xtask hostile` builds and calls it. It talks to processes that it started itself, on
//! loopback addresses only, and ends them.

#![forbid(unsafe_code)]

mod attack;
mod attacks;
mod callbacks;
mod cluster;
mod failed;
mod honest;
mod layouts;
mod limits;
mod meter;
mod net;
mod play;
mod process;
mod raw;
mod report;
mod session;
mod stage;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::attack::{Attack, Play};
use crate::failed::{During, Outcome, failed};
use crate::limits::{LATENCY_SLACK_QUICK_US, LATENCY_SLACK_US};
use crate::report::Verdict;
use crate::stage::Options;

/// Attacks a cluster of its own, beside an honest client.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program `shoal` to attack.
    #[arg(long, value_name = "BIN", required_unless_present = "list")]
    program: Option<PathBuf>,
    /// Plays these only; may be given again.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Says which attacks there are, and what each does.
    #[arg(long)]
    list: bool,
    /// The short run: attacks that need no minutes, in short windows.
    #[arg(long)]
    quick: bool,
    /// Seconds of each window with and without an attack. Default: 3, or 1 with --quick.
    #[arg(long)]
    seconds: Option<u64>,
    /// Prints a JSON document for each attack.
    #[arg(long)]
    json: bool,
    /// Keeps the folders of clusters, and says where they are.
    #[arg(long)]
    keep: bool,
    /// The honest client uses any port, not only those below 1024: for a user that is not root.
    /// Exports take any port then, and attacks that need root are left out.
    #[arg(long)]
    any_port: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = || -> Outcome<bool> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(until_signal(run(&arguments)))
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays until a signal ends the run: then what has run so far is dropped, and servers and folders
/// with it.
async fn until_signal(run: impl Future<Output = Outcome<bool>>) -> Outcome<bool> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        done = run => done,
        _ = interrupt.recv() => Err(failed("SIGINT: the run was ended")),
        _ = terminate.recv() => Err(failed("SIGTERM: the run was ended")),
    }
}

async fn run(arguments: &Arguments) -> Outcome<bool> {
    let chosen = chosen(arguments)?;
    if arguments.list {
        for attack in &chosen {
            println!("{:>2} {:24} {}{}", attack.line, attack.name, attack.row, suite(attack));
        }
        return Ok(true);
    }
    let program = arguments.program.as_ref().ok_or_else(|| failed("no --program"))?;
    let program = std::fs::canonicalize(program).during(&program.display().to_string())?;
    let options = Options {
        seconds: arguments.seconds.unwrap_or(if arguments.quick { 1 } else { 3 }).max(1),
        rounds: if arguments.quick { 2 } else { 5 },
        reserved: !arguments.any_port,
        slack_us: if arguments.quick { LATENCY_SLACK_QUICK_US } else { LATENCY_SLACK_US },
        keep: arguments.keep,
    };
    // Thousands of connections are opened by some attacks.
    env::os::raise_descriptor_limit();
    let (mut passed, mut failures, mut covered, mut left_out) = (0, 0, 0, 0);
    for attack in &chosen {
        let folder = tempfile::Builder::new().prefix(&format!("hostile-{}-", attack.name)).tempdir()?;
        let report = play::play_attack(&program, attack, options, folder.path()).await;
        match report.verdict {
            Verdict::Passed => passed += 1,
            Verdict::Failed => failures += 1,
            Verdict::Covered => covered += 1,
            Verdict::LeftOut => left_out += 1,
        }
        println!("{}", if arguments.json { report.line_of_json() } else { report.line_of_text() });
        if options.keep {
            println!("     kept: {}", folder.keep().display());
        }
    }
    if 0 < covered && !arguments.json {
        println!("{covered} covered by other suites");
    }
    if 0 < left_out && !arguments.json {
        println!("{left_out} left out: they need root");
    }
    println!("{passed} passed, {failures} failed");
    Ok(failures == 0)
}

fn suite(attack: &Attack) -> String {
    match attack.play {
        Play::CoveredBy(tests) => format!(" (covered by {})", report::named(tests)),
        _ => String::new(),
    }
}

fn chosen(arguments: &Arguments) -> Outcome<Vec<Attack>> {
    let all = attacks::all();
    if let Some(unknown) = arguments.only.iter().find(|name| !all.iter().any(|one| one.name == **name)) {
        return Err(failed(format!("no attack is called {unknown}; --list names them")));
    }
    let wanted = |attack: &Attack| match arguments.only.is_empty() {
        true => !arguments.quick || attack.quick,
        false => arguments.only.iter().any(|name| name == attack.name),
    };
    Ok(all.into_iter().filter(wanted).collect())
}
