//! An extent as its client knows it: what it was promised, what it wrote without a promise, and
//! what it therefore may read.
//!
//! INVARIANT: writes without a promise do not overlap each other. Each shows wholly or not at all.

use layout::ExtentId;
use wire_nfs::v3::{Nfsstat3, StableHow};

use crate::chance::noise;
use crate::fleet::{Doing, Fleet, PATIENCE_MS, Trouble};
use crate::metadata::Work;

/// A write that was not promised.
#[derive(Clone, Debug)]
struct Loose {
    at: usize,
    data: Vec<u8>,
    /// Of the server that took it, if one did.
    verifier: Option<[u8; 8]>,
}

pub(crate) struct File {
    pub(crate) extent: ExtentId,
    bytes: Vec<u8>,
    loose: Vec<Loose>,
    /// Answers that a client takes for a broken file, and tries again.
    pub(crate) io_errors: u64,
}

/// Longest that a file here gets.
pub(crate) const FILE_BYTES_MAX: usize = 700_000;

impl File {
    pub(crate) fn new(fleet: &Fleet, home: u32, backups: &[u32]) -> Self {
        let extent = fleet.place(home, backups);
        Self { extent, bytes: Vec::new(), loose: Vec::new(), io_errors: 0 }
    }

    /// Its primary, by the log.
    pub(crate) fn home(&self, fleet: &Fleet) -> u32 {
        fleet.log.lock().unwrap().extents[&self.extent].home
    }

