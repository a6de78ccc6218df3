//! Modelled Linux hosts: what the stock client keeps of files and layouts, what it sends when, and
//! what it believes.
//!
//! Modelled: sizes (`attributes`), dirty and uncommitted bytes (`cache`), layouts (`layouts`), and
//! on these what system calls do. Not modelled: clean pages and rewriting them whole, delegations,
//! locks, mirrors to write, mmap, a host that crashes.

mod attributes;
pub(crate) mod board;
mod cache;
pub(crate) mod callbacks;
mod closing;
mod data_path;
mod files;
pub(crate) mod host;
mod layouts;
pub(crate) mod logs;
mod pnfs;
pub(crate) mod shared;
pub(crate) mod wire;
mod writeback;

use std::sync::Arc;

use board::{ACTORS, Board};
use host::Host;

use super::session::Client;
use super::workload::Whistle;
use crate::chance::Chance;

/// Linux hosts of a run.
pub(crate) const HOSTS: usize = 2;
/// Processes of each host that append to logs.
pub(crate) const APPENDERS: usize = 4;
/// And those that look at them, and read them.
const LOOKERS: usize = 2;

/// How many tasks of a host end when the whistle blows.
pub(crate) fn tasks(number: usize) -> usize {
    APPENDERS + LOOKERS + ACTORS.iter().filter(|(host, _)| *host == number).count()
}

/// What a host begins with.
pub(crate) struct Boot {
    pub(crate) client: Arc<Client>,
    pub(crate) callbacks: callbacks::Callbacks,
    pub(crate) wire: Arc<wire::Wire>,
    pub(crate) board: Board,
    /// 0 or 1.
    pub(crate) number: usize,
    pub(crate) seed: u64,
    pub(crate) whistle: Whistle,
}

/// Starts a host and its processes, which go on until the whistle.
pub(crate) async fn boot(boot: Boot) {
    let Boot { client, callbacks, wire, board, number, seed, whistle } = boot;
    let host = Host::mount(client, wire, seed).await;
    callbacks.serve(&host);
    let chance = |what: String| Chance::new(seed, &format!("linux {number} {what}"));
    for process in 0..APPENDERS {
        let chance = chance(format!("append {process}"));
        let task = logs::append(Arc::clone(&host), (number, process), board.clone(), chance, whistle.clone());
        tokio::spawn(task);
    }
    let looks = chance("look".to_owned());
    tokio::spawn(logs::poll_log(Arc::clone(&host), number, looks, whistle.clone()));
    tokio::spawn(logs::read(Arc::clone(&host), number, board.clone(), whistle.clone()));
    for actor in (0..ACTORS.len()).filter(|actor| ACTORS[*actor].0 == number) {
        let chance = chance(format!("act {actor}"));
        tokio::spawn(shared::act(Arc::clone(&host), actor, board.clone(), chance, whistle.clone()));
    }
}
