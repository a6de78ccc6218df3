//! Commands about names: for one shard, or an act on several.
//!
//! Spec: docs/protocol/shards.md §1, §4.

use std::sync::Arc;

use mds_namespace::op::{exclusive, lookup};
use mds_namespace::{Caller, DirectoryChange, FsError, Ino, Inode, Kind, inode_table, shard_of};
use mds_raft::ProposeError;
use mds_state::command::governor::Bound;
use mds_state::command::open::{How, Open, Target};
use mds_state::{Command, Origin, Outcome, Refusal, StateView};

use super::Shards;
use crate::limits::NAME_PLANS_MAX;

/// The plan of a command about names, as the names are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// For one shard, which may change these inodes.
    One { shard: u16, inodes: Vec<Ino> },
    /// An OPEN of a name that leads to another shard.
    Foreign { directory: Ino, ino: Ino },
    /// An act on several.
    Act(ActPlan),
}

/// An act on several shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActPlan {
    /// The shard that keeps the intent.
    pub(super) coordinator: u16,
    /// Inodes that may change.
    pub(super) inodes: Vec<Ino>,
    /// The shard of a new inode.
    pub(super) makes_in: Option<u16>,
    /// A directory gets another parent, or a directory from another parent replaces it.
    pub(super) moves_directory: bool,
}

impl Shards {
    pub(super) async fn about_names(
        &self,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        for _ in 0..NAME_PLANS_MAX {
            let plan = self.plan(&command)?;
            let moves = match &plan {
                Plan::Act(act) if act.moves_directory => {
                    Some(Arc::clone(&self.inner.moves_directories).lock_owned().await)
                }
                _ => None,
            };
            let locks = self.locks();
            let guard = match &plan {
                Plan::One { inodes, .. } => locks.enter(inodes.clone()).await,
                Plan::Foreign { directory, ino } => locks.enter(vec![*directory, *ino]).await,
                Plan::Act(act) => locks.lock(act.inodes.clone()).await,
            };
            let guard = guard.ok_or(ProposeError::NotLeader { leader: None })?;
            // The first plan was made before the locks: the names may have changed.
            if self.plan(&command)? != plan {
                continue;
            }
            return match plan {
                // A single shard has no acts to exclude.
                Plan::One { shard, .. } if self.count() == 1 => {
                    self.under(guard, shard, origin, command).await
                }
                Plan::One { shard, inodes } => {
                    // Entries that are logged and not yet applied were not visible: a name may lead
                    // elsewhere by then.
                    let bound = Bound::to(inodes, command.clone());
                    match self.under(guard, shard, origin.clone(), bound).await {
                        Ok(Outcome::Refused(Refusal::NamesMoved)) => continue,
                        outcome => outcome,
                    }
                }
                Plan::Foreign { ino, .. } => {
                    let Command::Open(open) = command else { return Err(ProposeError::Unavailable) };
                    let (directory, open) = match self.foreign(open, ino)? {
                        Ok(found) => found,
                        Err(refusal) => return Ok(Outcome::Refused(refusal)),
                    };
                    let outcome = self.under(guard, shard_of(ino), origin, Command::Open(open)).await?;
                    Ok(with_directory(outcome, &directory))
                }
                Plan::Act(act) => self.act((guard, moves), act, origin, command).await,
            };
        }
        Err(ProposeError::Unavailable)
    }

