//! READDIR: a page of a directory, with attributes, from a cookie on.
//!
//! A cookie is the entry's place by hash, so a listing goes on correctly however the directory changes meanwhile; the
//! cookie verifier is therefore always zero.
//!
//! Spec: RFC 8881 §18.23.

use bytes::Bytes;
use mds_namespace::op::readdir::{self, PageLimit};
use mds_namespace::{Ino, Kind};
use mds_shard::StateView;
use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::ops::readdir::{Args, RES_EMPTY_BYTES, encode_end, encode_entry, entry_dircount_bytes};
use wire_nfs::v4::{AttrValues, Bitmap, Filehandle, Nfsstat4, Verifier};
use wire_xdr::{Encode, Writer};

use crate::attr::{self, FileSystemFacts};
use crate::context::{Context, OpResult};
use crate::handle::FileHandle;
use crate::limits::READDIR_BYTES_MAX;
use crate::{export_tree, status};

/// The encoded result.
pub(crate) struct Listing(Bytes);

impl Encode for Listing {
    fn encode(&self, w: &mut Writer) {
        w.raw_bytes(self.0.clone());
    }
}

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<Listing> {
    let directory = cx.current()?;
    let view = cx.view()?;
    let inode = cx.inode(&view, directory)?;
    if inode.kind != Kind::Directory {
        return Err(Nfsstat4::Notdir.into());
    }
    // RFC 8881 §18.23.3: cookies 1 and 2 are never given out.
    if matches!(args.cookie, 1 | 2) {
        return Err(Nfsstat4::BadCookie.into());
    }
    let facts = cx.server.facts(directory, &view, &args.requested)?;
    let listing = list(cx, &args, &view, directory, &facts)?;
    Ok(Listing(listing))
}

fn list(
    cx: &Context,
    args: &Args,
    view: &StateView,
    directory: FileHandle,
    facts: &FileSystemFacts,
) -> Result<Bytes, Nfsstat4> {
    let bytes_max = as_usize(args.maxcount.min(READDIR_BYTES_MAX));
    let names_bytes_max = if args.dircount == 0 { usize::MAX } else { as_usize(args.dircount) };
    if bytes_max < RES_EMPTY_BYTES {
        return Err(Nfsstat4::Toosmall);
    }
    let caller = cx.caller_at(directory)?;
    let limit = PageLimit { entries_max: usize::MAX, bytes_max, entry_overhead_bytes: ENTRY_BYTES_MIN };
    let visible = export_tree::visible(&cx.server, view, directory);
    let mut cookie = args.cookie;
    let page = loop {
        let page = readdir::readdir(view.namespace(), &caller, directory.ino, cookie, &limit)
            .map_err(|e| status::of_namespace(&e))?;
        let shows_any = page.entries.iter().any(|entry| visible.shows(entry.ino));
        match page.entries.last() {
            // All of it is hidden: what the client may see comes later.
            Some(last) if !shows_any && !page.end => cookie = last.cookie,
            Some(_) | None => break page,
        }
    };
    let mut w = Writer::with_capacity(bytes_max.min(64 << 10));
    Verifier::default().encode(&mut w);
    let (mut entries, mut names_bytes, mut full) = (0, 0, !page.end);
    for entry in page.entries.iter().filter(|entry| visible.shows(entry.ino)) {
        let mark = w.mark();
        let values = values(cx, view, directory, facts, &args.requested, entry.ino)?;
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
    ino: Ino,
) -> Result<AttrValues, Nfsstat4> {
    let inode = match view.inode(ino) {
        Ok(inode) => inode,
        Err(refusal) if requested.contains(numbers::RDATTR_ERROR) => {
            return Ok(attr::unreadable(status::of_refusal(&refusal)));
        }
        Err(refusal) => return Err(status::of_refusal(&refusal)),
    };
    let (mut facts, mut handle) = (*facts, Filehandle::default());
    if requested.contains(numbers::FILEHANDLE) || requested.contains(numbers::FSID) {
        let child = export_tree::step_down(&cx.server, view, directory, &inode)?;
        // An entry that is another export's root has that one's identity: else a client would take
        // it for a directory of this one.
        facts.fsid = cx.server.fsid(child.export);
        // The handle costs a MAC: made only if asked for.
        if requested.contains(numbers::FILEHANDLE) {
            handle = cx.server.wire_handle(child);
        }
    }
    let used_bytes = cx.server.used_bytes(view, &inode)?;
    Ok(attr::values(&facts, &inode, used_bytes, handle, requested))
}
