//! Sealed extents: creates groups, uses and moves images.
//!
//! Spec: docs/protocol/seal.md §2, §3, §6, §8, §9.

use ::layout::DataServerId;
use ::layout::ec::{Group, GroupId, ImageId};
use mds_namespace::op::{copies, seal};
use mds_namespace::{FsError, Txn};

use super::extents::{all_known, told};
use crate::command::seal::{AdoptExtents, MakeGroup, RehomeImage, ThawExtent, UseImages};
use crate::command::{Outcome, Refusal};
use crate::limits::{COPY_CHANGES_MAX, USED_IMAGES_MAX};

pub(super) fn take_group(txn: &mut dyn Txn) -> Result<Outcome, Refusal> {
    Ok(Outcome::Group(seal::take_group(txn)?.0))
}

pub(super) fn make_group(txn: &mut dyn Txn, asked: &MakeGroup) -> Result<Outcome, Refusal> {
    let group = Group::decode(&asked.record).map_err(|_| FsError::Invalid)?;
    let servers: Vec<DataServerId> = group.homes().iter().flatten().copied().collect();
    all_known(txn, servers)?;
    seal::make_group(txn, &group, &asked.sealed_as)?;
    Ok(Outcome::Done)
}

pub(super) fn use_images(txn: &mut dyn Txn, asked: &UseImages) -> Result<Outcome, Refusal> {
    if USED_IMAGES_MAX < asked.used.len() {
        return Err(Refusal::TableFull);
    }
    for used in &asked.used {
        seal::use_image(txn, used.extent, ImageId(used.image), used.server, used.above)?;
    }
    Ok(Outcome::Done)
}

pub(super) fn rehome(txn: &mut dyn Txn, asked: &RehomeImage) -> Result<Outcome, Refusal> {
    all_known(txn, [asked.to])?;
    let slot = usize::try_from(asked.slot).map_err(|_| FsError::Invalid)?;
    seal::rehome(txn, GroupId(asked.group), slot, asked.from, asked.to)?;
    Ok(Outcome::Done)
}

pub(super) fn thaw(txn: &mut dyn Txn, asked: &ThawExtent) -> Result<Outcome, Refusal> {
    seal::thaw(txn, asked.extent, asked.server, asked.sequence)?;
    Ok(Outcome::Done)
}

pub(super) fn adopt(txn: &mut dyn Txn, asked: &AdoptExtents) -> Result<Outcome, Refusal> {
    if COPY_CHANGES_MAX < asked.adoptions.len() {
        return Err(Refusal::TableFull);
    }
    let mut records = Vec::with_capacity(asked.adoptions.len());
    for adoption in &asked.adoptions {
        all_known(txn, [adoption.home])?;
        records.push(copies::adopt(txn, adoption)?.map(told));
    }
    assert!(records.len() == asked.adoptions.len(), "each adoption has its answer");
    Ok(Outcome::Copies(records))
}
