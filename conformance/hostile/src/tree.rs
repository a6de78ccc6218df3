//! Files and directories by name, and what is done to an open file through the metadata server.
//!
//! Each function says which status it got where an attack wants to know, and is an error where only
//! success makes sense.

use bytes::Bytes;
use wire_nfs::v4::ops::create::{self, ObjectType};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::write::StableHow;
use wire_nfs::v4::ops::{
    close, getattr, getfh, lookup, open, putfh, putrootfh, read, remove, rename, savefh, setattr, write,
};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Filehandle, Nfsstat4, Op, Stateid};

use crate::failed::{Outcome, failed};
use crate::session::{Client, Ops, Reply};

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) handle: Filehandle,
    pub(crate) stateid: Stateid,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// It must exist.
    Existing,
    /// Made if need be, with this mode.
    Make(u32),
    /// Made if need be, and emptied.
    Empty,
}

/// A name in a request.
pub(crate) fn name(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// Attributes with a mode alone.
pub(crate) fn mode(bits: u32) -> Fattr4 {
    Fattr4::from_values(&AttrValues { mode: Some(bits), ..AttrValues::default() })
}

/// Attributes with a size alone.
pub(crate) fn size(bytes: u64) -> Fattr4 {
    Fattr4::from_values(&AttrValues { size: Some(bytes), ..AttrValues::default() })
}

/// Writes the walk from the root down `path`, parted by slashes.
pub(crate) fn walk(c: &mut Ops<'_>, path: &str) {
    c.op(Op::Putrootfh, &putrootfh::Args);
    for part in parts(path) {
        c.op(Op::Lookup, &lookup::Args { name: name(part) });
    }
}

/// Reads the results of [`walk`].
pub(crate) fn walked(reply: &mut Reply, path: &str) -> Outcome<()> {
    reply.skip(Op::Putrootfh)?;
    parts(path).try_for_each(|_| reply.skip(Op::Lookup))
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Directory and last name of a path.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path))
}

/// LOOKUP down a path; the handle.
pub(crate) async fn find(client: &mut Client, path: &str) -> Outcome<Filehandle> {
    let mut reply = client
        .call(|c| {
            walk(c, path);
            c.op(Op::Getfh, &getfh::Args);
        })
        .await?;
    walked(&mut reply, path)?;
    Ok(reply.next::<getfh::ResOk>(Op::Getfh)?.filehandle)
}

/// LOOKUP and GETATTR of a path; its size.
pub(crate) async fn stat(client: &mut Client, path: &str) -> Outcome<u64> {
    let mut reply = client
        .call(|c| {
            walk(c, path);
            c.op(Op::Getattr, &getattr::Args { requested: Bitmap::of(&[4]) });
        })
        .await?;
    walked(&mut reply, path)?;
    let found: getattr::ResOk = reply.next(Op::Getattr)?;
    let values =
        found.attributes.to_values().map_err(|_| failed("GETATTR: attributes that make no sense"))?;
    values.size.ok_or_else(|| failed("GETATTR: no size"))
}

/// OPEN of a path; the error names the status.
pub(crate) async fn open_as(client: &mut Client, path: &str, how: How, access: u32) -> Outcome<Opened> {
    let (directory, last) = split(path);
    let args = open::Args {
        seqid: 0,
        share_access: access | share::WANT_NO_DELEG,
        share_deny: share::DENY_NONE,
        owner: StateOwner { clientid: client.clientid, owner: Bytes::from_static(b"opener") },
        how: match how {
            How::Existing => OpenHow::NoCreate,
            How::Make(bits) => OpenHow::Create(CreateHow::Unchecked(mode(bits))),
            How::Empty => OpenHow::Create(CreateHow::Unchecked(size(0))),
        },
        claim: Claim::Null(name(last)),
    };
    let mut reply = client
        .call(|c| {
            walk(c, directory);
            c.op(Op::Open, &args);
            c.op(Op::Getfh, &getfh::Args);
        })
        .await?;
    walked(&mut reply, directory)?;
    let opened: open::ResOk = reply.next(Op::Open)?;
    let handle = reply.next::<getfh::ResOk>(Op::Getfh)?.filehandle;
    Ok(Opened { handle, stateid: Stateid { seqid: 0, ..opened.stateid } })
}

