//! Bugs that are planted on purpose, to see that the checkers find them. Nothing in the product
//! knows of them: they sit in what the product stands on (disk, store, clock) or in the client.

use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use mds_namespace::store::mem::MemStore;
use mds_namespace::store::{Durability, MetaStore, StoreError, Txn, View, Visit};
use mds_namespace::{WorkItem, codec, keys};
use parking_lot::Mutex;

use crate::chance::Chance;
use crate::event_log::digest_of;

/// What is planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// Nothing.
    #[default]
    Nothing,
    /// Disks answer a sync that they have not done.
    SyncLies,
    /// Stores show readers what was there a while ago.
    StaleViews,
    /// One replica forgets a write now and then.
    ReplicaForgets,
    /// Stores forget that an entry of a directory was removed.
    EntryStays,
    /// Stores do not show the locks of a file.
    LocksHidden,
    /// A request that is sent again runs again.
    RunsTwice,
    /// Servers do not know a request again whose answer they have given.
    AnswersForgotten,
    /// Stores forget what requests came to.
    RecordsForgotten,
    /// A metadata server that lost its disk is called what it was called before.
    NameKept,
    /// What a metadata server reads of its log when it starts has a wrong bit.
    BitRots,
    /// Syncs of a metadata server's disk stop being answered.
    SyncHangs,
    /// The clock of a metadata server that leads and is cut off goes much slower than the others'.
    SlowClock,
    /// Stores forget some writes of what is in small files.
    InlineForgotten,
    /// Stores have nothing in small files any more, once clients have stopped and none looks.
    RestLost,
    /// Stores forget that no client has a file open any more: without a name it stays.
    OrphansStay,
    /// Stores forget that records of slots were removed.
    RecordsStay,
    /// Stores forget that what was begun over several shards has ended.
    IntentsStay,
    /// Stores forget what is made of images: no group ever is.
    GroupsForgotten,
    /// A store panics.
    StorePanics,
    /// The same, and its process lives on.
    LivesOn,
    /// Linux hosts are told no sizes but those that the log has.
    StaleSizes,
    /// A truncation that does not shorten a file as the log has it cuts nothing.
    GrownTruncation,
    /// A file ends for its readers where it ended when they were granted their layout.
    OldEof,
    /// The clock of a process that is paused stands still: leases that it holds do not run out
    /// meanwhile.
    PausedLeases,
    /// No process sees that it was paused: what others were to do meanwhile counts as not done.
    PausesUnseen,
    /// Metadata servers forget how far data servers' journals went: every store is believed.
    MarksForgotten,
    /// A data server's disk answers nothing any more, and the server does not look whether it does:
    /// it waits, and does not give up.
    DiskSilent,
    /// All servers show what one clock shows that is far wrong.
    ClockBelieved,
    /// Primaries whose lease ran out are told to forget what they have before the next primary has
    /// shown that it has it.
    FormerDropped,
}

impl Planted {
    /// Whether it shows only under the faults of machines.
    pub(crate) fn needs_faults(self) -> bool {
        matches!(
            self,
            Self::PausedLeases
                | Self::PausesUnseen
                | Self::MarksForgotten
                | Self::DiskSilent
                | Self::ClockBelieved
                | Self::FormerDropped
        )
    }

    /// Whether only a client sees it that does nothing but look.
    pub(crate) fn needs_watch(self) -> bool {
        matches!(self, Self::SlowClock | Self::PausedLeases)
    }

    /// Whether only Linux hosts can see it.
    pub(crate) fn needs_linux(self) -> bool {
        matches!(self, Self::StaleSizes | Self::GrownTruncation | Self::OldEof)
    }
}

