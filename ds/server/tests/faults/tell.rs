//! Prints what servers log, if `SHOAL_FAULT_LOG` is set (to `debug`: more): to see why a life
//! failed.

use std::fmt::Write;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

struct Tell;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Tell {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let more = std::env::var_os("SHOAL_FAULT_LOG").is_some_and(|value| value == "debug");
        *metadata.level() <= if more { Level::DEBUG } else { Level::INFO }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} {}:", event.metadata().level(), event.metadata().target()));
        event.record(&mut line);
        eprintln!("{}", line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Begins to print.
pub(crate) fn begin() {
    if std::env::var_os("SHOAL_FAULT_LOG").is_some() {
        // Another one may be there already.
        let _ = tracing::subscriber::set_global_default(Tell);
    }
}
