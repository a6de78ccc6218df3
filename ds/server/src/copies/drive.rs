//! Does for the replicas of one extent what is to be done, until nothing is.
//!
//! Spec: docs/protocol/replicate.md §2, §3.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ds_store::{ChangeError, ReadError, Run, Said};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use layout::{DataServerId, Epoch, ExtentId};
use wire_nfs::control::copies::{CopySet, Word};
use wire_nfs::control::replicate::Act;

use super::call::{self, CopiesAnswer, Record, Target};
use super::member::{Fault, Found, Member, Step};
use super::{ExtentCopies, Replication, SetUpdate};
use crate::limits::{
    FILL_BYTES_PER_S, FILL_RECORDS_IN_FLIGHT_MAX, REPLICA_FULL_PAUSE_MS, REPLICA_PAUSE_MS,
    TRANSFER_BYTES_MAX, UNREADABLE_PAUSE_MS,
};

/// Whether a step did what it should.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    Well,
    Wrong,
}

/// The next step of each replica, and the epoch that the journal is to say.
type Round = (Vec<(DataServerId, Step)>, Option<Epoch>);

impl ExtentCopies {
    /// Starts a task that does what is to be done, unless one is at work.
    pub(super) fn start_drive(self: &Arc<Self>, replication: &Arc<Replication>) {
        {
            let mut state = self.state.lock();
            if state.driven || state.deposed {
                return;
            }
            state.driven = true;
        }
        let (copies, replication) = (Arc::clone(self), Arc::clone(replication));
        tokio::spawn(async move { copies.drive(&replication).await });
    }

    async fn drive(self: &Arc<Self>, replication: &Arc<Replication>) {
        while let Some((steps, raise)) = self.next_steps(replication) {
            self.changed.notify_waiters();
            if let Some(epoch) = raise {
                self.raise_epoch(replication, epoch).await;
            }
            let mut runs = Vec::with_capacity(steps.len());
            for (server, step) in steps {
                runs.push(self.run_step(replication, server, step));
            }
            let went = join_all(runs).await;
            self.changed.notify_waiters();
            if went.contains(&Went::Wrong) {
                replication.clock.sleep_ms(REPLICA_PAUSE_MS).await;
            }
        }
    }

    /// The step of each replica, and the epoch that the journal is to say; `None` if nothing is to
    /// be done: then the task is at its end.
    fn next_steps(self: &Arc<Self>, replication: &Arc<Replication>) -> Option<Round> {
        let mut state = self.state.lock();
        assert!(state.driven, "one task at a time drives an extent");
        let (flush, now_ms) = (0 < state.waiters, replication.clock.monotonic_ms());
        let step = |one: &Member| (one.server, one.step(flush, now_ms));
        let steps: Vec<(DataServerId, Step)> = state.members.iter().map(step).collect();
        let opens = !state.opened && state.members.iter().all(|one| one.instance().is_some());
        state.opened |= opens;
        let idle = !state.raise_due && steps.iter().all(|(_, step)| *step == Step::Rest);
        let full = state.is_full();
        if !(state.deposed || idle || full) {
            return Some((steps, state.raise_due.then_some(state.epoch)));
        }
        state.driven = false;
        let is_news = opens || full || state.deposed;
        drop(state);
        // A waiter that is woken starts a task again: without news it would wait for records in
        // flight by keeping a processor busy. Their answers wake it.
        if is_news {
            self.changed.notify_waiters();
        }
        if full {
            self.try_again_later(replication);
        }
        None
    }

    /// Tries a replica without room again after a pause. The client that writes is told that a
    /// replica has no room, and may never write again; what the replica lacks would stay different
    /// there.
    fn try_again_later(self: &Arc<Self>, replication: &Arc<Replication>) {
        if std::mem::replace(&mut self.state.lock().again_due, true) {
            return;
        }
        // The task does not keep a server alive that stops meanwhile.
        let (copies, clock) = (Arc::clone(self), Arc::clone(&replication.clock));
        let replication = Arc::downgrade(replication);
        tokio::spawn(async move {
            clock.sleep_ms(REPLICA_FULL_PAUSE_MS).await;
            let Some(replication) = replication.upgrade() else { return };
            {
                let mut state = copies.state.lock();
                assert!(state.again_due, "one task at a time waits to try again");
                state.again_due = false;
                // A replica without room that is being filled is given up, and not asked again.
                state.members.iter_mut().filter(|one| !one.filling).for_each(|one| one.full = false);
            }
            copies.start_drive(&replication);
        });
    }

    /// Has the journal say the epoch: after a restart no client must write under copies that are no
    /// longer in force.
    async fn raise_epoch(&self, replication: &Replication, epoch: Epoch) {
        match replication.store.raise(self.id, epoch).await {
            Ok(known) => {
                assert!(epoch <= known, "an epoch that was raised stays");
                let mut state = self.state.lock();
                if state.epoch == epoch {
                    state.raise_due = false;
                }
            }
            Err(error) => {
                replication.serving.note_error(&error);
                replication.clock.sleep_ms(REPLICA_PAUSE_MS).await;
            }
        }
    }

