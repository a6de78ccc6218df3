//! What is done to one file or one directory, and what must be answered.

use bytes::Bytes;
use clap::ValueEnum;
use wire_nfs::v4::attr::{FileType, numbers};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{close, create, getattr, lookup, open, readdir, remove};
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Filehandle, Nfsstat4, Op, Stateid, Verifier};

use crate::error::LoadError;
use crate::limits::LIST_BYTES;
use crate::request::{Reply, Request};
use crate::session::Session;

/// One thing that is done to all files, or all directories.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Act {
    /// Makes the directories; those that are there already will do.
    Mkdir,
    /// OPEN that makes an empty file, and CLOSE.
    Create,
    /// LOOKUP and GETATTR by name, in an order that is not that of creation.
    Stat,
    /// READDIR with attributes, all of each directory.
    List,
    /// REMOVE of each file.
    Remove,
    /// REMOVE of the directories.
    Rmdir,
}

impl Act {
    /// What figures call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mkdir => "mkdir",
            Self::Create => "create",
            Self::Stat => "stat",
            Self::List => "list",
            Self::Remove => "remove",
            Self::Rmdir => "rmdir",
        }
    }
}

fn mode(bits: u32) -> Fattr4 {
    Fattr4::from_values(&AttrValues { mode: Some(bits), ..AttrValues::default() })
}

/// What `stat` and `ls -l` need.
fn attributes() -> getattr::Args {
    getattr::Args {
        requested: Bitmap::of(&[
            numbers::TYPE,
            numbers::CHANGE,
            numbers::SIZE,
            numbers::FILEID,
            numbers::MODE,
            numbers::NUMLINKS,
            numbers::OWNER,
            numbers::OWNER_GROUP,
            numbers::SPACE_USED,
            numbers::TIME_ACCESS,
            numbers::TIME_METADATA,
            numbers::TIME_MODIFY,
        ]),
    }
}

fn file_type(reply: &mut Reply) -> Result<Option<FileType>, LoadError> {
    let found: getattr::ResOk = reply.next(Op::Getattr)?;
    let values = found.attributes.to_values().map_err(|_| LoadError::Unreadable("GETATTR"))?;
    Ok(values.file_type)
}

/// Makes a directory at the root, or finds it.
pub(crate) async fn mkdir(session: &Session, name: Bytes) -> Result<Filehandle, LoadError> {
    let object = create::ObjectType::Directory;
    let args = create::Args { object, name: name.clone(), attributes: mode(0o777) };
    let mut reply = session.call(Request::at_root().then(Op::Create, &args).then_handle()).await?;
    reply.skip(Op::Putrootfh)?;
    match reply.next::<create::ResOk>(Op::Create) {
        Ok(_) => reply.handle(),
        Err(LoadError::Refused { status: Nfsstat4::Exist, .. }) => {
            let found = Request::at_root().then(Op::Lookup, &lookup::Args { name }).then_handle();
            let mut reply = session.call(found).await?;
            reply.skip(Op::Putrootfh)?;
            reply.skip(Op::Lookup)?;
            reply.handle()
        }
        Err(error) => Err(error),
    }
}

/// A file that was just made, and is open.
pub(crate) struct Opened {
    handle: Filehandle,
    stateid: Stateid,
}

/// The first half of `create`: the file is there, and durable, when this returns.
pub(crate) async fn open(
    session: &Session,
    directory: &Filehandle,
    name: Bytes,
) -> Result<Opened, LoadError> {
    let args = open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH | share::WANT_NO_DELEG,
        share_deny: share::DENY_NONE,
        owner: StateOwner { clientid: session.clientid, owner: Bytes::from_static(b"load") },
        how: OpenHow::Create(CreateHow::Guarded(mode(0o644))),
        claim: Claim::Null(name),
    };
    let request = Request::at(directory).then(Op::Open, &args).then_handle().then(Op::Getattr, &attributes());
    let mut reply = session.call(request).await?;
    reply.skip(Op::Putfh)?;
    let made: open::ResOk = reply.next(Op::Open)?;
    let handle = reply.handle()?;
    match file_type(&mut reply)? {
        Some(FileType::Regular) => Ok(Opened { handle, stateid: made.stateid }),
        other => Err(LoadError::Wrong(format!("a file was made and is {other:?}"))),
    }
}

/// The second half.
pub(crate) async fn close(session: &Session, opened: Opened) -> Result<(), LoadError> {
    let args = close::Args { seqid: 0, open_stateid: opened.stateid };
    let mut reply = session.call(Request::at(&opened.handle).then(Op::Close, &args)).await?;
    reply.skip(Op::Putfh)?;
    reply.skip(Op::Close)
}

/// Looks a file up and asks what it is.
pub(crate) async fn stat(session: &Session, directory: &Filehandle, name: Bytes) -> Result<(), LoadError> {
    let request = Request::at(directory)
        .then(Op::Lookup, &lookup::Args { name })
        .then_handle()
        .then(Op::Getattr, &attributes());
    let mut reply = session.call(request).await?;
    reply.skip(Op::Putfh)?;
    reply.skip(Op::Lookup)?;
    reply.handle()?;
    match file_type(&mut reply)? {
        Some(FileType::Regular) => Ok(()),
        other => Err(LoadError::Wrong(format!("a file is {other:?}"))),
    }
}

/// Reads a whole directory; how many entries it has.
pub(crate) async fn list(session: &Session, directory: &Filehandle) -> Result<u64, LoadError> {
    let (mut cookie, mut verifier, mut entries) = (0, Verifier::default(), 0);
    loop {
        let requested = attributes().requested;
        let args = readdir::Args { cookie, verifier, dircount: LIST_BYTES, maxcount: LIST_BYTES, requested };
        let mut reply = session.call(Request::at(directory).then(Op::Readdir, &args)).await?;
        reply.skip(Op::Putfh)?;
        let page: readdir::ResOk = reply.next(Op::Readdir)?;
        entries += page.entries.len() as u64;
        match page.entries.last() {
            _ if page.eof => return Ok(entries),
            Some(last) => (cookie, verifier) = (last.cookie, page.verifier),
            None => return Err(LoadError::Wrong("an empty page that is not the last".to_owned())),
        }
    }
}

/// Removes a name from a directory, or (without one) from the root.
pub(crate) async fn remove(
    session: &Session,
    directory: Option<&Filehandle>,
    name: Bytes,
) -> Result<(), LoadError> {
    let at = directory.map_or_else(Request::at_root, Request::at);
    let mut reply = session.call(at.then(Op::Remove, &remove::Args { name })).await?;
    reply.skip(if directory.is_some() { Op::Putfh } else { Op::Putrootfh })?;
    reply.skip(Op::Remove)
}
