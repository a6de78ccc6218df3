//! Does for the backups of one extent what is to be done, until nothing is.
//!
//! Spec: docs/protocol/replicate.md §2, §3.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ds_store::{Run, Said};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use layout::{DataServerId, Epoch, ExtentId};
use wire_nfs::control::copies::Word;
use wire_nfs::control::replicate::Act;

use super::call::{self, Heard, Line};
use super::member::{Fault, Found, Member, Step};
use super::{ExtentCopies, Told};
use crate::core::Core;
use crate::limits::{
    BACKUP_FULL_PAUSE_MS, BACKUP_PAUSE_MS, FILL_BYTES_PER_S, FILL_RECORDS_IN_FLIGHT_MAX, TRANSFER_BYTES_MAX,
    UNREADABLE_PAUSE_MS,
};

/// Whom records go to.
#[derive(Clone, Copy)]
struct Target {
    server: DataServerId,
    instance: u64,
    epoch: Epoch,
}

/// Whether a step came to something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    Well,
    Wrong,
}

impl ExtentCopies {
    /// Has what is to be done be done, unless somebody is at it.
    pub(super) fn kick(self: &Arc<Self>, core: &Arc<Core>) {
        {
            let mut state = self.state.lock();
            if state.driven || state.deposed {
                return;
            }
            state.driven = true;
        }
        let (copies, core) = (Arc::clone(self), Arc::clone(core));
        tokio::spawn(async move { copies.drive(&core).await });
    }

    async fn drive(self: &Arc<Self>, core: &Arc<Core>) {
        loop {
            let (steps, raise) = {
                let mut state = self.state.lock();
                let (flush, now_ms) = (0 < state.waiters, core.env.clock.monotonic_ms());
                let steps: Vec<(DataServerId, Step)> =
                    state.members.iter().map(|one| (one.server, one.step(flush, now_ms))).collect();
                let opens = !state.opened && state.members.iter().all(|one| one.instance().is_some());
                state.opened |= opens;
                let idle = !state.raise_due && steps.iter().all(|(_, step)| *step == Step::Rest);
                let full = state.is_full();
                if state.deposed || idle || full {
                    state.driven = false;
                    let is_news = opens || full || state.deposed;
                    drop(state);
                    // A waiter that is woken kicks again: without news it would wait for records in
                    // flight by keeping a processor busy. Their answers wake it.
                    if is_news {
                        self.changed.notify_waiters();
                    }
                    if full {
                        self.try_again_later(core);
                    }
                    return;
                }
                (steps, state.raise_due.then_some(state.epoch))
            };
            self.changed.notify_waiters();
            if let Some(epoch) = raise {
                self.raise(core, epoch).await;
            }
            let mut runs = Vec::with_capacity(steps.len());
            for (server, step) in steps {
                runs.push(self.run(core, server, step));
            }
            let went = join_all(runs).await;
            self.changed.notify_waiters();
            if went.contains(&Went::Wrong) {
                core.env.clock.sleep_ms(BACKUP_PAUSE_MS).await;
            }
        }
    }

    /// Who writes is told that a backup has no room, and may never write again. What the backup
    /// lacks would stay different there, so it is told when it has room.
    fn try_again_later(self: &Arc<Self>, core: &Arc<Core>) {
        if std::mem::replace(&mut self.state.lock().again_due, true) {
            return;
        }
        // A server that stops meanwhile is not waited for.
        let (copies, clock, core) = (Arc::clone(self), Arc::clone(&core.env.clock), Arc::downgrade(core));
        tokio::spawn(async move {
            clock.sleep_ms(BACKUP_FULL_PAUSE_MS).await;
            let Some(core) = core.upgrade() else { return };
            {
                let mut state = copies.state.lock();
                state.again_due = false;
                // One without room that is being filled is given up, and not asked again.
                state.members.iter_mut().filter(|one| !one.filling).for_each(|one| one.full = false);
            }
            copies.kick(&core);
        });
    }

    /// After a restart nobody must write under copies that are no longer in force.
    async fn raise(&self, core: &Core, epoch: Epoch) {
        match core.store.raise(self.id, epoch).await {
            Ok(_) => {
                let mut state = self.state.lock();
                if state.epoch == epoch {
                    state.raise_due = false;
                }
            }
            Err(error) => {
                core.note(&error);
                core.env.clock.sleep_ms(BACKUP_PAUSE_MS).await;
            }
        }
    }

