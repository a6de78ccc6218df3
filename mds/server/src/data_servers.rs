//! The data servers as this metadata server sees them: who is up, how full they are, where new
//! extents go, and which of them a client could not reach.
//!
//! What must survive a restart (id, uuid, addresses) is in the replicated store; leases and usage
//! are relearnt from heartbeats. Time is an argument.
//!
//! Spec: docs/protocol/control.md §2.

mod disk;
mod failure;
pub(crate) mod from_log;
pub(crate) mod probes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::control::DsControl;
use layout::copies::{BACKUPS_MAX, Domain, Place, choose_backups};
use layout::placement::{Candidate, choose};
use layout::reserve::reserve_bytes;
use layout::{DataServerId, ExtentId};
use parking_lot::RwLock;
use wire_nfs::control::copies::{Directory, Listed};
use wire_nfs::control::heartbeat::{Heartbeat, JournalEnd, Usage};
use wire_nfs::flexfiles::NetAddr;

pub(crate) use self::failure::{Behind, Failure};
use self::probes::Probes;
use crate::exclusions::{Complaint, Exclusions};
use crate::limits::{EXCLUSION_MS, PROBE_EVERY_MS, SUSPECT_MS, UNHEARD_MS};

/// A universal address with its network id: `tcp6` if it holds colons.
#[must_use]
pub(crate) fn net_address(universal: &str) -> NetAddr {
    let netid: &[u8] = if universal.contains(':') { b"tcp6" } else { b"tcp" };
    NetAddr { netid: Bytes::from_static(netid), uaddr: Bytes::copy_from_slice(universal.as_bytes()) }
}

/// A universal address as people write it: `10.0.0.1.11.233` is `10.0.0.1:3049` (RFC 5665
/// §5.2.3.3).
#[must_use]
pub(crate) fn readable(universal: &str) -> String {
    let address = net_address(universal).resolve();
    address.map_or_else(|| universal.to_owned(), |(_, address)| address.to_string())
}

/// With this much free a server that was full takes writes again.
const ROOM_BYTES: u64 = 16 << 20;
/// With less than this a server is full: the largest WRITE may not fit any more.
const NO_ROOM_BYTES: u64 = 2 << 20;

/// One data server.
#[derive(Clone)]
pub(crate) struct Known {
    /// Identity of its store.
    pub(crate) uuid: [u8; 16],
    /// Universal addresses for clients.
    pub(crate) addresses: Vec<String>,
    /// `ip:port` of its control service.
    pub(crate) control_address: String,
    /// Calls to it.
    pub(crate) control: Arc<DsControl>,
    /// As last reported.
    pub(crate) usage: Usage,
    /// When its lease was last renewed, by the monotonic clock; `None` if not since this node
    /// started.
    pub(crate) renewed_ms: Option<u64>,
    /// When it last refused a write for want of space, or said that it has none, by the monotonic
    /// clock.
    pub(crate) full_ms: Option<u64>,
    /// What is lost together with it.
    pub(crate) domain: Domain,
    /// When a home last complained of it, by the monotonic clock.
    pub(crate) suspect_ms: Option<u64>,
    /// When somebody could not reach it, by the monotonic clock; forgotten when it has answered a
    /// probe.
    pub(crate) broken_ms: Option<u64>,
    /// When it last answered a probe, by the monotonic clock.
    pub(crate) answered_ms: Option<u64>,
    /// Its extents are being given to others: it gets no lease.
    pub(crate) condemned: bool,
    /// It is being removed: it gets no lease.
    pub(crate) removing: bool,
    /// By the log, what it has is to move away: it gets nothing new.
    pub(crate) draining: bool,
    /// What people call it; may be empty.
    pub(crate) name: String,
    /// The start of it that holds a lease, or held the last one, of this leader's; 0: none yet.
    pub(crate) instance: u64,
    /// Its start of now serves nothing any more, as it has reported itself.
    pub(crate) failure: Option<Failure>,
    /// All of its journal before this is on stable storage, as it last reported.
    pub(crate) durable: JournalEnd,
    /// Version of the handle keys that it last said it has; 0: none yet of this leader's.
    pub(crate) keys: u64,
    /// Its store lacks something that it had acknowledged: it gets no lease.
    pub(crate) behind: Option<Behind>,
}

impl Known {
    /// Whether this one has taken the place of another, with a store of its own: nothing else can
    /// listen at the old one's control address, and two may not have one name. A name that is only
    /// the host's says nothing: a host may have several.
    fn replaces(&self, old: &Self) -> bool {
        let is_name_given = !self.name.is_empty() && self.name != self.domain.host;
        self.control_address == old.control_address || (is_name_given && self.name == old.name)
    }

