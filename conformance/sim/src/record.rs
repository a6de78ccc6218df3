//! What clients saw: the histories that the checkers judge.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use wire_nfs::v4::Nfstime4;

use crate::check::content::{FileAct, FileAnswer};
use crate::check::linearizable::Acted;
use crate::check::linux::{Log, Shared};
use crate::check::locks::Hold;
use crate::check::moves::{MoveAct, MoveAnswer};
use crate::check::names::{NameAct, NameAnswer};
use crate::clock::WALL_START_NS;

/// A directory that clients share for a while: when, and which.
pub(crate) type Place = (u64, u64);

/// What was done in a group of directories.
#[derive(Default)]
pub(crate) struct Moves {
    /// The directories' numbers.
    pub(crate) parents: Vec<u64>,
    pub(crate) acts: Vec<Acted<MoveAct, MoveAnswer>>,
}

/// Everything that clients saw. Clones are the same record.
#[derive(Clone)]
pub(crate) struct Record {
    inner: Arc<Mutex<Inner>>,
    /// Clients cut files whose bytes are at data servers, too.
    pub(crate) cuts: bool,
    /// Clients look at times of files.
    pub(crate) times: bool,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) names: BTreeMap<Place, Vec<Acted<NameAct, NameAnswer>>>,
    pub(crate) files: BTreeMap<Place, Vec<Acted<FileAct, FileAnswer>>>,
    pub(crate) moves: BTreeMap<Place, Moves>,
    pub(crate) holds: Vec<Hold>,
    /// Files of Linux hosts, by number.
    pub(crate) linux_logs: BTreeMap<u64, Log>,
    pub(crate) linux_shared: BTreeMap<u64, Shared>,
    /// For each client, when it sent what was answered.
    pub(crate) renewed_ns: Vec<Vec<u64>>,
    /// What must not be, found while running.
    pub(crate) broken: Vec<String>,
    /// How often what happened.
    pub(crate) counts: BTreeMap<String, u64>,
    /// When something was last broken, or mended.
    trouble_ns: u64,
    /// Until then data servers may be away for so long that clients get errors.
    data_away_until_ns: u64,
}

impl Inner {
    /// A log that Linux hosts append to.
    pub(crate) fn linux_log(&mut self, number: u64) -> &mut Log {
        self.linux_logs.entry(number).or_default()
    }

    /// A file that Linux hosts share.
    pub(crate) fn linux_shared(&mut self, number: u64) -> &mut Shared {
        self.linux_shared.entry(number).or_default()
    }
}

/// Within so long what is broken shows where it matters: connections end.
const TROUBLE_SHOWS_NS: u64 = 200_000_000;

/// Clocks that are not called wrong are set by so much at most ([`crate::nemesis`]), and what
/// counts may be a second off.
const CLOCKS_APART_NS: u64 = 62_000_000_000;

/// For so long behind the end of what kept data servers away clients may be told of it.
const AWAY_SHOWS_NS: u64 = 10_000_000_000;

impl Record {
    /// Nothing was seen yet.
    pub(crate) fn new(cuts: bool, times: bool) -> Self {
        Self { inner: Arc::default(), cuts, times }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(crate) fn count(&self, what: impl Into<String>) {
        *self.lock().counts.entry(what.into()).or_default() += 1;
    }

    /// Something is broken, or mended, now.
    pub(crate) fn trouble(&self, now_ns: u64) {
        self.lock().trouble_ns = now_ns;
    }

    /// Something is broken until then that may keep data servers away.
    pub(crate) fn trouble_of_data(&self, until_ns: u64) {
        let mut inner = self.lock();
        inner.data_away_until_ns = inner.data_away_until_ns.max(until_ns);
    }

    /// A client was told of an I/O error: it must not be, if data servers are all there.
    pub(crate) fn io_error(&self, asked_ns: u64, what: impl FnOnce() -> String) {
        if self.lock().data_away_until_ns.saturating_add(AWAY_SHOWS_NS) < asked_ns {
            self.broken(format!("{} had an I/O error, while all data servers were there", what()));
        }
    }

    /// A client was told this time of a file: it must be none that only a clock far wrong explains.
    /// It is that of a change that may be long ago, so it is compared with the present on one side
    /// and with the beginning of the run on the other.
    pub(crate) fn file_time(&self, now_ns: u64, time: Nfstime4) {
        let shown_ns = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nseconds);
        let since_start_ns = shown_ns - i128::from(WALL_START_NS);
        let apart_ns = i128::from(CLOCKS_APART_NS);
        if since_start_ns < -apart_ns || i128::from(now_ns) + apart_ns < since_start_ns {
            let (shown_s, now_s) = (since_start_ns / 1_000_000_000, now_ns / 1_000_000_000);
            self.broken(format!(
                "a file has a time {shown_s} s after the start, {now_s} s after it: of a clock far wrong"
            ));
        }
    }