    async fn run(&self, core: &Core, server: DataServerId, step: Step) -> Went {
        let began_ms = core.env.clock.monotonic_ms();
        let epoch = self.state.lock().epoch;
        let done = match step {
            Step::Rest => return Went::Well,
            Step::Ask => return self.say(core, server, Word::Ask).await,
            Step::Lost => return self.say(core, server, Word::Lost).await,
            Step::Filled => return self.say(core, server, Word::Filled).await,
            Step::Attach => self.attach(core, server, epoch).await,
            Step::Overlay { floor } => self.overlay(core, server, epoch, floor).await,
            Step::Delta { from } => self.delta(core, server, epoch, from).await,
            Step::Flush => self.flush(core, server).await,
        };
        match done {
            Ok(()) => Went::Well,
            Err(fault) => {
                self.with(server, |member| member.failed(step, fault, began_ms));
                match fault {
                    Fault::Restarted | Fault::OtherImage => Went::Well,
                    Fault::Unreadable => {
                        core.env.clock.sleep_ms(UNREADABLE_PAUSE_MS).await;
                        Went::Wrong
                    }
                    Fault::Silent | Fault::Outdated | Fault::Full => Went::Wrong,
                }
            }
        }
    }

    /// Changes a member, if it still is one.
    fn with<T>(&self, server: DataServerId, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.state.lock().members.iter_mut().find(|one| one.server == server).map(change)
    }

    async fn attach(&self, core: &Core, server: DataServerId, epoch: Epoch) -> Result<(), Fault> {
        let attached = call::attach(core, self.id, server, epoch).await?;
        let ours = core.store.sequence(self.id);
        let found = Found { instance: attached.instance, theirs: attached.sequence, ours };
        self.with(server, |member| member.attach(&found));
        Ok(())
    }

    async fn flush(&self, core: &Core, server: DataServerId) -> Result<(), Fault> {
        let begun = self.with(server, |member| {
            member.begin_flush();
            member.instance()
        });
        let Some(Some(instance)) = begun else { return Ok(()) };
        call::flush(core, server, instance).await?;
        self.with(server, Member::flushed);
        Ok(())
    }

    /// Says what a backup lacks from a sequence on, each act with its own sequence.
    async fn delta(&self, core: &Core, server: DataServerId, epoch: Epoch, from: u64) -> Result<(), Fault> {
        let begun = self.with(server, |member| {
            member.begin_delta();
            member.instance()
        });
        let Some(Some(instance)) = begun else { return Ok(()) };
        core.store.landed(self.id).await.map_err(|error| stuck(core, &error))?;
        let target = Target { server, instance, epoch };
        let runs =
            core.store.runs_since(self.id, from).await.map_err(|error| unreadable(core, self.id, &error))?;
        // Data first: the rest may hide older acts of the backup that say the same.
        let (data, rest): (Vec<Run>, Vec<Run>) =
            runs.into_iter().partition(|run| matches!(run.said, Said::Data));
        self.send_all(core, target, data).await?;
        for run in rest {
            self.send_run(core, target, run).await?;
        }
        self.with(server, |member| member.caught_up(from));
        Ok(())
    }

    /// Says everything, above what the backup has: its own bytes do not show any more.
    async fn overlay(
        &self,
        core: &Core,
        server: DataServerId,
        epoch: Epoch,
        floor: u64,
    ) -> Result<(), Fault> {
        let begun = self.with(server, |member| {
            member.begin_overlay();
            member.instance()
        });
        let Some(Some(instance)) = begun else { return Ok(()) };
        let target = Target { server, instance, epoch };
        let free = core.store.rise(self.id, floor).await.map_err(|error| stuck(core, &error))?;
        let all =
            core.store.overlay(self.id, free).await.map_err(|error| unreadable(core, self.id, &error))?;
        let bytes: u64 = all.above.iter().map(|run| u64::from(run.length)).sum();
        self.send_all(core, target, all.above).await?;
        for run in all.beneath {
            self.send_run(core, target, run).await?;
        }
        core.metrics.filled(bytes);
        self.with(server, |member| member.overlaid(free));
        Ok(())
    }

