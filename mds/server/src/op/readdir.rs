//! READDIR: a page of a directory, with attributes, from a cookie on.
//!
//! A cookie is the entry's position by hash, so a listing continues correctly however the directory
//! changes meanwhile; the cookie verifier is therefore always zero.
//!
//! Spec: RFC 8881 §18.23.

use std::collections::BTreeMap;

use bytes::Bytes;
use mds_namespace::op::readdir::{self, Entry, Page, PageLimit};
use mds_namespace::{FileType, Ino, Inode, Kind};
use mds_state::StateView;
use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::ops::readdir::{Args, RES_EMPTY_BYTES, encode_end, encode_entry, entry_dircount_bytes};
use wire_nfs::v4::{AttrValues, Bitmap, Filehandle, Nfsstat4, Verifier};
use wire_xdr::{Encode, Writer};

use crate::attr::{self, FileSystemFacts};
use crate::context::{Context, OpResult};
use crate::handle::FileHandle;
use crate::limits::READDIR_BYTES_MAX;
use crate::size::MOVED_BY_WRITES;
use crate::size::measure::measure_all;
use crate::{export_tree, status};

/// The encoded result.
pub(crate) struct Listing(Bytes);

impl Encode for Listing {
    fn encode(&self, w: &mut Writer) {
        w.raw_bytes(self.0.clone());
    }
}

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<Listing> {
    let directory = cx.current()?;
    let view = cx.view()?;
    let inode = cx.inode(&view, directory)?;
    if inode.kind != Kind::Directory {
        return Err(Nfsstat4::Notdir.into());
    }
    // RFC 8881 §18.23.3: cookies 1 and 2 are never used.
    if matches!(args.cookie, 1 | 2) {
        return Err(Nfsstat4::BadCookie.into());
    }
    drop(view);
    let mut room =
        cx.server.answer_room.reserve_bytes(&cx.connection, args.maxcount.min(READDIR_BYTES_MAX)).await?;
    let view = cx.view()?;
    let facts = cx.server.facts(directory, &view, &args.requested)?;
    let page = page(cx, &args, &view, directory)?;
    drop(view);
    let written = written(cx, &args, &page).await?;
    let listing = list(cx, &args, &page, directory, &facts, &written)?;
    room.shrink(listing.len());
    cx.answer_room.push(room);
    if args.cookie == 0 {
        cx.note_access(directory, &inode);
    }
    Ok(Listing(listing))
}

/// Largest size of the reply.
fn bytes_max(args: &Args) -> usize {
    as_usize(args.maxcount.min(READDIR_BYTES_MAX))
}

/// Entries that may fit.
fn page(cx: &Context, args: &Args, view: &StateView, directory: FileHandle) -> Result<Page<Entry>, Nfsstat4> {
    if bytes_max(args) < RES_EMPTY_BYTES {
        return Err(Nfsstat4::Toosmall);
    }
    let caller = cx.caller_at(directory)?;
    let limit = PageLimit {
        entries_max: usize::MAX,
        bytes_max: bytes_max(args),
        entry_overhead_bytes: ENTRY_BYTES_MIN,
    };
    let visible = export_tree::visible(&cx.server.exports(), view, cx.peer, directory);
    let mut cookie = args.cookie;
    loop {
        let page = readdir::readdir(view.namespace(), &caller, directory.ino, cookie, &limit)
            .map_err(|e| status::of_namespace(&e))?;
        let shows_any = page.entries.iter().any(|entry| visible.shows(entry.ino));
        match page.entries.last() {
            // All entries are hidden: visible ones may follow.
            Some(last) if !shows_any && !page.end => cookie = last.cookie,
            Some(_) | None => return Ok(page),
        }
    }
}

