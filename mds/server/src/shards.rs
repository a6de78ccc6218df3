//! All shards as one: reads find each key in its shard, a command goes to the shard that it
//! changes, and a change of several shards is one act.
//!
//! INVARIANT: a node proposes to the other shards only while it governs in the term in which it
//! leads shard 0.
//! Spec: docs/protocol/shards.md.

mod act;
mod behind;
mod ends;
mod govern;
mod locks;
mod names;
mod requests;
mod route;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::Env;
use mds_namespace::store::spread::SpreadView;
use mds_namespace::{Ino, StoreError};
use mds_raft::{Caller, ProposeError, Shard, Status};
use mds_state::command::session::{SessionTakenUp, SlotMark};
use mds_state::limits::INTENTS_MAX;
use mds_state::{Command, Origin, Outcome, StateView, key};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use ends::Ends;
use locks::{Guard, InodeLocks};
use requests::{Request, Requests};
use route::{Route, Share};

/// The shards of a cluster, on this node. Clones share the same shards.
#[derive(Clone)]
pub(crate) struct Shards {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    /// By number; there is a first one.
    all: Arc<[Shard]>,
    /// Term of this node's proposals; 0 before the first.
    term: AtomicU64,
    /// Raft term in which every shard is fenced and recovery is complete; 0: not serving.
    governs: AtomicU64,
    /// Number of reigns of this node so far: each time it begins to govern counts.
    reigns: AtomicU64,
    /// This node's word to each shard: the term, and below it the number of words given to the
    /// shard in that term.
    words: Box<[AtomicU64]>,
    /// Serialises attempts to govern.
    beginning: tokio::sync::Mutex<()>,
    /// This node may have to govern again.
    faltered: Notify,
    /// Locks of this term.
    locks: RwLock<InodeLocks>,
    /// Held while a directory moves to another one.
    moves_directories: Arc<tokio::sync::Mutex<()>>,
    /// Reserved inode numbers, by shard.
    reserved: Mutex<HashMap<u16, Range<Ino>>>,
    /// Serialises their reservation.
    reserving: tokio::sync::Mutex<()>,
    /// Acts begun in this term.
    begun: AtomicU64,
    /// Limits unsettled acts, by the shard that keeps them.
    unsettled: Box<[Arc<Semaphore>]>,
    /// Ends of clients and sessions.
    ends: Ends,
    /// Commands of sessions under way in shards other than the first.
    requests: Requests,
}

