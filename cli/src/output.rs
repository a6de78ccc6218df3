//! What people see: logs on standard error, sizes in words, a line of progress for what takes long.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::pin::pin;

use env::Clock;
use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;

/// What is over sooner is not worth a line.
const PATIENCE_MS: u64 = 2_000;
/// How often a line of progress is renewed.
const RENEWAL_MS: u64 = 200;

/// The consensus engine tells every step of every vote, and warns of what is in order; who names it
/// gets it.
const QUIET: &str = "openraft=error";

/// Starts logging to standard error, `info` unless told otherwise.
pub(crate) fn start_log(filter: Option<&str>) {
    let filter =
        EnvFilter::try_new(format!("{QUIET},{}", filter.unwrap_or("info"))).unwrap_or_else(|error| {
            eprintln!("shoal: --log: {error}; using `info`");
            EnvFilter::new(format!("{QUIET},info"))
        });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// An error and its causes, one behind the other. Some errors say their cause themselves; it is not
/// said twice.
pub(crate) fn reasons(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        if said.is_empty() {
            cause
        } else if said.contains(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}

/// Bytes as people write them: `20.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = u128::from(count) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) }
}

/// Prints a result on standard output.
///
/// # Errors
/// If it cannot be written; a reader that has gone is told by [`is_broken_pipe`].
pub(crate) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Tells people that a server is up. One whose standard output is closed serves all the same.
pub(crate) fn announce(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Whether an error says that the reader of standard output had enough, as `head` does.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}

/// Waits for `work`. If it takes long, says on standard error what is being done: a line that moves
/// on a terminal, one that stays elsewhere.
pub(crate) async fn waiting<T>(
    clock: &dyn Clock,
    what: impl Fn() -> String,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = clock.sleep_ms(PATIENCE_MS) => {}
    }
    if !std::io::stderr().is_terminal() {
        eprintln!("shoal: {} ...", what());
        return work.await;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    loop {
        bar.set_message(what());
        bar.tick();
        tokio::select! {
            biased;
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            () = clock.sleep_ms(RENEWAL_MS) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, is_broken_pipe, reasons};

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("store: {0}")]
        struct Told(#[from] std::fmt::Error);
        let cause = std::fmt::Error.to_string();
        let told = anyhow::Error::new(Told(std::fmt::Error)).context("/data");
        assert_eq!(reasons(&told), format!("/data: store: {cause}"));
        let untold = anyhow::Error::new(std::fmt::Error).context("store").context("/data");
        assert_eq!(reasons(&untold), format!("/data: store: {cause}"));
    }

    #[test]
    fn a_reader_that_has_gone_is_found_among_the_causes() {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::new(gone).context("printing")));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!is_broken_pipe(&anyhow::Error::new(full)));
    }

    #[test]
    fn bytes_in_words() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(20 << 30), "20.0 GiB");
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
    }
}