    /// Reads and writes a byte that is there as it is, whatever comes of it.
    pub(crate) async fn touch(&self, fleet: &Fleet) {
        let _ = fleet.read(self.extent, 0, 1).await;
        let _ = fleet.write(self.extent, 0, &self.bytes[..1], StableHow::FileSync).await;
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes bytes that follow from the seed, and returns when they are promised.
    pub(crate) async fn write(&mut self, fleet: &Fleet, at: usize, length: usize, seed: u64) {
        self.make_firm(fleet, at, length).await;
        let data = noise(seed, length);
        self.loose.push(Loose { at, data: data.clone(), verifier: None });
        let late_ms = fleet.now_ms() + PATIENCE_MS;
        while let Err(trouble) = fleet.write(self.extent, at, &data, StableHow::FileSync).await {
            self.again(fleet, trouble, late_ms, "WRITE").await;
            // What was not promised is wholly there, or not at all.
            if fleet.below(4) == 0 {
                self.look(fleet).await;
            }
        }
        let written = self.loose.pop().unwrap();
        self.apply(&written);
    }

    /// Writes without asking for a promise.
    pub(crate) async fn write_loosely(&mut self, fleet: &Fleet, at: usize, length: usize, seed: u64) {
        self.make_firm(fleet, at, length).await;
        self.loose.push(Loose { at, data: noise(seed, length), verifier: None });
        let last = self.loose.len() - 1;
        self.send(fleet, last).await;
    }

    async fn send(&mut self, fleet: &Fleet, which: usize) {
        let late_ms = fleet.now_ms() + PATIENCE_MS;
        loop {
            let Loose { at, data, .. } = &self.loose[which];
            match fleet.write(self.extent, *at, data, StableHow::Unstable).await {
                Ok(verifier) => {
                    self.loose[which].verifier = Some(verifier);
                    return;
                }
                Err(trouble) => self.again(fleet, trouble, late_ms, "WRITE").await,
            }
        }
    }

    /// Returns when all that was written is promised.
    pub(crate) async fn commit(&mut self, fleet: &Fleet) {
        let late_ms = fleet.now_ms() + PATIENCE_MS;
        while !self.loose.is_empty() {
            match fleet.commit(self.extent).await {
                Ok(verifier) => {
                    let all = std::mem::take(&mut self.loose);
                    for one in all {
                        if one.verifier == Some(verifier) {
                            self.apply(&one);
                        } else {
                            self.loose.push(one);
                        }
                    }
                    for which in 0..self.loose.len() {
                        self.send(fleet, which).await;
                    }
                }
                Err(trouble) => self.again(fleet, trouble, late_ms, "COMMIT").await,
            }
        }
    }

    async fn make_firm(&mut self, fleet: &Fleet, at: usize, length: usize) {
        let meets = |one: &Loose| one.at < at + length && at < one.at + one.data.len();
        if self.loose.iter().any(meets) {
            self.commit(fleet).await;
        }
    }

    fn apply(&mut self, one: &Loose) {
        let end = one.at + one.data.len();
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[one.at..end].copy_from_slice(&one.data);
    }

    pub(crate) async fn cut(&mut self, fleet: &Fleet, keep: usize) {
        self.commit(fleet).await;
        let _busy = fleet.busy(Doing::Cut);
        let extent = self.extent;
        let is_idle = || !fleet.log.lock().unwrap().pending.contains_key(&extent);
        fleet.until("an extent may be cut", is_idle).await;
        {
            let mut log = fleet.log.lock().unwrap();
            let record = log.extents.get_mut(&extent).unwrap();
            record.epoch += 1;
            record.cut = record.epoch;
            log.pending.insert(extent, Work::Cut(u32::try_from(keep).unwrap()));
        }
        fleet.until("an extent is cut", is_idle).await;
        self.bytes.truncate(keep);
    }

    /// The extent is gone; its servers are told in their time.
    pub(crate) fn remove(&self, fleet: &Fleet) {
        let mut log = fleet.log.lock().unwrap();
        let record = log.extents.remove(&self.extent).unwrap();
        log.pending.remove(&self.extent);
        let epoch = record.epoch + 1;
        for server in std::iter::once(record.home).chain(record.backups.iter().map(|one| one.server)) {
            log.owed.entry(server).or_default().insert(self.extent, epoch);
        }
        log.drop_dead_groups();
    }

    /// Reads all, and compares it with what it may be.
    pub(crate) async fn check(&mut self, fleet: &Fleet, what: &str) {
        let late_ms = fleet.now_ms() + PATIENCE_MS;
        let length = self.reach() + 1_000;
        loop {
            match fleet.read(self.extent, 0, length).await {
                Ok(read) => return self.compare(&read, fleet, what),
                Err(trouble) => self.again(fleet, trouble, late_ms, what).await,
            }
        }
    }

    /// As [`check`](Self::check), if it can be read now.
    async fn look(&mut self, fleet: &Fleet) {
        if let Ok(read) = fleet.read(self.extent, 0, self.reach() + 1_000).await {
            self.compare(&read, fleet, "while no server answers");
        }
    }

    fn reach(&self) -> usize {
        let loose = self.loose.iter().map(|one| one.at + one.data.len());
        loose.max().unwrap_or(0).max(self.bytes.len())
    }

    fn compare(&self, read: &[u8], fleet: &Fleet, what: &str) {
        let mut expected = self.bytes.clone();
        expected.resize(read.len(), 0);
        for one in &self.loose {
            let range = one.at..one.at + one.data.len();
            if read[range.clone()] == one.data {
                expected[range].copy_from_slice(&one.data);
            }
        }
        if read == expected {
            return;
        }
        let bad: Vec<usize> = (0..read.len()).filter(|at| read[*at] != expected[*at]).collect();
        let loose: Vec<(usize, usize)> = self.loose.iter().map(|one| (one.at, one.data.len())).collect();
        let zeros = bad.iter().filter(|at| read[**at] == 0).count();
        panic!(
            "{what}: {} has {} wrong bytes, {zeros} of them zeros, between {} and {}; {} bytes, loose {loose:?}\n{}",
            self.extent,
            bad.len(),
            bad[0],
            bad[bad.len() - 1],
            self.bytes.len(),
            fleet.story(),
        );
    }

    async fn again(&mut self, fleet: &Fleet, trouble: Trouble, late_ms: u64, what: &str) {
        self.io_errors += u64::from(trouble == Trouble::Status(Nfsstat3::Io));
        assert!(
            fleet.now_ms() < late_ms,
            "{what} of {} does not end: {trouble:?}\n{}",
            self.extent,
            fleet.story(),
        );
        fleet.sleep_ms(50).await;
    }
}