    async fn run_step(&self, replication: &Replication, server: DataServerId, step: Step) -> Went {
        let began_ms = replication.clock.monotonic_ms();
        let epoch = self.state.lock().epoch;
        let done = match step {
            Step::Rest => return Went::Well,
            Step::Ask => return self.report(replication, server, Word::Ask).await,
            Step::Lost => return self.report(replication, server, Word::Lost).await,
            Step::Filled => return self.report(replication, server, Word::Filled).await,
            Step::Attach => self.attach(replication, server, epoch).await,
            Step::Overlay { floor } => self.send_overlay(replication, server, epoch, floor).await,
            Step::Delta { from } => self.send_delta(replication, server, epoch, from).await,
            Step::Flush => self.flush(replication, server).await,
        };
        match done {
            Ok(()) => Went::Well,
            Err(fault) => {
                self.change_member(server, |member| member.failed(step, fault, began_ms));
                match fault {
                    Fault::Restarted | Fault::OtherImage => Went::Well,
                    Fault::Unreadable => {
                        replication.clock.sleep_ms(UNREADABLE_PAUSE_MS).await;
                        Went::Wrong
                    }
                    Fault::Silent | Fault::Outdated | Fault::Full => Went::Wrong,
                }
            }
        }
    }

    /// Changes a member, if the server still is one.
    fn change_member<T>(&self, server: DataServerId, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.state.lock().members.iter_mut().find(|one| one.server == server).map(change)
    }

    async fn attach(
        &self,
        replication: &Replication,
        server: DataServerId,
        epoch: Epoch,
    ) -> Result<(), Fault> {
        let attached = call::attach_replica(replication, self.id, server, epoch).await?;
        let ours = replication.store.sequence(self.id);
        let found = Found { instance: attached.instance, theirs: attached.sequence, ours };
        self.change_member(server, |member| member.attach(&found));
        Ok(())
    }

    async fn flush(&self, replication: &Replication, server: DataServerId) -> Result<(), Fault> {
        let begun = self.change_member(server, Member::begin_flush);
        let Some(Some(instance)) = begun else { return Ok(()) };
        call::flush_replica(replication, server, instance).await?;
        self.change_member(server, Member::flushed);
        Ok(())
    }

    /// Sends what a replica lacks from a sequence on, each act with its own sequence.
    async fn send_delta(
        &self,
        replication: &Replication,
        server: DataServerId,
        epoch: Epoch,
        from: u64,
    ) -> Result<(), Fault> {
        let begun = self.change_member(server, Member::begin_delta);
        let Some(Some(instance)) = begun else { return Ok(()) };
        let store = &replication.store;
        store.landed(self.id).await.map_err(|error| stuck(replication, &error))?;
        let target = Target { server, instance, epoch };
        let runs = store
            .runs_since(self.id, from)
            .await
            .map_err(|error| unreadable(replication, self.id, &error))?;
        assert!(runs.iter().all(|run| from <= run.sequence), "a delta begins at `from`");
        // Data first: the rest may hide older acts of the replica that say the same.
        let (data, rest): (Vec<Run>, Vec<Run>) =
            runs.into_iter().partition(|run| matches!(run.said, Said::Data));
        self.send_runs(replication, target, data).await?;
        for run in rest {
            self.send_run(replication, target, run).await?;
        }
        self.change_member(server, |member| member.caught_up(from));
        Ok(())
    }

    /// Sends everything, above what the replica has: the replica's own bytes do not show any more.
    async fn send_overlay(
        &self,
        replication: &Replication,
        server: DataServerId,
        epoch: Epoch,
        floor: u64,
    ) -> Result<(), Fault> {
        let begun = self.change_member(server, Member::begin_overlay);
        let Some(Some(instance)) = begun else { return Ok(()) };
        let target = Target { server, instance, epoch };
        let store = &replication.store;
        let free = store.rise(self.id, floor).await.map_err(|error| stuck(replication, &error))?;
        let all =
            store.overlay(self.id, free).await.map_err(|error| unreadable(replication, self.id, &error))?;
        let bytes: u64 = all.above.iter().map(|run| u64::from(run.length)).sum();
        self.send_runs(replication, target, all.above).await?;
        for run in all.beneath {
            self.send_run(replication, target, run).await?;
        }
        replication.metrics.count_filled(bytes);
        self.change_member(server, |member| member.overlaid(free));
        Ok(())
    }

