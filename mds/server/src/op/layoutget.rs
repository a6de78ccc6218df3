//! LAYOUTGET: one segment, one mirror: the extent's home. For reading an extent at rest, a reader
//! as well, or alone while the home cannot be used. If the export has stripes, and the client
//! accepts them, the segment may be a run of extents.
//!
//! Refusals are LAYOUTUNAVAILABLE, which sends a client to I/O in band.
//! QUIRK(linux): after LAYOUTUNAVAILABLE it stays in band for two minutes, after BADLAYOUT for one
//! I/O. So a short-lived obstacle is BADLAYOUT, where the RFC has LAYOUTTRYLATER: the latter delays
//! an I/O that can be served in band.
//! QUIRK(linux): IO, ACCESS, BADIOMODE, UNKNOWN_LAYOUTTYPE and STALE reach the application as
//! errors, so they are not used, but for iomode ANY, which such a client never sends. ROFS makes an
//! O_DIRECT write return 0, and a program that loops until all is written never ends: the WRITE in
//! band reports it.
//!
//! Spec: RFC 8881 §18.43, §12.5.3; RFC 8435; docs/protocol/seal.md §11.

use futures_util::future::join;
use layout::{DataServerId, EXTENT_BYTES, ExtentId, Iomode};
use mds_namespace::op::access::Permission;
use mds_namespace::{Caller, Content, Inode, Kind, op};
use mds_state::command::layout::{Granting, LayoutAnswer, LayoutGet, LayoutThrough, LayoutWrite};
use mds_state::{Command, Outcome, Refusal, StateidValue};
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::layout::{Iomode as WireIomode, LENGTH_TO_END, Layout};
use wire_nfs::v4::ops::layoutget::{Args, ResOk, TryLater};
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::{Nfsstat4, Stateid};
use wire_xdr::{Encode, Writer};

use crate::context::{Context, Failure, OpResult};
use crate::flexfile::Body;
use crate::handle::FileHandle;
use crate::limits::LAYOUT_BYTES_MAX;
use crate::op::read::check_mode;
use crate::seal::readers;
use crate::server::Server;
use crate::size::measure;
use crate::stripes::{Asked, Run};
use crate::{content, copies, flexfile, status, stripes};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    // Before the list is read: a client is admitted by this version or a later one.
    let version = cx.server.exports().version();
    let iomode = match args.iomode {
        WireIomode::Read => Iomode::Read,
        WireIomode::ReadWrite => Iomode::ReadWrite,
        WireIomode::Any => return Err(Nfsstat4::Badiomode.into()),
    };
    if args.layout_type != LayoutType::FLEX_FILES || !cx.export(handle)?.is_some_and(|e| e.pnfs) {
        return Err(Nfsstat4::Layoutunavailable.into());
    }
    if args.length < args.min_length || args.length == 0 {
        return Err(Nfsstat4::Inval.into());
    }
    let drops_set_id = iomode.writes() && !writer(cx, handle)?.is_superuser();
    let (client, stateid) = (cx.client()?, cx.resolve(args.stateid)?);
    let Granted { answer, asked, run } = match cx.recorded()? {
        // No run is recorded: the reply has the one requested extent.
        Some(outcome) => {
            let answer = granted(outcome)?;
            Granted { asked: asked(cx, handle, &args, answer.extent.extent, iomode)?, answer, run: None }
        }
        None => {
            let through = Through { export: handle.export.0, version };
            let shown = Shown { stateid, drops_set_id, through };
            let told = |failure: Failure| Failure {
                status: cx.server.revoked.status(client, &stateid.other, failure.status),
                ..failure
            };
            request_grant(cx, handle, &args, iomode, shown).await.map_err(told)?
        }
    };
    let Segment { offset, length, body } =
        segment(&cx.server, &asked, run, &answer).ok_or(Nfsstat4::Badlayout)?;
    still_admitted(cx, handle, iomode)?;
    cx.server.metrics.layout_granted(body.names_home, EXTENT_BYTES < length);
    let layout_type = LayoutType::FLEX_FILES;
    let layout = Layout { offset, length, iomode: args.iomode, layout_type, body: body.bytes };
    Ok(ResOk {
        // Layouts for writing return at CLOSE, so that the file's size is known and it can be
        // sealed. Layouts for reading stay with the client: opening the file again costs nothing. A
        // layout with a reader alone is returned: the home is better once it can be used again.
        return_on_close: iomode.writes() || !body.names_home,
        stateid: cx.put_stateid(answer.stateid),
        layouts: vec![layout],
    })
}

