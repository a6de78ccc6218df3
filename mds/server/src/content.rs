//! The bytes of files: inline beside the inode, or in extents on data servers.
//!
//! Implements READ and WRITE in band, and the move of a file's content from inline to extents. Data
//! servers are reached through the client library, as by any other front.
//!
//! INVARIANT: bytes are on their data server, synced, before a command makes them part of the file.

use bytes::{Bytes, BytesMut};
use client::{DataPathError, Route};
use layout::ec::Profile;
use layout::{DataServerId, DsHandle, Epoch, ExtentId, Holder, Iomode, Role, pieces};
use mds_namespace::{Caller, Content, ExtentRecord, Ino, Inode, op};
use mds_state::command::data::{Allocate, Fence, MoveToExtents, Placing, WriteInline, WrittenAt};
use mds_state::{Command, Outcome, Refusal};
use wire_nfs::v4::Nfsstat4;

use crate::context::Context;
use crate::copies::formers::formers;
use crate::limits::{CONTENT_MOVED_RETRIES_MAX, HOME_MOVED_RETRIES_MAX, READER_WAIT_MS_MAX};
use crate::seal::readers;
use crate::server::Server;
use crate::slow::{self, Wait};
use crate::{copies, drain, flexfile, status};

/// Reads bytes; they keep the room reserved for them. Holes are zeros. The flag marks the end of
/// the file.
///
/// # Errors
/// DELAY while an extent is being changed or its data server is unreachable, IO once it has been
/// for long.
pub(crate) async fn read(
    server: &Server,
    inode: &Inode,
    offset_bytes: u64,
    count_bytes: u64,
) -> Result<(Bytes, bool), Nfsstat4> {
    let end = inode.size_bytes.min(offset_bytes.saturating_add(count_bytes));
    if end <= offset_bytes {
        return Ok((Bytes::new(), inode.size_bytes <= offset_bytes));
    }
    let eof = end == inode.size_bytes;
    let len = end - offset_bytes;
    if inode.content == Content::Inline {
        let view = server.view()?;
        let data = op::inline::read(view.namespace(), inode, offset_bytes, len_usize(len))
            .map_err(|e| status::of_namespace(&e))?;
        return Ok((Bytes::from(data), eof));
    }
    let mut parts = Vec::new();
    for (extent, offset, len) in pieces(inode.ino, offset_bytes, len) {
        parts.push(read_extent(server, extent, offset, len, inode.size_bytes).await?);
    }
    let data = match parts.len() {
        1 => parts.swap_remove(0),
        _ => parts.concat().into(),
    };
    Ok((data, eof))
}

/// The epochs of the extents of a range, as the log has them now.
///
/// # Errors
/// The store's.
pub(crate) fn epochs(
    server: &Server,
    ino: Ino,
    (offset_bytes, count_bytes): (u64, u64),
) -> Result<Vec<(u32, Epoch)>, Nfsstat4> {
    let view = server.view()?;
    let mut found = Vec::new();
    let end_bytes = offset_bytes.saturating_add(count_bytes).min(layout::FILE_BYTES_MAX);
    for (extent, _, _) in pieces(ino, offset_bytes, end_bytes.saturating_sub(offset_bytes)) {
        let record = op::extent::extent(view.namespace(), extent).map_err(|e| status::of_namespace(&e))?;
        found.extend(record.map(|record| (extent.index, record.epoch)));
    }
    Ok(found)
}

/// A length within one transfer or one inline file.
fn len_usize(len_bytes: u64) -> usize {
    usize::try_from(len_bytes).expect("bounded by the transfer size")
}

async fn read_extent(
    server: &Server,
    extent: ExtentId,
    offset: u64,
    len: u64,
    size_bytes: u64,
) -> Result<Bytes, Nfsstat4> {
    let bytes = len_usize(len);
    for _ in 0..HOME_MOVED_RETRIES_MAX {
        if let Some(data) = by_reader(server, extent, offset, len, size_bytes).await {
            return Ok(data);
        }
        let Some(record) = copies::served(server, extent).await? else {
            return Ok(Bytes::from(vec![0; bytes]));
        };
        if record.pending_work.is_some() {
            return Err(Nfsstat4::Delay);
        }
        let route = route(server, &record, Iomode::Read, size_bytes)?;
        let read = at_home(server, &record, server.data_path.read(&route, offset, len)).await?;
        let Some((segments, _)) = read else { continue };
        return Ok(filled(&segments, bytes));
    }
    Err(Nfsstat4::Delay)
}

