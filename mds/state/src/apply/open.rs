//! OPEN, OPEN_DOWNGRADE, CLOSE.
//!
//! An open-owner has one open of a file: further OPENs join their share modes to it and advance its
//! seqid. A file whose last name is removed while it is open lives until the last CLOSE.
//!
//! Spec: RFC 8881 §9.7, §9.10 (merging of opens), §18.2, §18.16, §18.18.

use mds_namespace::op::access::check_open;
use mds_namespace::op::create::{self, NewObject};
use mds_namespace::op::{exclusive, lookup, reap, setattr};
use mds_namespace::{
    DirectoryChange, FsError, Ino, Inode, Kind, SetAttributes, Timestamp, Txn, View, inode_table,
};

use super::{open_table, table};
use crate::command::namespace::Truncation;
use crate::command::open::{Close, How, Open, OpenDowngrade, Opened, Share, Target};
use crate::command::{Outcome, Refusal, StateidValue};
use crate::key;
use crate::query::{self, READ, WRITE};
use crate::record::{OpenRecord, Shares};

/// The file an OPEN leads to.
struct Found {
    inode: Inode,
    directory: DirectoryChange,
    created: bool,
    /// The open truncates it to zero bytes.
    truncate: bool,
}

pub(super) fn open(txn: &mut dyn Txn, now: Timestamp, asked: &Open) -> Result<Outcome, Refusal> {
    table::check_client(txn, asked.client)?;
    table::check_owner(&asked.owner)?;
    check_share(asked.share)?;
    let found = find(txn, now, asked)?;
    let ino = found.inode.ino;
    let own = open_table::open_of(txn, ino, asked.client, &asked.owner)?;
    if matches!(asked.target, Target::Handle { reclaim: true, .. }) {
        check_reclaim(own.as_ref(), asked.share)?;
    }
    let shares = open_table::shares(txn, ino)?;
    let others = own.as_ref().map_or_else(|| shares.clone(), |own| open_table::shares_without(&shares, own));
    check_conflict(&others, asked.share)?;
    let mut inode = found.inode;
    let mut truncated: Option<Truncation> = None;
    if found.truncate {
        if 0 < others.deny_write {
            return Err(Refusal::ShareDenied);
        }
        let empty = SetAttributes { size_bytes: Some(0), ..SetAttributes::default() };
        let set = setattr::set_attributes(txn, &asked.caller, ino, &empty, false, now)?;
        (inode, truncated) = (set.inode, set.truncated);
        assert!(inode.size_bytes == 0, "a truncated file is empty");
    }
    let stateid = match own {
        Some(before) => {
            let (mut after, share) = (before.clone(), asked.share);
            after.share.access |= share.access;
            after.share.deny |= share.deny;
            after.seen |= seen_bit(share);
            after.seqid = query::next_seqid(before.seqid);
            assert!(after.share.access & share.access == share.access, "access is added");
            assert!(after.share.deny & share.deny == share.deny, "denials are added");
            open_table::change_open(txn, ino, &before, &after)?;
            after.stateid()
        }
        None => open_table::add_open(txn, ino, asked.client, |other| OpenRecord {
            other,
            seqid: 1,
            client: asked.client,
            owner: asked.owner.clone(),
            share: asked.share,
            seen: seen_bit(asked.share),
        })?
        .stateid(),
    };
    let Found { directory, created, .. } = found;
    Ok(Outcome::Opened(Box::new(Opened { stateid, inode, directory, created, truncated })))
}

fn check_share(share: Share) -> Result<(), Refusal> {
    let valid = (READ..=READ | WRITE).contains(&share.access) && share.deny <= READ | WRITE;
    if valid { Ok(()) } else { Err(Refusal::BadShare) }
}

/// RFC 8881 §9.11: CLAIM_PREVIOUS claims what was granted, so the file's mode is not checked. An
/// open never had what its record lacks, and there is no grace period to grant it (§8.4.2.1).
fn check_reclaim(own: Option<&OpenRecord>, share: Share) -> Result<(), Refusal> {
    let held = own.map_or_else(Share::default, |own| own.share);
    let is_held = share.access & !held.access == 0 && share.deny & !held.deny == 0;
    if is_held { Ok(()) } else { Err(Refusal::NoGrace) }
}

/// RFC 8881 §9.7: a new open must not want what another denies, nor deny what another has.
fn check_conflict(others: &Shares, share: Share) -> Result<(), Refusal> {
    let denied = share.access & READ != 0 && 0 < others.deny_read
        || share.access & WRITE != 0 && 0 < others.deny_write
        || share.deny & READ != 0 && 0 < others.read
        || share.deny & WRITE != 0 && 0 < others.write;
    if denied { Err(Refusal::ShareDenied) } else { Ok(()) }
}

fn seen_bit(share: Share) -> u16 {
    assert!(share.access.max(share.deny) <= READ | WRITE, "a share mode has two bits of each kind");
    1 << (share.access * 4 + share.deny)
}