/// The shard's grant, and the extents that the segment should have, if there may be several.
struct Granted {
    answer: LayoutAnswer,
    asked: Asked,
    run: Option<Run>,
}

fn asked(
    cx: &Context,
    handle: FileHandle,
    args: &Args,
    extent: ExtentId,
    iomode: Iomode,
) -> Result<Asked, Nfsstat4> {
    // A client that opened the file only for writing may get a layout to write, and not read
    // through it.
    let reads = !iomode.writes() || check_readable(cx, &cx.inode(&cx.view()?, handle)?).is_ok();
    let (client, bytes_max, export) = (cx.client()?, args.maxcount, handle.export.0);
    Ok(Asked { client, extent, iomode, bytes_max, code: cx.code(handle)?, export, reads })
}

/// Checks again that the client is admitted: the handles may carry epochs that a change of the
/// exports raised, which the first check did not see, and this one does.
fn still_admitted(cx: &Context, handle: FileHandle, iomode: Iomode) -> Result<(), Nfsstat4> {
    if !cx.export(handle)?.is_some_and(|export| export.pnfs) {
        return Err(Nfsstat4::Layoutunavailable);
    }
    if iomode.writes() { writer(cx, handle).map(drop) } else { Ok(()) }
}

/// The caller as a writer, if the export allows writing.
fn writer(cx: &Context, handle: FileHandle) -> Result<Caller, Nfsstat4> {
    cx.writer_at(handle).map_err(|status| match status {
        Nfsstat4::Rofs => Nfsstat4::Layoutunavailable,
        other => other,
    })
}

/// How the client was admitted.
#[derive(Clone, Copy)]
struct Through {
    /// Id of the export.
    export: u16,
    /// Version of the list.
    version: u64,
}

/// The client's stateid and rights.
#[derive(Clone, Copy)]
struct Shown {
    through: Through,
    stateid: StateidValue,
    /// The layout is for writing, and the user is not the superuser.
    drops_set_id: bool,
}

/// Requests the grant from the shard, after all checks.
async fn request_grant(
    cx: &Context,
    handle: FileHandle,
    args: &Args,
    iomode: Iomode,
    shown: Shown,
) -> Result<Granted, Failure> {
    let mut inode = cx.inode(&cx.view()?, handle)?;
    if !iomode.writes() {
        // Includes bytes that other clients write now.
        inode = cx.server.derived(inode).await.map_err(|status| match status {
            Nfsstat4::Delay => try_later(),
            status => status.into(),
        })?;
    }
    if inode.kind != Kind::Regular {
        return Err(Nfsstat4::Layoutunavailable.into());
    }
    if !iomode.writes() {
        check_readable(cx, &inode)?;
    }
    // Before a grant that the client would not learn of.
    check_bounds(args, &inode, iomode)?;
    let prepared = prepare(cx, args, &inode, iomode).await?;
    let asked = asked(cx, handle, args, prepared.extent, iomode)?;
    let run = run_to_grant(cx, handle, args, &inode, &asked)?;
    let granted = grant(cx, prepared, &inode, &asked, run, shown);
    // Concurrently: each entry of the log costs a flush.
    let (granted, ()) = join(granted, stripes::place(&cx.server, &asked, run)).await;
    let answer = granted?;
    if !iomode.writes() {
        cx.note_access(handle, &inode);
    }
    Ok(Granted { answer, asked, run })
}

/// A client that has a file open only for writing may read it only if its mode allows it.
/// LAYOUTUNAVAILABLE sends it to a READ in band, which refuses it.
fn check_readable(cx: &Context, inode: &Inode) -> Result<(), Nfsstat4> {
    let client = cx.client()?;
    let opens = cx.view()?.opens_of(inode.ino).map_err(|error| status::of_refusal(&error))?;
    let mut own = opens.iter().filter(|open| open.client == client);
    if own.any(|open| open.share.access & share::ACCESS_READ != 0) {
        return Ok(());
    }
    check_mode(cx, inode, Permission::READ).map_err(|_| Nfsstat4::Layoutunavailable)
}

/// RFC 8881 §18.43.3: a segment shorter than the client can use is BADLAYOUT, one larger than its
/// limit is TOOSMALL. A layout for reading need not reach beyond the end of the file.
fn check_bounds(args: &Args, inode: &Inode, iomode: Iomode) -> Result<(), Nfsstat4> {
    if args.maxcount < LAYOUT_BYTES_MAX {
        return Err(Nfsstat4::Toosmall);
    }
    let needed = args.offset.saturating_add(args.min_length);
    let needed = if iomode.writes() { needed } else { needed.min(inode.size_bytes) };
    let room = EXTENT_BYTES - args.offset % EXTENT_BYTES;
    if args.offset.saturating_add(room) < needed { Err(Nfsstat4::Badlayout) } else { Ok(()) }
}

