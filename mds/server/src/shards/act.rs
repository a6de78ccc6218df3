//! Acts on several shards: computed on a view of all, committed by one entry, carried to the
//! others.
//!
//! INVARIANT: from the entry that commits an act until every shard has its part, its inodes are
//! locked; and until it is settled no other command changes them, since a governor that finds its
//! intent writes its parts again.
//! Spec: docs/protocol/shards.md §4.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mds_namespace::op::create::{self, NewObject};
use mds_namespace::op::rename::{self, Place};
use mds_namespace::op::{link, remove};
use mds_namespace::store::draft::{Draft, Part};
use mds_namespace::{FsError, Ino, Inode, Timestamp, shard_of};
use mds_raft::ProposeError;
use mds_state::command::governor::{Carry, Intend, IntentId, Reap, ReserveInodes, Settle};
use mds_state::command::namespace::{EntryAnswer, Renamed};
use mds_state::{Command, Origin, Outcome, Refusal};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

use super::Shards;
use super::locks::Guard;
use super::names::ActPlan;
use crate::limits::INODES_RESERVED;

/// The computed parts and outcome of an act.
struct Worked {
    parts: Vec<Part>,
    outcome: Outcome,
    /// A file that may have lost its last name.
    orphan: Option<Ino>,
}

impl Shards {
    /// Carries an act out under the locks that it `held`. Dropping this future does not cancel it.
    pub(super) async fn act(
        &self,
        held: (Guard, Option<OwnedMutexGuard<()>>),
        plan: ActPlan,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        let shards = self.clone();
        let act = tokio::spawn(async move { shards.carry_out(held, &plan, origin, &command).await });
        act.await.unwrap_or_else(|error| Err(ProposeError::Stopped(error.to_string())))
    }

    async fn carry_out(
        &self,
        mut held: (Guard, Option<OwnedMutexGuard<()>>),
        plan: &ActPlan,
        origin: Option<Origin>,
        command: &Command,
    ) -> Result<Outcome, ProposeError> {
        let reign = held.0.reign();
        // The shard keeps so many intents, and would refuse more.
        let room = Arc::clone(&self.inner.unsettled[usize::from(plan.coordinator)]).acquire_owned().await;
        let room = room.map_err(|_| ProposeError::Unavailable)?;
        // If it is unknown whether the act is committed, this node governs again, which decides it.
        let _request = self.inner.requests.begin_request(plan.coordinator, origin.as_ref());
        let reserved = match plan.makes_in {
            Some(shard) => Some(self.reserved(reign, shard).await?),
            None => None,
        };
        // Clients know the new inode as soon as they get the reply.
        reserved.into_iter().for_each(|ino| held.0.lock_new(ino));
        let worked = match self.work_out(plan, origin.as_ref(), command, reserved)? {
            Ok(worked) => worked,
            Err(outcome) => return Ok(outcome),
        };
        let id = IntentId {
            term: self.inner.term.load(Ordering::Acquire),
            number: self.inner.begun.fetch_add(1, Ordering::AcqRel),
        };
        let others: Vec<Part> =
            worked.parts.iter().filter(|part| part.shard != plan.coordinator).cloned().collect();
        let intend = Intend { id, parts: worked.parts, outcome: Box::new(worked.outcome) };
        let outcome = match self.within(reign, plan.coordinator, origin, Command::Intend(intend)).await {
            Ok(outcome @ Outcome::Refused(_)) => return Ok(outcome),
            Ok(outcome) => outcome,
            Err(error) => {
                // Only after these errors it is unknown whether the act is committed.
                if matches!(error, ProposeError::Timeout | ProposeError::Stopped(_)) {
                    self.falter(reign);
                }
                return Err(error);
            }
        };
        let parts = others
            .into_iter()
            .map(|part| self.insist(reign, part.shard, Command::Carry(Carry { writes: part.writes })));
        if let Err(error) = futures_util::future::try_join_all(parts).await {
            tracing::info!(%error, term = id.term, number = id.number, "act left to the next governor");
            self.falter(reign);
            // The act is committed: the client must not get a refusal.
            return Err(ProposeError::Timeout);
        }
        held.0.show();
        self.afterwards((held, room), plan.coordinator, id, worked.orphan);
        Ok(outcome)
    }

    /// Settles an act after the reply. Conflicting writers block until the intent is deleted: until
    /// then its parts may be written once more.
    fn afterwards(
        &self,
        held: ((Guard, Option<OwnedMutexGuard<()>>), OwnedSemaphorePermit),
        coordinator: u16,
        id: IntentId,
        orphan: Option<Ino>,
    ) {
        let shards = self.clone();
        tokio::spawn(async move {
            let reign = held.0.0.reign();
            if let Err(error) = shards.insist(reign, coordinator, Command::Settle(Settle { id })).await {
                tracing::debug!(%error, term = id.term, number = id.number, "act is settled by the next governor");
                shards.falter(reign);
            }
            drop(held);
            if let Some(ino) = orphan {
                // The next governor finds an orphan that stays.
                let _ = shards.propose(None, Command::Reap(Reap { ino })).await;
            }
        });
    }

