//! `shoal inspect`: what is on a disk, in words or as JSON. Opens for reading only; shows damage
//! and goes on.

mod image;
mod journal;
mod log;
mod namespace;
mod parity;
mod raft_log;
mod segment;
mod sink;
mod state;
mod words;

use std::io::{self, BufWriter, Write};

use crate::args::{Inspect, InspectCommand};

use sink::Sink;

/// Runs the command.
///
/// # Errors
/// If there is nothing to read, or something was damaged.
pub(crate) fn inspect_files(inspect: &Inspect) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let done = print(inspect, &mut out);
    // What was found before something went wrong is shown all the same.
    let flushed = out.flush();
    done.and_then(|()| Ok(flushed?))
}

fn print(inspect: &Inspect, out: &mut dyn Write) -> anyhow::Result<()> {
    let kind = match &inspect.what {
        InspectCommand::Journal(_) => "inspect.journal",
        InspectCommand::Image(_) => "inspect.image",
        InspectCommand::RaftLog(_) => "inspect.raft-log",
        InspectCommand::Namespace(_) => "inspect.namespace",
    };
    let out = &mut Sink::new(out, inspect.json.then_some(kind));
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
