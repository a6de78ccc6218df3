//! Commands about sealed extents: groups are made, images used and moved, extents thawed, and
//! adopted when only an image is left.
//!
//! Spec: docs/protocol/seal.md §2, §3, §6, §8, §9.

use layout::{DataServerId, ExtentId};
use mds_namespace::op::copies::Adoption;
use mds_namespace::op::seal::SealedAs;
use serde::{Deserialize, Serialize};

/// Makes a group, all or nothing. Refused with `ContentMoved` if a member may not join (any more).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeGroup {
    /// The group's record (docs/formats/group.md §3). Its number was taken before.
    #[serde(with = "serde_bytes")]
    pub record: Vec<u8>,
    /// How each member that is not empty was sealed, in their order.
    pub sealed_as: Vec<SealedAs>,
}

/// The home of an extent reports that home and backups use an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedImage {
    /// The extent.
    pub extent: ExtentId,
    /// The image.
    pub image: [u8; 16],
    /// The reporting data server.
    pub server: DataServerId,
    /// The last act above the image; 0 if there is none.
    pub above: u64,
}

/// Images that are in use: older ones of their extents are dead. Each report is independent: a late
/// one changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseImages {
    /// At most [`USED_IMAGES_MAX`](crate::limits::USED_IMAGES_MAX).
    pub used: Vec<UsedImage>,
}

/// An image of a group was recreated elsewhere. Refused with `ContentMoved` if the group is gone or
/// the image is not at `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehomeImage {
    /// The group.
    pub group: u64,
    /// The image's slot in the group.
    pub slot: u32,
    /// The data server that had it.
    pub from: DataServerId,
    /// The data server that has it.
    pub to: DataServerId,
}

/// The home of an extent is about to answer an act that lies above an image. Refused with
/// `ContentMoved` if another server is its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThawExtent {
    /// The extent.
    pub extent: ExtentId,
    /// The reporting data server.
    pub server: DataServerId,
    /// The act's sequence, or a lower one.
    pub sequence: u64,
}

/// Gives extents another home of which only an image is left. Each adoption is independent: one
/// that does not apply (any more) changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptExtents {
    /// At most [`COPY_CHANGES_MAX`](crate::limits::COPY_CHANGES_MAX).
    pub adoptions: Vec<Adoption>,
}