    /// Computes an act, unless it was done before or is refused.
    fn work_out(
        &self,
        plan: &ActPlan,
        origin: Option<&Origin>,
        command: &Command,
        reserved: Option<Ino>,
    ) -> Result<Result<Worked, Outcome>, ProposeError> {
        let stopped = |error: &dyn std::fmt::Display| ProposeError::Stopped(error.to_string());
        let view = self.view()?;
        if let Some(origin) = origin
            && let Some(outcome) = view.recorded(origin).map_err(|error| stopped(&error))?
        {
            return Ok(Err(outcome));
        }
        let now = self.time(plan)?;
        let mut draft = Draft::new(view.namespace(), reserved).map_err(|error| stopped(&error))?;
        match work_out(&mut draft, command, now) {
            Ok((outcome, orphan)) => {
                let parts = draft.parts().map_err(|error| stopped(&error))?;
                Ok(Ok(Worked { parts, outcome, orphan }))
            }
            Err(FsError::Store(error)) => Err(ProposeError::Stopped(error)),
            Err(error) => Ok(Err(Outcome::Refused(Refusal::from(error)))),
        }
    }

    /// The time of an act: never before the clock of any of the shards.
    fn time(&self, plan: &ActPlan) -> Result<Timestamp, ProposeError> {
        let mut unix_ns = self.inner.env.clock.wall_ns();
        for ino in &plan.inodes {
            let Some(shard) = self.inner.all.get(usize::from(shard_of(*ino))) else { continue };
            unix_ns = unix_ns.max(shard.last_entry_unix_ns()?);
        }
        Ok(Timestamp::from_unix_ns(unix_ns))
    }

    /// A reserved inode number of a shard.
    async fn reserved(&self, reign: u64, shard: u16) -> Result<Ino, ProposeError> {
        let take = || self.inner.reserved.lock().get_mut(&shard).and_then(Iterator::next);
        if let Some(ino) = take() {
            return Ok(ino);
        }
        let _turn = self.inner.reserving.lock().await;
        if let Some(ino) = take() {
            return Ok(ino);
        }
        let reserve = Command::ReserveInodes(ReserveInodes { count: INODES_RESERVED });
        match self.within(reign, shard, None, reserve).await? {
            Outcome::Reserved(first) => {
                self.inner.reserved.lock().insert(shard, first + 1..first + u64::from(INODES_RESERVED));
                Ok(first)
            }
            _ => Err(ProposeError::NotLeader { leader: None }),
        }
    }
}

/// Runs the same operations as a single shard, with the same answers.
fn work_out(
    draft: &mut Draft<'_>,
    command: &Command,
    now: Timestamp,
) -> Result<(Outcome, Option<Ino>), FsError> {
    let entry = |inode: Inode, directory| {
        let orphan = (inode.nlink == 0 && inode.is_regular()).then_some(inode.ino);
        (Outcome::Entry(Box::new(EntryAnswer { inode, directory })), orphan)
    };
    match command {
        Command::Create(asked) => {
            let new = NewObject {
                kind: asked.kind,
                symlink_target: &asked.symlink_target,
                attributes: &asked.attributes,
                verifier: None,
            };
            let made = create::create(draft, &asked.caller, asked.directory, &asked.name, &new, now)?;
            Ok(entry(made.inode, made.directory))
        }
        Command::Link(asked) => {
            let made = link::link(draft, &asked.caller, asked.ino, asked.directory, &asked.name, now)?;
            Ok(entry(made.inode, made.directory))
        }
        Command::Remove(asked) => {
            let gone = remove::remove(draft, &asked.caller, asked.directory, &asked.name, now)?;
            Ok(entry(gone.inode, gone.directory))
        }
        Command::Rename(asked) => {
            let from = Place { directory: asked.from_directory, name: &asked.from_name };
            let to = Place { directory: asked.to_directory, name: &asked.to_name };
            let renamed = rename::rename(draft, &asked.caller, from, to, now)?;
            let orphan = renamed.replaced.filter(|replaced| replaced.nlink == 0 && replaced.is_regular());
            let answer = Renamed { from: renamed.from, to: renamed.to };
            Ok((Outcome::Renamed(answer), orphan.map(|orphan| orphan.ino)))
        }
        _ => Err(FsError::Invalid),
    }
}
