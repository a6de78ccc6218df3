//! Checks the invariants of groups and images between two commands.
//!
//! Spec: docs/formats/namespace.md; docs/protocol/seal.md §3, §7.

use std::collections::{BTreeMap, BTreeSet};

use layout::ExtentId;
use layout::ec::{Group, GroupId, ImageId};

use super::broken::{Broken, ensure};
use crate::ExtentRecord;
use crate::keys;
use crate::op::seal::{decode_group, slot_of};
use crate::sealed::{self, ExtentImages, Place};
use crate::store::StoreError;

/// All records of sealed extents.
#[derive(Default)]
pub(super) struct Sealed {
    groups: BTreeMap<GroupId, Group>,
    places: BTreeMap<ImageId, Place>,
    images: BTreeMap<ExtentId, ExtentImages>,
}

impl Sealed {
    /// Adds a pair of one of these kinds.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        match key.first() {
            Some(&keys::TAG_GROUP) => {
                let group = decode_group(key, value)?;
                self.groups.insert(group.shape().group(), group);
            }
            Some(&keys::TAG_IMAGE) => {
                let image = keys::image_of(key).ok_or(StoreError::Corrupt("image key"))?;
                self.places.insert(image, sealed::decode_place(value)?);
            }
            Some(&keys::TAG_EXTENT_IMAGES) => {
                let extent = keys::extent_of(key).ok_or(StoreError::Corrupt("key of an extent's images"))?;
                self.images.insert(extent, sealed::decode_images(value)?);
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Checks that groups, images and extents agree.
    pub(super) fn check(
        &self,
        extents: &BTreeMap<ExtentId, ExtentRecord>,
        next_group: &dyn Fn(u64) -> u64,
    ) -> Result<(), Broken> {
        for (&extent, of) in &self.images {
            let wrong = |holds, what| ensure(holds, "images of an extent of inode", extent.ino, what);
            let record = extents.get(&extent);
            wrong(record.is_some(), "have no extent")?;
            wrong(record.is_some_and(|record| of.cut <= record.epoch), "were cut at a higher epoch than it")?;
            for image in &of.images {
                let newer = record.is_some_and(|record| record.epoch < image.epoch);
                wrong(!newer, "are of a higher epoch than it")?;
                let place = self.places.get(&image.image).map(|place| place.group);
                wrong(place == Some(image.group), "are in another group")?;
                let group = self.groups.get(&image.group);
                let member = group.is_some_and(|group| {
                    let mut members = group.shape().members().iter().flatten();
                    members.any(|member| (member.image, member.extent) == (image.image, extent))
                });
                wrong(member, "are no members of their group")?;
            }
        }
        for (image, place) in &self.places {
            for id in place.groups() {
                let there = self.groups.get(&id).is_some_and(|group| slot_of(group, *image).is_some());
                ensure(there, "group", id.0, "does not have an image that is said to be in it")?;
            }
        }
        self.groups.iter().try_for_each(|(id, group)| self.check_group(*id, group, next_group))
    }

    fn check_group(&self, id: GroupId, group: &Group, next_group: &dyn Fn(u64) -> u64) -> Result<(), Broken> {
        let wrong = |holds, what| ensure(holds, "group", id.0, what);
        wrong(0 < id.0 && id.0 < next_group(id.0), "is above the next number")?;
        let homes: Vec<_> = group.homes().iter().flatten().collect();
        let apart = homes.iter().collect::<BTreeSet<_>>().len() == homes.len();
        wrong(apart, "has two images on one data server")?;
        let mut images = (0..group.shape().slots()).filter_map(|slot| group.shape().image(slot));
        let placed = |image| self.places.get(&image).is_some_and(|place| place.groups().any(|one| one == id));
        wrong(images.all(|(image, _)| placed(image)), "has an image whose place is elsewhere")?;
        let living = group.shape().members().iter().flatten().any(|member| {
            let mut images = self.images.get(&member.extent).into_iter().flat_map(|of| &of.images);
            images.any(|image| (image.image, image.group) == (member.image, id))
        });
        wrong(living, "has no living member")
    }
}
