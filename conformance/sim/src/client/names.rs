//! Clients in a directory that they share: make, find, list, rename, link and remove a handful of
//! names.

use bytes::Bytes;
use wire_nfs::v4::attr::{FileType, numbers};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{create, getattr, link, lookup, open, readdir, remove, rename, savefh};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Filehandle, Nfsstat4, Op, Stateid, Verifier};

use super::compound::{Operations, Reply};
use super::opens;
use super::session::{Called, Client};
use crate::chance::Chance;
use crate::check::names::{Name, NameAct, NameAnswer};
use crate::record::Place;

/// Names in each directory.
pub(crate) const NAMES: u64 = 5;

pub(super) fn text(name: Name) -> Bytes {
    Bytes::from(format!("name-{name}"))
}

fn name_of(text: &[u8]) -> Option<Name> {
    std::str::from_utf8(text).ok()?.strip_prefix("name-")?.parse().ok()
}

pub(super) fn identity() -> getattr::Args {
    getattr::Args { requested: Bitmap::of(&[numbers::TYPE, numbers::FILEID]) }
}

pub(super) fn mode(bits: u32) -> Fattr4 {
    Fattr4::from_values(&AttrValues { mode: Some(bits), ..AttrValues::default() })
}

/// A directory at the root, made if it is not there.
pub(crate) async fn directory(client: &Client, name: &str) -> Option<Filehandle> {
    let name = Bytes::copy_from_slice(name.as_bytes());
    for _ in 0..20 {
        let found =
            Operations::at_root().then(Op::Lookup, &lookup::Args { name: name.clone() }).then_handle();
        if let Called::Reply(mut reply) = client.call(found).await
            && reply.skip(&[Op::Putrootfh, Op::Lookup]).is_ok()
            && let Ok(handle) = reply.handle()
        {
            return Some(handle);
        }
        let object = create::ObjectType::Directory;
        let args = create::Args { object, name: name.clone(), attributes: mode(0o777) };
        drop(client.call(Operations::at_root().then(Op::Create, &args)).await);
    }
    None
}

/// Does one thing in the directory.
pub(crate) async fn act(
    client: &Client,
    chance: &mut Chance,
    place: Place,
    directory: &Filehandle,
    known: &mut Vec<(u64, Filehandle)>,
) {
    let name = Name::try_from(chance.below(NAMES)).expect("few");
    let other = Name::try_from(chance.below(NAMES)).expect("few");
    let act = match chance.below(100) {
        0..18 => NameAct::Lookup(name),
        18..40 => NameAct::Create(name),
        40..48 => NameAct::Mkdir(name),
        48..64 => NameAct::Remove(name),
        64..80 => NameAct::Rename(name, other),
        80..90 => match known.is_empty() {
            true => NameAct::Lookup(name),
            false => NameAct::Link(chance.pick(known).0, name),
        },
        _ => NameAct::List,
    };
    let wants_handle = matches!(act, NameAct::Lookup(_));
    let handle = match &act {
        NameAct::Link(id, _) => known.iter().find(|(known, _)| known == id).map(|(_, handle)| handle.clone()),
        _ => None,
    };
    let operations = operations(client, directory, &act, handle.as_ref());
    let at = client.record.begin_name(place, client.number, client.now_ns(), act.clone());
    let called = client.call(operations).await;
    let now_ns = client.now_ns();
    let Called::Reply(mut reply) = called else {
        client.record.count("names: unknown");
        return;
    };
    let mut open = None;
    let answer = read(&mut reply, &act, &mut open);
    match answer {
        Ok(answer) => {
            if let NameAnswer::Found { id, directory: false } = answer
                && wants_handle
                && let Ok(handle) = reply.handle()
            {
                known.retain(|(known, _)| *known != id);
                known.push((id, handle));
                if 4 < known.len() {
                    known.remove(0);
                }
            }
            client.record.count(format!("names: {}", kind(&answer)));
            client.record.end_name(place, at, now_ns, answer);
        }
        Err(status) => {
            client.record.count(format!("names: {act:?} {}", status.name()).replace(char::is_numeric, ""))
        }
    }
    if let Some((handle, stateid)) = open {
        opens::close(client, chance, &handle, stateid).await;
    }
}

fn kind(answer: &NameAnswer) -> &'static str {
    match answer {
        NameAnswer::Done => "done",
        NameAnswer::Missing => "missing",
        NameAnswer::Exists => "exists",
        NameAnswer::Clash => "clash",
        NameAnswer::Found { .. } => "found",
        NameAnswer::Made(_) => "made",
        NameAnswer::Listed(_) => "listed",
    }
}

/// Reads the whole directory, for the record.
pub(crate) async fn list(client: &Client, place: Place, directory: &Filehandle) -> bool {
    let at = client.record.begin_name(place, client.number, client.now_ns(), NameAct::List);
    let Called::Reply(mut reply) = client.call(operations(client, directory, &NameAct::List, None)).await
    else {
        return false;
    };
    let now_ns = client.now_ns();
    let Ok(answer) = read(&mut reply, &NameAct::List, &mut None) else { return false };
    client.record.end_name(place, at, now_ns, answer);
    true
}

/// An OPEN that makes the file, and is refused if there is one.
pub(super) fn guarded_open(owner: StateOwner, name: Name) -> open::Args {
    open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH,
        share_deny: share::DENY_NONE,
        owner,
        how: OpenHow::Create(CreateHow::Guarded(mode(0o666))),
        claim: Claim::Null(text(name)),
    }
}

