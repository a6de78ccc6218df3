//! The machine under a server: clock, entropy, disk and network of the real world, and how much
//! disk is to be had.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use env::Env;
use env::os::{BackEnd, OsClock, OsEntropy, Preference, open_disk, tokio_net::TokioNet};

use crate::args::DiskPreference;
use crate::directory;
use crate::output;

/// Smallest store of a data server: sixteen of its smallest journal segments.
const CAPACITY_BYTES_MIN: u64 = 64 << 20;

impl From<DiskPreference> for Preference {
    fn from(preference: DiskPreference) -> Self {
        match preference {
            DiskPreference::Auto => Self::Auto,
            DiskPreference::Uring => Self::Uring,
            DiskPreference::Blocking => Self::Blocking,
        }
    }
}

/// The real world, with a disk back end of its own. `name` shows in the names of its threads.
///
/// # Errors
/// If the kernel refuses io_uring and nothing else was wanted, or a thread.
pub(crate) fn environment(name: &str, preference: DiskPreference) -> anyhow::Result<Env> {
    let env = environment_on(name, preference.into()).with_context(|| match preference {
        DiskPreference::Uring => "the kernel refuses io_uring; --disk auto does without",
        DiskPreference::Auto | DiskPreference::Blocking => "no threads for the disk",
    })?;
    if env.1 == BackEnd::Blocking && preference == DiskPreference::Auto {
        tracing::info!(name, "no io_uring here; the disk is reached with threads");
    }
    Ok(env.0)
}

fn environment_on(name: &str, preference: Preference) -> std::io::Result<(Env, BackEnd)> {
    let (disk, back_end) = open_disk(name, preference)?;
    let env = Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(OsEntropy),
        disk,
        net: Arc::new(TokioNet::new()),
    };
    Ok((env, back_end))
}

/// The same for a metadata server. Its log syncs small writes one after the other, from a thread
/// that has nothing else to do meanwhile: unless io_uring is asked for, it makes them itself
/// (docs/adr/0006-one-thread-for-a-shard.md).
///
/// # Errors
/// As [`environment`].
pub(crate) fn metadata_environment(name: &str, preference: DiskPreference) -> anyhow::Result<Env> {
    match preference {
        DiskPreference::Auto => Ok(environment_on(name, Preference::Prompt)?.0),
        DiskPreference::Blocking | DiskPreference::Uring => environment(name, preference),
    }
}

/// Bytes that each of `servers` data servers under `dir` may hold: what was asked for, or an equal
/// share of 90 % of what is free or theirs already.
///
/// # Errors
/// If that is too little for a store.
pub(crate) async fn capacity(env: &Env, dir: &Path, servers: u16, asked: Option<u64>) -> anyhow::Result<u64> {
    let capacity_bytes = match asked {
        Some(bytes) => bytes,
        None => {
            let free = env.disk.capacity(dir).await.with_context(|| dir.display().to_string())?.free_bytes;
            share(free + directory::bytes_on_disk(dir), servers)
        }
    };
    if capacity_bytes < CAPACITY_BYTES_MIN {
        let (have, least) = (output::bytes(capacity_bytes), output::bytes(CAPACITY_BYTES_MIN));
        bail!("{have} for each data server is too little: at least {least}; see --capacity, --ds and --dir");
    }
    Ok(capacity_bytes)
}

fn share(bytes: u64, servers: u16) -> u64 {
    bytes / 10 * 9 / u64::from(servers.max(1))
}

/// This machine's name, as far as others can be told it; empty if it has none that fits.
pub(crate) fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let fits = name.len() <= wire_nfs::control::limits::DOMAIN_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { name.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_share_leaves_a_tenth() {
        assert_eq!(share(1000 << 30, 6), 150 << 30);
        assert_eq!(share(0, 6), 0);
    }
}
