//! Clients in a few directories at once: what they make there they move from one to the other and
//! into each other, link, remove, and look for.
//!
//! With several shards the directories lie on different ones, so most of these acts are on two or
//! three. All clients act in short bursts at the same moments, so that acts of one run beside those
//! of another, and a client looks while a directory moves.

use std::collections::BTreeSet;

use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::ops::{
    close, create, getattr, link, lookup, lookupp, open, putfh, readdir, remove, rename,
};
use wire_nfs::v4::{Bitmap, Filehandle, Nfsstat4, Op, Stateid, Verifier};

use super::compound::{Operations, Reply};
use super::names::{directory, found, guarded_open, identity, listed, mode, text};
use super::opens;
use super::session::{Called, Client};
use crate::chance::Chance;
use crate::check::moves::{MoveAct, MoveAnswer, Spot};
use crate::check::names::Name;
use crate::record::Place;

/// Directories of a group.
const PARENTS: u64 = 3;
/// Names in each directory, also in those that are moved.
const NAMES: u64 = 3;
/// Objects whose handles a client keeps.
const KNOWN_MAX: usize = 6;
/// Objects that are looked at when all is quiet: more than names can make.
const LOOKED_AT_MAX: usize = 500;

/// An object that was found in the group.
struct Known {
    id: u64,
    handle: Filehandle,
    directory: bool,
}

/// A group of directories as a client knows it.
pub(crate) struct Group {
    place: Place,
    parents: Vec<(u64, Filehandle)>,
    known: Vec<Known>,
    /// Where something was last, in directories that are known.
    taken: BTreeSet<Spot>,
}

/// The directories of a group, made if they are not there.
pub(crate) async fn group(client: &Client, place: Place) -> Option<Group> {
    let mut parents = Vec::new();
    for number in 0..PARENTS {
        let handle = directory(client, &format!("moves-{}-{}-{number}", place.0, place.1)).await?;
        let asked = Operations::at(&handle).then(Op::Getattr, &identity());
        let Called::Reply(mut reply) = client.call(asked).await else { return None };
        reply.skip(&[Op::Putfh]).ok()?;
        parents.push((found(&mut reply).ok()?.0, handle));
    }
    client.record.begin_group(place, parents.iter().map(|(id, _)| *id).collect());
    Some(Group { place, parents, known: Vec::new(), taken: BTreeSet::new() })
}

impl Group {
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    fn handle(&self, id: u64) -> Option<&Filehandle> {
        let known = self.known.iter().map(|known| (known.id, &known.handle));
        let parents = self.parents.iter().map(|(id, handle)| (*id, handle));
        parents.chain(known).find(|(known, _)| *known == id).map(|(_, handle)| handle)
    }

    /// One of those that are moved.
    fn any(&self, chance: &mut Chance, directory: bool) -> Option<&Known> {
        let fit: Vec<&Known> = self.known.iter().filter(|known| known.directory == directory).collect();
        (!fit.is_empty()).then(|| fit[chance.index(fit.len())])
    }

    fn spot(&self, chance: &mut Chance) -> Spot {
        let name = Name::try_from(chance.below(NAMES)).expect("few");
        let moved = if chance.percent(30) { self.any(chance, true) } else { None };
        (moved.map_or_else(|| chance.pick(&self.parents).0, |moved| moved.id), name)
    }

    /// Where something is, as far as this client knows.
    fn taken_spot(&self, chance: &mut Chance) -> Spot {
        match chance.percent(85) && !self.taken.is_empty() {
            true => *self.taken.iter().nth(chance.index(self.taken.len())).expect("an index into it"),
            false => self.spot(chance),
        }
    }