impl Shards {
    /// The first shard and the others of its node, without a governor.
    #[must_use]
    pub(crate) fn new(env: Env, first: Shard) -> Self {
        let others = first.node().map_or(&[][..], |node| node.shards().get(1..).unwrap_or(&[]));
        let all: Arc<[Shard]> = std::iter::once(&first).chain(others).cloned().collect();
        let words = all.iter().map(|_| AtomicU64::new(0)).collect();
        let unsettled = all.iter().map(|_| Arc::new(Semaphore::new(INTENTS_MAX))).collect();
        let inner = Inner {
            env,
            all,
            term: AtomicU64::new(0),
            governs: AtomicU64::new(0),
            reigns: AtomicU64::new(0),
            words,
            beginning: tokio::sync::Mutex::default(),
            faltered: Notify::new(),
            locks: RwLock::default(),
            moves_directories: Arc::default(),
            reserved: Mutex::default(),
            reserving: tokio::sync::Mutex::default(),
            begun: AtomicU64::new(0),
            unsettled,
            ends: Ends::default(),
            requests: Requests::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Number of shards.
    fn count(&self) -> u16 {
        u16::try_from(self.inner.all.len()).expect("shards are counted by 16 bits")
    }

    pub(crate) fn first(&self) -> &Shard {
        &self.inner.all[0]
    }

    fn replica(&self, shard: u16) -> &Shard {
        &self.inner.all[usize::from(shard)]
    }

    fn is_one(&self) -> bool {
        self.inner.all.len() == 1
    }

    fn others(&self) -> Range<u16> {
        1..self.count()
    }

    fn locks(&self) -> InodeLocks {
        self.inner.locks.read().clone()
    }

    /// A snapshot of each shard, taken when it is first read.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] if a store fails.
    pub(crate) fn view(&self) -> Result<StateView, ProposeError> {
        if self.is_one() {
            return self.first().view();
        }
        let term = self.inner.term.load(Ordering::Acquire);
        // On a follower, another node may be in the middle of an act; on the leader, only this node
        // can be.
        Ok(self.spread(move |shards| shards.first().leading_term() == Some(term)))
    }

    /// As [`view`](Self::view), also where another node governs: it may show half of an act.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub(crate) fn view_anyway(&self) -> Result<StateView, ProposeError> {
        if self.is_one() { self.first().view() } else { Ok(self.spread(|_| true)) }
    }

    fn spread(&self, may: impl Fn(&Self) -> bool + Send + 'static) -> StateView {
        let shards = self.clone();
        let take = move |number: u16| {
            let view = shards.replica(number).view().map_err(|error| match error {
                // A snapshot replaces the shard's state.
                ProposeError::Unavailable => StoreError::Elsewhere,
                error => StoreError::Engine(error.to_string()),
            })?;
            if may(&shards) { Ok(view.into_store_view()) } else { Err(StoreError::Elsewhere) }
        };
        StateView::new(Box::new(SpreadView::new(self.count(), Box::new(take), key::belongs)))
    }

    /// Number of inodes, orphans included. `view` covers all shards.
    ///
    /// # Errors
    /// The stores'.
    pub(crate) fn inodes(&self, view: &StateView) -> Result<u64, ProposeError> {
        let count = |view: &StateView| {
            let counted = mds_namespace::op::statfs::inodes(view.namespace());
            counted.map_err(|error| ProposeError::Stopped(error.to_string()))
        };
        let others = self.others().map(|shard| count(&self.replica(shard).view()?));
        std::iter::once(count(view)).chain(others).sum()
    }

    /// Returns when a view taken from now on shows everything acknowledged before this call.
    ///
    /// Only shard 0 is queried: as long as this node leads it, no other node proposes to the
    /// others, and their replies are applied here.
    ///
    /// # Errors
    /// As [`Shard::read_barrier`]; [`ProposeError::NotLeader`] if this node does not govern.
    pub(crate) async fn read_barrier(&self) -> Result<(), ProposeError> {
        self.first().read_barrier().await?;
        if self.is_one() || self.leading_term().is_some() {
            return Ok(());
        }
        Err(ProposeError::NotLeader { leader: None })
    }

    /// Waits while an act on several shards changes any of these inodes.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] if this node governs no more.
    pub(crate) async fn pass(&self, inodes: impl Iterator<Item = Ino>) -> Result<(), ProposeError> {
        if self.is_one() {
            return Ok(());
        }
        let inodes: Vec<Ino> = inodes.collect();
        let may = self.locks().pass(&inodes).await;
        if may { Ok(()) } else { Err(ProposeError::NotLeader { leader: None }) }
    }

    /// Whether this node leads shard 0 and governs, as far as it knows.
    #[must_use]
    pub(crate) fn is_leader(&self) -> bool {
        self.leading_term().is_some()
    }

    /// The term in which this node leads shard 0 and governs.
    #[must_use]
    pub(crate) fn leading_term(&self) -> Option<u64> {
        let term = self.first().leading_term()?;
        (self.is_one() || self.inner.governs.load(Ordering::Acquire) == term).then_some(term)
    }

    /// The number and address of the node that leads shard 0, if known.
    #[must_use]
    pub(crate) fn leader(&self) -> Option<(u64, String)> {
        self.first().leader()
    }

    /// See [`Shard::another_leads`]; for shard 0.
    pub(crate) fn another_leads(&self) -> bool {
        self.first().another_leads()
    }

    /// The node of all shards, if they were started as one.
    pub(crate) fn node(&self) -> Option<&mds_raft::Node> {
        self.first().node()
    }

    /// See [`Shard::leader_changed`]; for shard 0.
    pub(crate) async fn leader_changed(&self) {
        self.first().leader_changed().await;
    }

    /// See [`Shard::hand_over`]; for shard 0.
    pub(crate) async fn hand_over(&self) -> bool {
        self.first().hand_over().await
    }

    /// See [`Shard::hand_over_but`]; for shard 0.
    pub(crate) async fn hand_over_but(&self, but: &[u64]) -> Option<u64> {
        self.first().hand_over_but(but).await
    }

    /// See [`Shard::tell_callers`].
    pub(crate) fn tell_callers(&self, term: u64, callers: Vec<Caller>) {
        self.first().tell_callers(term, callers);
    }

    /// See [`Shard::stop_telling_callers`].
    pub(crate) fn stop_telling_callers(&self) {
        self.first().stop_telling_callers();
    }

    /// See [`Shard::callers`].
    #[must_use]
    pub(crate) fn callers(&self) -> Vec<Caller> {
        self.first().callers()
    }

    /// Last applied index of each shard here.
    pub(crate) fn applied_indexes(&self) -> Vec<u64> {
        self.inner.all.iter().map(Shard::applied_index).collect()
    }

    /// Whether other nodes have replicas of the shards.
    #[must_use]
    pub(crate) fn is_replicated(&self) -> bool {
        self.first().is_replicated()
    }

    /// State of shard 0.
    #[must_use]
    pub(crate) fn status(&self) -> Status {
        self.first().status()
    }

    /// Proposes a command to its shard, or carries out an act on several.
    ///
    /// # Errors
    /// As [`Shard::propose`].
    pub(crate) async fn propose(
        &self,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        if self.is_one() {
            return self.first().propose(origin, command).await;
        }
        match route::find_route(&command) {
            Route::One(shard, inodes) => {
                let guard = self.enter(inodes).await?;
                self.under(guard, shard, origin, command).await
            }
            Route::Names => self.about_names(origin, command).await,
            Route::Cluster => self.about_cluster(origin, command).await,
            Route::Several(shares) => self.in_shares(origin, shares).await,
            Route::Each => {
                let mut outcome = Outcome::Done;
                for shard in 0..self.count() {
                    let guard = self.enter(Vec::new()).await?;
                    outcome = self.under(guard, shard, origin.clone(), command.clone()).await?;
                }
                Ok(outcome)
            }
        }
    }

    /// As [`propose`](Self::propose), for commands that no client waits for.
    ///
    /// # Errors
    /// As [`Shard::propose_unhurried`].
    pub(crate) async fn propose_unhurried(
        &self,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        if self.is_one() {
            return self.first().propose_unhurried(origin, command).await;
        }
        self.propose(origin, command).await
    }

    /// Proposes a command to one shard. Nothing is locked: it changes no inode.
    ///
    /// # Errors
    /// As [`Shard::propose`].
    pub(crate) async fn to(
        &self,
        shard: u16,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        self.within(self.reign(), shard, origin, command).await
    }

    /// As [`to`](Self::to), for a caller with locks of a reign: refused once that is over.
    async fn within(
        &self,
        reign: u64,
        shard: u16,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        // A number beyond the shards comes from a forged handle or stateid: shard 0 does not have
        // it either, and refuses it.
        let shard = if shard < self.count() { shard } else { 0 };
        // In this order: neither word nor term of a later reign is used.
        let word = self.inner.words[usize::from(shard)].load(Ordering::Acquire);
        let term = self.inner.term.load(Ordering::Acquire);
        if self.reign() != reign {
            return Err(ProposeError::NotLeader { leader: None });
        }
        if shard == 0 {
            // Shard 0 keeps no word. But a retry after a moment without a leader may have missed
            // another governor.
            return match term {
                0 => self.first().propose(origin, command).await,
                term => self.first().propose_in(term, origin, command).await,
            };
        }
        if let Some(origin) = &origin
            && let Some(refusal) = self.outlived(origin)?
        {
            return Ok(Outcome::Refused(refusal));
        }
        self.replica(shard).propose_as(word, origin, command).await
    }

    /// Number of this node's current or last reign.
    fn reign(&self) -> u64 {
        self.inner.reigns.load(Ordering::Acquire)
    }

    async fn enter(&self, inodes: Vec<Ino>) -> Result<Guard, ProposeError> {
        self.locks().enter(inodes).await.ok_or(ProposeError::NotLeader { leader: None })
    }

    /// Proposes a command with its inodes locked.
    async fn under(
        &self,
        guard: Guard,
        shard: u16,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        let reign = guard.reign();
        let request = self.inner.requests.begin_request(shard, origin.as_ref());
        let mut under_way = UnderWay { shards: self, shard, held: Some((guard, request)) };
        let outcome = self.within(reign, shard, origin, command).await;
        if !matches!(outcome, Err(ProposeError::Timeout)) {
            under_way.held = None;
        }
        outcome
    }

    /// Proposes each shard's share of a list; returns the answers in the order of the list.
    async fn in_shares(&self, origin: Option<Origin>, shares: Vec<Share>) -> Result<Outcome, ProposeError> {
        let mut records = Vec::new();
        let mut outcome = Outcome::Done;
        for Share { shard, command, places } in shares {
            outcome = self.to(shard, origin.clone(), command).await?;
            match &mut outcome {
                Outcome::Refused(_) => return Ok(outcome),
                Outcome::Copies(found) => records.extend(places.into_iter().zip(std::mem::take(found))),
                _ => {}
            }
        }
        if let Outcome::Copies(_) = outcome {
            records.sort_by_key(|(place, _)| *place);
            return Ok(Outcome::Copies(records.into_iter().map(|(_, record)| record).collect()));
        }
        Ok(outcome)
    }

    /// A command about clients, sessions and data servers: shard 0 keeps them, the other shards
    /// their dependent state.
    async fn about_cluster(&self, origin: Option<Origin>, command: Command) -> Result<Outcome, ProposeError> {
        if let Some(refusal) = self.busy_elsewhere(&command).await? {
            return Ok(Outcome::Refused(refusal));
        }
        if let Command::RemoveDataServer(_) = &command {
            for shard in self.others() {
                let outcome = self.to(shard, None, command.clone()).await?;
                if outcome != Outcome::Removal(mds_state::command::admin::Removal::Done) {
                    return Ok(outcome);
                }
            }
        }
        let named = ends::named(&command);
        let mut outcome = self.to(0, origin, command).await?;
        self.ended(named, &outcome).into_iter().for_each(|ended| self.begin_to_forget(ended));
        if let Outcome::SessionTakenUp(taken) = &mut outcome {
            self.decided_elsewhere(&taken.record.id).await?;
            // Shard 0 has applied it, whatever became of the rest: the client must not get a
            // refusal.
            self.slots_elsewhere(taken).map_err(|_| ProposeError::Timeout)?;
        }
        Ok(outcome)
    }

    /// Merges the other shards' records of a session's slots.
    fn slots_elsewhere(&self, taken: &mut SessionTakenUp) -> Result<(), ProposeError> {
        for shard in self.others() {
            let view = self.replica(shard).view()?;
            let found = view.slots(&taken.record.id);
            let found = found.map_err(|error| ProposeError::Stopped(error.to_string()))?;
            found.into_iter().for_each(|mark| merge(&mut taken.slots, mark));
        }
        Ok(())
    }

    /// Stops the node: everything is durable.
    pub(crate) async fn stop(&self) {
        self.locks().end();
        self.first().stop().await;
    }
}

/// A command under way. If its caller is dropped, or no outcome came in time, its inodes and its
/// session's request stay under way until its shard has answered another command: it may yet be
/// applied.
struct UnderWay<'a> {
    shards: &'a Shards,
    shard: u16,
    /// `None` once the outcome is known.
    held: Option<(Guard, Option<Request>)>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // Without a runtime there is no server either.
        let (Some(held), Ok(runtime)) = (self.held.take(), Handle::try_current()) else { return };
        let (shards, shard) = (self.shards.clone(), self.shard);
        runtime.spawn(async move {
            shards.until_answered(held.0.reign(), shard).await;
            drop(held);
        });
    }
}

/// The latest request of a slot counts, whichever shard it was for.
fn merge(slots: &mut Vec<SlotMark>, mark: SlotMark) {
    match slots.iter_mut().find(|one| one.slot == mark.slot) {
        Some(one) => {
            let ahead = mark.sequence.wrapping_sub(one.sequence);
            if ahead != 0 && ahead <= wire_session::limits::SEQUENCE_AHEAD_MAX {
                *one = mark;
            }
        }
        None => slots.push(mark),
    }
}

#[cfg(test)]
pub(crate) mod tests;
