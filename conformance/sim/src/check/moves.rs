//! A few directories as they should be, and all that is moved between them and linked into them:
//! one thing, whatever shards it lies on.
//!
//! The whole group is judged at once, since shards.md promises (§ Invariants) that acts on several
//! directories come one after the other, and show on all of them or on none. What a name leads to,
//! what `..` of a directory leads to and how many links an object has follow from the one state
//! here. So an object that is seen in two directories, or in none while it moves, or a directory
//! within itself, fits no order.

use super::linearizable::Model;
use super::names::Name;

/// Where a name stands: the directory's number, and the name.
pub(crate) type Spot = (u64, Name);

/// What clients do in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveAct {
    Mkdir(Spot),
    /// OPEN with a guarded create, and CLOSE.
    Create(Spot),
    Rename(Spot, Spot),
    /// LINK of a file, by its number.
    Link(u64, Spot),
    Remove(Spot),
    Lookup(Spot),
    /// READDIR of all of a directory.
    List(u64),
    /// LOOKUPP.
    Up(u64),
    /// GETATTR of the number of links.
    Links(u64),
}

impl MoveAct {
    /// Whether it may change something.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Self::Mkdir(_) | Self::Create(_) | Self::Rename(..) | Self::Link(..) | Self::Remove(_) => true,
            Self::Lookup(_) | Self::List(_) | Self::Up(_) | Self::Links(_) => false,
        }
    }
}

/// What they are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MoveAnswer {
    Done,
    /// Made; its number, if it was told.
    Made(Option<u64>),
    Found {
        id: u64,
        directory: bool,
    },
    Listed(Vec<(Name, u64)>),
    /// The directory above.
    Under(u64),
    Count(u32),
    /// No such name (NOENT).
    Missing,
    /// No such object any more (STALE).
    Gone,
    Exists,
    NotEmpty,
    /// A directory into itself (INVAL).
    Loop,
    NotDirectory,
    IsDirectory,
    /// DELAY of the operation itself: nothing was done (docs/protocol/sessions.md §3, §4).
    PutOff,
}

/// An object: by number if that is known, else by the act that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Id {
    Known(u64),
    MadeBy(usize),
}

/// An entry of a directory. A directory that has entries was seen before, so its number is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Entry {
    spot: Spot,
    id: Id,
    directory: bool,
}

/// The group: its directories, by their numbers. They stay where they are, and begin empty.
pub(crate) struct Group {
    pub(crate) parents: Vec<u64>,
}

type Entries = Vec<Entry>;

fn find(state: &Entries, spot: Spot) -> Option<Entry> {
    state.iter().find(|entry| entry.spot == spot).copied()
}

fn with(state: &Entries, entry: Entry) -> Entries {
    let mut next = without(state, entry.spot);
    next.push(entry);
    next.sort_unstable();
    next
}

fn without(state: &Entries, spot: Spot) -> Entries {
    state.iter().copied().filter(|entry| entry.spot != spot).collect()
}

fn is_empty(state: &Entries, id: Id) -> bool {
    !state.iter().any(|entry| Id::Known(entry.spot.0) == id)
}

/// The state if the object at this spot has number `id`.
fn seen(state: &Entries, spot: Spot, id: u64) -> Option<Entries> {
    let entry = find(state, spot)?;
    match entry.id {
        Id::Known(known) => (known == id).then(|| state.clone()),
        Id::MadeBy(_) if state.iter().any(|other| other.id == Id::Known(id)) => None,
        Id::MadeBy(_) => {
            let mut next = state.clone();
            for other in next.iter_mut().filter(|other| other.id == entry.id) {
                other.id = Id::Known(id);
            }
            next.sort_unstable();
            Some(next)
        }
    }
}

impl Group {
    /// Whether there is such a directory.
    fn has(&self, state: &Entries, directory: u64) -> bool {
        let is = |entry: &Entry| entry.directory && entry.id == Id::Known(directory);
        self.parents.contains(&directory) || state.iter().any(is)
    }