fn operations(
    client: &Client,
    directory: &Filehandle,
    act: &NameAct,
    handle: Option<&Filehandle>,
) -> Operations {
    let at = Operations::at(directory);
    match act {
        NameAct::Lookup(name) => at
            .then(Op::Lookup, &lookup::Args { name: text(*name) })
            .then(Op::Getattr, &identity())
            .then_handle(),
        NameAct::Create(name) => {
            let args = guarded_open(opens::owner(client, "names"), *name);
            at.then(Op::Open, &args).then(Op::Getattr, &identity()).then_handle()
        }
        NameAct::Mkdir(name) => {
            let object = create::ObjectType::Directory;
            let args = create::Args { object, name: text(*name), attributes: mode(0o777) };
            at.then(Op::Create, &args).then(Op::Getattr, &identity())
        }
        NameAct::Remove(name) => at.then(Op::Remove, &remove::Args { name: text(*name) }),
        NameAct::Rename(from, to) => {
            let args = rename::Args { old_name: text(*from), new_name: text(*to) };
            at.then(Op::Savefh, &savefh::Args).then(Op::Rename, &args)
        }
        NameAct::Link(_, to) => {
            let file = handle.unwrap_or(directory);
            let putfh = wire_nfs::v4::ops::putfh::Args { filehandle: directory.clone() };
            Operations::at(file)
                .then(Op::Savefh, &savefh::Args)
                .then(Op::Putfh, &putfh)
                .then(Op::Link, &link::Args { name: text(*to) })
        }
        NameAct::List => {
            let args = readdir::Args {
                cookie: 0,
                verifier: Verifier::default(),
                dircount: 0,
                maxcount: 8192,
                requested: Bitmap::of(&[numbers::FILEID]),
            };
            at.then(Op::Readdir, &args)
        }
    }
}

type Opened = Option<(Filehandle, Stateid)>;

fn read(reply: &mut Reply, act: &NameAct, opened: &mut Opened) -> Result<NameAnswer, Nfsstat4> {
    match act {
        NameAct::Lookup(_) => {
            reply.skip(&[Op::Putfh])?;
            match reply.status(Op::Lookup) {
                Nfsstat4::Ok => {
                    let (id, directory) = found(reply)?;
                    Ok(NameAnswer::Found { id, directory })
                }
                Nfsstat4::Noent => Ok(NameAnswer::Missing),
                status => Err(status),
            }
        }
        NameAct::Create(_) => {
            reply.skip(&[Op::Putfh])?;
            match reply.next::<open::ResOk>(Op::Open) {
                Ok(open) => {
                    let made = found(reply).ok().map(|(id, _)| id);
                    *opened = reply.handle().ok().map(|handle| (handle, open.stateid));
                    Ok(NameAnswer::Made(made))
                }
                Err(Nfsstat4::Exist) => Ok(NameAnswer::Exists),
                Err(status) => Err(status),
            }
        }
        NameAct::Mkdir(_) => {
            reply.skip(&[Op::Putfh])?;
            match reply.next::<create::ResOk>(Op::Create) {
                Ok(_) => Ok(NameAnswer::Made(found(reply).ok().map(|(id, _)| id))),
                Err(Nfsstat4::Exist) => Ok(NameAnswer::Exists),
                Err(status) => Err(status),
            }
        }
        NameAct::Remove(_) => {
            reply.skip(&[Op::Putfh])?;
            plain(reply.status(Op::Remove))
        }
        NameAct::Rename(..) => {
            reply.skip(&[Op::Putfh, Op::Savefh])?;
            plain(reply.status(Op::Rename))
        }
        NameAct::Link(..) => {
            match reply.skip(&[Op::Putfh, Op::Savefh, Op::Putfh]) {
                Ok(()) => plain(reply.status(Op::Link)),
                // docs/protocol/sessions.md §5: it may have been carried out when it was sent
                // before, and its file be gone since.
                Err(status) if reply.sent_before => Err(status),
                Err(status) => plain(status),
            }
        }
        NameAct::List => {
            reply.skip(&[Op::Putfh])?;
            Ok(NameAnswer::Listed(listed(&reply.next(Op::Readdir)?)?))
        }
    }
}

fn plain(status: Nfsstat4) -> Result<NameAnswer, Nfsstat4> {
    match status {
        Nfsstat4::Ok => Ok(NameAnswer::Done),
        Nfsstat4::Noent | Nfsstat4::Stale => Ok(NameAnswer::Missing),
        Nfsstat4::Exist => Ok(NameAnswer::Exists),
        Nfsstat4::Notdir | Nfsstat4::Isdir => Ok(NameAnswer::Clash),
        status => Err(status),
    }
}

pub(super) fn found(reply: &mut Reply) -> Result<(u64, bool), Nfsstat4> {
    let attributes: getattr::ResOk = reply.next(Op::Getattr)?;
    let values = attributes.attributes.to_values().map_err(|_| Nfsstat4::Badxdr)?;
    let id = values.fileid.ok_or(Nfsstat4::Badxdr)?;
    Ok((id, values.file_type == Some(FileType::Directory)))
}

/// The names of a directory, and the numbers of what they lead to.
pub(super) fn listed(list: &readdir::ResOk) -> Result<Vec<(Name, u64)>, Nfsstat4> {
    let mut names = Vec::new();
    for entry in &list.entries {
        let values = entry.attributes.to_values().map_err(|_| Nfsstat4::Badxdr)?;
        let name = name_of(&entry.name).ok_or(Nfsstat4::Badxdr)?;
        names.push((name, values.fileid.ok_or(Nfsstat4::Badxdr)?));
    }
    names.sort_unstable();
    if list.eof { Ok(names) } else { Err(Nfsstat4::Toosmall) }
}