fn find(txn: &mut dyn Txn, now: Timestamp, asked: &Open) -> Result<Found, Refusal> {
    let (read, write) = (asked.share.access & READ != 0, asked.share.access & WRITE != 0);
    match &asked.target {
        Target::Name { directory, name } => {
            let inode = lookup::lookup(txn, &asked.caller, *directory, name)?;
            check_open(&inode, &asked.caller, read, write)?;
            Ok(Found { inode, directory: unchanged(txn, *directory)?, created: false, truncate: false })
        }
        Target::Handle { ino, reclaim } => {
            let inode = inode_table::inode(txn, *ino)?;
            // A reclaimed open was granted once (`check_reclaim`); the file's mode may have changed
            // since.
            if !reclaim {
                check_open(&inode, &asked.caller, read, write)?;
            }
            Ok(Found { inode, directory: DirectoryChange::default(), created: false, truncate: false })
        }
        Target::Foreign { ino, truncate, made } => {
            let inode = inode_table::inode(txn, *ino)?;
            if !made {
                check_open(&inode, &asked.caller, read, write)?;
            }
            Ok(Found { inode, directory: DirectoryChange::default(), created: *made, truncate: *truncate })
        }
        Target::Create { directory, name, how, attributes } => {
            let Some(inode) = lookup::find(txn, &asked.caller, *directory, name)? else {
                return make(txn, now, asked, *directory, name, how, attributes);
            };
            let replay = match how {
                How::Guarded => return Err(FsError::Exists.into()),
                How::Exclusive(verifier) => {
                    if exclusive::verifier(txn, inode.ino)? != Some(*verifier) {
                        return Err(FsError::Exists.into());
                    }
                    // RFC 8881 §18.16.3: the same verifier is the same request, and the file's
                    // creator may open it.
                    true
                }
                How::Unchecked => {
                    check_open(&inode, &asked.caller, read, write)?;
                    false
                }
            };
            // RFC 8881 §18.16.3: of the attributes for an existing file only a size of zero counts.
            let truncate = !replay && attributes.size_bytes == Some(0);
            Ok(Found { inode, directory: unchanged(txn, *directory)?, created: replay, truncate })
        }
    }
}

fn make(
    txn: &mut dyn Txn,
    now: Timestamp,
    asked: &Open,
    directory: Ino,
    name: &[u8],
    how: &How,
    attributes: &SetAttributes,
) -> Result<Found, Refusal> {
    let verifier = match how {
        How::Exclusive(verifier) => Some(*verifier),
        How::Unchecked | How::Guarded => None,
    };
    let new = NewObject { kind: Kind::Regular, symlink_target: &[], attributes, verifier };
    // The creator may open the file in this one request, whatever its mode: no further check.
    let made = create::create(txn, &asked.caller, directory, name, &new, now)?;
    assert!(made.inode.kind == Kind::Regular, "OPEN makes regular files");
    assert!(made.directory.before != made.directory.after, "a new name changes its directory");
    Ok(Found { inode: made.inode, directory: made.directory, created: true, truncate: false })
}

fn unchanged(view: &dyn View, directory: Ino) -> Result<DirectoryChange, Refusal> {
    let change = inode_table::inode(view, directory)?.change;
    Ok(DirectoryChange { before: change, after: change })
}

pub(super) fn downgrade(txn: &mut dyn Txn, asked: &OpenDowngrade) -> Result<Outcome, Refusal> {
    let before = query::open(txn, asked.client, asked.ino, asked.stateid)?;
    check_share(asked.share)?;
    // RFC 8881 §18.18.3: the new mode is the union of some of the share modes that were opened.
    let within = |access: u32, deny: u32| access & !asked.share.access == 0 && deny & !asked.share.deny == 0;
    let mut union = Share::default();
    let mut seen = 0;
    for bit in (0..16).filter(|bit| before.seen & 1 << bit != 0) {
        let (access, deny) = (bit / 4, bit % 4);
        if within(access, deny) {
            union = Share { access: union.access | access, deny: union.deny | deny };
            seen |= 1 << bit;
        }
    }
    if union != asked.share {
        return Err(Refusal::BadShare);
    }
    assert!(seen != 0, "what remains was opened");
    assert!(asked.share.access & !before.share.access == 0, "a downgrade adds no access");
    assert!(asked.share.deny & !before.share.deny == 0, "a downgrade denies no more");
    let after =
        OpenRecord { seqid: query::next_seqid(before.seqid), share: asked.share, seen, ..before.clone() };
    open_table::change_open(txn, asked.ino, &before, &after)?;
    Ok(Outcome::Stateid(after.stateid()))
}

pub(super) fn close(txn: &mut dyn Txn, asked: &Close) -> Result<Outcome, Refusal> {
    let open = query::open(txn, asked.client, asked.ino, asked.stateid)?;
    remove_open(txn, asked.ino, &open)?;
    Ok(Outcome::Stateid(StateidValue { seqid: query::next_seqid(open.seqid), other: open.other }))
}

/// Removes an open, and what only that open kept alive.
pub(super) fn remove_open(txn: &mut dyn Txn, ino: Ino, open: &OpenRecord) -> Result<(), Refusal> {
    if 0 < open_table::drop_open(txn, ino, open)? {
        return Ok(());
    }
    // The client that created the file exclusively has its reply.
    exclusive::forget(txn, ino)?;
    reap_if_gone(txn, ino)
}

/// Removes a file without names and opens, and the layouts that clients still hold on it.
pub(super) fn reap_if_gone(txn: &mut dyn Txn, ino: Ino) -> Result<(), Refusal> {
    let nlink = match inode_table::inode(txn, ino) {
        Ok(inode) => inode.nlink,
        Err(FsError::Stale) => 0,
        Err(error) => return Err(error.into()),
    };
    if 0 < nlink || open_table::shares(txn, ino)? != Shares::default() {
        return Ok(());
    }
    for (client, layout) in query::layouts(txn, ino)? {
        table::drop_layout(txn, ino, client, &layout)?;
    }
    debug_assert!(query::layouts(txn, ino)?.is_empty(), "no layout is left of a file that is gone");
    reap::reap(txn, ino)?;
    txn.delete(&key::handed(ino))?;
    Ok(())
}