    /// Whether the directory is `ancestor`, or below it.
    fn is_within(&self, state: &Entries, directory: u64, ancestor: Id) -> bool {
        let mut at = directory;
        // A way has no more steps than there are entries.
        for _ in 0..=state.len() {
            if Id::Known(at) == ancestor {
                return true;
            }
            let above = state.iter().find(|entry| entry.directory && entry.id == Id::Known(at));
            match above {
                Some(above) => at = above.spot.0,
                None => return false,
            }
        }
        false
    }

    fn make(
        &self,
        state: &Entries,
        number: usize,
        (spot, directory): (Spot, bool),
        answer: Option<&MoveAnswer>,
    ) -> Option<Entries> {
        if !self.has(state, spot.0) {
            return (answer? == &MoveAnswer::Gone).then(|| state.clone());
        }
        let there = find(state, spot).is_some();
        match answer {
            Some(MoveAnswer::Exists) => there.then(|| state.clone()),
            None | Some(MoveAnswer::Made(None)) => {
                (!there).then(|| with(state, Entry { spot, id: Id::MadeBy(number), directory }))
            }
            Some(MoveAnswer::Made(Some(id))) => {
                let id = Id::Known(*id);
                let fresh = !there && !state.iter().any(|other| other.id == id);
                fresh.then(|| with(state, Entry { spot, id, directory }))
            }
            Some(_) => None,
        }
    }

    /// What RENAME comes to. RFC 8881 §18.26 leaves the order of its refusals open; it is that of
    /// `mds-namespace`.
    fn rename(&self, state: &Entries, from: Spot, to: Spot) -> Result<Entries, MoveAnswer> {
        if !self.has(state, from.0) || !self.has(state, to.0) {
            return Err(MoveAnswer::Gone);
        }
        let source = find(state, from).ok_or(MoveAnswer::Missing)?;
        let target = find(state, to);
        if from.0 != to.0 {
            if source.directory && self.is_within(state, to.0, source.id) {
                return Err(MoveAnswer::Loop);
            }
            if target.is_some_and(|target| target.directory && self.is_within(state, from.0, target.id)) {
                return Err(MoveAnswer::NotEmpty);
            }
        }
        if let Some(target) = target {
            match (source.directory, target.directory) {
                _ if source.id == target.id => return Ok(state.clone()),
                (true, false) => return Err(MoveAnswer::NotDirectory),
                (false, true) => return Err(MoveAnswer::IsDirectory),
                (true, true) if !is_empty(state, target.id) => return Err(MoveAnswer::NotEmpty),
                (true, true) | (false, false) => {}
            }
        }
        Ok(with(&without(state, from), Entry { spot: to, ..source }))
    }

    /// A file without a name is there while a client has it open, and then not: either may be seen.
    fn link(&self, state: &Entries, id: u64, to: Spot, answer: Option<&MoveAnswer>) -> Option<Entries> {
        let file = state.iter().find(|entry| entry.id == Id::Known(id) && !entry.directory).copied();
        if !self.has(state, to.0) {
            return (answer? == &MoveAnswer::Gone).then(|| state.clone());
        }
        let there = find(state, to).is_some();
        match (answer, file) {
            (Some(MoveAnswer::Gone), None) => Some(state.clone()),
            (Some(MoveAnswer::Exists), _) => there.then(|| state.clone()),
            (Some(MoveAnswer::Missing), None) => (!there).then(|| state.clone()),
            (None | Some(MoveAnswer::Done), Some(file)) => {
                (!there).then(|| with(state, Entry { spot: to, ..file }))
            }
            _ => None,
        }
    }

    fn remove(&self, state: &Entries, spot: Spot) -> Result<Entries, MoveAnswer> {
        if !self.has(state, spot.0) {
            return Err(MoveAnswer::Gone);
        }
        let entry = find(state, spot).ok_or(MoveAnswer::Missing)?;
        if entry.directory && !is_empty(state, entry.id) {
            return Err(MoveAnswer::NotEmpty);
        }
        Ok(without(state, spot))
    }

