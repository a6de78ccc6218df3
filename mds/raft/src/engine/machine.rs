//! The state machine as the engine sees it: applies entries to the store in batches, checkpoints
//! it, replaces it.
//!
//! A batch is one transaction, bounded in time, visible at once and durable with the next
//! checkpoint. The log, which is cut only up to a checkpoint, has what a crash undoes. A command
//! that writes much runs on another thread, so that heartbeats continue.
//!
//! INVARIANT: an outcome is returned after the transaction that holds it is committed.
//! INVARIANT: the applied position is written in the same transaction as the entries' effects.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::Clock;
use futures_util::{Stream, StreamExt};
use mds_namespace::{Durability, MetaStore, StoreError, View};
use mds_state::{Outcome, apply, key};
use openraft::entry::RaftEntry as _;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};

use super::applied::Applied;
use super::entry::Answer;
use super::life::Part;
use super::off_thread;
use super::snapshot::{Snapshot, SnapshotData};
use super::type_config::{LogId, RaftEntry, SnapshotMeta, StoredMembership, Types};
use crate::clocks::following;
use crate::limits::{APPLY_ENTRIES_MAX, APPLY_KEYS_MAX, APPLY_MS_MAX};

/// A store contains a part of a snapshot: its replacement has begun and has not ended, or failed.
/// It must not be read or made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is half of a snapshot whose installation did not end")]
pub(crate) struct Torn;

/// Why a store has no view.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoView {
    #[error(transparent)]
    Torn(#[from] Torn),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// State that the machine shares with [`Shard`](crate::Shard).
pub(crate) struct MachineState {
    pub(crate) store: Arc<dyn MetaStore>,
    clock: Arc<dyn Clock>,
    /// Held while the store is written: by a batch, a checkpoint, a replacement. Waiting for the
    /// store's own writer lock would block a thread instead.
    gate: tokio::sync::Mutex<()>,
    /// Begun and successfully ended replacements by a snapshot, added up: odd while the store is
    /// torn.
    replacements: AtomicU64,
    /// Index of the last applied entry.
    pub(crate) applied_index: AtomicU64,
    /// Counts commands and snapshots that may have changed the list of exports or the handle keys,
    /// after they are applied.
    pub(crate) settings_moved: AtomicU64,
}

impl MachineState {
    pub(crate) fn new(store: Arc<dyn MetaStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            gate: tokio::sync::Mutex::new(()),
            replacements: AtomicU64::new(0),
            applied_index: AtomicU64::new(0),
            settings_moved: AtomicU64::new(0),
        }
    }

    /// Makes everything applied so far durable.
    ///
    /// # Errors
    /// If the disk fails, or the store is half of a snapshot.
    pub(crate) async fn checkpoint(&self) -> io::Result<()> {
        let _gate = self.gate.lock().await;
        self.check_whole().map_err(io::Error::other)?;
        let store = Arc::clone(&self.store);
        off_thread::run_work(store.waits(), move || store.checkpoint()).await?.map_err(io::Error::other)
    }

    /// The number of replacements, if none is running or has failed.
    fn check_whole(&self) -> Result<u64, Torn> {
        let replacements = self.replacements.load(Ordering::Acquire);
        if replacements.is_multiple_of(2) { Ok(replacements) } else { Err(Torn) }
    }

    /// Whether a snapshot is replacing the store, which takes as long as it is large, or that
    /// failed.
    pub(crate) fn is_torn(&self) -> bool {
        self.check_whole().is_err()
    }

    /// A consistent view of the applied entries.
    ///
    /// # Errors
    /// If the store is torn, or fails.
    pub(crate) fn view(&self) -> Result<Box<dyn View + Send>, NoView> {
        let before = self.check_whole()?;
        let view = self.store.view()?;
        // A replacement is counted before the store's first change: a view that shows any of it was
        // taken behind that.
        if self.check_whole()? == before { Ok(view) } else { Err(Torn.into()) }
    }
}

/// The engine with our types.
pub(crate) type Raft = openraft::Raft<Types, Machine>;

/// The engine's handle on the state machine.
pub(crate) struct Machine {
    state: Arc<MachineState>,
    /// The task that applies entries owns this for as long as it runs.
    _part: Part,
}

type Waiting = (RaftEntry, Option<ApplyResponder<Types>>);

impl Machine {
    pub(crate) fn new(state: Arc<MachineState>, part: Part) -> Self {
        Self { state, _part: part }
    }

    fn load(&self) -> io::Result<Applied> {
        let view = self.state.store.view().map_err(io::Error::other)?;
        Applied::load(&*view).map_err(io::Error::other)
    }

