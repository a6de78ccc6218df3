//! Reads a shard: one consistent snapshot of the store, with the queries of the front.
//!
//! Changes and proposes nothing: LOCKT, TEST_STATEID and the stateid checks of READ and WRITE need
//! no command. Errors are [`Refusal`]s, so that the front has one conversion from them to a status.
//!
//! Spec: RFC 8881 §8.2 (stateids), §9.1.2 (what an open allows), §18.11 (LOCKT), §18.48
//! (TEST_STATEID).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use layout::state::LayoutRecord;
use mds_namespace::op::work;
use mds_namespace::{Ino, Inode, StoreError, Superblock, View, WorkItem, inode_table};

use crate::command::governor::IntentId;
use crate::command::lock::{Conflict, Range};
use crate::command::session::SlotMark;
use crate::command::{Outcome, Refusal, StateidValue};
use crate::entry::Origin;
use crate::key::{self, OTHER_BYTES};
use crate::lock_ranges::{self, HeldRange};
use crate::query::IoRight;
use crate::record::{
    ClientCounts, DataServer, ExportList, Fencing, Handed, HandleKeys, Intent, LockRecord, OpenRecord,
    OwnerClients, Shares, SlotRecord, StateKind, StateidTarget, StoreMark, StoredClient, StoredSession,
    Tally, Value, is_before_secure,
};
use crate::values::{list, read};
use crate::{lock_tree, query};

/// A consistent read snapshot of a shard.
pub struct StateView {
    view: Box<dyn View + Send>,
}

impl StateView {
    /// A snapshot of a shard's store, for a caller that has only the store.
    #[must_use]
    pub fn new(view: Box<dyn View + Send>) -> Self {
        Self { view }
    }

    /// The store itself.
    #[must_use]
    pub fn into_store_view(self) -> Box<dyn View + Send> {
        self.view
    }

    /// The store itself, for reads of `mds_namespace` (lookup, access, readdir, inline reads,
    /// extents).
    #[must_use]
    pub fn namespace(&self) -> &dyn View {
        &*self.view
    }

    /// Intents of acts on several shards that this one coordinates, in the order in which they
    /// began.
    ///
    /// # Errors
    /// The store's.
    pub fn intents(&self) -> Result<Vec<(IntentId, Intent)>, Refusal> {
        let to = key::after(key::INTENTS);
        mds_namespace::store::list(self.namespace(), key::INTENTS, &to, usize::MAX, |key, bytes| {
            let id = key::parse_intent(key).ok_or(StoreError::Corrupt("key of an intent"))?;
            Ok((id, Intent::decode(bytes)?))
        })
    }