    pub(super) fn plan(&self, command: &Command) -> Result<Plan, ProposeError> {
        let view = self.view()?;
        let found = |directory: Ino, name: &[u8]| {
            match lookup::find(view.namespace(), &Caller::default(), directory, name) {
                Ok(found) => Ok(found),
                Err(FsError::Elsewhere) => Err(ProposeError::NotLeader { leader: None }),
                Err(FsError::Store(error)) => Err(ProposeError::Stopped(error)),
                // The shard of the directory reports errors of the names.
                Err(_) => Ok(None),
            }
        };
        Ok(match command {
            Command::Create(asked) if asked.kind == Kind::Directory => {
                let makes_in = self.shard_for(asked.directory, &asked.name);
                if makes_in == shard_of(asked.directory) {
                    one(asked.directory, None)
                } else {
                    act(asked.directory, vec![asked.directory], Some(makes_in))
                }
            }
            Command::Create(asked) => one(asked.directory, None),
            Command::Open(asked) => match &asked.target {
                Target::Name { directory, name } | Target::Create { directory, name, .. } => {
                    match found(*directory, name)? {
                        Some(inode) if shard_of(inode.ino) != shard_of(*directory) => {
                            Plan::Foreign { directory: *directory, ino: inode.ino }
                        }
                        inode => one(*directory, inode),
                    }
                }
                Target::Handle { ino, .. } | Target::Foreign { ino, .. } => one(*ino, None),
            },
            Command::Remove(asked) => match found(asked.directory, &asked.name)? {
                Some(inode) if shard_of(inode.ino) != shard_of(asked.directory) => {
                    act(asked.directory, vec![asked.directory, inode.ino], None)
                }
                inode => one(asked.directory, inode),
            },
            Command::Link(asked) => {
                if shard_of(asked.ino) == shard_of(asked.directory) {
                    Plan::One { shard: shard_of(asked.directory), inodes: vec![asked.directory, asked.ino] }
                } else {
                    act(asked.directory, vec![asked.directory, asked.ino], None)
                }
            }
            Command::Rename(asked) => {
                let (from, to) = (asked.from_directory, asked.to_directory);
                let (source, target) = (found(from, &asked.from_name)?, found(to, &asked.to_name)?);
                // A moved or replaced directory must not be above the other name.
                let is_directory = |inode: &Option<Inode>| inode.as_ref().is_some_and(Inode::is_directory);
                let moves_directory = from != to && (is_directory(&source) || is_directory(&target));
                let objects = [source, target].into_iter().flatten().map(|inode| inode.ino);
                let inodes: Vec<Ino> = [from, to].into_iter().chain(objects).collect();
                let here = inodes.iter().all(|ino| shard_of(*ino) == shard_of(from));
                // The path from a directory to the root leads through many shards.
                if here && !moves_directory {
                    Plan::One { shard: shard_of(from), inodes }
                } else {
                    let coordinator = shard_of(from);
                    Plan::Act(ActPlan { coordinator, inodes, makes_in: None, moves_directory })
                }
            }
            _ => one(mds_namespace::ROOT_INO, None),
        })
    }

    /// The shard of a new directory.
    pub(super) fn shard_for(&self, parent: Ino, name: &[u8]) -> u16 {
        let mut hash = blake3::Hasher::new();
        hash.update(&parent.to_be_bytes()).update(name);
        let drawn =
            u64::from_be_bytes(*hash.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes"));
        u16::try_from(drawn % u64::from(self.count())).expect("below the number of shards")
    }

    /// Completes the record of an OPEN: a file's shard does not know the directory of its name.
    pub(crate) fn opened_before(&self, target: &Target, outcome: Outcome) -> Outcome {
        let (Target::Name { directory, .. } | Target::Create { directory, .. }) = target else {
            return outcome;
        };
        match &outcome {
            Outcome::Opened(opened) if opened.directory == DirectoryChange::default() => {
                let found = self.view().ok().map(|view| inode_table::inode(view.namespace(), *directory));
                let Some(Ok(directory)) = found else { return outcome };
                with_directory(outcome, &directory)
            }
            _ => outcome,
        }
    }

    /// The command for the shard of a file whose name is in another shard, and the directory.
    fn foreign(&self, mut open: Open, ino: Ino) -> Result<Result<(Inode, Open), Refusal>, ProposeError> {
        let view = self.view()?;
        let found = look_up(&view, &open, ino);
        Ok(found.map(|(directory, target)| {
            open.target = target;
            (directory, open)
        }))
    }
}

fn look_up(view: &StateView, open: &Open, ino: Ino) -> Result<(Inode, Target), Refusal> {
    let (Target::Name { directory, name } | Target::Create { directory, name, .. }) = &open.target else {
        return Err(Refusal::Busy);
    };
    let store = view.namespace();
    // With the caller's own rights, as the shard would.
    lookup::lookup(store, &open.caller, *directory, name)?;
    let (mut truncate, mut made) = (false, false);
    if let Target::Create { how, attributes, .. } = &open.target {
        match how {
            How::Unchecked => truncate = attributes.size_bytes == Some(0),
            How::Exclusive(verifier) if exclusive::verifier(store, ino)? == Some(*verifier) => made = true,
            How::Guarded | How::Exclusive(_) => return Err(mds_namespace::FsError::Exists.into()),
        }
    }
    Ok((inode_table::inode(store, *directory)?, Target::Foreign { ino, truncate, made }))
}

/// Adds the directory's change counter, which the file's shard does not know; it was not changed.
fn with_directory(outcome: Outcome, directory: &Inode) -> Outcome {
    match outcome {
        Outcome::Opened(mut opened) => {
            opened.directory = DirectoryChange { before: directory.change, after: directory.change };
            Outcome::Opened(opened)
        }
        other => other,
    }
}

fn one(directory: Ino, inode: Option<Inode>) -> Plan {
    let inodes = std::iter::once(directory).chain(inode.map(|inode| inode.ino)).collect();
    Plan::One { shard: shard_of(directory), inodes }
}

fn act(directory: Ino, inodes: Vec<Ino>, makes_in: Option<u16>) -> Plan {
    Plan::Act(ActPlan { coordinator: shard_of(directory), inodes, makes_in, moves_directory: false })
}
