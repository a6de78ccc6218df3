//! The copies of an extent: which further data servers keep its bytes, which of them may become its
//! primary, and what has to change when servers come and go.
//!
//! A decision over what is known, nothing else: the caller says which servers are up. The
//! metadata servers make what is decided here real with one command of their log.
//!
//! INVARIANT: only a replica that holds everything (is not being filled) ever becomes primary.
//! Spec: docs/protocol/replicate.md.

mod choice;
mod copy_set;
mod formers;
mod leave;
mod shift;

use crate::data_server::DataServerId;

pub use choice::{Domain, Place, choose_backups};
pub use copy_set::{BACKUPS_MAX, Backup, COPIES_MAX, Copies};
pub use formers::Formers;
pub use leave::leave;
pub use shift::{Shift, Step, surplus};

/// What is asked for beside what the servers' state asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Copies in all, the primary's included.
    pub copies: usize,
    /// The primary says that it cannot reach this replica: it goes. A primary that says so is
    /// alive, with a lease or without.
    pub lost: Option<DataServerId>,
    /// Replicas whose server is dead go, too.
    pub bury: bool,
    /// Who may be primary beside replicas, and nothing else: the primary has not shown yet that it
    /// has what they have.
    pub formers: Formers,
    /// The primary has shown that it lacks something, and acknowledged nothing: it gives way,
    /// though it holds a lease.
    pub refuted: bool,
}

impl Wish {
    /// Nothing.
    pub const NONE: Self =
        Self { copies: 0, lost: None, bury: false, formers: Formers::NONE, refuted: false };
}

/// What the copies of an extent should be; `None` if they are as good as can be now.
///
/// A dead primary gives way to a replica that holds everything and is up, else to a former server
/// that is. Without one the extent waits for its primary: other servers that hold a part of it may
/// lack bytes that were promised. With a primary that is neither up nor dead nothing changes,
/// unless it has lost a replica that is not up either: a primary that has something to cut or
/// forget gets no lease before that is done, and cannot do it while it waits for that replica.
#[must_use]
pub fn plan(now: &Copies, places: &[Place], wish: &Wish, rotation: u64) -> Option<Copies> {
    let place = |id: DataServerId| places.iter().find(|place| place.id == id);
    let up = |id| place(id).is_some_and(|place| place.up);
    let dead = |id| place(id).is_none_or(|place| place.dead);
    let mut next = now.clone();
    let primary_asks = wish.lost.is_some_and(|lost| !up(lost));
    if primary_asks {
        // What it has is whole, since it is still primary.
    } else if dead(now.home) || wish.refuted {
        let others = now.backups.iter().filter(|(_, filling)| !filling).map(|(server, _)| *server);
        next.home = others.chain(wish.formers.iter()).find(|server| up(*server))?;
        next.backups.retain(|(server, _)| *server != next.home);
    } else if !up(now.home) {
        return None;
    }
    let promoted = next.home != now.home;
    next.backups
        .retain(|(server, _)| wish.lost != Some(*server) && !((wish.bury || promoted) && dead(*server)));
    let missing = wish.copies.min(COPIES_MAX).saturating_sub(1 + next.backups.len());
    let mut taken = next.servers();
    taken.extend(wish.lost.into_iter().chain(wish.formers.iter()).chain([now.home]));
    next.backups.extend(choose_backups(places, &taken, missing, rotation).into_iter().map(|id| (id, true)));
    let is_full = |id| now.backups.contains(&(id, false)) || wish.formers.contains(id);
    assert!(next.home == now.home || is_full(next.home), "only a full server is promoted");
    assert!(!next.backups.iter().any(|(id, _)| *id == next.home), "no primary is its replica");
    assert!(next.backups.len() <= BACKUPS_MAX.max(now.backups.len()), "no set outgrows its limit");
    (next != *now).then_some(next)
}

#[cfg(test)]
mod tests;