    /// Sends some at a time, slowly if nobody waits for it.
    async fn send_all(&self, core: &Core, target: Target, runs: Vec<Run>) -> Result<(), Fault> {
        let (mut runs, mut under_way) = (runs.into_iter(), FuturesUnordered::new());
        let mut ahead_bytes = 0;
        loop {
            while under_way.len() < FILL_RECORDS_IN_FLIGHT_MAX
                && let Some(run) = runs.next()
            {
                under_way.push(self.send_run(core, target, run));
            }
            match under_way.next().await {
                Some(sent) => ahead_bytes += sent?,
                None => return Ok(()),
            }
            let pause_ms = ahead_bytes * 1_000 / FILL_BYTES_PER_S;
            if 0 < pause_ms && self.state.lock().waiters == 0 {
                core.env.clock.sleep_ms(pause_ms).await;
                ahead_bytes = 0;
            }
        }
    }

    /// Sends a run; answers how many bytes it has.
    async fn send_run(&self, core: &Core, target: Target, run: Run) -> Result<u64, Fault> {
        let Target { server, instance, epoch } = target;
        let (sequence, place) = (run.sequence, (instance, epoch));
        match run.said {
            Said::Data => {}
            Said::Cut => {
                let line = Line { act: Act::Cut, sequence, offset: run.offset, data: Bytes::new() };
                return call::record(core, self.id, server, place, line, false, None).await.map(|()| 0);
            }
            Said::Image(image) => {
                let line = Line::image(sequence, &image);
                return call::record(core, self.id, server, place, line, false, None).await.map(|()| 0);
            }
        }
        let (mut offset, end) = (run.offset, run.offset + run.length);
        while offset < end {
            let length = (end - offset).min(TRANSFER_BYTES_MAX);
            let data = self.bytes(core, offset, length).await?;
            let line = Line { act: Act::Write, sequence, offset, data };
            call::record(core, self.id, server, place, line, false, None).await?;
            offset += length;
        }
        Ok(u64::from(run.length))
    }

    /// Bytes of the extent as they are now.
    async fn bytes(&self, core: &Core, offset: u32, length: u32) -> Result<Bytes, Fault> {
        let mut bytes = BytesMut::with_capacity(length as usize);
        while bytes.len() < length as usize {
            let got = u32::try_from(bytes.len()).expect("no more than a run");
            let found = core.store.peek(self.id, offset + got, length - got).await;
            let found = found.map_err(|error| unreadable(core, self.id, &error))?;
            found.iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
        Ok(bytes.freeze())
    }

    /// Tells a metadata server about a backup, and takes what it answers.
    async fn say(&self, core: &Core, server: DataServerId, word: Word) -> Went {
        let Some(before) = self.with(server, |member| (member.since, member.filling)) else {
            return Went::Well;
        };
        if word != Word::Ask {
            tracing::info!(extent = %self.id, backup = server.0, ?word, "telling the metadata server");
        }
        match call::tell(core, self.id, word, server, before.0).await {
            Heard::Set(set) if Some(set.home) == core.server().map(|own| own.0) => {
                let mut state = self.state.lock();
                state.take(&Told::by_metadata(&set));
                match state.members.iter_mut().find(|one| one.server == server) {
                    // Nothing can be changed now: there may be no other server, or this one has no
                    // lease yet.
                    Some(member) if word != Word::Ask && (member.since, member.filling) == before => {
                        member.kept();
                        Went::Wrong
                    }
                    _ => Went::Well,
                }
            }
            Heard::Set(_) | Heard::NotHome => {
                let epoch = {
                    let mut state = self.state.lock();
                    state.deposed = true;
                    state.epoch
                };
                tracing::warn!(extent = %self.id, "another data server is home now");
                if let Err(error) = core.store.fence(self.id, epoch.next()).await {
                    core.note(&error);
                }
                core.copies.forget(self.id);
                Went::Well
            }
            Heard::Nothing => Went::Wrong,
        }
    }
}

fn stuck(core: &Core, error: &ds_store::ChangeError) -> Fault {
    core.note(error);
    Fault::Silent
}

/// It is no fault of the backup's, which may have just these bytes.
fn unreadable(core: &Core, extent: ExtentId, error: &ds_store::ReadError) -> Fault {
    tracing::error!(%extent, %error, "a backup cannot be told bytes that cannot be read");
    core.wanted.want(extent);
    Fault::Unreadable
}