/// The extents that the segment should have, if there may be several.
fn run_to_grant(
    cx: &Context,
    handle: FileHandle,
    args: &Args,
    inode: &Inode,
    asked: &Asked,
) -> Result<Option<Run>, Failure> {
    let stripes = cx.export(handle)?.map_or(1, |export| export.stripes);
    if inode.content != Content::Extents {
        return Ok(None);
    }
    // LAYOUTGET inside an OPEN requests everything, which tells nothing about the file's future
    // size.
    let asked_bytes = if args.length == LENGTH_TO_END { 0 } else { args.length };
    let end_bytes = inode.size_bytes.max(args.offset.saturating_add(asked_bytes));
    Ok(stripes::choose(&cx.server, asked, stripes, end_bytes))
}

/// A granted segment.
struct Segment {
    /// Its first byte in the file.
    offset: u64,
    length: u64,
    body: Body,
}

/// The run if it can be granted, or the one extent.
fn segment(server: &Server, asked: &Asked, run: Option<Run>, answer: &LayoutAnswer) -> Option<Segment> {
    if let Some((run, body)) = run.and_then(|run| stripes::grant(server, asked, run, answer)) {
        let (offset, length) = run.range();
        return Some(Segment { offset, length, body });
    }
    let (record, size_bytes) = (std::slice::from_ref(&answer.extent), answer.inode.size_bytes);
    let body = flexfile::layout_body(server, asked.grant(answer), record, size_bytes)?;
    Some(Segment { offset: asked.extent.first_byte(), length: EXTENT_BYTES, body })
}

/// Input of the grant.
struct Prepared {
    extent: ExtentId,
    /// Home and backups for the extent, if it has none yet.
    new_servers: Option<(DataServerId, Vec<DataServerId>)>,
}

/// Finds the extent and makes sure that it has, or can have, a reachable home.
async fn prepare(cx: &Context, args: &Args, inode: &Inode, iomode: Iomode) -> Result<Prepared, Failure> {
    let inside_open = args.stateid == Stateid::CURRENT && args.offset == 0 && args.length == LENGTH_TO_END;
    // Small files are served from the metadata. A client whose file outgrows its threshold requests
    // a layout by itself; inside an OPEN that is not known yet.
    if inode.content == Content::Inline && (inside_open || !iomode.writes()) {
        return Err(Nfsstat4::Layoutunavailable.into());
    }
    let extent = ExtentId::of(inode.ino, args.offset).ok_or(Nfsstat4::Layoutunavailable)?;
    if !iomode.writes() && is_hole(cx, extent)? {
        // Read in band, which returns zeros: no extent is placed for that. Behind the end that the
        // log has, bytes may soon appear: with a minimum length of zero Linux reads in band at once
        // and requests the layout again later; otherwise it requests the next segment as before.
        let behind_end = inode.size_bytes.div_ceil(EXTENT_BYTES) <= u64::from(extent.index);
        return Err(if behind_end && extent.index != 0 { try_later() } else { Nfsstat4::Badlayout.into() });
    }
    let client = cx.client()?;
    let stand_in = || readers::stand_in(&cx.server, Some(client), extent);
    if !iomode.writes() && stand_in().is_some_and(|(record, _)| record.pending_work.is_none()) {
        // No wait for a home: the group can serve the read.
        return Ok(Prepared { extent, new_servers: None });
    }
    let Keepers { home, writes_to, new_servers } = match keepers(cx, extent, client).await {
        Err(_) if !iomode.writes() => return Err(Nfsstat4::Badlayout.into()),
        found => found?,
    };
    let now_ms = cx.server.now_ms();
    let servers = &cx.server.data_servers;
    if !servers.is_up(home, now_ms) || servers.is_excluded(client, home, now_ms) {
        return Err(Nfsstat4::Badlayout.into());
    }
    if iomode.writes() && writes_to.iter().any(|server| servers.is_full_for(client, *server, now_ms)) {
        // A new layout on a full server, or with a full backup, would only make the client fail and
        // retry. In band the data server decides for each WRITE whether it overwrites existing
        // bytes; an extent of which nothing was promised has none, and NOSPC reaches the
        // application.
        let record = op::extent::extent(cx.view()?.namespace(), extent);
        let record = record.map_err(|error| status::of_namespace(&error))?;
        let may_lie_over = record.is_some_and(|record| !record.unpromised);
        return Err(if may_lie_over { Nfsstat4::Layoutunavailable } else { Nfsstat4::Nospc }.into());
    }
    Ok(Prepared { extent, new_servers })
}