    /// Applies entries, in as many transactions as needed. Other tasks of the thread run in
    /// between, and while a command that writes much runs on another thread.
    async fn apply_batch(&self, batch: Vec<Waiting>) -> io::Result<()> {
        let (entries, waiting): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let (mut left, mut waiting) = (entries.as_slice(), waiting.into_iter());
        let mut is_long = false;
        loop {
            let gate = self.state.gate.lock().await;
            self.state.check_whole().map_err(io::Error::other)?;
            let batch = if is_long { self.apply_beside(left).await? } else { self.apply_here(left)? };
            drop(gate);
            let Batch { outcomes, is_long: is_next_long } = batch;
            assert!(!is_long || outcomes.len() == 1, "a command on a thread of its own is applied");
            assert!(!outcomes.is_empty() || is_next_long || left.is_empty(), "there is progress");
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Exports(_) | Outcome::HandleKeys(_)))
            {
                self.state.settings_moved.fetch_add(1, Ordering::AcqRel);
            }
            let (applied, behind) = left.split_at(outcomes.len());
            if let Some(last) = applied.last() {
                let before = self.state.applied_index.load(Ordering::Acquire);
                assert!(before <= last.log_id.index(), "the applied index grows");
                self.state.applied_index.store(last.log_id.index(), Ordering::Release);
            }
            for (outcome, waiting) in outcomes.into_iter().zip(waiting.by_ref()) {
                if let Some(waiting) = waiting {
                    waiting.send(Answer(outcome));
                }
            }
            (left, is_long) = (behind, is_next_long);
            if left.is_empty() {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    fn apply_here(&self, entries: &[RaftEntry]) -> io::Result<Batch> {
        let store = &*self.state.store;
        // A store in memory belongs to a test or a simulation, which has one thread.
        let keys_max = if store.waits() { APPLY_KEYS_MAX } else { usize::MAX };
        apply_entries(store, entries, &*self.state.clock, keys_max)
    }

    /// Applies the first of these entries on a thread of its own.
    async fn apply_beside(&self, entries: &[RaftEntry]) -> io::Result<Batch> {
        let (store, clock) = (Arc::clone(&self.state.store), Arc::clone(&self.state.clock));
        let first: Vec<RaftEntry> = entries.iter().take(1).cloned().collect();
        let apply = move || apply_entries(&*store, &first, &*clock, usize::MAX);
        off_thread::run_work(self.state.store.waits(), apply).await?
    }
}

/// The result of one transaction.
struct Batch {
    outcomes: Vec<Outcome>,
    /// The command behind these writes more keys than this thread may write.
    is_long: bool,
}

/// Applies entries in one transaction: all, or as many as fit the time and precede one that writes
/// more than `keys_max` keys. At least one, unless that is the first.
fn apply_entries(
    store: &dyn MetaStore,
    entries: &[RaftEntry],
    clock: &dyn Clock,
    keys_max: usize,
) -> io::Result<Batch> {
    let until_ms = clock.monotonic_ms() + APPLY_MS_MAX;
    let mut txn = store.begin().map_err(io::Error::other)?;
    let mut applied = Applied::load(&*txn).map_err(io::Error::other)?;
    let mut batch = Batch { outcomes: Vec::with_capacity(entries.len()), is_long: false };
    for entry in entries {
        assert!(applied.log_id < Some(entry.log_id()), "entries come in the order of the log");
        assert!(
            applied.log_id.is_none_or(|last| last.index() + 1 == entry.log_id().index()),
            "no entry is passed over"
        );
        let outcome = match &entry.payload {
            EntryPayload::Blank => Outcome::Done,
            EntryPayload::Membership(members) => {
                applied.membership = StoredMembership::new(Some(entry.log_id()), members.clone());
                Outcome::Done
            }
            EntryPayload::Normal(encoded) => {
                let mut command = encoded.decode().map_err(io::Error::other)?;
                command.now_unix_ns = following(applied.clock_unix_ns, command.now_unix_ns);
                let outcome = apply::apply_within(&mut *txn, &command, keys_max).map_err(io::Error::other)?;
                let Some(outcome) = outcome else {
                    batch.is_long = true;
                    break;
                };
                applied.clock_unix_ns = command.now_unix_ns;
                outcome
            }
        };
        applied.log_id = Some(entry.log_id());
        batch.outcomes.push(outcome);
        // The engine's heartbeats are sent and answered on this thread.
        if until_ms <= clock.monotonic_ms() {
            break;
        }
    }
    assert!(batch.outcomes.len() <= entries.len(), "an entry has one outcome");
    if batch.outcomes.is_empty() {
        return Ok(batch);
    }
    txn.put(key::APPLIED, &applied.encode()).map_err(io::Error::other)?;
    txn.commit(Durability::Memory).map_err(io::Error::other)?;
    Ok(batch)
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Checkpoint;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.load()?;
        Ok((applied.log_id, applied.membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        while let Some(entry) = entries.next().await {
            batch.push(entry?);
            if batch.len() == APPLY_ENTRIES_MAX {
                self.apply_batch(std::mem::take(&mut batch)).await?;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.apply_batch(batch).await }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Checkpoint> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Checkpoint {
        // Taken now, between two batches: the engine knows of everything up to here, and the
        // checkpoint will hold at least that.
        Checkpoint { state: Arc::clone(&self.state), applied: self.load() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let _gate = self.state.gate.lock().await;
        // Torn until it is installed. Dropping this future does not cancel the installation, which
        // continues on its thread.
        if !self.state.is_torn() {
            self.state.replacements.fetch_add(1, Ordering::AcqRel);
        }
        snapshot.install(Arc::clone(&self.state.store), meta.clone()).await?;
        assert!(self.state.is_torn(), "the store is torn until the snapshot is installed");
        self.state.replacements.fetch_add(1, Ordering::AcqRel);
        assert!(!self.state.is_torn(), "an installed snapshot is whole");
        self.state.settings_moved.fetch_add(1, Ordering::AcqRel);
        let index = meta.last_log_id.map_or(0, |id| id.index());
        self.state.applied_index.store(index, Ordering::Release);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let view = self.state.store.view().map_err(io::Error::other)?;
        let applied = Applied::load(&*view).map_err(io::Error::other)?;
        if applied.log_id.is_none() {
            return Ok(None);
        }
        Ok(Some(Snapshot { meta: applied.meta(), snapshot: SnapshotData::Held(view) }))
    }
}

/// Makes a checkpoint of the store, which serves as the snapshot: its bytes are only read when a
/// follower needs them.
pub(crate) struct Checkpoint {
    state: Arc<MachineState>,
    applied: io::Result<Applied>,
}

impl RaftSnapshotBuilder<Types> for Checkpoint {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let applied = std::mem::replace(&mut self.applied, Err(io::ErrorKind::Other.into()))?;
        self.state.checkpoint().await?;
        let view = self.state.store.view().map_err(io::Error::other)?;
        Ok(Snapshot { meta: applied.meta(), snapshot: SnapshotData::Held(view) })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use env::Disk as _;
    use env::memory::{ManualClock, MemoryDisk};
    use mds_namespace::Txn;
    use mds_namespace::store::mem::MemStore;
    use mds_state::command::data::Format;
    use mds_state::{Command, Entry};

    use super::*;
    use crate::engine::entry::EncodedEntry;
    use crate::engine::life::{Life, Task};
    use crate::engine::snapshot::{Encoder, Receiver};
    use crate::engine::type_config::log_id;

    /// A clock that advances by half of what commands may take whenever it is read.
    struct Ticking(ManualClock);

    impl Clock for Ticking {
        fn monotonic_ns(&self) -> u64 {
            self.0.advance_ms(APPLY_MS_MAX.div_ceil(2));
            self.0.monotonic_ns()
        }

        fn wall_ns(&self) -> u64 {
            self.0.wall_ns()
        }

        fn sleep_ms(&self, ms: u64) -> env::BoxFuture<'static, ()> {
            self.0.sleep_ms(ms)
        }
    }

    /// Commands that take long yield to the thread's other tasks.
    #[tokio::test]
    async fn long_commands_yield_to_other_tasks() {
        let state =
            Arc::new(MachineState::new(Arc::new(MemStore::new()), Arc::new(Ticking(ManualClock::new(0)))));
        let machine = Machine::new(Arc::clone(&state), Life::default().part(Task::Machine));
        let entry = |index| RaftEntry { log_id: log_id(1, index), payload: EntryPayload::Blank };
        let entries: Vec<_> = (1..=5).map(entry).collect();
        let ticking = Ticking(ManualClock::new(0));
        let first = apply_entries(&MemStore::new(), &entries, &ticking, usize::MAX).unwrap();
        assert_eq!(first.outcomes.len(), 2);
        let seen = tokio::spawn({
            let state = Arc::clone(&state);
            async move { state.applied_index.load(Ordering::Acquire) }
        });
        machine.apply_batch(entries.into_iter().map(|entry| (entry, None)).collect()).await.unwrap();
        assert_eq!(seen.await.unwrap(), 2, "it ran behind the first two");
        assert_eq!(state.applied_index.load(Ordering::Acquire), 5);
        assert_eq!(machine.load().unwrap().log_id, Some(log_id(1, 5)));
    }

    /// A store whose calls may wait for a device.
    struct Slow(MemStore);

    impl MetaStore for Slow {
        fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
            self.0.view()
        }

        fn begin(&self) -> Result<Box<dyn Txn + '_>, StoreError> {
            self.0.begin()
        }

        fn checkpoint(&self) -> Result<(), StoreError> {
            self.0.checkpoint()
        }

        fn clear(&self) -> Result<(), StoreError> {
            self.0.clear()
        }

        fn bytes_on_disk(&self) -> u64 {
            0
        }
    }

    /// A command that would write more than it may here leaves nothing, not even its time, and runs
    /// on another thread, behind those before it.
    #[tokio::test]
    async fn a_command_that_writes_much_runs_on_another_thread() {
        let clock = Arc::new(ManualClock::new(0));
        let state = Arc::new(MachineState::new(Arc::new(Slow(MemStore::new())), clock));
        let machine = Machine::new(Arc::clone(&state), Life::default().part(Task::Machine));
        let command = Command::Format(Format {
            file_system: [1; 16],
            handle_key: [2; 32],
            cookie_key: [3; 32],
            root_uid: 0,
            root_gid: 0,
            root_mode: 0o777,
        });
        let format = Entry { now_unix_ns: 7, origin: None, governor: 0, command };
        let format = EntryPayload::Normal(EncodedEntry::encode(&format).unwrap());
        let entries: Vec<_> = (1..)
            .zip([EntryPayload::Blank, format, EntryPayload::Blank])
            .map(|(index, payload)| RaftEntry { log_id: log_id(1, index), payload })
            .collect();
        let here = |entries: &[RaftEntry]| apply_entries(&*state.store, entries, &*state.clock, 2).unwrap();
        let batch = here(&entries);
        assert_eq!((batch.outcomes.len(), batch.is_long), (1, true));
        let before = Applied { log_id: Some(log_id(1, 1)), ..Applied::default() };
        assert_eq!(machine.load().unwrap(), before);
        let batch = here(&entries[1..]);
        assert_eq!((batch.outcomes.len(), batch.is_long), (0, true));
        assert_eq!(machine.load().unwrap(), before);
        let batch = machine.apply_beside(&entries[1..]).await.unwrap();
        assert_eq!((batch.outcomes, batch.is_long), (vec![Outcome::Done], false));
        let after = Applied { log_id: Some(log_id(1, 2)), clock_unix_ns: 7, ..Applied::default() };
        assert_eq!(machine.load().unwrap(), after);
        let batch = here(&entries[2..]);
        assert_eq!((batch.outcomes.len(), batch.is_long), (1, false));
    }

    /// A snapshot of a store with one key.
    async fn received(value: &[u8]) -> SnapshotData {
        let store = MemStore::new();
        let mut txn = store.begin().unwrap();
        txn.put(key::APPLIED, value).unwrap();
        txn.commit(Durability::Memory).unwrap();
        let (mut encoder, disk) = (Encoder::new(store.view().unwrap()), Arc::new(MemoryDisk::new()));
        disk.create_dir_all("/d".as_ref()).await.unwrap();
        let mut receiver = Receiver::create(disk, PathBuf::from("/d/snapshot")).await.unwrap();
        while let Some(chunk) = encoder.next_chunk().unwrap() {
            receiver.chunk(chunk).await.unwrap();
        }
        receiver.finish().unwrap()
    }

    /// A snapshot that cannot be installed has replaced the store all the same: the store is not
    /// read, written or made durable until a snapshot can be.
    #[tokio::test]
    async fn a_store_that_is_half_of_a_snapshot_is_not_made_durable() {
        let state = Arc::new(MachineState::new(Arc::new(MemStore::new()), Arc::new(ManualClock::new(0))));
        let mut machine = Machine::new(Arc::clone(&state), Life::default().part(Task::Machine));
        state.checkpoint().await.unwrap();
        let meta = SnapshotMeta::default();
        machine.install_snapshot(&meta, received(b"no position").await).await.unwrap_err();
        let refused = state.checkpoint().await.unwrap_err().to_string();
        assert!(refused.contains("half of a snapshot"), "{refused}");
        assert!(matches!(state.view(), Err(NoView::Torn(Torn))));
        machine.apply_batch(Vec::new()).await.unwrap_err();
        assert_eq!(state.settings_moved.load(Ordering::Acquire), 0);
        let whole = Applied::default();
        machine.install_snapshot(&whole.meta(), received(&whole.encode()).await).await.unwrap();
        assert_eq!(state.settings_moved.load(Ordering::Acquire), 1, "it may have changed the exports");
        state.checkpoint().await.unwrap();
        assert_eq!(state.view().unwrap().get(key::APPLIED), Ok(Some(whole.encode())));
    }
}
