//! The disk as a test holds it: it is filled, broken, crashed and counted here.
//!
//! Programs under test use the same disk through the trait, in `disk`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ahead::Ahead;
use super::state::{Broken, DiskCounts, DiskState, Fault, FaultOn};
use crate::memory::entropy::splitmix64;

/// What a crash leaves of bytes that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Nothing.
    Drop,
    /// Everything: the page cache had just been written back.
    Keep,
    /// Each 512 B sector of each unsynced write survives or not by a coin toss from `seed`, so
    /// writes are torn and reordered.
    Tear {
        /// Where the coin tosses start.
        seed: u64,
    },
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    state: Arc<Mutex<DiskState>>,
    /// The generation this handle dies with; `None`: it survives crashes.
    mounted: Option<u64>,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// An empty disk without a size limit.
    pub fn new() -> Self {
        Self::with_capacity(u64::MAX)
    }

    /// An empty disk on which file lengths may sum up to `capacity_bytes`; more answers
    /// `StorageFull`.
    pub fn with_capacity(capacity_bytes: u64) -> Self {
        let state = DiskState {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: BTreeMap::new(),
            files: BTreeMap::new(),
            file_next: 1,
            generation: 0,
            capacity_bytes,
            counts: DiskCounts::default(),
            faults: Vec::new(),
            broken: Broken::default(),
            silent: Broken::default(),
            turns: (1, 1),
            power_left: None,
            ahead: Ahead::default(),
        };
        Self { state: Arc::new(Mutex::new(state)), mounted: None }
    }

    /// The same disk for a program that is to die with the next crash: whatever of it still runs
    /// afterwards gets errors.
    pub fn mount(&self) -> Self {
        let generation = self.lock().generation;
        Self { state: Arc::clone(&self.state), mounted: Some(generation) }
    }

    /// Changes the size limit.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.lock().capacity_bytes = capacity_bytes;
    }

    /// Cuts the power and turns it on again: open handles are dead, unsynced bytes fare as `crash`
    /// says, names that were not synced are undone. Pending faults are forgotten.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.lock();
        state.generation += 1;
        state.power_left = None;
        state.faults.clear();
        let lost = state.ahead.crash();
        let mut seed = match crash {
            Crash::Tear { seed } => seed,
            Crash::Drop | Crash::Keep => 0,
        };
        for (id, file) in &mut state.files {
            lost.iter().filter(|lost| lost.file == *id).for_each(|lost| file.lose(&lost.writes));
            file.crash(|| match crash {
                Crash::Drop => false,
                Crash::Keep => true,
                Crash::Tear { .. } => splitmix64(&mut seed) & 1 == 1,
            });
        }
        if crash == Crash::Keep {
            state.durable_names = state.names.clone();
        } else {
            state.names = state.durable_names.clone();
        }
        state.forget_nameless();
    }

    /// Another disk: what this one would be after a crash now. This one goes on.
    pub fn after_crash(&self, crash: Crash) -> Self {
        let copy = Self { state: Arc::new(Mutex::new(self.lock().clone())), mounted: None };
        copy.crash(crash);
        copy
    }

    /// Lets `after` more writes and syncs (together) succeed; from then on all of them fail until
    /// [`crash`](Self::crash).
    pub fn cut_power_after(&self, after: u64) {
        self.lock().power_left = Some(after);
    }

    /// Breaks the disk, or mends it.
    pub fn set_broken(&self, broken: Broken) {
        self.lock().broken = broken;
    }

    /// Keeps calls of these kinds waiting, or lets them go on.
    pub fn set_silent(&self, silent: Broken) {
        self.lock().silent = silent;
    }

    /// Returns when the disk answers such a call.
    pub(super) async fn answers(&self, on: FaultOn) {
        while self.lock().silent.has(on) {
            tokio::task::yield_now().await;
        }
    }

    /// Lets `after` more writes succeed and fails the next one, once, having written nothing.
    pub fn fail_write(&self, after: u64, kind: io::ErrorKind) {
        self.lock().faults.push(Fault { on: FaultOn::Write, after, kind });
    }

    /// Lets `after` more syncs succeed and fails the next one, once.
    pub fn fail_sync(&self, after: u64, kind: io::ErrorKind) {
        self.lock().faults.push(Fault { on: FaultOn::Sync, after, kind });
    }

    /// Lets `after` more reads succeed and fails the next one, once.
    pub fn fail_read(&self, after: u64, kind: io::ErrorKind) {
        self.lock().faults.push(Fault { on: FaultOn::Read, after, kind });
    }

    /// Lets `after` more reservations of room succeed and fails the next one, once.
    pub fn fail_allocate(&self, after: u64, kind: io::ErrorKind) {
        self.lock().faults.push(Fault { on: FaultOn::Allocate, after, kind });
    }

    /// Flips bits of a file behind its owner's back, durably: byte at `offset` becomes itself XOR
    /// `mask`.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn corrupt(&self, path: &Path, offset: u64, mask: u8) {
        let mut state = self.lock();
        let id = *state.names.get(path).expect("the test corrupts a file that exists");
        state.files.get_mut(&id).expect("a name leads to a file").corrupt(offset, mask);
    }

    /// Makes each write and each sync take so many turns of the scheduler (1 each at first), so
    /// that they overlap with others in other ways.
    pub fn set_turns(&self, write: u32, sync: u32) {
        self.lock().turns = (write, sync);
    }

    /// What was done so far, since creation.
    pub fn counts(&self) -> DiskCounts {
        self.lock().counts
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, DiskState> {
        // A test that panicked while holding the lock is over; others may go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_alive(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        let state = self.lock();
        match self.mounted {
            Some(generation) if generation != state.generation => {
                Err(io::Error::other("this handle is from before the crash"))
            }
            _ => Ok(state),
        }
    }
}
