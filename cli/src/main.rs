//! `shoal`: the one binary. Reads flags, hands over to one file per command, prints errors for
//! people.

#![forbid(unsafe_code)]

mod admin;
mod args;
mod check_config;
mod config;
mod directory;
mod ds;
mod http;
mod inspect;
mod json;
mod key;
mod machine;
mod manual;
mod mds;
mod modes;
mod output;
mod ports;
mod serve;
mod service;
mod stop;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::args::{Arguments, Command};

/// How long the end of a command waits for what still goes on.
const END_MAX: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    env::os::keep_large_buffers();
    env::os::raise_descriptor_limit();
    let arguments = Arguments::parse();
    output::start_log(arguments.log.as_deref());
    let result = match arguments.command {
        Command::Serve(serve) => run(serve::run_cluster(serve)),
        Command::Mds(mds) => run(mds::run_metadata_server(mds)),
        Command::MdsGuard(guard) => service::guard(&guard),
        Command::Ds(ds) => run(ds::run_data_server(ds)),
        Command::Admin(admin) => run(admin::run_command(admin)),
        Command::Inspect(inspect) => inspect::inspect_files(&inspect),
        Command::CheckConfig(check) => check_config::check_file(&check),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { dir } => manual::man(dir.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shoal: {}", output::reasons(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // What must be done is done; a disk that answers nothing more must not keep a process that
    // failed from saying so.
    runtime.shutdown_timeout(END_MAX);
    outcome
}