    /// Sends some runs at a time, slowly if no request waits for them.
    async fn send_runs(
        &self,
        replication: &Replication,
        target: Target,
        runs: Vec<Run>,
    ) -> Result<(), Fault> {
        let (mut runs, mut under_way) = (runs.into_iter(), FuturesUnordered::new());
        let mut ahead_bytes = 0;
        loop {
            while under_way.len() < FILL_RECORDS_IN_FLIGHT_MAX
                && let Some(run) = runs.next()
            {
                under_way.push(self.send_run(replication, target, run));
            }
            assert!(under_way.len() <= FILL_RECORDS_IN_FLIGHT_MAX, "records in flight are bounded");
            match under_way.next().await {
                Some(sent) => ahead_bytes += sent?,
                None => return Ok(()),
            }
            let pause_ms = ahead_bytes * 1_000 / FILL_BYTES_PER_S;
            if 0 < pause_ms && self.state.lock().waiters == 0 {
                replication.clock.sleep_ms(pause_ms).await;
                ahead_bytes = 0;
            }
        }
    }

    /// Sends a run; answers how many bytes it has.
    async fn send_run(&self, replication: &Replication, target: Target, run: Run) -> Result<u64, Fault> {
        let sequence = run.sequence;
        let record = match run.said {
            Said::Data => None,
            Said::Cut => Some(Record::from_cut(sequence, run.offset)),
            Said::Image(image) => Some(Record::from_image(sequence, &image)),
        };
        if let Some(record) = record {
            return call::send_record(replication, self.id, target, record, false, None).await.map(|()| 0);
        }
        let (mut offset, end) = (run.offset, run.offset + run.length);
        while offset < end {
            let length = (end - offset).min(TRANSFER_BYTES_MAX);
            let data = self.read_bytes(replication, offset, length).await?;
            let record = Record { act: Act::Write, sequence, offset, data };
            call::send_record(replication, self.id, target, record, false, None).await?;
            offset += length;
        }
        assert_eq!(offset, end, "a run is sent up to its end");
        Ok(u64::from(run.length))
    }

    /// Bytes of the extent as they are now.
    async fn read_bytes(&self, replication: &Replication, offset: u32, length: u32) -> Result<Bytes, Fault> {
        let mut bytes = BytesMut::with_capacity(length as usize);
        while bytes.len() < length as usize {
            let got = u32::try_from(bytes.len()).expect("no more than a run");
            let found = replication.store.peek(self.id, offset + got, length - got).await;
            let found = found.map_err(|error| unreadable(replication, self.id, &error))?;
            found.iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
        assert_eq!(bytes.len(), length as usize, "the store gives no more than it was asked for");
        Ok(bytes.freeze())
    }

    /// Reports a replica to a metadata server, and applies what that answers.
    async fn report(&self, replication: &Replication, server: DataServerId, word: Word) -> Went {
        let Some(before) = self.change_member(server, |member| (member.since, member.filling)) else {
            return Went::Well;
        };
        if word != Word::Ask {
            tracing::info!(
                extent = %self.id, replica = server.0, ?word,
                "report to the metadata server"
            );
        }
        match call::report_copies(replication, self.id, word, server, before.0).await {
            CopiesAnswer::Set(set) if replication.directory.is_own(set.home) => {
                self.apply_answer(&set, server, word, before)
            }
            CopiesAnswer::Set(_) | CopiesAnswer::NotPrimary => {
                let epoch = {
                    let mut state = self.state.lock();
                    state.deposed = true;
                    state.epoch
                };
                tracing::warn!(extent = %self.id, "another data server is primary now");
                if let Err(error) = replication.store.fence(self.id, epoch.next()).await {
                    replication.serving.note_error(&error);
                }
                replication.table.forget(self.id);
                Went::Well
            }
            CopiesAnswer::Silence => Went::Wrong,
        }
    }

    /// Applies the set that a metadata server answered to a report about `server`, which was
    /// `before`.
    fn apply_answer(&self, set: &CopySet, server: DataServerId, word: Word, before: (Epoch, bool)) -> Went {
        let mut state = self.state.lock();
        state.apply_update(&SetUpdate::from_metadata(set));
        match state.members.iter_mut().find(|one| one.server == server) {
            // The metadata server can change nothing now: it may have no other server, or this one
            // has no lease yet.
            Some(member) if word != Word::Ask && (member.since, member.filling) == before => {
                member.kept();
                Went::Wrong
            }
            _ => Went::Well,
        }
    }
}

fn stuck(replication: &Replication, error: &ChangeError) -> Fault {
    replication.serving.note_error(error);
    Fault::Silent
}

/// The journal here does not give bytes that a replica is to get. That is no fault of the replica,
/// which may have just these bytes.
fn unreadable(replication: &Replication, extent: ExtentId, error: &ReadError) -> Fault {
    tracing::error!(
        %extent, %error,
        "cannot send bytes to a replica that the journal does not give"
    );
    replication.wanted.request_check(extent);
    Fault::Unreadable
}
