//! OPEN: by name or by handle, with or without creation. Makes the file current and returns an open
//! stateid.
//!
//! No delegations are granted. Nothing is lost in a restart, so a reclaim finds the open it had,
//! and gets no more than that; after RECLAIM_COMPLETE it is refused.
//!
//! Spec: RFC 8881 §18.16, §9.

use bytes::Bytes;
use mds_namespace::op::access::{self, Permission};
use mds_namespace::{Caller, DirectoryChange, Ino, Inode, SetAttributes, op};
use mds_state::command::open::{How, Open, Opened, Share, Target};
use mds_state::{Command, Outcome};
use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::ops::open::{
    Args, Claim, CreateHow, Delegation, OpenHow, ResOk, WhyNoDelegation, result_flags, share,
};
use wire_nfs::v4::{Bitmap, Nfsstat4};

use crate::context::{Context, OpResult};
use crate::handle::{ExportId, FileHandle};
use crate::name::Name;
use crate::opening::UnderWayOpen;
use crate::status;
use crate::{attr, export_tree, give_way};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let at = cx.current()?;
    let access = share::access(args.share_access);
    if access == 0 || share::DENY_BOTH < args.share_deny {
        return Err(Nfsstat4::Inval.into());
    }
    let creates = matches!(args.how, OpenHow::Create(_));
    let writes = access & share::ACCESS_WRITE != 0;
    let caller = if creates || writes { cx.writer_at(at)? } else { cx.caller_at(at)? };
    if at.export == ExportId::PSEUDO {
        return Err(not_in_the_pseudo_tree(cx, at, &args.claim)?.into());
    }
    if matches!(args.claim, Claim::Previous(_)) {
        cx.server.metrics.reclaimed("open");
        check_reclaim(cx)?;
    }
    let (target, attrs_set) = target(at, &args.claim, &args.how)?;
    let open = Open {
        client: cx.client()?,
        owner: args.owner.owner.to_vec(),
        caller,
        share: Share { access, deny: args.share_deny },
        target,
    };
    let outcome = match cx.recorded()? {
        // The name may lead elsewhere by now, to a shard without a record of this request.
        Some(outcome) => cx.server.shards.opened_before(&open.target, outcome),
        None => {
            let (file, _under_way) = begin(cx, &open.target)?;
            if let Some(ino) = file
                && is_permitted(cx, ino, &open)?
            {
                give_way::give_way_to_open(&cx.server, &open.target, open.share).await;
                if cuts(&open.target) {
                    cx.server.recall_for_truncation(ino, Some(open.client)).await;
                }
            }
            cx.submit(Command::Open(open)).await?
        }
    };
    match outcome {
        Outcome::Opened(opened) => finish(cx, at, &args, *opened, attrs_set).await,
        Outcome::Refused(refusal) => Err(status::of_refusal(&refusal).into()),
        _ => Err(Nfsstat4::Serverfault.into()),
    }
}

/// Status of an OPEN in the pseudo tree, which has only the directories on the way to exports.
fn not_in_the_pseudo_tree(cx: &Context, at: FileHandle, claim: &Claim) -> Result<Nfsstat4, Nfsstat4> {
    let Claim::Null(name) = claim else { return Ok(Nfsstat4::Isdir) };
    let view = cx.view()?;
    let found = op::lookup::lookup(view.namespace(), &cx.caller_at(at)?, at.ino, Name::check(name)?);
    let inode = found.map_err(|error| status::of_namespace(&error))?;
    export_tree::step_down(&cx.server.exports(), &view, cx.peer, at, &inode)?;
    Ok(Nfsstat4::Isdir)
}

/// RFC 8881 §18.51.3: a client that has sent RECLAIM_COMPLETE reclaims nothing more.
fn check_reclaim(cx: &Context) -> Result<(), Nfsstat4> {
    match cx.view()?.client(cx.client()?) {
        Ok(Some(client)) if client.reclaim_complete => Err(Nfsstat4::NoGrace),
        Ok(_) => Ok(()),
        Err(refusal) => Err(status::of_refusal(&refusal)),
    }
}

/// The file that an OPEN leads to, if it exists yet. A CLOSE of it waits until the OPEN has its
/// outcome.
fn begin(cx: &Context, target: &Target) -> Result<(Option<Ino>, UnderWayOpen), Nfsstat4> {
    let opening = &cx.server.opening;
    let (directory, name) = match target {
        Target::Handle { ino, .. } | Target::Foreign { ino, .. } => {
            return Ok((Some(*ino), opening.begin_open(*ino)));
        }
        Target::Name { directory, name } | Target::Create { directory, name, .. } => (*directory, name),
    };
    // The OPEN checks whether the caller may look up the name.
    let found = op::lookup::find(cx.view()?.namespace(), &Caller::default(), directory, name);
    Ok(match found.ok().flatten() {
        Some(inode) => (Some(inode.ino), opening.begin_open(inode.ino)),
        None => (None, opening.begin_new(directory, name)),
    })
}