    fn list(&self, state: &Entries, directory: u64, answer: &MoveAnswer) -> Option<Entries> {
        match answer {
            MoveAnswer::Gone => (!self.has(state, directory)).then(|| state.clone()),
            MoveAnswer::Listed(list) if self.has(state, directory) => {
                let count = state.iter().filter(|entry| entry.spot.0 == directory).count();
                let mut entries = list.iter();
                (list.len() == count).then_some(())?;
                entries.try_fold(state.clone(), |state, (name, id)| seen(&state, (directory, *name), *id))
            }
            _ => None,
        }
    }

    fn links(&self, state: &Entries, id: u64, answer: &MoveAnswer) -> bool {
        let names = state.iter().filter(|entry| entry.id == Id::Known(id)).count();
        let directory = self.has(state, id);
        let under = state.iter().filter(|entry| entry.spot.0 == id && entry.directory).count();
        match answer {
            MoveAnswer::Gone => names == 0 && !directory,
            // Its own name (or, of a group's directory, the one it has elsewhere), `.`, and the
            // `..` of each directory in it.
            MoveAnswer::Count(count) if directory => *count as usize == 2 + under,
            MoveAnswer::Count(count) => *count as usize == names,
            _ => false,
        }
    }
}

impl Model for Group {
    type State = Entries;
    type Act = MoveAct;
    type Answer = MoveAnswer;

    fn begin(&self) -> Entries {
        Entries::new()
    }

    fn step(
        &self,
        state: &Entries,
        number: usize,
        act: &MoveAct,
        answer: Option<&MoveAnswer>,
    ) -> Option<Entries> {
        if answer == Some(&MoveAnswer::PutOff) {
            return Some(state.clone());
        }
        // Without an answer it only matters if it was done.
        let fits = |outcome: Result<Entries, MoveAnswer>| match (outcome, answer) {
            (Ok(next), None | Some(MoveAnswer::Done)) => Some(next),
            (Err(refusal), Some(answer)) if refusal == *answer => Some(state.clone()),
            _ => None,
        };
        match act {
            MoveAct::Mkdir(spot) => self.make(state, number, (*spot, true), answer),
            MoveAct::Create(spot) => self.make(state, number, (*spot, false), answer),
            MoveAct::Rename(from, to) => fits(self.rename(state, *from, *to)),
            MoveAct::Link(id, to) => self.link(state, *id, *to, answer),
            MoveAct::Remove(spot) => fits(self.remove(state, *spot)),
            MoveAct::Lookup(spot) => match (find(state, *spot), answer?) {
                (None, MoveAnswer::Gone) => (!self.has(state, spot.0)).then(|| state.clone()),
                (None, MoveAnswer::Missing) => self.has(state, spot.0).then(|| state.clone()),
                (Some(entry), MoveAnswer::Found { id, directory }) if entry.directory == *directory => {
                    seen(state, *spot, *id)
                }
                _ => None,
            },
            MoveAct::List(directory) => self.list(state, *directory, answer?),
            MoveAct::Up(directory) => match answer? {
                MoveAnswer::Gone => (!self.has(state, *directory)).then(|| state.clone()),
                MoveAnswer::Under(above) => {
                    let is = |entry: &Entry| entry.id == Id::Known(*directory) && entry.spot.0 == *above;
                    state.iter().any(is).then(|| state.clone())
                }
                _ => None,
            },
            MoveAct::Links(id) => self.links(state, *id, answer?).then(|| state.clone()),
        }
    }

    fn changes_nothing(&self, act: &MoveAct, answer: &MoveAnswer) -> bool {
        !act.changes() || !matches!(answer, MoveAnswer::Done | MoveAnswer::Made(_))
    }
}

#[cfg(test)]
mod tests;