/// Pads to `bytes`: where the file is longer than the data server's bytes, the rest is a hole.
fn filled(segments: &[Bytes], bytes: usize) -> Bytes {
    let mut data = BytesMut::with_capacity(bytes);
    segments.iter().for_each(|segment| data.extend_from_slice(segment));
    data.resize(bytes, 0);
    data.freeze()
}

/// Reads an extent at rest through its group while its home cannot be used. `None` if the home can
/// be used, or there is no reader.
async fn by_reader(
    server: &Server,
    extent: ExtentId,
    offset: u64,
    len: u64,
    size_bytes: u64,
) -> Option<Bytes> {
    let (record, reader) = readers::stand_in(server, None, extent)?;
    let known = server.data_servers.one(reader)?;
    let handle = flexfile::reader_handle(&own_handle(server, &record, Iomode::Read, size_bytes), reader);
    let route = Route::new(known.data_address()?, layout::handle::seal(&server.handle_keys().used, &handle));
    let read = tokio::select! {
        read = server.data_path.read(&route, offset, len) => read,
        () = copies::moved(server, &record) => return None,
        () = server.env.clock.sleep_ms(READER_WAIT_MS_MAX) => return None,
    };
    match read {
        Ok((segments, _)) => Some(filled(&segments, len_usize(len))),
        Err(error) => {
            tracing::info!(server = reader.0, %extent, %error, "a reader cannot be used in band");
            if matches!(error, DataPathError::Unreachable(_)) {
                server.data_servers.mark_broken(reader, server.now_ms());
            }
            None
        }
    }
}

/// Outcome of I/O at an extent's home; `None` if it is to be retried, at another home or at this
/// one.
async fn at_home<T>(
    server: &Server,
    record: &ExtentRecord,
    io: impl Future<Output = Result<T, DataPathError>>,
) -> Result<Option<T>, Nfsstat4> {
    let wait = Wait::new("I/O in band").of(record.extent).at(record.home);
    let done = tokio::select! {
        done = slow::waited(&*server.env.clock, wait, io) => done,
        () = copies::moved(server, record) => return Ok(None),
    };
    match done {
        Ok(done) => Ok(Some(done)),
        Err(DataPathError::Unreachable(error)) => {
            tracing::info!(server = record.home.0, %error, "a home cannot be reached in band");
            server.data_servers.mark_broken(record.home, server.now_ms());
            Ok(None)
        }
        Err(error) => Err(of_data_path(server, record, &error)),
    }
}

/// Writes bytes; they are on stable storage when this returns. New extents get `code`.
///
/// # Errors
/// As [`read`], and NOSPC if the home is full.
pub(crate) async fn write(
    cx: &Context,
    caller: Caller,
    ino: Ino,
    (offset_bytes, data): (u64, Bytes),
    code: Option<Profile>,
) -> Result<Inode, Nfsstat4> {
    let server = &*cx.server;
    let end = offset_bytes + data.len() as u64;
    for _ in 0..CONTENT_MOVED_RETRIES_MAX {
        let inode = server.view()?.inode(ino).map_err(|e| status::of_refusal(&e))?;
        let command = match inode.content {
            Content::Inline if end <= server.config.inline_bytes => Command::WriteInline(WriteInline {
                ino,
                offset_bytes,
                data: data.to_vec(),
                caller: caller.clone(),
            }),
            Content::Inline => {
                move_to_extents(server, ino, code).await?;
                continue;
            }
            Content::Extents => {
                let written = write_extents(server, ino, (offset_bytes, &data), inode.size_bytes, code).await;
                let extents = match written {
                    Err(Nfsstat4::Stale) => continue,
                    written => written?,
                };
                Command::WrittenAt(WrittenAt { ino, end_bytes: end, caller: caller.clone(), extents })
            }
        };
        match cx.submit(command).await? {
            Outcome::Inode(inode) => return Ok(*inode),
            Outcome::Refused(Refusal::ContentMoved) => {}
            Outcome::Refused(refusal) => return Err(status::of_refusal(&refusal)),
            _ => return Err(Nfsstat4::Serverfault),
        }
    }
    Err(Nfsstat4::Delay)
}