    /// Identity and keys of the file system; `None` before it is formatted.
    ///
    /// # Errors
    /// The store's.
    pub fn superblock(&self) -> Result<Option<Superblock>, Refusal> {
        match mds_namespace::superblock::superblock(self.namespace()) {
            Ok(superblock) => Ok(Some(superblock)),
            Err(StoreError::NotFormatted) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the file system has been formatted.
    ///
    /// # Errors
    /// The store's.
    pub fn is_formatted(&self) -> Result<bool, Refusal> {
        Ok(self.superblock()?.is_some())
    }

    /// The cluster's number of shards; `None` before it is set.
    ///
    /// # Errors
    /// The store's.
    pub fn shards(&self) -> Result<Option<u32>, Refusal> {
        query::shards(self.namespace())
    }

    /// The cluster's exports; version 0, without exports, before there is a list.
    ///
    /// # Errors
    /// The store's.
    pub fn exports(&self) -> Result<ExportList, Refusal> {
        query::exports(self.namespace())
    }

    /// Whether the list of exports is older than `secure`: then it is on without an administrator's
    /// choice.
    ///
    /// # Errors
    /// The store's.
    pub fn exports_are_before_secure(&self) -> Result<bool, Refusal> {
        let record = self.namespace().get(key::EXPORTS)?;
        Ok(record.is_some_and(|record| is_before_secure(&record)))
    }

    /// The good keys of data-server handles; in shard 0.
    ///
    /// # Errors
    /// The store's.
    pub fn handle_keys(&self) -> Result<HandleKeys, Refusal> {
        query::handle_keys(self.namespace())
    }

    /// The fencing that restricted exports still require, or the result of the last one.
    ///
    /// # Errors
    /// The store's.
    pub fn fencing(&self) -> Result<Fencing, Refusal> {
        Ok(read(self.namespace(), key::FENCING)?.unwrap_or_default())
    }

    /// The exports through which data-server handles of a file were given out; `None` if none was,
    /// or only by an earlier version.
    ///
    /// # Errors
    /// The store's.
    pub fn handed(&self, ino: Ino) -> Result<Option<Handed>, Refusal> {
        read(self.namespace(), &key::handed(ino))
    }

    /// Files with layouts, starting at `from`, each once for each of its layouts, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub fn files_with_layouts(&self, from: Ino, limit: usize) -> Result<Vec<Ino>, Refusal> {
        let (from, to) = (key::layouts(from), key::after(key::LAYOUTS));
        let files = mds_namespace::store::list(self.namespace(), &from, &to, limit, |key, _| {
            let (ino, _) = key::parse_layout(key).ok_or(StoreError::Corrupt("key of a layout"))?;
            Ok::<_, Refusal>(ino)
        })?;
        assert!(files.len() <= limit, "no more is returned than was asked for");
        debug_assert!(files.is_sorted(), "files come in the order of their numbers");
        Ok(files)
    }

    /// An inode.
    ///
    /// # Errors
    /// `Stale` if there is no such inode; the store's.
    pub fn inode(&self, ino: Ino) -> Result<Inode, Refusal> {
        Ok(inode_table::inode(self.namespace(), ino)?)
    }

    /// A client, confirmed or not.
    ///
    /// # Errors
    /// The store's.
    pub fn client(&self, client: u64) -> Result<Option<StoredClient>, Refusal> {
        read(self.namespace(), &key::client(client))
    }

    /// All clients, for the lease table after a restart.
    ///
    /// # Errors
    /// The store's.
    pub fn clients(&self) -> Result<Vec<StoredClient>, Refusal> {
        list(self.namespace(), key::CLIENTS)
    }

    /// The client ids of a client owner.
    ///
    /// # Errors
    /// The store's.
    pub fn clients_of_owner(&self, owner: &[u8]) -> Result<OwnerClients, Refusal> {
        Ok(read(self.namespace(), &key::owner(owner))?.unwrap_or_default())
    }

    /// A session. After a read barrier `None` means that there is no such session.
    ///
    /// # Errors
    /// The store's.
    pub fn session(&self, id: &[u8; 16]) -> Result<Option<StoredSession>, Refusal> {
        read(self.namespace(), &key::session(id))
    }

    /// The number of sessions of all clients; 0 in a store of an earlier version without new
    /// clients since.
    ///
    /// # Errors
    /// The store's.
    pub fn session_count(&self) -> Result<u32, Refusal> {
        let counts: Option<ClientCounts> = read(self.namespace(), key::CLIENT_COUNTS)?;
        Ok(counts.map_or(0, |counts| counts.sessions))
    }

    /// The recorded outcome of an operation of a request; `None` if there is none, or only of
    /// another request.
    ///
    /// # Errors
    /// The store's.
    pub fn recorded(&self, origin: &Origin) -> Result<Option<Outcome>, Refusal> {
        let key = key::slot(&origin.session, origin.slot);
        let end = [&key[..], &[0]].concat();
        // Each shard has the last request that changed it.
        let slots = mds_namespace::store::list(self.namespace(), &key, &end, usize::MAX, |_, bytes| {
            SlotRecord::decode(bytes)
        })?;
        let mut same =
            slots.iter().filter(|slot| slot.sequence == origin.sequence && slot.request == origin.request);
        Ok(same.find_map(|slot| slot.outcome_of(origin.operation)).cloned())
    }

    /// The last recorded request of each slot of a session in this shard.
    ///
    /// # Errors
    /// The store's.
    pub fn slots(&self, session: &[u8; 16]) -> Result<Vec<SlotMark>, Refusal> {
        query::marks(self.namespace(), session)
    }

    /// Clients that have anything in this shard: state, or outcomes of their requests.
    ///
    /// # Errors
    /// The store's.
    pub fn clients_with_state(&self) -> Result<Vec<u64>, Refusal> {
        let mut clients = self.distinct::<8>(key::TALLIES)?;
        clients.append(&mut self.distinct::<8>(key::SLOTS)?);
        Ok(clients.into_iter().map(u64::from_be_bytes).collect())
    }

    /// Sessions that have outcomes of their requests in this shard.
    ///
    /// # Errors
    /// The store's.
    pub fn sessions_with_records(&self) -> Result<Vec<[u8; 16]>, Refusal> {
        Ok(self.distinct::<16>(key::SLOTS)?.into_iter().collect())
    }

    /// The distinct fields of N bytes behind a word of keys: one seek for each, however many keys
    /// have it.
    fn distinct<const N: usize>(&self, word: &[u8]) -> Result<BTreeSet<[u8; N]>, Refusal> {
        let (mut from, to) = (word.to_vec(), key::after(word));
        let mut found = BTreeSet::new();
        while from < to {
            let mut next: Option<Vec<u8>> = None;
            self.view.range(&from, &to, &mut |key, _| {
                next = Some(key[word.len()..].to_vec());
                ControlFlow::Break(())
            })?;
            let Some(rest) = next else { break };
            let one: [u8; N] = *rest.first_chunk().ok_or(StoreError::Corrupt("key of a client's state"))?;
            let next = key::after(&[word, &one].concat());
            assert!(from < next, "each step goes on behind what it found");
            from = next;
            found.insert(one);
        }
        Ok(found)
    }

    /// How much state a client has.
    ///
    /// # Errors
    /// The store's.
    pub fn tally(&self, client: u64) -> Result<Tally, Refusal> {
        let key = key::tally(client);
        let end = [&key[..], &[0]].concat();
        // Each shard counts what the client holds there.
        let of_shards: Vec<Tally> =
            mds_namespace::store::list(self.namespace(), &key, &end, usize::MAX, |_, bytes| {
                Tally::decode(bytes)
            })?;
        Ok(of_shards.into_iter().fold(Tally::default(), |sum, one| Tally {
            opens: sum.opens.saturating_add(one.opens),
            locks: sum.locks.saturating_add(one.locks),
            layouts: sum.layouts.saturating_add(one.layouts),
            ranges: sum.ranges.saturating_add(one.ranges),
        }))
    }

    /// State of one kind of a client: file and stateid identity, at most `limit` items.
    ///
    /// # Errors
    /// The store's.
    pub fn of_client(
        &self,
        client: u64,
        kind: StateKind,
        limit: usize,
    ) -> Result<Vec<(Ino, [u8; OTHER_BYTES])>, Refusal> {
        query::of_kind(self.namespace(), client, kind, limit)
    }

    /// The state that a stateid names, whatever its sequence.
    ///
    /// # Errors
    /// The store's.
    pub fn stateid(&self, other: &[u8; OTHER_BYTES]) -> Result<Option<StateidTarget>, Refusal> {
        read(self.namespace(), &key::stateid(other))
    }

    /// TEST_STATEID for one stateid: its kind, if it is good.
    ///
    /// # Errors
    /// `BadStateid`, `OldStateid`; the store's.
    pub fn test_stateid(&self, client: u64, stateid: StateidValue) -> Result<StateKind, Refusal> {
        let target = self.stateid(&stateid.other)?.ok_or(Refusal::BadStateid)?;
        match target.kind {
            StateKind::Open => query::open(self.namespace(), client, target.ino, stateid).map(drop)?,
            StateKind::Lock => query::lock(self.namespace(), client, target.ino, stateid).map(drop)?,
            StateKind::Layout => query::layout(self.namespace(), client, target.ino, stateid).map(drop)?,
        }
        Ok(target.kind)
    }

    /// An open, if the stateid is a good one of this client and file.
    ///
    /// # Errors
    /// `BadStateid`, `OldStateid`; the store's.
    pub fn open(&self, client: u64, ino: Ino, stateid: StateidValue) -> Result<OpenRecord, Refusal> {
        query::open(self.namespace(), client, ino, stateid)
    }

    /// All opens of a file.
    ///
    /// # Errors
    /// The store's.
    pub fn opens_of(&self, ino: Ino) -> Result<Vec<OpenRecord>, Refusal> {
        list(self.namespace(), &key::opens(ino))
    }

    /// The sum of a file's opens.
    ///
    /// # Errors
    /// The store's.
    pub fn shares_of(&self, ino: Ino) -> Result<Shares, Refusal> {
        Ok(read(self.namespace(), &key::shares(ino))?.unwrap_or_default())
    }

    /// Whether the open or lock behind a stateid allows reading or writing.
    ///
    /// RFC 8881 §18.22.3 lets a server answer READ under a write-only open. It is allowed here,
    /// since clients fill partial pages that way.
    ///
    /// # Errors
    /// `BadStateid`, `OldStateid`, `OpenMode`; the store's.
    pub fn io_right(
        &self,
        client: u64,
        ino: Ino,
        stateid: StateidValue,
        write: bool,
    ) -> Result<IoRight, Refusal> {
        query::io_right(self.namespace(), client, ino, stateid, write)
    }

    /// Whether a share reservation keeps I/O without a stateid (the anonymous ones) out.
    ///
    /// # Errors
    /// The store's.
    pub fn anonymous_io_denied(&self, ino: Ino, write: bool) -> Result<bool, Refusal> {
        let shares = self.shares_of(ino)?;
        Ok(0 < if write { shares.deny_write } else { shares.deny_read })
    }

    /// A lock, if the stateid is a good one of this client and file.
    ///
    /// # Errors
    /// `BadStateid`, `OldStateid`; the store's.
    pub fn lock(&self, client: u64, ino: Ino, stateid: StateidValue) -> Result<LockRecord, Refusal> {
        query::lock(self.namespace(), client, ino, stateid)
    }

    /// All lock stateids of a file.
    ///
    /// # Errors
    /// The store's.
    pub fn locks_of(&self, ino: Ino) -> Result<Vec<LockRecord>, Refusal> {
        list(self.namespace(), &key::locks(ino))
    }

    /// The locked ranges of a lock stateid of a file, in order.
    ///
    /// # Errors
    /// The store's.
    pub fn ranges_of(&self, ino: Ino, lock: &LockRecord) -> Result<Vec<HeldRange>, Refusal> {
        lock_tree::ranges(self.namespace(), ino, lock)
    }

    /// LOCKT: the first lock that conflicts with a lock of `owner` of `client`.
    ///
    /// # Errors
    /// `BadRange`; the store's.
    pub fn lock_conflict(
        &self,
        ino: Ino,
        range: Range,
        exclusive: bool,
        client: u64,
        owner: &[u8],
    ) -> Result<Option<Conflict>, Refusal> {
        let span = lock_ranges::Span::of(range).ok_or(Refusal::BadRange)?;
        let own = self.namespace().get(&key::locker(ino, client, owner))?;
        let own = own.map(|other| other.try_into().map_err(|_| StoreError::Corrupt("locker"))).transpose()?;
        query::lock_conflict(self.namespace(), ino, span, exclusive, own)
    }

    /// Clients with locks that conflict with a lock of a range.
    ///
    /// # Errors
    /// `BadRange`; the store's.
    pub fn lock_holders(&self, ino: Ino, range: Range, exclusive: bool) -> Result<Vec<u64>, Refusal> {
        let span = lock_ranges::Span::of(range).ok_or(Refusal::BadRange)?;
        let mut holders = std::collections::BTreeSet::new();
        lock_tree::conflicts(self.namespace(), ino, span, exclusive, None, &mut |other, _| {
            holders.insert(other);
            std::ops::ControlFlow::Continue(())
        })?;
        let mut clients = Vec::new();
        for other in holders {
            clients.extend(self.stateid(&other)?.map(|target| target.client));
        }
        clients.sort_unstable();
        clients.dedup();
        Ok(clients)
    }

    /// The layouts of a file, with their clients.
    ///
    /// # Errors
    /// The store's.
    pub fn layouts_of(&self, ino: Ino) -> Result<Vec<(u64, LayoutRecord)>, Refusal> {
        query::layouts(self.namespace(), ino)
    }

    /// A client's layout of a file.
    ///
    /// # Errors
    /// The store's.
    pub fn layout(&self, ino: Ino, client: u64) -> Result<Option<LayoutRecord>, Refusal> {
        read(self.namespace(), &key::layout(ino, client))
    }

    /// All data servers.
    ///
    /// # Errors
    /// The store's.
    pub fn data_servers(&self) -> Result<Vec<DataServer>, Refusal> {
        list(self.namespace(), key::SERVERS)
    }

    /// The data servers that are drained, by number.
    ///
    /// # Errors
    /// The store's.
    pub fn draining(&self) -> Result<Vec<u32>, Refusal> {
        query::draining(self.namespace())
    }

    /// One data server.
    ///
    /// # Errors
    /// The store's.
    pub fn data_server(&self, id: u32) -> Result<Option<DataServer>, Refusal> {
        read(self.namespace(), &key::server(id))
    }

    /// The recorded journal position of the data server with this store, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub fn store_mark(&self, uuid: &[u8; 16]) -> Result<Option<StoreMark>, Refusal> {
        read(self.namespace(), &key::mark(uuid))
    }

    /// The oldest work items for data servers, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub fn work(&self, limit: usize) -> Result<Vec<(u64, WorkItem)>, Refusal> {
        Ok(work::pending(self.namespace(), 0, limit)?)
    }
}