/// OPEN for reading and writing, made if need be.
pub(crate) async fn open_file(client: &mut Client, path: &str, bits: u32) -> Outcome<Opened> {
    open_as(client, path, How::Make(bits), share::ACCESS_BOTH).await
}

/// What comes of operations on a handle: the status at which they ended.
pub(crate) async fn status_at(
    client: &mut Client,
    handle: &Filehandle,
    write: impl Fn(&mut Ops<'_>),
) -> Outcome<Nfsstat4> {
    let reply = client
        .call(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: handle.clone() });
            write(c);
        })
        .await?;
    Ok(reply.status)
}

/// CLOSE.
pub(crate) async fn close_file(client: &mut Client, file: &Opened) -> Outcome<()> {
    let args = close::Args { seqid: 0, open_stateid: file.stateid };
    good(status_at(client, &file.handle, |c| c.op(Op::Close, &args)).await?, "CLOSE")
}

/// SETATTR with the anonymous stateid.
pub(crate) async fn set(client: &mut Client, at: &Filehandle, attributes: Fattr4) -> Outcome<Nfsstat4> {
    let args = setattr::Args { stateid: Stateid::ANONYMOUS, attributes };
    status_at(client, at, |c| c.op(Op::Setattr, &args)).await
}

/// WRITE through the metadata server, durable; all of it.
pub(crate) async fn write_file(client: &mut Client, file: &Opened, offset: u64, data: Bytes) -> Outcome<()> {
    let args = write::Args { stateid: file.stateid, offset, stable: StableHow::FileSync, data };
    let mut reply = client
        .call(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: file.handle.clone() });
            c.op(Op::Write, &args);
        })
        .await?;
    reply.skip(Op::Putfh)?;
    let done: write::ResOk = reply.next(Op::Write)?;
    if usize::try_from(done.count).is_ok_and(|count| count == args.data.len()) {
        Ok(())
    } else {
        Err(failed(format!("WRITE took {} of {} bytes", done.count, args.data.len())))
    }
}

/// READ through the metadata server.
pub(crate) async fn read_file(
    client: &mut Client,
    file: &Opened,
    offset: u64,
    count: u32,
) -> Outcome<read::ResOk> {
    let args = read::Args { stateid: file.stateid, offset, count };
    let mut reply = client
        .call(|c| {
            c.op(Op::Putfh, &putfh::Args { filehandle: file.handle.clone() });
            c.op(Op::Read, &args);
        })
        .await?;
    reply.skip(Op::Putfh)?;
    reply.next(Op::Read)
}

/// REMOVE; the status.
pub(crate) async fn remove_name(client: &mut Client, path: &str) -> Outcome<Nfsstat4> {
    let (directory, last) = split(path);
    let reply = client
        .call(|c| {
            walk(c, directory);
            c.op(Op::Remove, &remove::Args { name: name(last) });
        })
        .await?;
    Ok(reply.status)
}

/// RENAME within the root; the status.
pub(crate) async fn rename_in_root(client: &mut Client, from: &str, to: &str) -> Outcome<Nfsstat4> {
    let args = rename::Args { old_name: name(from), new_name: name(to) };
    let reply = client
        .call(|c| {
            c.op(Op::Putrootfh, &putrootfh::Args);
            c.op(Op::Savefh, &savefh::Args);
            c.op(Op::Rename, &args);
        })
        .await?;
    Ok(reply.status)
}

/// CREATE of a directory that may exist.
pub(crate) async fn make_directory(client: &mut Client, path: &str, bits: u32) -> Outcome<()> {
    let (directory, last) = split(path);
    let args = create::Args { object: ObjectType::Directory, name: name(last), attributes: mode(bits) };
    let reply = client
        .call(|c| {
            walk(c, directory);
            c.op(Op::Create, &args);
        })
        .await?;
    match reply.status {
        Nfsstat4::Ok | Nfsstat4::Exist => Ok(()),
        status => good(status, "CREATE"),
    }
}

/// An error unless it is OK.
pub(crate) fn good(status: Nfsstat4, what: &str) -> Outcome<()> {
    if status == Nfsstat4::Ok { Ok(()) } else { Err(failed(format!("{what}: {}", status.name()))) }
}