    /// What to do next, one act after the other without a pause.
    fn choose(&self, chance: &mut Chance) -> Vec<MoveAct> {
        let act = match chance.below(100) {
            0..11 => MoveAct::Mkdir(self.spot(chance)),
            11..17 => MoveAct::Create(self.spot(chance)),
            17..50 => MoveAct::Rename(self.taken_spot(chance), self.spot(chance)),
            50..58 => match self.any(chance, false).map(|file| file.id) {
                Some(file) => MoveAct::Link(file, self.spot(chance)),
                None => MoveAct::Create(self.spot(chance)),
            },
            58..66 => MoveAct::Remove(self.taken_spot(chance)),
            66..73 => MoveAct::Lookup(self.spot(chance)),
            73..78 => MoveAct::List(self.spot(chance).0),
            78..84 => match self.any(chance, true) {
                Some(moved) => MoveAct::Up(moved.id),
                None => MoveAct::Lookup(self.spot(chance)),
            },
            84..91 => match chance.percent(60).then(|| self.any(chance, false)).flatten() {
                Some(file) => MoveAct::Links(file.id),
                None => MoveAct::Links(self.spot(chance).0),
            },
            // A look for something everywhere.
            at => {
                let from = chance.index(self.parents.len());
                let parents = self.parents.iter().cycle().skip(from).take(self.parents.len());
                let name = self.spot(chance).1;
                let look = |(id, _): &(u64, Filehandle)| match at {
                    91..96 => MoveAct::List(*id),
                    _ => MoveAct::Lookup((*id, name)),
                };
                return parents.map(look).collect();
            }
        };
        vec![act]
    }

    /// What this client knows now.
    fn learn(&mut self, act: &MoveAct, answer: &MoveAnswer, handle: Option<Filehandle>) {
        let made = match (act, answer) {
            (MoveAct::Lookup(_), MoveAnswer::Found { id, directory }) => Some((*id, *directory)),
            (MoveAct::Mkdir(_), MoveAnswer::Made(Some(id))) => Some((*id, true)),
            (MoveAct::Create(_), MoveAnswer::Made(Some(id))) => Some((*id, false)),
            _ => None,
        };
        if let (Some((id, directory)), Some(handle)) = (made, handle) {
            self.known.retain(|known| known.id != id);
            self.known.push(Known { id, handle, directory });
            if KNOWN_MAX < self.known.len() {
                self.known.remove(0);
            }
        }
        match (act, answer) {
            (MoveAct::List(directory), MoveAnswer::Listed(list)) => {
                self.taken.retain(|spot| spot.0 != *directory);
                self.taken.extend(list.iter().map(|(name, _)| (*directory, *name)));
            }
            (MoveAct::Rename(from, to), MoveAnswer::Done) => {
                self.taken.remove(from);
                self.taken.insert(*to);
            }
            (MoveAct::Remove(at), MoveAnswer::Done)
            | (MoveAct::Rename(at, _) | MoveAct::Remove(at) | MoveAct::Lookup(at), MoveAnswer::Missing) => {
                self.taken.remove(at);
            }
            (
                MoveAct::Mkdir(at) | MoveAct::Create(at) | MoveAct::Link(_, at) | MoveAct::Lookup(at),
                MoveAnswer::Made(_) | MoveAnswer::Exists | MoveAnswer::Done | MoveAnswer::Found { .. },
            ) => {
                self.taken.insert(*at);
            }
            _ => {}
        }
        // Of two it is one, and the answer does not say which.
        let gone = match (act, answer) {
            (MoveAct::List(id) | MoveAct::Up(id) | MoveAct::Links(id), MoveAnswer::Gone) => [*id; 2],
            (MoveAct::Rename(from, to), MoveAnswer::Gone) => [from.0, to.0],
            (MoveAct::Link(file, to), MoveAnswer::Gone | MoveAnswer::Missing) => [*file, to.0],
            (
                MoveAct::Mkdir(at) | MoveAct::Create(at) | MoveAct::Remove(at) | MoveAct::Lookup(at),
                MoveAnswer::Gone,
            ) => [at.0; 2],
            _ => [0; 2],
        };
        self.known.retain(|known| !gone.contains(&known.id));
        let Self { parents, known, taken, .. } = self;
        let is_known =
            |id| parents.iter().any(|(known, _)| *known == id) || known.iter().any(|known| known.id == id);
        taken.retain(|spot| is_known(spot.0));
    }
}

/// Does a thing or a few in the group.
pub(crate) async fn burst(client: &Client, chance: &mut Chance, group: &mut Group) {
    for act in group.choose(chance) {
        do_one(client, group, act).await;
    }
}

