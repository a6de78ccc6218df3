//! A shard as its node drives it: opened, begun, inspected, its clock started and stopped, handed
//! over, ended.

use std::sync::Arc;

use env::Clock;
use mds_namespace::store::transfer;

use super::*;
use crate::engine::applied::Applied;
use crate::engine::life::Task;
use crate::engine::network::Links;
use crate::engine::type_config::{LogId, NodeId};
use crate::host::ClusterClock;
use crate::limits::ELECTION_HEARTBEATS_MAX;
use crate::liveness::Facts;

impl Shard {
    /// Opens the replica. It answers others from now on, but its clock stands still unless it is
    /// shard 0's.
    pub(crate) async fn open(
        host: Arc<Host>,
        number: usize,
        store: Arc<dyn MetaStore>,
    ) -> Result<Self, StartError> {
        assert!(number < host.config.shards, "the cluster has this shard");
        let log = host.log.group(number);
        let machine = Arc::new(MachineState::new(store, Arc::clone(&host.env.clock)));
        let shard = u32::try_from(number).map_err(|_| StartError::Config("number of shards"))?;
        check_whole(number, &log, &machine, host.config.is_alone())?;
        let life = Life::default();
        let raft = Raft::new(
            host.id,
            Arc::new(engine_config(&host.config, number == 0 && !host.may_have_given_lease())?),
            Network { links: Arc::clone(&host.links), shard, _part: life.part(Task::Core) },
            log.clone(),
            Machine::new(Arc::clone(&machine), life.part(Task::Machine)),
        )
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
        let inner = ShardInner {
            active_ms: AtomicU64::new(host.now_ms()),
            lease: Lease::new(&*host.env.clock, host.config.heartbeat_ms),
            host,
            number,
            server: raft.server_metrics(),
            raft,
            log,
            machine,
            life,
            handed_over: AtomicU64::new(0),
            halted: AtomicBool::new(false),
            clock_unix_ns: AtomicU64::new(0),
            hibernates: AtomicBool::new(false),
            votes: AtomicBool::new(true),
            proposals: Semaphore::new(PROPOSALS_MAX),
        };
        Ok(Self { inner: Arc::new(inner), node: None })
    }

    /// Waits until the log is applied if this is the only replica.
    pub(crate) async fn recover(&self) -> Result<(), StartError> {
        let ShardInner { raft, host, .. } = &*self.inner;
        if !host.config.is_alone() {
            return Ok(());
        }
        // An entry of its own behind all others: once it is applied, so are they.
        let recovered = async {
            loop {
                match raft.write_blank().await {
                    Ok(_) => return Ok(()),
                    Err(RaftError::APIError(_)) => {
                        host.env.clock.sleep_ms(host.config.heartbeat_ms / 10 + 1).await;
                    }
                    Err(error @ RaftError::Fatal(_)) => return Err(StartError::Raft(error.to_string())),
                }
            }
        };
        tokio::select! {
            recovered = recovered => recovered,
            () = host.env.clock.sleep_ms(RECOVERY_MS_MAX) => {
                Err(StartError::Raft("no recovery in time".to_owned()))
            }
        }
    }

