//! A directory as it should be: names, and the objects they lead to.

use super::linearizable::Model;

/// A name is a small number here.
pub(crate) type Name = u8;

/// What clients do in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameAct {
    /// LOOKUP, or OPEN of what is there.
    Lookup(Name),
    /// OPEN with a guarded create.
    Create(Name),
    /// CREATE of a directory.
    Mkdir(Name),
    Remove(Name),
    Rename(Name, Name),
    /// LINK of a known object.
    Link(u64, Name),
    /// READDIR of all.
    List,
}

/// What they are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameAnswer {
    Done,
    Missing,
    Exists,
    /// Directory and no directory, in one way or the other.
    Clash,
    Found {
        id: u64,
        directory: bool,
    },
    /// Made; its number, if it was told.
    Made(Option<u64>),
    Listed(Vec<(Name, u64)>),
}

/// An object: by number if that is known, else by the act that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Object {
    id: Id,
    directory: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Id {
    Known(u64),
    MadeBy(usize),
}

/// A directory that begins empty.
pub(crate) struct Directory;

type Entries = Vec<(Name, Object)>;

fn find(state: &Entries, name: Name) -> Option<Object> {
    state.iter().find(|(known, _)| *known == name).map(|(_, object)| *object)
}

fn put(state: &Entries, name: Name, object: Object) -> Entries {
    let mut next = without(state, name);
    next.push((name, object));
    next.sort_unstable();
    next
}

fn without(state: &Entries, name: Name) -> Entries {
    state.iter().copied().filter(|(known, _)| *known != name).collect()
}

/// The state if the object under this name has number `id`.
fn seen(state: &Entries, name: Name, id: u64) -> Option<Entries> {
    let object = find(state, name)?;
    match object.id {
        Id::Known(known) => (known == id).then(|| state.clone()),
        Id::MadeBy(_) if state.iter().any(|(_, other)| other.id == Id::Known(id)) => None,
        Id::MadeBy(_) => {
            let mut next = state.clone();
            for (_, other) in next.iter_mut().filter(|(_, other)| other.id == object.id) {
                other.id = Id::Known(id);
            }
            next.sort_unstable();
            Some(next)
        }
    }
}

fn make(
    state: &Entries,
    number: usize,
    name: Name,
    directory: bool,
    answer: Option<&NameAnswer>,
) -> Option<Entries> {
    let there = find(state, name).is_some();
    match answer {
        Some(NameAnswer::Exists) => there.then(|| state.clone()),
        None | Some(NameAnswer::Made(None)) => {
            (!there).then(|| put(state, name, Object { id: Id::MadeBy(number), directory }))
        }
        Some(NameAnswer::Made(Some(id))) => {
            let fresh = !there && !state.iter().any(|(_, other)| other.id == Id::Known(*id));
            fresh.then(|| put(state, name, Object { id: Id::Known(*id), directory }))
        }
        Some(_) => None,
    }
}

fn rename(state: &Entries, from: Name, to: Name, answer: Option<&NameAnswer>) -> Option<Entries> {
    let (source, target) = (find(state, from), find(state, to));
    let (outcome, next) = match (source, target) {
        (None, _) => (NameAnswer::Missing, state.clone()),
        (Some(source), Some(target)) if source.id == target.id => (NameAnswer::Done, state.clone()),
        (Some(source), Some(target)) if source.directory != target.directory => {
            (NameAnswer::Clash, state.clone())
        }
        (Some(source), _) => (NameAnswer::Done, put(&without(state, from), to, source)),
    };
    answer.is_none_or(|answer| *answer == outcome).then_some(next)
}

fn link(state: &Entries, id: u64, to: Name, answer: Option<&NameAnswer>) -> Option<Entries> {
    let object = state.iter().find(|(_, object)| object.id == Id::Known(id)).map(|(_, object)| *object);
    let there = find(state, to).is_some();
    match (answer, object) {
        (Some(NameAnswer::Exists), _) => there.then(|| state.clone()),
        (Some(NameAnswer::Missing), None) => Some(state.clone()),
        (None | Some(NameAnswer::Done), Some(object)) if !there && !object.directory => {
            Some(put(state, to, object))
        }
        _ => None,
    }
}

fn listed(state: &Entries, list: &[(Name, u64)]) -> Option<Entries> {
    if list.len() != state.len() {
        return None;
    }
    list.iter().try_fold(state.clone(), |state, (name, id)| seen(&state, *name, *id))
}

impl Model for Directory {
    type State = Entries;
    type Act = NameAct;
    type Answer = NameAnswer;

    fn begin(&self) -> Entries {
        Entries::new()
    }

    fn step(
        &self,
        state: &Entries,
        number: usize,
        act: &NameAct,
        answer: Option<&NameAnswer>,
    ) -> Option<Entries> {
        match act {
            NameAct::Lookup(name) => match answer? {
                NameAnswer::Missing => find(state, *name).is_none().then(|| state.clone()),
                NameAnswer::Found { id, directory } => {
                    let fits = find(state, *name).is_some_and(|object| object.directory == *directory);
                    if fits { seen(state, *name, *id) } else { None }
                }
                _ => None,
            },
            NameAct::Create(name) => make(state, number, *name, false, answer),
            NameAct::Mkdir(name) => make(state, number, *name, true, answer),
            NameAct::Remove(name) => match (find(state, *name), answer) {
                (None, Some(NameAnswer::Missing)) => Some(state.clone()),
                (Some(_), None | Some(NameAnswer::Done)) => Some(without(state, *name)),
                _ => None,
            },
            NameAct::Rename(from, to) => rename(state, *from, *to, answer),
            NameAct::Link(id, to) => link(state, *id, *to, answer),
            NameAct::List => match answer? {
                NameAnswer::Listed(list) => listed(state, list),
                _ => None,
            },
        }
    }

    fn changes_nothing(&self, act: &NameAct, answer: &NameAnswer) -> bool {
        matches!(act, NameAct::Lookup(_) | NameAct::List)
            || matches!(answer, NameAnswer::Missing | NameAnswer::Exists | NameAnswer::Clash)
    }
}

#[cfg(test)]
mod tests;