    /// Whether there was trouble since, or shortly before.
    pub(crate) fn was_trouble_since(&self, ns: u64) -> bool {
        ns <= self.lock().trouble_ns.saturating_add(TROUBLE_SHOWS_NS)
    }

    pub(crate) fn broken(&self, what: String) {
        let mut inner = self.lock();
        if inner.broken.len() < 20 {
            inner.broken.push(what);
        }
    }

    pub(crate) fn begin_name(&self, place: Place, client: usize, asked_ns: u64, act: NameAct) -> usize {
        let mut inner = self.lock();
        let history = inner.names.entry(place).or_default();
        history.push(Acted { client, asked_ns, answer: None, act });
        history.len() - 1
    }

    pub(crate) fn end_name(&self, place: Place, at: usize, now_ns: u64, answer: NameAnswer) {
        if let Some(acted) = self.lock().names.get_mut(&place).and_then(|history| history.get_mut(at)) {
            acted.answer = Some((now_ns, answer));
        }
    }

    /// A client knows the directories of a group: the same as all others.
    pub(crate) fn begin_group(&self, place: Place, parents: Vec<u64>) {
        let mut inner = self.lock();
        let group = inner.moves.entry(place).or_default();
        if group.parents.is_empty() {
            group.parents = parents;
        } else if group.parents != parents {
            let what = format!("the directories of group {place:?} are {:?} and {parents:?}", group.parents);
            drop(inner);
            self.broken(what);
        }
    }

    pub(crate) fn begin_move(&self, place: Place, client: usize, asked_ns: u64, act: MoveAct) -> usize {
        let mut inner = self.lock();
        let history = &mut inner.moves.entry(place).or_default().acts;
        history.push(Acted { client, asked_ns, answer: None, act });
        history.len() - 1
    }

    pub(crate) fn end_move(&self, place: Place, at: usize, now_ns: u64, answer: MoveAnswer) {
        if let Some(acted) = self.lock().moves.get_mut(&place).and_then(|group| group.acts.get_mut(at)) {
            acted.answer = Some((now_ns, answer));
        }
    }

    pub(crate) fn begin_file(&self, place: Place, client: usize, asked_ns: u64, act: FileAct) -> usize {
        let mut inner = self.lock();
        let history = inner.files.entry(place).or_default();
        history.push(Acted { client, asked_ns, answer: None, act });
        history.len() - 1
    }

    pub(crate) fn end_file(&self, place: Place, at: usize, now_ns: u64, answer: FileAnswer) {
        if let Some(acted) = self.lock().files.get_mut(&place).and_then(|history| history.get_mut(at)) {
            acted.answer = Some((now_ns, answer));
        }
    }

    /// It was refused, and what it wrote may show now and not then.
    pub(crate) fn doubt_file(&self, place: Place, at: usize) {
        let mut inner = self.lock();
        if let Some(acted) = inner.files.get_mut(&place).and_then(|history| history.get_mut(at))
            && let FileAct::Write { in_doubt, .. } = &mut acted.act
        {
            *in_doubt = true;
        }
    }
}