/// The files of a page that clients write straight to data servers, with their current attributes.
async fn written(cx: &Context, args: &Args, page: &Page<Entry>) -> Result<BTreeMap<Ino, Inode>, Nfsstat4> {
    if args.requested.intersect(&MOVED_BY_WRITES).is_empty() {
        return Ok(BTreeMap::new());
    }
    let files = page.entries.iter().filter(|entry| entry.file_type == FileType::Regular);
    let unsettled = cx.server.unsettled_among(files.map(|entry| entry.ino))?;
    let measured = match measure_all(&cx.server, &unsettled).await {
        // One file was removed meanwhile: the others are measured when the client retries.
        Err(Nfsstat4::Stale) => return Err(Nfsstat4::Delay),
        measured => measured?,
    };
    let now_unix_ns = cx.server.env.clock.wall_ns();
    Ok(measured.iter().map(|one| (one.inode.ino, one.derived(now_unix_ns))).collect())
}

fn list(
    cx: &Context,
    args: &Args,
    page: &Page<Entry>,
    directory: FileHandle,
    facts: &FileSystemFacts,
    written: &BTreeMap<Ino, Inode>,
) -> Result<Bytes, Nfsstat4> {
    let bytes_max = bytes_max(args);
    let names_bytes_max = if args.dircount == 0 { usize::MAX } else { as_usize(args.dircount) };
    let view = &cx.view()?;
    let visible = export_tree::visible(&cx.server.exports(), view, cx.peer, directory);
    let mut w = Writer::with_capacity(bytes_max.min(64 << 10));
    Verifier::default().encode(&mut w);
    let (mut entries, mut names_bytes, mut full) = (0, 0, !page.end);
    for entry in page.entries.iter().filter(|entry| visible.shows(entry.ino)) {
        let mark = w.mark();
        let values = values(cx, view, directory, facts, &args.requested, (entry.ino, written))?;
        encode_entry(&mut w, entry.cookie, &entry.name, &args.requested, &values);
        names_bytes += entry_dircount_bytes(entry.name.len());
        if bytes_max < w.len() + END_BYTES || (names_bytes_max < names_bytes && 0 < entries) {
            w.truncate_to(mark);
            full = true;
            break;
        }
        entries += 1;
    }
    if full && entries == 0 {
        return Err(Nfsstat4::Toosmall);
    }
    encode_end(&mut w, !full);
    Ok(w.into_bytes())
}

/// Entry present, cookie, length of the name, empty bitmap and attributes.
const ENTRY_BYTES_MIN: usize = 4 + 8 + 4 + 4 + 4;
/// No more entries, and whether the directory ends here.
const END_BYTES: usize = 8;

fn as_usize(count: u32) -> usize {
    usize::try_from(count).expect("usize has 32 bits at least")
}

fn values(
    cx: &Context,
    view: &StateView,
    directory: FileHandle,
    facts: &FileSystemFacts,
    requested: &Bitmap,
    (ino, written): (Ino, &BTreeMap<Ino, Inode>),
) -> Result<AttrValues, Nfsstat4> {
    let found = written.get(&ino).map_or_else(|| view.inode(ino), |inode| Ok(inode.clone()));
    let inode = match found {
        Ok(inode) => inode,
        Err(refusal) if requested.contains(numbers::RDATTR_ERROR) => {
            return Ok(attr::unreadable(status::of_refusal(&refusal)));
        }
        Err(refusal) => return Err(status::of_refusal(&refusal)),
    };
    let (mut facts, mut handle) = (*facts, Filehandle::default());
    if requested.contains(numbers::FILEHANDLE) || requested.contains(numbers::FSID) {
        let child = export_tree::step_down(&cx.server.exports(), view, cx.peer, directory, &inode)?;
        // An entry that is another export's root has that export's fsid: otherwise a client would
        // take it for a directory of this export.
        facts.fsid = cx.server.fsid(child.export);
        // The handle costs a MAC: computed only if requested.
        if requested.contains(numbers::FILEHANDLE) {
            handle = cx.server.wire_handle(child);
        }
    }
    Ok(attr::values(&facts, &inode, handle, requested))
}
