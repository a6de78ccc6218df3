//! Watches the disk: a data server whose disk answers nothing gives up its lease until the disk
//! answers again.
//!
//! A heartbeat needs no I/O. Without this a server would renew its lease for as long as its disk
//! hangs, and no replica would take over. [`table`] knows what is under way and decides; [`disk`]
//! is the door through which all I/O goes; [`crate::core::Core::watch_disk`] looks at the table a
//! few times a second, and tells the rest of the server.
//!
//! INVARIANT: [`DiskWatch::turns`] rises with every begin and end of a hang, so a request that sees
//! the same number before and after its work was served by a disk that had not been given up
//! meanwhile.
//! Spec: docs/protocol/control.md §2.

pub(crate) mod disk;
pub(crate) mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::Notify;

use table::{Change, Table};

/// What is known of the disk's answers.
pub(crate) struct DiskWatch {
    table: Arc<Table>,
    /// Odd while the disk hangs.
    turns: AtomicU64,
    /// What did not answer, while the disk hangs.
    words: RwLock<String>,
    begun: Notify,
}

impl DiskWatch {
    /// For a disk that hangs if it has not answered for so long; 0: it never does.
    pub(crate) fn new(hang_ms: u64) -> Self {
        Self {
            table: Arc::new(Table::new(hang_ms)),
            turns: AtomicU64::new(0),
            words: RwLock::default(),
            begun: Notify::new(),
        }
    }

    /// The same disk, whose I/O is watched.
    pub(crate) fn door(&self, disk: Arc<dyn env::Disk>) -> Arc<dyn env::Disk> {
        Arc::new(disk::WatchedDisk::new(disk, Arc::clone(&self.table)))
    }

    /// How often a hang has begun or ended.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    /// Whether the disk hangs.
    pub(crate) fn hangs(&self) -> bool {
        self.turns() & 1 == 1
    }

    /// How often the disk has hung and answered again.
    pub(crate) fn survived(&self) -> u64 {
        self.turns() / 2
    }

    /// Why nothing is served, while the disk hangs.
    pub(crate) fn reason(&self) -> Option<String> {
        self.hangs().then(|| self.words.read().clone())
    }

    /// Returns once a hang has begun or ended since [`turns`](Self::turns) was that.
    pub(crate) async fn turned(&self, turns: u64) {
        loop {
            let begun = self.begun.notified();
            tokio::pin!(begun);
            // Registered before looking, so that no hang is missed.
            begun.as_mut().enable();
            if self.turns() != turns {
                return;
            }
            begun.await;
        }
    }

    /// Looks at what is under way; the monotonic clock shows `clock_ms`. What has changed counts
    /// when this returns.
    pub(crate) fn look(&self, clock_ms: u64) -> Change {
        let change = self.table.look(clock_ms);
        match change {
            Change::None => {}
            Change::Hangs(kind) => {
                let for_s = self.table.hang_ms() / 1000;
                self.turn(format!("disk hangs: no answer to {} for {for_s} s", kind.name()));
            }
            Change::Answers => self.turn(String::new()),
        }
        change
    }

    fn turn(&self, words: String) {
        *self.words.write() = words;
        self.turns.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_waiters();
    }
}