impl FromStr for Planted {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [
            ("nothing", Self::Nothing),
            ("sync-lies", Self::SyncLies),
            ("stale-views", Self::StaleViews),
            ("replica-forgets", Self::ReplicaForgets),
            ("entry-stays", Self::EntryStays),
            ("locks-hidden", Self::LocksHidden),
            ("runs-twice", Self::RunsTwice),
            ("answers-forgotten", Self::AnswersForgotten),
            ("records-forgotten", Self::RecordsForgotten),
            ("name-kept", Self::NameKept),
            ("bit-rots", Self::BitRots),
            ("sync-hangs", Self::SyncHangs),
            ("slow-clock", Self::SlowClock),
            ("inline-forgotten", Self::InlineForgotten),
            ("rest-lost", Self::RestLost),
            ("orphans-stay", Self::OrphansStay),
            ("records-stay", Self::RecordsStay),
            ("intents-stay", Self::IntentsStay),
            ("groups-forgotten", Self::GroupsForgotten),
            ("store-panics", Self::StorePanics),
            ("lives-on", Self::LivesOn),
            ("stale-sizes", Self::StaleSizes),
            ("grown-truncation", Self::GrownTruncation),
            ("old-eof", Self::OldEof),
            ("paused-leases", Self::PausedLeases),
            ("pauses-unseen", Self::PausesUnseen),
            ("marks-forgotten", Self::MarksForgotten),
            ("disk-silent", Self::DiskSilent),
            ("clock-believed", Self::ClockBelieved),
            ("former-dropped", Self::FormerDropped),
        ];
        let names = || known.map(|(name, _)| name).join(", ");
        known.iter().find(|(known, _)| *known == name).map(|(_, planted)| *planted).ok_or_else(names)
    }
}

/// A store with a bug.
pub(crate) struct PlantedStore {
    store: Arc<MemStore>,
    planted: Planted,
    /// Commits so far, and an old view.
    shared: Mutex<(u64, Option<Box<dyn View + Send>>)>,
}

impl PlantedStore {
    pub(crate) fn new(store: Arc<MemStore>, planted: Planted) -> Self {
        Self { store, planted, shared: Mutex::new((0, None)) }
    }
}

/// Commits between two views of a store whose views are stale.
const STALE_COMMITS: u64 = 40;
/// One in so many commits does not see the locks.
const HIDES: u64 = 4;
/// One in so many writes is forgotten.
const FORGETS: u64 = 50;
/// Of one in so many what was removed stays.
const STAYS: u64 = 4;
/// Commits before a store panics.
const PANICS_AFTER: u64 = 300;

impl MetaStore for PlantedStore {
    fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        let fresh = self.store.view()?;
        if self.planted != Planted::StaleViews {
            return Ok(fresh);
        }
        let mut shared = self.shared.lock();
        // The first ones must be right, or nothing starts.
        if shared.0 < STALE_COMMITS || shared.0.is_multiple_of(STALE_COMMITS) || shared.1.is_none() {
            shared.1 = Some(self.store.view()?);
            return Ok(fresh);
        }
        // A COMMIT in the middle between two gets the older one, a few times.
        match shared.0 % STALE_COMMITS {
            10..20 => Ok(shared.1.take().unwrap_or(fresh)),
            _ => Ok(fresh),
        }
    }

    fn begin(&self) -> Result<Box<dyn Txn + '_>, StoreError> {
        let mut shared = self.shared.lock();
        shared.0 += 1;
        let panics = matches!(self.planted, Planted::StorePanics | Planted::LivesOn);
        assert!(!panics || shared.0 != PANICS_AFTER, "planted");
        let (planted, commits) = (self.planted, shared.0);
        Ok(Box::new(PlantedTxn { txn: self.store.begin()?, planted, commits, proves: Vec::new() }))
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        self.store.checkpoint()
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.store.clear()
    }

    fn bytes_on_disk(&self) -> u64 {
        0
    }

    fn waits(&self) -> bool {
        false
    }
}

/// One in so many, the same ones in all replicas.
fn is_chosen(bytes: &[u8], one_in: u64) -> bool {
    Chance::new(digest_of(bytes), "chosen").below(one_in) == 0
}

/// The inode number in a key behind this word.
fn ino_behind<'a>(key: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    key.strip_prefix(word)?.get(..8)
}

/// Has nothing but zeros in small files from now on.
pub(crate) fn lose_rest(store: &MemStore) -> Result<(), StoreError> {
    let (from, to) = ([keys::TAG_INLINE], [keys::TAG_INLINE + 1]);
    let mut files = Vec::new();
    store.view()?.range(&from, &to, &mut |key, value| {
        files.push((key.to_vec(), vec![0; value.len()]));
        ControlFlow::Continue(())
    })?;
    let mut txn = store.begin()?;
    for (key, zeros) in files {
        txn.put(&key, &zeros)?;
    }
    txn.commit(Durability::Memory)
}

struct PlantedTxn<'a> {
    txn: Box<dyn Txn + 'a>,
    planted: Planted,
    commits: u64,
    /// Of whom new primaries are to show what they have, by this transaction.
    proves: Vec<WorkItem>,
}

