//! `nfs-load`: a load on an NFSv4.1 server from the command line. Figures go to standard output, a
//! line of JSON for each act; how it goes, to standard error.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Parser;
use conformance_load::{Act, Load, LoadError, Plan};
use env::Env;
use env::os::tokio_net::TokioNet;
use env::os::{OsClock, OsEntropy, Preference, open_disk};

/// How often it is told how far an act is.
const PROGRESS_MS: u64 = 10_000;

/// Puts metadata load on an NFSv4.1 server and tells how long everything took.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server; of a cluster all its addresses.
    #[arg(long, value_name = "IP:PORT,..", value_delimiter = ',', required = true)]
    server: Vec<SocketAddr>,
    /// Sessions, each with a connection and one request under way.
    #[arg(long, default_value_t = 64)]
    sessions: usize,
    /// Directories, at the root of the export.
    #[arg(long, default_value_t = 64)]
    directories: u64,
    /// Files, over all directories.
    #[arg(long, default_value_t = 10_000)]
    files: u64,
    /// Making files, and looking them up, ends after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// What is done, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "mkdir,create,stat,list,remove,rmdir")]
    act: Vec<Act>,
    /// Waits before each act for a line on standard input.
    #[arg(long)]
    steps: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(run(&arguments)).map_err(|error| error.to_string()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nfs-load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), LoadError> {
    let (disk, _) = open_disk("load", Preference::Blocking)
        .map_err(|_| LoadError::Plan("this machine gives no threads"))?;
    let env = Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(OsEntropy),
        disk,
        net: Arc::new(TokioNet::new()),
    };
    let plan = Plan {
        servers: arguments.server.clone(),
        sessions: arguments.sessions,
        directories: arguments.directories,
        files: arguments.files,
        act_ms: arguments.seconds.map(|seconds| seconds * 1000),
    };
    let load = Load::begin(env.clone(), plan).await?;
    for act in &arguments.act {
        if arguments.steps && !told_to_go_on().await {
            return Ok(());
        }
        let told = tell(env.clone(), *act, Arc::clone(&load));
        let measured = load.run(*act).await;
        told.abort();
        let line = serde_json::to_string(&measured?).expect("numbers and a name");
        println!("{line}");
        // A caller that waits for the line must see it now; a closed pipe does not end the run.
        let _ = std::io::stdout().flush();
    }
    Ok(())
}

/// Meanwhile the sessions are kept.
async fn told_to_go_on() -> bool {
    let read = || std::io::stdin().lock().read_line(&mut String::new());
    matches!(tokio::task::spawn_blocking(read).await, Ok(Ok(bytes)) if 0 < bytes)
}

fn tell(env: Env, act: Act, load: Arc<Load>) -> tokio::task::JoinHandle<()> {
    let progress = load.progress();
    tokio::spawn(async move {
        loop {
            env.clock.sleep_ms(PROGRESS_MS).await;
            eprintln!("# {}: {} so far", act.name(), progress.load(Ordering::Relaxed));
        }
    })
}