/// Does this, for the record; gives the answer if there is one that tells something.
async fn do_one(client: &Client, group: &mut Group, act: MoveAct) -> Option<MoveAnswer> {
    let operations = operations(client, group, &act)?;
    let at = client.record.begin_move(group.place, client.number, client.now_ns(), act);
    let Called::Reply(mut reply) = client.call(operations).await else {
        client.record.count("moves: unknown");
        return None;
    };
    let now_ns = client.now_ns();
    match read(&mut reply, &act) {
        Ok((answer, handle)) => {
            client.record.count(format!("moves: {} {}", kind(&act), kind(&answer)));
            group.learn(&act, &answer, handle);
            client.record.end_move(group.place, at, now_ns, answer.clone());
            Some(answer)
        }
        Err(status) => {
            client.record.count(format!("moves: {} {}, which tells nothing", kind(&act), status.name()));
            if status == Nfsstat4::Serverfault {
                client.record.broken(format!(
                    "client {}: {act:?} was answered {}",
                    client.number,
                    status.name()
                ));
            }
            None
        }
    }
}

/// The first word of how it is written.
fn kind(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    text.split(|char: char| !char.is_alphabetic()).next().unwrap_or_default().to_owned()
}

/// Looks at all that is in a group, for the record. Says whether all was answered.
pub(crate) async fn look_through(client: &Client, place: Place) -> bool {
    let Some(mut group) = group(client, place).await else { return false };
    let mut directories: Vec<(u64, Filehandle)> = group.parents.clone();
    for looked_at in 0..LOOKED_AT_MAX {
        let Some((directory, handle)) = directories.get(looked_at).cloned() else { return true };
        if PARENTS as usize <= looked_at {
            // It may have been pushed out of what is known.
            group.known.clear();
            group.known.push(Known { id: directory, handle, directory: true });
            if do_one(client, &mut group, MoveAct::Up(directory)).await.is_none() {
                return false;
            }
        }
        let Some(_) = do_one(client, &mut group, MoveAct::Links(directory)).await else { return false };
        let Some(MoveAnswer::Listed(list)) = do_one(client, &mut group, MoveAct::List(directory)).await
        else {
            return false;
        };
        for (name, _) in list {
            let looked = do_one(client, &mut group, MoveAct::Lookup((directory, name))).await;
            let Some(MoveAnswer::Found { id, directory: is_directory }) = looked else { return false };
            let Some(handle) = group.handle(id).cloned() else { return false };
            if is_directory {
                directories.push((id, handle));
            } else if do_one(client, &mut group, MoveAct::Links(id)).await.is_none() {
                return false;
            }
        }
    }
    false
}

fn operations(client: &Client, group: &Group, act: &MoveAct) -> Option<Operations> {
    let at = |id: u64| group.handle(id).map(Operations::at);
    let from_to = |from: u64, to: u64| {
        let to = putfh::Args { filehandle: group.handle(to)?.clone() };
        Some(at(from)?.then(Op::Savefh, &wire_nfs::v4::ops::savefh::Args).then(Op::Putfh, &to))
    };
    Some(match act {
        MoveAct::Mkdir((directory, name)) => {
            let object = create::ObjectType::Directory;
            let args = create::Args { object, name: text(*name), attributes: mode(0o777) };
            at(*directory)?.then(Op::Create, &args).then(Op::Getattr, &identity()).then_handle()
        }
        MoveAct::Create((directory, name)) => {
            let args = guarded_open(opens::owner(client, "moves"), *name);
            // Closed at once: a file that loses its last name is soon gone.
            let close = close::Args { seqid: 0, open_stateid: Stateid::CURRENT };
            let opened = at(*directory)?.then(Op::Open, &args).then(Op::Getattr, &identity());
            opened.then_handle().then(Op::Close, &close)
        }
        MoveAct::Rename(from, to) => {
            let args = rename::Args { old_name: text(from.1), new_name: text(to.1) };
            from_to(from.0, to.0)?.then(Op::Rename, &args)
        }
        MoveAct::Link(file, to) => from_to(*file, to.0)?.then(Op::Link, &link::Args { name: text(to.1) }),
        MoveAct::Remove((directory, name)) => {
            at(*directory)?.then(Op::Remove, &remove::Args { name: text(*name) })
        }
        MoveAct::Lookup((directory, name)) => {
            let args = lookup::Args { name: text(*name) };
            at(*directory)?.then(Op::Lookup, &args).then(Op::Getattr, &identity()).then_handle()
        }
        MoveAct::List(directory) => {
            let args = readdir::Args {
                cookie: 0,
                verifier: Verifier::default(),
                dircount: 0,
                maxcount: 8192,
                requested: Bitmap::of(&[numbers::FILEID]),
            };
            at(*directory)?.then(Op::Readdir, &args)
        }
        MoveAct::Up(directory) => {
            at(*directory)?.then(Op::Lookupp, &lookupp::Args).then(Op::Getattr, &identity())
        }
        MoveAct::Links(id) => {
            at(*id)?.then(Op::Getattr, &getattr::Args { requested: Bitmap::of(&[numbers::NUMLINKS]) })
        }
    })
}

