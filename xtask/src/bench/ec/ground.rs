//! What all parts stand on: the run's folder, the guest that is the client, servers that come and
//! go, and waiting for them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::mounted::Mounted;
use crate::lab::bench_parts::{Guest, Kernel, Kind, Metrics, Server, Setup};

/// By then everything that rests is in groups, or a lost server's images are somewhere else.
pub(super) const WAIT_SECONDS_MAX: u64 = 600;
/// Gauges are renewed every ten seconds at the latest: only what they say for longer is so.
const GOOD_LOOKS: u32 = 12;

/// What all parts need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    pub(super) folder: &'a Path,
    pub(super) kernel: &'a Kernel,
    pub(super) guest: &'a Guest,
    pub(super) rounds: usize,
    pub(super) mib: u64,
    pub(super) files: u64,
}

impl Ground<'_> {
    /// Starts a server over an empty folder and mounts it; whatever comes of `act`, nothing of it
    /// is left.
    ///
    /// # Errors
    /// Those of the start, the mount and `act`.
    pub(super) fn with_server(
        &self,
        kind: Kind,
        round: usize,
        act: impl FnOnce(&mut Server, &Mounted<'_>) -> Result<()>,
    ) -> Result<()> {
        let data = self.folder.join(format!("server-{round}-{}", kind.label()));
        let setup = Setup {
            folder: self.folder.to_owned(),
            data: data.clone(),
            kernel: self.kernel.clone(),
            capacity_bytes: None,
            shoal: crate::lab::shoal_program(),
        };
        let mut server = Server::start(kind, setup)?;
        let mounted = Mounted::new(self.guest, kind.mounting(), self.folder);
        let outcome = mounted.mount().and_then(|()| act(&mut server, &mounted));
        mounted.end();
        let log = crate::process::tail(&server.log(), 15);
        server.kill();
        drop(server);
        let _ = std::fs::remove_dir_all(data);
        outcome.with_context(|| format!("round {round}, {}; its log ends:\n{log}", kind.label()))
    }
}

/// The counters of a server that has some.
///
/// # Errors
/// When it has none.
pub(super) fn metrics(server: &Server) -> Result<Metrics> {
    server.metrics()?.context("this server has no counters")
}

/// Waits until the counters have been as wished for a while. Seconds until they first were, and
/// stayed.
///
/// # Errors
/// When they are not in time; the error says what they say.
pub(super) fn wait(server: &Server, what: &str, done: fn(&Metrics) -> Result<(), String>) -> Result<f64> {
    let (began, mut good) = (Instant::now(), 0);
    while good < GOOD_LOOKS {
        std::thread::sleep(Duration::from_secs(1));
        let outcome = done(&metrics(server)?);
        good = if outcome.is_ok() { good + 1 } else { 0 };
        if Duration::from_secs(WAIT_SECONDS_MAX) < began.elapsed() {
            bail!("not {what} after {WAIT_SECONDS_MAX} s: {}", outcome.err().unwrap_or_default());
        }
    }
    Ok(began.elapsed().as_secs_f64() - f64::from(GOOD_LOOKS))
}
