//! Turns and logs: what the processes of all hosts agree on, beside the file system.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::chance::Chance;

/// Actors of a shared file: host and process.
pub(crate) const ACTORS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];
/// Turns that are taken with one shared file.
const TURNS: u64 = 14;

/// Clones are the same board.
#[derive(Clone)]
pub(crate) struct Board {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    chance: Chance,
    turn: Turn,
    is_taken: bool,
    logs: BTreeMap<u64, LogUse>,
    /// Processes that append, and have not stopped.
    appenders: usize,
}

/// A turn with a shared file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) file: u64,
    pub(crate) number: u64,
    pub(crate) actor: usize,
    /// The actor that changed the file last.
    pub(crate) changed_by: Option<usize>,
    pub(crate) is_last: bool,
}

/// Processes that append to a log, and hosts that have read all of it.
#[derive(Default)]
struct LogUse {
    appending: usize,
    read_by: Vec<usize>,
}

impl Board {
    /// For so many processes that append.
    pub(crate) fn new(seed: u64, appenders: usize) -> Self {
        let mut chance = Chance::new(seed, "board");
        let actor = chance.index(ACTORS.len());
        let turn = Turn { file: 0, number: 0, actor, changed_by: None, is_last: false };
        let inner = Inner { chance, turn, is_taken: false, logs: BTreeMap::new(), appenders };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The turn, if it is this actor's and is not taken.
    pub(crate) fn take_turn(&self, actor: usize) -> Option<Turn> {
        let mut inner = self.inner.lock();
        if inner.is_taken || inner.turn.actor != actor {
            return None;
        }
        inner.is_taken = true;
        Some(inner.turn)
    }

    /// Which shared file is in use.
    pub(crate) fn file(&self) -> u64 {
        self.inner.lock().turn.file
    }

    /// Draws the actor of the next turn. It is known in advance, since it decides what must be
    /// synced.
    pub(crate) fn draw_next(&self) -> usize {
        self.inner.lock().chance.index(ACTORS.len())
    }

    /// The turn is over.
    pub(crate) fn pass_turn(&self, taken: Turn, next: usize, changed: bool) {
        let mut inner = self.inner.lock();
        inner.is_taken = false;
        inner.turn = match taken.is_last {
            true => Turn { file: taken.file + 1, number: 0, actor: next, changed_by: None, is_last: false },
            false => Turn {
                file: taken.file,
                number: taken.number + 1,
                actor: next,
                changed_by: if changed { Some(taken.actor) } else { taken.changed_by },
                is_last: taken.number + 2 == TURNS,
            },
        };
    }

    /// A process appends to a log.
    pub(crate) fn begin_append(&self, log: u64) {
        self.inner.lock().logs.entry(log).or_default().appending += 1;
    }

    /// It has closed the log.
    pub(crate) fn end_append(&self, log: u64) {
        self.inner.lock().logs.entry(log).or_default().appending -= 1;
    }

    /// A process appends no more, to any log.
    pub(crate) fn stop_appending(&self) {
        self.inner.lock().appenders -= 1;
    }

    /// Whether all have stopped.
    pub(crate) fn appenders_stopped(&self) -> bool {
        self.inner.lock().appenders == 0
    }

    /// A log before this one that all have closed, and this host has not read: it is about to.
    pub(crate) fn take_unread(&self, host: usize, before: u64) -> Option<u64> {
        let mut inner = self.inner.lock();
        let is_unread = |(_, log): &(&u64, &mut LogUse)| log.appending == 0 && !log.read_by.contains(&host);
        let (number, log) = inner.logs.range_mut(..before).find(is_unread)?;
        log.read_by.push(host);
        Some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_taken_once() {
        let board = Board::new(1, 1);
        let first = board.inner.lock().turn;
        assert_eq!(board.take_turn((first.actor + 1) % ACTORS.len()), None);
        let taken = board.take_turn(first.actor).unwrap();
        assert_eq!(board.take_turn(first.actor), None);
        board.pass_turn(taken, 2, true);
        let second = board.take_turn(2).unwrap();
        assert_eq!((second.number, second.changed_by), (1, Some(first.actor)));
    }

    #[test]
    fn files_follow_each_other() {
        let board = Board::new(1, 1);
        for number in 0..TURNS {
            let actor = board.inner.lock().turn.actor;
            let taken = board.take_turn(actor).unwrap();
            assert_eq!((taken.file, taken.number, taken.is_last), (0, number, number + 1 == TURNS));
            board.pass_turn(taken, 0, false);
        }
        assert_eq!(board.file(), 1);
    }

    #[test]
    fn a_log_is_read_when_all_have_closed_it() {
        let board = Board::new(1, 1);
        board.begin_append(3);
        assert_eq!(board.take_unread(0, 9), None);
        board.end_append(3);
        assert_eq!(board.take_unread(0, 3), None, "it is in use yet");
        assert_eq!((board.take_unread(0, 9), board.take_unread(0, 9)), (Some(3), None));
        assert_eq!(board.take_unread(1, 9), Some(3));
    }
}