/// What was answered, and the object's handle if it was told.
type Told = (MoveAnswer, Option<Filehandle>);

fn read(reply: &mut Reply, act: &MoveAct) -> Result<Told, Nfsstat4> {
    let before: &[Op] = match act {
        MoveAct::Rename(..) | MoveAct::Link(..) => &[Op::Putfh, Op::Savefh, Op::Putfh],
        _ => &[Op::Putfh],
    };
    if let Err(status) = reply.skip(before) {
        // docs/protocol/sessions.md §5: if it was sent before, it may have been carried out, and
        // what stands before it fails now.
        let tells = !(reply.sent_before && act.changes());
        return if tells { refused(status) } else { Err(status) };
    }
    let op = match act {
        MoveAct::Mkdir(_) => match reply.next::<create::ResOk>(Op::Create) {
            Ok(_) => return Ok(made(reply)),
            Err(status) => return refused(status),
        },
        MoveAct::Create(_) => match reply.next::<open::ResOk>(Op::Open) {
            Ok(_) => return Ok(made(reply)),
            Err(status) => return refused(status),
        },
        MoveAct::List(_) => match reply.next::<readdir::ResOk>(Op::Readdir) {
            Ok(list) => return Ok((MoveAnswer::Listed(listed(&list)?), None)),
            Err(status) => return refused(status),
        },
        MoveAct::Links(_) => match reply.next::<getattr::ResOk>(Op::Getattr) {
            Ok(attributes) => {
                let values = attributes.attributes.to_values().map_err(|_| Nfsstat4::Badxdr)?;
                return Ok((MoveAnswer::Count(values.numlinks.ok_or(Nfsstat4::Badxdr)?), None));
            }
            Err(status) => return refused(status),
        },
        MoveAct::Rename(..) => Op::Rename,
        MoveAct::Link(..) => Op::Link,
        MoveAct::Remove(_) => Op::Remove,
        MoveAct::Lookup(_) => Op::Lookup,
        MoveAct::Up(_) => Op::Lookupp,
    };
    match reply.status(op) {
        Nfsstat4::Ok => {}
        status => return refused(status),
    }
    match act {
        // What comes behind is of a later moment: the object may be gone by then, but its number
        // stays.
        MoveAct::Lookup(_) => {
            let (id, directory) = found(reply)?;
            Ok((MoveAnswer::Found { id, directory }, reply.handle().ok()))
        }
        MoveAct::Up(_) => Ok((MoveAnswer::Under(found(reply)?.0), None)),
        _ => Ok((MoveAnswer::Done, None)),
    }
}

fn made(reply: &mut Reply) -> Told {
    match found(reply) {
        Ok((id, _)) => (MoveAnswer::Made(Some(id)), reply.handle().ok()),
        Err(_) => (MoveAnswer::Made(None), None),
    }
}

fn refused(status: Nfsstat4) -> Result<Told, Nfsstat4> {
    let answer = match status {
        Nfsstat4::Noent => MoveAnswer::Missing,
        Nfsstat4::Stale => MoveAnswer::Gone,
        Nfsstat4::Exist => MoveAnswer::Exists,
        Nfsstat4::Notempty => MoveAnswer::NotEmpty,
        Nfsstat4::Inval => MoveAnswer::Loop,
        Nfsstat4::Notdir => MoveAnswer::NotDirectory,
        Nfsstat4::Isdir => MoveAnswer::IsDirectory,
        Nfsstat4::Delay => MoveAnswer::PutOff,
        status => return Err(status),
    };
    Ok((answer, None))
}