    /// A number that stands for the addresses. Device ids are names that never change their meaning
    /// (RFC 8881 §12.2.10), so a server that moved gets a new one.
    #[must_use]
    pub(crate) fn generation(&self) -> u32 {
        let mut hasher = blake3::Hasher::new();
        for address in &self.addresses {
            hasher.update(address.as_bytes()).update(&[0]);
        }
        u32::from_be_bytes(*hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }

    /// Bytes that clients may still write where nothing is held yet.
    #[must_use]
    pub(crate) fn room_bytes(&self) -> u64 {
        room_bytes(&self.usage)
    }

    /// The address I/O in band goes to.
    #[must_use]
    pub(crate) fn data_address(&self) -> Option<SocketAddr> {
        self.addresses
            .iter()
            .find_map(|universal| net_address(universal).resolve())
            .map(|(_, address)| address)
    }
}

/// Bytes that a data server takes from clients that it does not hold yet: the rest is its reserve
/// (docs/protocol/seal.md §13).
fn room_bytes(usage: &Usage) -> u64 {
    usage.free_bytes().saturating_sub(reserve_bytes(usage.capacity_bytes))
}

/// All data servers.
pub(crate) struct DataServers {
    lease_ms: u64,
    /// When this node began to lead, or was started: whoever was not heard of since may hold a
    /// lease that another node gave.
    since_ms: AtomicU64,
    /// The term in which it leads.
    term: AtomicU64,
    known: RwLock<BTreeMap<DataServerId, Known>>,
    rotation: AtomicU64,
    exclusions: Exclusions,
    /// Whether they answer where clients call them.
    pub(crate) probes: Probes,
}

impl DataServers {
    /// None known yet.
    #[must_use]
    pub(crate) fn new(lease_ms: u64, started_ms: u64) -> Self {
        let (known, exclusions) = (RwLock::default(), Exclusions::default());
        let (since_ms, term) = (AtomicU64::new(started_ms), AtomicU64::new(0));
        Self {
            lease_ms,
            since_ms,
            term,
            known,
            rotation: AtomicU64::new(0),
            exclusions,
            probes: Probes::default(),
        }
    }

    /// This node leads in this term. What it knew of leases is old if it is another one: it waits
    /// as long as a lease may last before it takes anybody for dead. True if it is.
    pub(crate) fn begin_to_lead(&self, term: u64, now_ms: u64) -> bool {
        if self.term.load(Ordering::Acquire) == term {
            return false;
        }
        let mut all = self.known.write();
        for known in all.values_mut() {
            (known.renewed_ms, known.answered_ms, known.broken_ms) = (None, None, None);
            (known.suspect_ms, known.full_ms, known.condemned) = (None, None, false);
            known.removing = false;
            (known.instance, known.failure, known.behind) = (0, None, None);
            (known.durable, known.keys) = (JournalEnd::default(), 0);
        }
        self.since_ms.store(now_ms, Ordering::Release);
        self.term.store(term, Ordering::Release);
        true
    }