impl PlantedTxn<'_> {
    /// What is planted: a former server forgets the extent, where it is to serve it no more.
    fn dropped(&mut self, value: &[u8]) -> Option<Vec<u8>> {
        let item = codec::decode_work(value).ok()?;
        match item {
            WorkItem::Prove { .. } => {
                self.proves.push(item);
                None
            }
            WorkItem::Fence { extent, home, epoch } => {
                let is_former = |prove: &WorkItem| matches!(prove, WorkItem::Prove { formers, .. } if prove.extent() == extent && formers.contains(home));
                let drop = WorkItem::Drop { extent, home, epoch };
                self.proves.iter().any(is_former).then(|| codec::encode_work(&drop))
            }
            _ => None,
        }
    }
}

impl View for PlantedTxn<'_> {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.txn.read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        let now_and_then = self.commits.is_multiple_of(HIDES);
        let of_locks = from.starts_with(b"state/lock/") || from.starts_with(b"state/span/");
        if self.planted == Planted::LocksHidden && now_and_then && of_locks {
            return Ok(());
        }
        self.txn.range(from, to, visit)
    }
}

impl Txn for PlantedTxn<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let inode = key.first() == Some(&keys::TAG_INODE);
        if self.planted == Planted::ReplicaForgets && inode && self.commits.is_multiple_of(FORGETS) {
            return Ok(());
        }
        if self.planted == Planted::RecordsForgotten && key.starts_with(b"state/slot/") {
            return Ok(());
        }
        if self.planted == Planted::MarksForgotten && key.starts_with(b"state/mark/") {
            return Ok(());
        }
        let of_groups = [keys::TAG_GROUP, keys::TAG_IMAGE, keys::TAG_EXTENT_IMAGES];
        let of_group = key.first().is_some_and(|tag| of_groups.contains(tag));
        if self.planted == Planted::GroupsForgotten && of_group {
            return Ok(());
        }
        let inline = key.first() == Some(&keys::TAG_INLINE);
        if self.planted == Planted::InlineForgotten && inline && is_chosen(value, FORGETS) {
            return Ok(());
        }
        let of_work = key.first() == Some(&keys::TAG_WORK);
        if self.planted == Planted::FormerDropped
            && of_work
            && let Some(dropped) = self.dropped(value)
        {
            return self.txn.put(key, &dropped);
        }
        self.txn.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let entry = key.first() == Some(&keys::TAG_DIRENT);
        if self.planted == Planted::EntryStays && entry && self.commits.is_multiple_of(FORGETS) {
            return Ok(());
        }
        if self.planted == Planted::RecordsStay && key.starts_with(b"state/slot/") && is_chosen(key, STAYS) {
            return Ok(());
        }
        if self.planted == Planted::IntentsStay && key.starts_with(b"state/intent/") && is_chosen(key, STAYS)
        {
            return Ok(());
        }
        let of_shares = ino_behind(key, b"state/shares/");
        if self.planted == Planted::OrphansStay && of_shares.is_some_and(|ino| is_chosen(ino, STAYS)) {
            return Ok(());
        }
        self.txn.delete(key)
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<(), StoreError> {
        self.txn.commit(durability)
    }
}

impl std::fmt::Display for Planted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::SyncLies => "sync-lies",
            Self::StaleViews => "stale-views",
            Self::ReplicaForgets => "replica-forgets",
            Self::EntryStays => "entry-stays",
            Self::LocksHidden => "locks-hidden",
            Self::RunsTwice => "runs-twice",
            Self::AnswersForgotten => "answers-forgotten",
            Self::RecordsForgotten => "records-forgotten",
            Self::NameKept => "name-kept",
            Self::BitRots => "bit-rots",
            Self::SyncHangs => "sync-hangs",
            Self::SlowClock => "slow-clock",
            Self::InlineForgotten => "inline-forgotten",
            Self::RestLost => "rest-lost",
            Self::OrphansStay => "orphans-stay",
            Self::RecordsStay => "records-stay",
            Self::IntentsStay => "intents-stay",
            Self::GroupsForgotten => "groups-forgotten",
            Self::StorePanics => "store-panics",
            Self::LivesOn => "lives-on",
            Self::StaleSizes => "stale-sizes",
            Self::GrownTruncation => "grown-truncation",
            Self::OldEof => "old-eof",
            Self::PausedLeases => "paused-leases",
            Self::PausesUnseen => "pauses-unseen",
            Self::MarksForgotten => "marks-forgotten",
            Self::DiskSilent => "disk-silent",
            Self::ClockBelieved => "clock-believed",
            Self::FormerDropped => "former-dropped",
        })
    }
}