/// Writes a range; returns the extents, each with the epoch at which it was written.
async fn write_extents(
    server: &Server,
    ino: Ino,
    (offset_bytes, data): (u64, &Bytes),
    size_bytes: u64,
    code: Option<Profile>,
) -> Result<Vec<(u32, Epoch)>, Nfsstat4> {
    let mut extents = Vec::new();
    for (extent, offset, len) in pieces(ino, offset_bytes, data.len() as u64) {
        let from = usize::try_from(offset - offset_bytes).expect("within the data");
        let len = usize::try_from(len).expect("within the data");
        let piece = data.slice(from..from + len);
        extents.push((extent.index, write_extent(server, extent, (offset, &piece), size_bytes, code).await?));
    }
    Ok(extents)
}

/// Writes within one extent; returns the epoch at which it was written.
async fn write_extent(
    server: &Server,
    extent: ExtentId,
    (offset, data): (u64, &Bytes),
    size_bytes: u64,
    code: Option<Profile>,
) -> Result<Epoch, Nfsstat4> {
    for _ in 0..HOME_MOVED_RETRIES_MAX {
        let record = match copies::served(server, extent).await? {
            Some(record) => record,
            None => home_of(server, extent, None, code).await?,
        };
        if record.pending_work.is_some() {
            return Err(Nfsstat4::Delay);
        }
        let route = route(server, &record, Iomode::ReadWrite, size_bytes)?;
        let write = server.data_path.write_durable(&route, offset, data.clone());
        if at_home(server, &record, write).await?.is_some() {
            return Ok(record.epoch);
        }
    }
    Err(Nfsstat4::Delay)
}

/// Places an extent that has no home yet: its home and its backups.
///
/// # Errors
/// NOSPC if no data server that is up has room, DELAY if none is up.
pub(crate) fn choose_servers(
    server: &Server,
    extent: ExtentId,
    client: Option<u64>,
) -> Result<(DataServerId, Vec<DataServerId>), Nfsstat4> {
    let now_ms = server.now_ms();
    server
        .data_servers
        .place(extent, client, server.config.hot_copies, now_ms)
        .ok_or_else(|| if server.data_servers.any_up(now_ms) { Nfsstat4::Nospc } else { Nfsstat4::Delay })
}

/// The record of an extent; an extent without a home gets one, and this code.
///
/// # Errors
/// NOSPC if no data server that is up has room, DELAY if none is up.
pub(crate) async fn home_of(
    server: &Server,
    extent: ExtentId,
    client: Option<u64>,
    code: Option<Profile>,
) -> Result<ExtentRecord, Nfsstat4> {
    let known =
        op::extent::extent(server.view()?.namespace(), extent).map_err(|e| status::of_namespace(&e))?;
    if let Some(record) = known {
        return Ok(record);
    }
    let (home, backups) = choose_servers(server, extent, client)?;
    let allocate = Placing::Allocate(Allocate { extent, home, backups });
    match server.propose(allocate.under(code)).await? {
        Outcome::Extent(record) => Ok(record),
        _ => Err(Nfsstat4::Serverfault),
    }
}