/// Whether the caller may open an existing file by its mode, and cut it if requested. Other clients
/// lose no state for an OPEN before that is known; the log's decision stands.
fn is_permitted(cx: &Context, ino: Ino, open: &Open) -> Result<bool, Nfsstat4> {
    let view = cx.view()?;
    let inode = match &open.target {
        Target::Name { directory, name } | Target::Create { directory, name, .. } => {
            op::lookup::find(view.namespace(), &open.caller, *directory, name).ok().flatten()
        }
        Target::Handle { .. } | Target::Foreign { .. } => view.inode(ino).ok(),
    };
    let (read, write) =
        (open.share.access & share::ACCESS_READ != 0, open.share.access & share::ACCESS_WRITE != 0);
    let may_cut =
        |inode: &Inode| !cuts(&open.target) || access::allows(inode, &open.caller, Permission::WRITE);
    Ok(inode.is_some_and(|inode| {
        inode.ino == ino && access::check_open(&inode, &open.caller, read, write).is_ok() && may_cut(&inode)
    }))
}

/// Whether an OPEN truncates an existing file: UNCHECKED with a size of zero (RFC 8881 §18.16.3).
fn cuts(target: &Target) -> bool {
    let Target::Create { how: How::Unchecked, attributes, .. } = target else { return false };
    attributes.size_bytes == Some(0)
}

/// The state machine's target for a claim and a way of creation, and the attributes that a creation
/// sets.
fn target(at: FileHandle, claim: &Claim, how: &OpenHow) -> Result<(Target, Bitmap), Nfsstat4> {
    let by_name = |name: &Bytes| -> Result<(Target, Bitmap), Nfsstat4> {
        let name = Name::check(name)?.to_vec();
        let OpenHow::Create(how) = how else {
            return Ok((Target::Name { directory: at.ino, name }, Bitmap::default()));
        };
        let attributes = how.attributes().map_or_else(|| Ok(SetAttributes::default()), attr::to_set)?;
        let attrs_set = how.attributes().map_or_else(Bitmap::default, |a| a.mask);
        let how = match how {
            CreateHow::Unchecked(_) => How::Unchecked,
            CreateHow::Guarded(_) => How::Guarded,
            CreateHow::Exclusive(verifier) | CreateHow::Exclusive41(verifier, _) => {
                How::Exclusive(verifier.0)
            }
        };
        Ok((Target::Create { directory: at.ino, name, how, attributes }, attrs_set))
    };
    let by_handle = |reclaim| match how {
        OpenHow::NoCreate => Ok((Target::Handle { ino: at.ino, reclaim }, Bitmap::default())),
        OpenHow::Create(_) => Err(Nfsstat4::Inval),
    };
    match claim {
        Claim::Null(name) => by_name(name),
        Claim::Filehandle => by_handle(false),
        Claim::Previous(_) => by_handle(true),
        // No delegation was ever granted.
        Claim::DelegateCur(..) | Claim::DelegCurFilehandle(_) => Err(Nfsstat4::BadStateid),
        Claim::DelegatePrev(_) | Claim::DelegPrevFilehandle => Err(Nfsstat4::Notsupp),
    }
}

async fn finish(
    cx: &mut Context,
    at: FileHandle,
    args: &Args,
    opened: Opened,
    attrs_set: Bitmap,
) -> OpResult<ResOk> {
    // Also when nothing was cut: this may be the second attempt, after the first ended in DELAY.
    if let OpenHow::Create(CreateHow::Unchecked(attributes)) = &args.how
        && !opened.created
        && attributes.mask.contains(numbers::SIZE)
    {
        cx.may_repeat = true;
        cx.server.settle_cuts(opened.inode.ino, opened.inode.size_bytes).await?;
    }
    let handle = cx.handle_of(at, &opened.inode);
    if share::access(args.share_access) == share::ACCESS_READ {
        cx.note_open(handle, &opened.inode);
    }
    cx.put_current(handle);
    let wishes = share::has_wishes(args.share_access);
    Ok(ResOk {
        stateid: cx.put_stateid(opened.stateid),
        change: change(opened.directory),
        flags: result_flags::LOCKTYPE_POSIX | result_flags::PRESERVE_UNLINKED,
        attrs_set: if opened.created { attrs_set } else { Bitmap::default() },
        delegation: if wishes { Delegation::NoneExt(WhyNoDelegation::NotWanted) } else { Delegation::None },
    })
}

fn change(directory: DirectoryChange) -> wire_nfs::v4::ChangeInfo {
    attr::change_info(directory)
}
