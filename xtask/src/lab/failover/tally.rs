//! What clients had to claim again, by the servers' counters and by the clients' own.
//!
//! A server's counters go with its process: they are read before it dies, and the last of its
//! requests may be missing. What clients say has all of them.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};

use super::super::guest::Guest;
use super::super::server::replicas::Replicas;

/// Where an operation's count is in the line `proc4` of a client's /proc/net/rpc/nfs: the numbers
/// of the kernel's own list (include/linux/nfs4.h), behind the word and how many follow.
const CLIENT_EXCHANGE_ID: usize = 2 + 38;
const CLIENT_RECLAIM_COMPLETE: usize = 2 + 43;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// OPEN with CLAIM_PREVIOUS, and LOCK with reclaim, as servers saw them.
    reclaims: f64,
    /// EXCHANGE_ID, as servers saw them.
    server_ids: f64,
    /// EXCHANGE_ID, as clients sent them.
    client_ids: u64,
    /// RECLAIM_COMPLETE, as clients sent them.
    client_completes: u64,
}

impl Counts {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reclaims {}, new client ids {} (by the clients' own count {}), RECLAIM_COMPLETE {}",
            self.reclaims, self.server_ids, self.client_ids, self.client_completes
        )
    }
}

/// Counting, since it began.
pub(super) struct Tally {
    counts: Counts,
    /// Reclaims and client ids that each server had counted when it was last looked at, by number.
    seen: BTreeMap<usize, (f64, f64)>,
    clients: (u64, u64),
}

impl Tally {
    /// Begins to count: what these clients and the servers report from now on.
    pub(super) fn begin(guests: [&Guest; 2], server: &Replicas) -> Result<Self> {
        let clients = of_clients(guests)?;
        let mut tally = Self { counts: Counts::default(), seen: BTreeMap::new(), clients };
        tally.look(server)?;
        // The clients' first ids, and what they said when they mounted.
        tally.counts = Counts::default();
        Ok(tally)
    }

    /// Counts what servers that run have seen since.
    pub(super) fn look(&mut self, server: &Replicas) -> Result<()> {
        for number in server.metadata_numbers() {
            let metrics = server.metadata_metrics(number)?;
            let now = (
                metrics.sum("shoal_reclaims_total", &[]),
                metrics.sum("shoal_nfs_requests_total", &["op=\"EXCHANGE_ID\""]),
            );
            let seen = self.seen.insert(number, now).unwrap_or_default();
            self.counts.reclaims += now.0 - seen.0;
            self.counts.server_ids += now.1 - seen.1;
        }
        Ok(())
    }

    /// A server begins to count from zero.
    pub(super) fn forget(&mut self, number: usize) {
        self.seen.remove(&number);
    }

    /// The counts since it began.
    pub(super) fn end(mut self, guests: [&Guest; 2], server: &Replicas) -> Result<Counts> {
        let (ids, completes) = of_clients(guests)?;
        self.look(server)?;
        self.counts.client_ids = ids - self.clients.0;
        self.counts.client_completes = completes - self.clients.1;
        Ok(self.counts)
    }
}

fn of_clients(guests: [&Guest; 2]) -> Result<(u64, u64)> {
    let (mut ids, mut completes) = (0, 0);
    for guest in guests {
        ids += count(guest, CLIENT_EXCHANGE_ID)?;
        completes += count(guest, CLIENT_RECLAIM_COMPLETE)?;
    }
    Ok((ids, completes))
}

fn count(guest: &Guest, word: usize) -> Result<u64> {
    let line = guest.run("grep ^proc4 /proc/net/rpc/nfs")?;
    line.split_whitespace().nth(word).and_then(|word| word.parse().ok()).context("no such count")
}

/// Prints what was reclaimed, of which there must be nothing.
pub(super) fn nothing_was_reclaimed(reclaimed: &Counts) -> Result<()> {
    println!("  {reclaimed}");
    ensure!(reclaimed.is_nothing(), "something was reclaimed or recreated: {reclaimed}");
    Ok(())
}
