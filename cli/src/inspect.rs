//! `shoal inspect`: what is on a disk, in words. Opens for reading only; shows damage and goes on.

mod image;
mod journal;
mod log;
mod namespace;
mod parity;
mod raft_log;
mod segment;
mod state;
mod words;

use std::io::{self, BufWriter, ErrorKind, Write};

use crate::args::{Inspect, InspectCommand};

/// Runs the command.
///
/// # Errors
/// If there is nothing to read, or something was damaged.
pub(crate) fn run(inspect: &Inspect) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let done = print(inspect, &mut out).and_then(|()| Ok(out.flush()?));
    match done {
        // The reader had enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        done => done,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn print(inspect: &Inspect, out: &mut dyn Write) -> anyhow::Result<()> {
    match &inspect.what {
        InspectCommand::Journal(log) => {
            log::print(log, &|found, payload| journal::describe(&found.header, payload), out)
        }
        InspectCommand::Image(image) => image::print(&image.file, out),
        InspectCommand::RaftLog(log) => {
            log::print(log, &|found, payload| raft_log::describe(&found.header, payload), out)
        }
        InspectCommand::Namespace(store) => namespace::print(&store.file, &store.prefix, out),
    }
}

#[cfg(test)]
mod tests;