/// Whether nothing was ever written into an extent.
fn is_hole(cx: &Context, extent: ExtentId) -> Result<bool, Nfsstat4> {
    let record = op::extent::extent(cx.view()?.namespace(), extent);
    Ok(record.map_err(|error| status::of_namespace(&error))?.is_none())
}

/// The servers that keep an extent, or would.
struct Keepers {
    home: DataServerId,
    /// Every server that must have room for a WRITE to be promised.
    writes_to: Vec<DataServerId>,
    /// Home and backups for an extent that has none.
    new_servers: Option<(DataServerId, Vec<DataServerId>)>,
}

/// Finds the servers that keep an extent. Waits a little for a backup to replace a dead home: a
/// refused client would stay away for minutes.
async fn keepers(cx: &Context, extent: ExtentId, client: u64) -> Result<Keepers, Nfsstat4> {
    copies::still(&cx.server, extent).await;
    if let Some(record) = copies::served(&cx.server, extent).await? {
        // A backup that is being filled is dropped if it has no room.
        let whole = record.backups.iter().filter(|backup| !backup.filling).map(|backup| backup.server);
        let writes_to = std::iter::once(record.home).chain(whole).collect();
        return Ok(Keepers { home: record.home, writes_to, new_servers: None });
    }
    let (home, backups) = content::choose_servers(&cx.server, extent, Some(client))?;
    Ok(Keepers { home, writes_to: vec![home], new_servers: Some((home, backups)) })
}

async fn grant(
    cx: &Context,
    prepared: Prepared,
    inode: &Inode,
    asked: &Asked,
    run: Option<Run>,
    shown: Shown,
) -> Result<LayoutAnswer, Failure> {
    let (client, extent) = (asked.client, asked.extent);
    let place = prepared.new_servers;
    let mut outcome = cx.submit(command(cx, asked, run, shown, place).await?).await?;
    if outcome == Outcome::Refused(Refusal::ContentMoved) {
        // The file's bytes are beside its inode.
        content::move_to_extents(&cx.server, inode.ino, asked.code).await?;
        content::home_of(&cx.server, extent, Some(client), asked.code).await?;
        outcome = cx.submit(command(cx, asked, run, shown, None).await?).await?;
    }
    if outcome == Outcome::Refused(Refusal::Recalled) {
        cx.server.take_up_recall(client, inode.ino).await;
    }
    granted(outcome)
}

/// The command of the grant. For writing it names all extents that the reply may name, with their
/// current sizes.
async fn command(
    cx: &Context,
    asked: &Asked,
    run: Option<Run>,
    shown: Shown,
    place: Option<(DataServerId, Vec<DataServerId>)>,
) -> Result<Command, Nfsstat4> {
    let Asked { client, extent, iomode, code, .. } = *asked;
    let get = LayoutGet { client, extent, iomode, stateid: shown.stateid };
    let Through { export, version } = shown.through;
    let through = |what| Command::LayoutThrough(LayoutThrough { export, version, what });
    if !iomode.writes() {
        return Ok(through(Granting::Read(get)));
    }
    let indices: Vec<u32> = match run {
        Some(run) => run.extents().map(|extent| extent.index).collect(),
        None => vec![extent.index],
    };
    let granted = measure::before_grant(&cx.server, extent.ino, &indices).await?;
    let drops_set_id = shown.drops_set_id;
    Ok(through(Granting::Write(LayoutWrite { get, place, code, granted, drops_set_id })))
}

fn granted(outcome: Outcome) -> Result<LayoutAnswer, Failure> {
    match outcome {
        Outcome::Layout(answer) => Ok(answer),
        Outcome::Refused(refusal) => match status::of_refusal(&refusal) {
            // The extent is being cut or fenced, or its record is gone meanwhile: soon over.
            Nfsstat4::Delay => Err(try_later()),
            status => Err(status.into()),
        },
        _ => Err(Nfsstat4::Serverfault.into()),
    }
}

fn try_later() -> Failure {
    let mut body = Writer::new();
    TryLater { will_signal: false }.encode(&mut body);
    Failure { status: Nfsstat4::Layouttrylater, body: Some(body) }
}