    /// The term in which it last began to lead.
    #[must_use]
    pub(crate) fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// When this node began to lead, or was started, by the monotonic clock.
    #[must_use]
    pub(crate) fn since_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Acquire)
    }

    /// The lease given to data servers, milliseconds.
    #[must_use]
    pub(crate) fn lease_ms(&self) -> u64 {
        self.lease_ms
    }

    /// Adds a data server, or replaces what is known of it. A lease that runs is kept.
    pub(crate) fn put(&self, id: DataServerId, mut known: Known) {
        let mut all = self.known.write();
        if let Some(before) = all.get(&id) {
            // A start that has failed left no lease behind.
            known.renewed_ms = known.renewed_ms.or(before.renewed_ms).filter(|_| before.failure.is_none());
            known.condemned = before.condemned;
            known.removing = before.removing;
            known.broken_ms = before.broken_ms;
            if known.addresses == before.addresses {
                known.answered_ms = before.answered_ms;
            }
        }
        all.insert(id, known);
    }

    /// Gives a lease to a server that has just registered. False if its extents are being given to
    /// others: what it must do about that is not in the store yet.
    pub(crate) fn grant(&self, id: DataServerId, now_ms: u64) -> bool {
        let mut all = self.known.write();
        match all.get_mut(&id) {
            Some(known) if !known.condemned && !known.removing && known.behind.is_none() => {
                known.renewed_ms = Some(now_ms);
                true
            }
            Some(_) | None => false,
        }
    }

    /// From now on until it is pardoned the server gets no lease. False if it holds one, or may.
    pub(crate) fn condemn(&self, id: DataServerId, now_ms: u64) -> bool {
        let mut all = self.known.write();
        match all.get_mut(&id) {
            Some(known) if self.is_dead_for(known, now_ms).is_some() => {
                known.condemned = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// It may have a lease again: what it must do before is in the store.
    pub(crate) fn pardon(&self, id: DataServerId) {
        if let Some(known) = self.known.write().get_mut(&id) {
            known.condemned = false;
        }
    }

    /// From now on until [`end_removal`](Self::end_removal) the server gets no lease. False if it
    /// holds one, or may.
    pub(crate) fn begin_removal(&self, id: DataServerId, now_ms: u64) -> bool {
        let mut all = self.known.write();
        match all.get_mut(&id) {
            Some(known) if self.is_dead_for(known, now_ms).is_some() => {
                known.removing = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// It stays.
    pub(crate) fn end_removal(&self, id: DataServerId) {
        if let Some(known) = self.known.write().get_mut(&id) {
            known.removing = false;
        }
    }

    /// It is in the log no more.
    pub(crate) fn forget(&self, id: DataServerId) {
        self.known.write().remove(&id);
    }

    /// By the log, what it has is to move away, or may stay.
    pub(crate) fn set_draining(&self, id: DataServerId, draining: bool) {
        if let Some(known) = self.known.write().get_mut(&id) {
            known.draining = draining;
        }
    }

    /// True if what it has is to move away.
    #[must_use]
    pub(crate) fn is_draining(&self, id: DataServerId) -> bool {
        self.known.read().get(&id).is_some_and(|known| known.draining)
    }

    /// All that are to be empty, by id.
    #[must_use]
    pub(crate) fn draining(&self) -> Vec<DataServerId> {
        self.known.read().iter().filter(|(_, known)| known.draining).map(|(id, _)| *id).collect()
    }

    /// Servers that are dead while another one that is up has taken their place, each with that
    /// one.
    #[must_use]
    pub(crate) fn replaced(&self, now_ms: u64) -> BTreeMap<DataServerId, DataServerId> {
        let all = self.known.read();
        let by = |old: &Known| {
            let takes_place = |(_, new): &(&DataServerId, &Known)| {
                new.uuid != old.uuid && self.lives(new, now_ms) && new.replaces(old)
            };
            all.iter().find(takes_place).map(|(id, _)| *id)
        };
        let dead = all.iter().filter(|(_, old)| self.is_dead_for(old, now_ms).is_some());
        dead.filter_map(|(id, old)| Some((*id, by(old)?))).collect()
    }

    /// Those of which it is counted what they still hold: they are to be empty, or were replaced.
    #[must_use]
    pub(crate) fn watched(&self, now_ms: u64) -> Vec<DataServerId> {
        let mut watched = self.draining();
        watched.extend(self.replaced(now_ms).into_keys());
        watched
    }

    /// A home could not reach it.
    pub(crate) fn suspect(&self, id: DataServerId, now_ms: u64) {
        if let Some(known) = self.known.write().get_mut(&id) {
            known.suspect_ms = Some(now_ms);
            known.broken_ms = Some(now_ms);
        }
    }

    /// Somebody could not reach it.
    pub(crate) fn mark_broken(&self, id: DataServerId, now_ms: u64) {
        if let Some(known) = self.known.write().get_mut(&id) {
            known.broken_ms = Some(now_ms);
        }
    }

    /// It has answered a probe: whoever complained was wrong, or it is well again.
    pub(crate) fn answered(&self, id: DataServerId, now_ms: u64) {
        if let Some(known) = self.known.write().get_mut(&id) {
            known.answered_ms = Some(now_ms);
            known.broken_ms = None;
        }
    }

    /// True if it is to be asked whether it answers before it gets a lease.
    #[must_use]
    pub(crate) fn is_probe_due(&self, id: DataServerId, now_ms: u64) -> bool {
        self.known.read().get(&id).is_some_and(|known| {
            let lately = |answered_ms: u64| now_ms < answered_ms.saturating_add(PROBE_EVERY_MS);
            known.broken_ms.is_some() || !known.answered_ms.is_some_and(lately)
        })
    }

    /// True if somebody could not reach it and it has answered no probe since.
    #[must_use]
    pub(crate) fn is_broken(&self, id: DataServerId) -> bool {
        self.known.read().get(&id).is_some_and(|known| known.broken_ms.is_some())
    }

    /// How long its lease has surely been over; `None` if it may still hold one.
    fn is_dead_for(&self, known: &Known, now_ms: u64) -> Option<u64> {
        if let Some(failure) = known.failure.as_ref().filter(|failure| failure.is_of_known_start) {
            return now_ms.checked_sub(failure.since_ms);
        }
        let over_ms = match known.renewed_ms {
            Some(renewed_ms) => renewed_ms.saturating_add(self.lease_ms),
            None => self.since_ms().saturating_add(self.lease_ms).saturating_add(UNHEARD_MS),
        };
        now_ms.checked_sub(over_ms)
    }

    /// How long a server has been dead; `None` if it is not.
    #[must_use]
    pub(crate) fn dead_for_ms(&self, id: DataServerId, now_ms: u64) -> Option<u64> {
        self.known.read().get(&id).and_then(|known| self.is_dead_for(known, now_ms))
    }

    /// All of them as a choice of copies looks at them.
    #[must_use]
    pub(crate) fn places(&self, now_ms: u64) -> Vec<Place> {
        let place = |(id, known): (&DataServerId, &Known)| {
            let up = self.lives(known, now_ms) && !known.condemned && !known.removing;
            let suspect = known.suspect_ms.is_some_and(|since_ms| now_ms < since_ms + SUSPECT_MS);
            Place {
                id: *id,
                domain: known.domain.clone(),
                free_bytes: known.room_bytes(),
                fit: up && known.full_ms.is_none() && !suspect && !known.draining,
                up,
                dead: self.is_dead_for(known, now_ms).is_some(),
            }
        };
        self.known.read().iter().map(place).collect()
    }

    /// What data servers are told of each other.
    #[must_use]
    pub(crate) fn directory(&self) -> Directory {
        let servers: Vec<Listed> = self
            .known
            .read()
            .iter()
            .map(|(id, known)| Listed { server: id.0, control: known.control_address.clone() })
            .collect();
        let mut hasher = blake3::Hasher::new();
        for one in &servers {
            hasher.update(&one.server.to_be_bytes()).update(one.control.as_bytes()).update(&[0]);
        }
        let version = u64::from_be_bytes(*hasher.finalize().as_bytes().first_chunk().expect("32 bytes"));
        // Zero is for who has none.
        Directory { version: version.max(1), servers }
    }

    /// Renews a lease. False if the server is not known under this uuid, or another start of it
    /// registered since: it must register again.
    pub(crate) fn renew(&self, beat: &Heartbeat, now_ms: u64) -> bool {
        let mut all = self.known.write();
        match all.get_mut(&DataServerId(beat.server)) {
            Some(known)
                if known.uuid == beat.uuid
                    && (known.instance == 0 || known.instance == beat.instance)
                    && !known.condemned
                    && !known.removing
                    && known.may_serve() =>
            {
                let free_bytes = room_bytes(&beat.usage);
                known.usage = beat.usage;
                known.instance = beat.instance;
                known.durable = known.durable.max(beat.durable);
                known.keys = beat.keys;
                known.renewed_ms = Some(now_ms);
                // A report that was on its way when the write was refused says nothing.
                let after_refusal = |full_ms: u64| full_ms.saturating_add(self.lease_ms / 3) < now_ms;
                if free_bytes < NO_ROOM_BYTES {
                    // A backup's refusal is answered by the home, in its own name: so its report
                    // counts too.
                    known.full_ms = Some(now_ms);
                } else if ROOM_BYTES < free_bytes && known.full_ms.is_some_and(after_refusal) {
                    known.full_ms = None;
                }
                true
            }
            Some(_) | None => false,
        }
    }

    /// How many hold a lease, or may, and have not said that they have this version of the handle
    /// keys. A lease comes with the keys.
    #[must_use]
    pub(crate) fn without_keys(&self, version: u64, now_ms: u64) -> usize {
        let all = self.known.read();
        all.values()
            .filter(|known| known.keys != version && self.is_dead_for(known, now_ms).is_none())
            .count()
    }

    /// One of them.
    #[must_use]
    pub(crate) fn one(&self, id: DataServerId) -> Option<Known> {
        self.known.read().get(&id).cloned()
    }

    /// All of them, by id.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<(DataServerId, Known)> {
        self.known.read().iter().map(|(id, known)| (*id, known.clone())).collect()
    }

    /// True if the server's lease runs.
    #[must_use]
    pub(crate) fn is_up(&self, id: DataServerId, now_ms: u64) -> bool {
        self.known.read().get(&id).is_some_and(|known| self.lives(known, now_ms))
    }

    /// True if any server's lease runs.
    #[must_use]
    pub(crate) fn any_up(&self, now_ms: u64) -> bool {
        self.known.read().values().any(|known| self.lives(known, now_ms))
    }

    /// Remembers that a server refused a write for want of space.
    pub(crate) fn mark_full(&self, id: DataServerId, now_ms: u64) {
        if let Some(known) = self.known.write().get_mut(&id) {
            known.full_ms = Some(now_ms);
        }
    }

    /// True if the server refused a write for want of space, or said that it has none, and has not
    /// had room since; or if this client says that it did so a moment ago.
    #[must_use]
    pub(crate) fn is_full_for(&self, client: u64, id: DataServerId, now_ms: u64) -> bool {
        self.known.read().get(&id).is_some_and(|known| known.full_ms.is_some())
            || self.exclusions.has(client, id, Complaint::Full, now_ms)
    }

    fn lives(&self, known: &Known, now_ms: u64) -> bool {
        known.may_serve()
            && known.renewed_ms.is_some_and(|renewed_ms| now_ms < renewed_ms.saturating_add(self.lease_ms))
    }

    /// Bytes all servers may hold, and bytes free on those that are up.
    #[must_use]
    pub(crate) fn space(&self, now_ms: u64) -> (u64, u64) {
        self.known.read().values().fold((0, 0), |(total, free), known| {
            let up = self.lives(known, now_ms);
            let capacity_bytes = known.usage.capacity_bytes;
            let total_bytes = capacity_bytes - reserve_bytes(capacity_bytes);
            (total + total_bytes, free + if up { known.room_bytes() } else { 0 })
        })
    }

    /// A home and backups for a new extent, `copies` in all if there are as many; a client's
    /// excluded servers do not become home where there is another.
    #[must_use]
    pub(crate) fn place(
        &self,
        extent: ExtentId,
        client: Option<u64>,
        copies: u32,
        now_ms: u64,
    ) -> Option<(DataServerId, Vec<DataServerId>)> {
        let excluded: Vec<DataServerId> =
            client.map_or_else(Vec::new, |client| self.exclusions.of(client, now_ms));
        let candidates: Vec<Candidate> = self
            .known
            .read()
            .iter()
            .map(|(id, known)| Candidate {
                id: *id,
                free_bytes: known.room_bytes(),
                up: self.lives(known, now_ms) && known.full_ms.is_none() && !known.draining,
            })
            .collect();
        // Consecutive extents of a file go to consecutive servers; files begin at different ones.
        let rotation = if extent.index == 0 {
            self.rotation.fetch_add(1, Ordering::Relaxed)
        } else {
            extent.ino.wrapping_add(u64::from(extent.index))
        };
        // One that a client or a home could not reach may be dead, and its lease not over.
        let reachable: Vec<Candidate> = candidates
            .iter()
            .filter(|one| !excluded.contains(&one.id) && !self.is_broken(one.id))
            .copied()
            .collect();
        let home = choose(&reachable, rotation).or_else(|| choose(&candidates, rotation))?;
        let count = usize::try_from(copies.saturating_sub(1)).unwrap_or(0).min(BACKUPS_MAX);
        Some((home, choose_backups(&self.places(now_ms), &[home], count, rotation)))
    }

    /// Remembers that a client could not use a server: it gets no layouts there for a while.
    /// Healthy or not, the path may be broken for this client alone.
    pub(crate) fn exclude(&self, client: u64, server: DataServerId, now_ms: u64) {
        self.exclusions.note((client, server), Complaint::Unreachable, now_ms, now_ms + EXCLUSION_MS);
    }

    /// Remembers that a server refused a client's write for want of space. For this client it has
    /// none until it must have said itself how much it has.
    pub(crate) fn exclude_full(&self, client: u64, server: DataServerId, now_ms: u64) {
        self.exclusions.note((client, server), Complaint::Full, now_ms, now_ms + self.lease_ms);
    }

    /// True if the client could not use the server a short while ago.
    #[must_use]
    pub(crate) fn is_excluded(&self, client: u64, server: DataServerId, now_ms: u64) -> bool {
        self.exclusions.has(client, server, Complaint::Unreachable, now_ms)
    }
}