/// Moves a small file's bytes to a data server, so that layouts can be granted. The new extent gets
/// `code`.
///
/// # Errors
/// As [`write()`].
pub(crate) async fn move_to_extents(
    server: &Server,
    ino: Ino,
    code: Option<Profile>,
) -> Result<(), Nfsstat4> {
    let _one_at_a_time = server.movers.lock(ino).await;
    for _ in 0..CONTENT_MOVED_RETRIES_MAX {
        let (inode, data, before) = {
            let view = server.view()?;
            let inode = view.inode(ino).map_err(|e| status::of_refusal(&e))?;
            if inode.content == Content::Extents {
                return Ok(());
            }
            // The stored bytes, not the size: a sparse file may be of any size.
            let data = op::inline::stored(view.namespace(), ino).map_err(|e| status::of_namespace(&e))?;
            let before = op::extent::extent(view.namespace(), ExtentId { ino, index: 0 })
                .map_err(|e| status::of_namespace(&e))?;
            (inode, data, before)
        };
        if let Some(record) = before {
            forget_earlier_attempt(server, &record).await?;
        }
        if !data.is_empty() {
            match write_extents(server, ino, (0, &Bytes::from(data)), inode.size_bytes, code).await {
                // Its servers changed meanwhile, or the file was removed: the next round finds out.
                Err(Nfsstat4::Stale) => continue,
                written => drop(written?),
            }
        }
        let command = Command::MoveToExtents(MoveToExtents { ino, change: inode.change });
        let outcome = server.shards.propose(None, command).await.map_err(|e| status::of_propose(&e))?;
        match outcome {
            Outcome::Refused(Refusal::ContentMoved) => {}
            Outcome::Refused(refusal) => return Err(status::of_refusal(&refusal)),
            _ => return Ok(()),
        }
    }
    Err(Nfsstat4::Delay)
}

/// Truncates what an interrupted move left behind: these bytes are not the file's, and must not
/// show up when the file grows.
async fn forget_earlier_attempt(server: &Server, record: &ExtentRecord) -> Result<(), Nfsstat4> {
    if drain::is_yielding(server.view()?.namespace(), record)
        || server.view().is_ok_and(|view| !formers(&view, record).is_empty())
    {
        return Err(Nfsstat4::Delay);
    }
    let fence = Command::Fence(Fence { extent: record.extent });
    let Outcome::Extent(fenced) = server.propose(fence).await? else {
        return Err(Nfsstat4::Serverfault);
    };
    let known = server.data_servers.one(record.home).ok_or(Nfsstat4::Delay)?;
    let set = copies::set_of(&fenced);
    known.control.cut(fenced.extent, fenced.epoch, 0, Some(set)).await.map_err(|error| {
        tracing::warn!(server = record.home.0, %error, "data server failed to cut an extent");
        Nfsstat4::Delay
    })?;
    crate::work::run_for(server, record.home).await;
    Ok(())
}

/// How to reach an extent, with a handle of the metadata server's own.
///
/// # Errors
/// DELAY or IO if its data server is unreachable.
fn route(
    server: &Server,
    record: &ExtentRecord,
    mode: Iomode,
    size_hint_bytes: u64,
) -> Result<Route, Nfsstat4> {
    let known = server.data_servers.one(record.home).ok_or_else(|| server.away(record.home))?;
    if !server.data_servers.is_up(record.home, server.now_ms()) {
        return Err(server.away(record.home));
    }
    let handle = own_handle(server, record, mode, size_hint_bytes);
    let address = known.data_address().ok_or(Nfsstat4::Serverfault)?;
    Ok(Route::new(address, layout::handle::seal(&server.handle_keys().used, &handle)))
}

/// The metadata server's own handle for an extent's home, valid for one immediate request.
fn own_handle(server: &Server, record: &ExtentRecord, mode: Iomode, size_hint_bytes: u64) -> DsHandle {
    DsHandle {
        extent: record.extent,
        epoch: record.epoch,
        mode,
        holder: Holder::MetadataServer,
        issued: server.issued(),
        size_hint_bytes,
        role: Role::Home,
        home: record.home,
        backups: flexfile::named(record),
    }
}

fn of_data_path(server: &Server, record: &ExtentRecord, error: &DataPathError) -> Nfsstat4 {
    match error {
        DataPathError::Stale => Nfsstat4::Stale,
        DataPathError::NoSpace => {
            server.data_servers.mark_full(record.home, server.now_ms());
            Nfsstat4::Nospc
        }
        DataPathError::Busy => Nfsstat4::Delay,
        _ => {
            tracing::warn!(server = record.home.0, %error, "data server failed in band");
            server.away(record.home)
        }
    }
}