    /// Whether its engine has stopped, requested or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.inner.life.is_over()
    }

    /// The error with which its engine has stopped, if that was not requested.
    pub(crate) fn failure(&self) -> Option<String> {
        let ShardInner { raft, life, halted, .. } = &*self.inner;
        if !life.is_over() || halted.load(Ordering::Acquire) {
            return None;
        }
        let stopped = raft.metrics().borrow_watched().running_state.clone();
        // The engine reports no panic.
        Some(stopped.map_or_else(|error| error.to_string(), |()| "it panicked".to_owned()))
    }

    pub(crate) fn raft(&self) -> Raft {
        self.inner.raft.clone()
    }

    pub(crate) fn node_config(&self) -> &NodeConfig {
        &self.inner.host.config
    }

    /// A machine's clock with the cluster's time as wall time.
    #[must_use]
    pub fn cluster_clock(&self, machine: Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::new(ClusterClock { host: Arc::clone(&self.inner.host), machine })
    }

    /// The links to the other nodes.
    pub(crate) fn links(&self) -> &Links {
        &self.inner.host.links
    }

    pub(super) fn note_activity(&self) {
        self.inner.active_ms.store(self.inner.host.now_ms(), Ordering::Release);
    }

    /// The shard's state for liveness. `alive` are the live nodes.
    pub(crate) fn facts(&self, alive: &[u64]) -> Facts {
        let server = self.inner.server.borrow_watched();
        let leads = server.state == ServerState::Leader;
        let mut facts = Facts {
            term: server.vote.leader_id.term,
            leader: server.current_leader.map(number_of),
            leads,
            votes: self.inner.votes.load(Ordering::Acquire),
            active_ms: self.inner.active_ms.load(Ordering::Acquire),
            ..Facts::default()
        };
        drop(server);
        if self.has_ended() {
            // Its last state is void: others may stand for election.
            return Facts { leader: None, leads: false, votes: false, ..facts };
        }
        if leads && !self.inner.hibernates.load(Ordering::Acquire) {
            facts.is_settled = self.is_settled(alive);
            facts.holds_lease = self.is_leader();
        }
        facts
    }

    /// Whether all live nodes have all entries, and everything is applied.
    fn is_settled(&self, alive: &[u64]) -> bool {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let applied = metrics.last_applied.map(|id| id.index());
        let has_all: Vec<u64> = self.caught_up_of(&metrics).map(number_of).collect();
        metrics.last_log_index == applied
            && alive.iter().all(|id| *id == self.inner.host.config.id || has_all.contains(id))
    }

    /// Other nodes that vote and have all entries of this leader.
    pub(crate) fn caught_up(&self) -> Vec<u64> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
        let caught_up: Vec<u64> =
            self.caught_up_of(&metrics).filter(|id| voters.contains(id)).map(number_of).collect();
        assert!(caught_up.len() <= voters.len(), "the nodes that may lead next vote");
        caught_up
    }

    /// Other nodes that have all entries of this leader, voters or not.
    fn caught_up_of(&self, metrics: &openraft::RaftMetrics<Types>) -> impl Iterator<Item = NodeId> {
        let last = metrics.last_log_index;
        let has_all = move |matched: &Option<LogId>| matched.map(|id| id.index()) == last;
        let (others, me) = (metrics.replication.iter().flatten(), self.inner.host.id);
        others.filter(move |(id, matched)| **id != me && has_all(matched)).map(|(id, _)| *id)
    }

    /// The voter with this number that has all entries of this leader.
    fn caught_up_voter(&self, number: u64) -> Option<NodeId> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
        self.caught_up_of(&metrics).find(|id| number_of(*id) == number && voters.contains(id))
    }

    /// Whether a node has answered this leader's heartbeats within the lease.
    pub(super) fn answers(&self, number: u64) -> bool {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let lease = Duration::from_millis(self.inner.host.config.heartbeat_ms * ELECTION_HEARTBEATS_MAX);
        let mut acked = metrics.heartbeat.iter().flatten().filter(|(id, _)| number_of(**id) == number);
        acked.any(|(_, acked)| acked.is_some_and(|acked| acked.elapsed() < lease))
    }

    /// Whether its engine leads, with or without a majority.
    pub(crate) fn leads_engine(&self) -> bool {
        self.inner.server.borrow_watched().state == ServerState::Leader && !self.has_ended()
    }

    /// Starts or stops its clock.
    pub(crate) fn set_clock(&self, runs: bool, hibernates: bool) {
        self.inner.raft.runtime_config().tick(runs);
        self.inner.hibernates.store(hibernates, Ordering::Release);
    }

    /// Ends hibernation, if this replica leads and hibernates: starts its clock, and has a majority
    /// confirm that it leads.
    pub(super) async fn wake(&self) {
        if !self.inner.hibernates.load(Ordering::Acquire) {
            return;
        }
        self.note_activity();
        if let Some(switch) = self.inner.host.wake(self.inner.number) {
            self.set_clock(switch.runs, switch.hibernates);
        }
        if self.inner.host.config.is_alone() {
            // No other node could lead. A caller that queues a command without waiting for it
            // relies on its being queued at once.
            return;
        }
        // The lease has run out: nothing is proposed before a majority has answered.
        if let Err(error) = self.inner.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            tracing::debug!(shard = self.inner.number, %error, "woken, but no majority answers");
        }
    }

    /// Sets whether it stands for elections by itself.
    pub(crate) fn set_stands(&self, stands: bool) {
        self.inner.raft.runtime_config().elect(stands);
    }

    /// Hands leadership to another node, which may or may not take it.
    pub(crate) async fn transfer(&self, to: u64) {
        self.wake().await;
        self.note_activity();
        if self.inner.host.is_unfit_node(to) {
            return;
        }
        let Some(to) = self.caught_up_voter(to) else { return };
        assert!(to != self.inner.host.id, "leadership is handed to another node");
        // Followers are about to learn that they may vote: this term has no lease any more, with or
        // without a successor.
        self.inner.handed_over.store(self.engine_term(), Ordering::Release);
        if let Err(error) = self.inner.raft.trigger().transfer_leader(to).await {
            tracing::warn!(shard = self.inner.number, %error, "failed to hand leadership over");
        }
    }

    /// Hands leadership to a live node that has all entries, if there is one, and waits for its
    /// election. The caller bounds the time.
    pub(crate) async fn give_up(&self) {
        self.give_up_but(&[]).await;
    }

    /// As [`give_up`](Self::give_up), except to these nodes. Returns the node that was asked to
    /// lead.
    pub(crate) async fn give_up_but(&self, but: &[u64]) -> Option<u64> {
        let ShardInner { host, raft, .. } = &*self.inner;
        if !self.leads_engine() {
            return None;
        }
        self.wake().await;
        let began_ms = host.now_ms();
        let to = loop {
            if let Some(to) = self.heir(but) {
                break to;
            }
            // Under load entries are in transit nearly all the time.
            if began_ms + HEIR_WAIT_MS_MAX <= host.now_ms() {
                return None;
            }
            host.env.clock.sleep_ms(HEIR_POLL_MS).await;
        };
        assert!(!but.contains(&to), "the node that is asked is none of these");
        self.transfer(to).await;
        let mut watched = raft.server_metrics();
        let me = host.id;
        let gone = watched.wait_until(|server| server.current_leader.is_some_and(|leader| leader != me));
        tokio::select! {
            _ = gone => {}
            () = host.env.clock.sleep_ms(host.config.heartbeat_ms * ELECTION_HEARTBEATS_MAX) => {}
        }
        Some(to)
    }

    /// The node that should lead next: the first in line that answers and has all entries, other
    /// than these.
    fn heir(&self, but: &[u64]) -> Option<u64> {
        let caught_up = self.caught_up();
        let nodes = self.inner.host.nodes.numbers();
        let mut line = crate::liveness::line(&nodes, self.inner.number);
        let is_fit = |id: &u64| !self.inner.host.is_unfit_node(*id);
        line.find(|id| !but.contains(id) && caught_up.contains(id) && self.answers(*id) && is_fit(id))
    }

    /// Ends the replica; what it applied is durable. An engine that failed may have left the store
    /// in part: the log repeats it, or a snapshot is sent again.
    pub(crate) async fn halt(&self) {
        let failed = self.failure().is_some();
        self.inner.halted.store(true, Ordering::Release);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "the raft engine did not stop cleanly");
        }
        if failed {
            tracing::error!(shard = self.inner.number, "the shard's engine had failed: no last checkpoint");
        } else if self.is_torn() {
            tracing::info!(
                shard = self.inner.number,
                "a snapshot was being installed: it must be sent again"
            );
        } else if let Err(error) = self.inner.machine.checkpoint().await {
            tracing::error!(%error, "the last checkpoint failed; the log repeats it");
        }
    }
}

/// Refuses a store that lacks entries that its log was cut for, or has content without a log
/// position: it is a part of a snapshot, or another shard's.
fn check_whole(
    shard: usize,
    log: &LogStore,
    machine: &MachineState,
    is_alone: bool,
) -> Result<(), StartError> {
    let view = machine.store.view()?;
    let applied = Applied::load(&*view).map_err(|error| StartError::Log(error.to_string()))?;
    let upto = applied.log_id.map(|id| id.index());
    let is_blank = upto.is_some() || transfer::export(&*view, None, 1)?.is_empty();
    if upto < log.cut_upto().map(|id| id.index()) || !is_blank {
        let what_to_do = if is_alone {
            "No other metadata server has what it held: leave everything as it is, and look for the file"
        } else {
            "Start this metadata server with an empty directory, and readmit it (shoal admin mds readmit)"
        };
        return Err(StartError::Log(format!(
            "the store of shard {shard} is not whole: it was lost, or the installation of a snapshot did not end. {what_to_do}"
        )));
    }
    Ok(())
}
