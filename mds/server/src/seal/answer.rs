//! Replies to data servers about their images: IMAGES, GROUP and THAW.
//!
//! INVARIANT: the reply never gives up an image that a group has, may get, or is being made with:
//! work under way is read first, then the log's state, which is never stale.
//! Spec: docs/protocol/seal.md §2, §5, §8.

use bytes::Bytes;
use layout::ec::{Group, GroupId, ImageId, ImageRef, ImageSum, Member};
use layout::limits::IMAGE_BYTES_MAX;
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::limits::EXTENT_IMAGES_MAX;
use mds_namespace::op::seal::{SealedAs, may_join, slot_of};
use mds_namespace::sealed;
use mds_namespace::{FsError, View, op};
use mds_raft::ProposeError;
use mds_state::command::seal::{ThawExtent, UseImages, UsedImage};
use mds_state::{Command, Outcome};
use wire_nfs::control::groups::{AskGroup, GroupSlot};
use wire_nfs::control::images::{ImageWord, ImageWords, Promise, ShowImages, ShownImage, Standing, Thaw};
use wire_nfs::control::{Nothing, Refusal};

use super::pool::Candidate;
use crate::server::Server;

/// The reply about an image, and what follows from it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Word(ImageWord),
    /// It waits for a group.
    Wait(Candidate),
    /// Older images of the extent are dead.
    Used(UsedImage),
}

/// This leader's work under way with an image.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnderWay {
    /// A group is being made with the image.
    pub(super) making: bool,
    /// The image is being recreated on the caller.
    pub(super) remaking: bool,
}

/// Handles IMAGES: replies what each image is good for.
///
/// # Errors
/// `NotLeader`, `Busy` if the log's state is unavailable; `Invalid` for an impossible image.
pub(crate) async fn images(server: &Server, ask: &ShowImages) -> Result<ImageWords, Refusal> {
    if !ask.images.iter().all(can_be) {
        return Err(Refusal::Invalid);
    }
    let caller = DataServerId(ask.server);
    let under_way: Vec<UnderWay> = {
        let pool = server.sealing.pool.lock();
        let one = |image: ImageId| UnderWay {
            making: pool.is_making(image),
            remaking: pool.is_remaking(image, caller),
        };
        ask.images.iter().map(|shown| one(ImageId(shown.image))).collect()
    };
    in_force(server).await?;
    let verdicts: Vec<Verdict> = {
        let view = server.view().map_err(|_| Refusal::Busy)?;
        let judge = |(shown, under_way): (&ShownImage, &UnderWay)| {
            let judged = judge(view.namespace(), caller, shown, *under_way, server.config.seal);
            judged.map_err(|error| {
                tracing::error!(%error, "the state of an image cannot be read");
                Refusal::Busy
            })
        };
        ask.images.iter().zip(&under_way).map(judge).collect::<Result<_, _>>()?
    };
    let used: Vec<UsedImage> = verdicts
        .iter()
        .filter_map(|verdict| if let Verdict::Used(used) = verdict { Some(*used) } else { None })
        .collect();
    let noted = used.is_empty() || server.propose(Command::UseImages(UseImages { used })).await.is_ok();
    let now_ms = server.now_ms();
    let mut pool = server.sealing.pool.lock();
    let mut word = |verdict: &Verdict| match verdict {
        Verdict::Word(word) => *word,
        Verdict::Wait(candidate) => {
            pool.wait(*candidate, now_ms);
            ImageWord::Wait
        }
        Verdict::Used(_) if noted => ImageWord::Keep,
        Verdict::Used(_) => ImageWord::Wait,
    };
    let words: Vec<ImageWord> = verdicts.iter().map(&mut word).collect();
    drop(pool);
    server.metrics.answered(&words);
    server.sealing.call.notify_one();
    Ok(ImageWords { words })
}

/// Whether an image can be as reported.
fn can_be(shown: &ShownImage) -> bool {
    let of_extent = shown.standing != Standing::Parity;
    shown.image != [0; 16]
        && u64::from(shown.file_bytes) <= IMAGE_BYTES_MAX
        && (0 < shown.extent.ino) == of_extent
        && (0 < shown.sequence || shown.standing != Standing::Unused)
        && (shown.standing != Standing::Unused || fits(shown))
}

/// Whether an extent can have such an image.
fn fits(shown: &ShownImage) -> bool {
    image_ref(ImageId(shown.image), shown.content_bytes, shown.file_bytes, shown.root).check().is_ok()
}

/// An image as journals name it.
pub(crate) fn image_ref(image: ImageId, content_bytes: u32, file_bytes: u32, root: [u8; 32]) -> ImageRef {
    ImageRef { image, content_bytes, file_bytes, root }
}

/// Returns once a view shows everything that any node may have answered before; refuses if another
/// node leads.
pub(crate) async fn in_force(server: &Server) -> Result<(), Refusal> {
    match server.shards.read_barrier().await {
        Ok(()) if server.shards.is_leader() => Ok(()),
        Ok(()) => Err(Refusal::Busy),
        Err(ProposeError::NotLeader { leader }) => Err(server.not_leader(leader)),
        Err(_) => Err(Refusal::Busy),
    }
}

/// The table of docs/protocol/seal.md §2.
pub(super) fn judge(
    view: &dyn View,
    caller: DataServerId,
    shown: &ShownImage,
    under_way: UnderWay,
    seals: bool,
) -> Result<Verdict, FsError> {
    let image = ImageId(shown.image);
    let extent = ExtentId { ino: shown.extent.ino, index: shown.extent.index };
    if shown.standing == Standing::Used {
        let of = sealed::images(view, extent)?;
        let at = of.images.iter().position(|one| one.image == image);
        let used = UsedImage { extent, image: image.0, server: caller, above: shown.sequence };
        let is_news = at.is_some_and(|at| 0 < at || !of.is_used || of.thawed < shown.sequence);
        return Ok(if is_news { Verdict::Used(used) } else { Verdict::Word(ImageWord::Keep) });
    }
    if under_way.remaking {
        return Ok(Verdict::Word(ImageWord::Wait));
    }
    if let Some(place) = sealed::place(view, image)? {
        let mut is_here = false;
        for id in place.groups() {
            is_here |= is_at(&placed(view, id)?, image, caller);
        }
        return Ok(Verdict::Word(match () {
            () if !is_here && under_way.making => ImageWord::Wait,
            () if !is_here => ImageWord::Delete,
            () if is_to_be_used(view, &placed(view, place.group)?, image, caller)? => ImageWord::Use,
            () => ImageWord::Keep,
        }));
    }
    if under_way.making {
        return Ok(Verdict::Word(ImageWord::Wait));
    }
    if shown.standing == Standing::Parity || !seals {
        return Ok(Verdict::Word(ImageWord::Delete));
    }
    let (bytes, sum) = (u64::from(shown.file_bytes), ImageSum(shown.sum));
    let (content_bytes, root) = (shown.content_bytes, shown.root);
    let (epoch, sequence) = (Epoch(shown.epoch), shown.sequence);
    let sealed_as = SealedAs { epoch, sequence, content_bytes, root, from: None };
    let code = op::extent::extent(view, extent)?.and_then(|record| record.code);
    let candidate = Candidate { member: Member { image, extent, bytes, sum }, home: caller, sealed_as, code };
    if may_join(view, &candidate.member, caller, &sealed_as)? {
        return Ok(Verdict::Wait(candidate));
    }
    let waits = may_join_later(view, &candidate)?;
    Ok(Verdict::Word(if waits { ImageWord::Wait } else { ImageWord::Delete }))
}

/// Reads the group of an image.
fn placed(view: &dyn View, id: GroupId) -> Result<Group, FsError> {
    sealed::group(view, id)?.ok_or_else(|| FsError::Store("an image's group is gone".into()))
}

fn is_at(group: &Group, image: ImageId, server: DataServerId) -> bool {
    let slots = 0..group.shape().slots();
    let here = |slot: usize| group.shape().image(slot).is_some_and(|(one, _)| one == image);
    slots.into_iter().any(|slot| here(slot) && group.homes()[slot] == Some(server))
}

/// Whether an image of a group is the newest of its extent, and the caller its home at the epoch of
/// the image.
fn is_to_be_used(
    view: &dyn View,
    group: &Group,
    image: ImageId,
    caller: DataServerId,
) -> Result<bool, FsError> {
    let member = slot_of(group, image).and_then(|slot| group.shape().members().get(slot).copied().flatten());
    let Some(member) = member else { return Ok(false) };
    let images = sealed::images(view, member.extent)?.images;
    let Some(newest) = images.last().filter(|newest| newest.image == image) else { return Ok(false) };
    let record = op::extent::extent(view, member.extent)?;
    Ok(record.is_some_and(|record| {
        (record.home, record.epoch, record.pending_work) == (caller, newest.epoch, None)
    }))
}

/// Whether only temporary obstacles keep an image from a group: pending work, or images that are to
/// be used first.
fn may_join_later(view: &dyn View, candidate: &Candidate) -> Result<bool, FsError> {
    let Candidate { member, home, sealed_as, .. } = candidate;
    let Some(record) = op::extent::extent(view, member.extent)? else { return Ok(false) };
    let images = sealed::images(view, member.extent)?.images;
    let newest = images.last().map_or(0, |image| image.sequence);
    let blocked = record.pending_work.is_some() || images.len() == EXTENT_IMAGES_MAX;
    Ok((record.home, record.epoch) == (*home, sealed_as.epoch) && newest < sealed_as.sequence && blocked)
}

/// Handles GROUP: returns the group of an image.
///
/// # Errors
/// `NoImage` if it is in none; `NotLeader`, `Busy`.
pub(crate) async fn group(server: &Server, ask: &AskGroup) -> Result<GroupSlot, Refusal> {
    in_force(server).await?;
    let image = ImageId(ask.image);
    let view = server.view().map_err(|_| Refusal::Busy)?;
    let found = sealed::place(view.namespace(), image)
        .and_then(|place| place.map_or(Ok(None), |place| sealed::group(view.namespace(), place.group)));
    let group = found.map_err(|_| Refusal::Busy)?.ok_or(Refusal::NoImage)?;
    let slot = slot_of(&group, image).and_then(|slot| u32::try_from(slot).ok()).ok_or(Refusal::NoImage)?;
    Ok(GroupSlot { record: Bytes::from(group.encode()), slot })
}

/// Handles THAW: a home is about to acknowledge an act on top of an image.
///
/// # Errors
/// `NotHome` if it is not the home; `NotLeader`; `Busy` if the log cannot record it now.
pub(crate) async fn thaw(server: &Server, ask: &Thaw) -> Result<Nothing, Refusal> {
    let extent = ExtentId { ino: ask.extent.ino, index: ask.extent.index };
    note(server, ThawExtent { extent, server: DataServerId(ask.server), sequence: ask.sequence }).await
}

/// Handles PROMISE: a home is about to promise bytes of an extent for the first time since its
/// start.
///
/// # Errors
/// As [`thaw`].
pub(crate) async fn promise(server: &Server, ask: &Promise) -> Result<Nothing, Refusal> {
    let extent = ExtentId { ino: ask.extent.ino, index: ask.extent.index };
    let known = {
        let view = server.view().map_err(|_| Refusal::Busy)?;
        op::extent::extent(view.namespace(), extent).map_err(|_| Refusal::Busy)?
    };
    // Once recorded it stays so: a view may be arbitrarily old, and no further log entry is needed.
    if known.is_some_and(|record| !record.unpromised) {
        return Ok(Nothing);
    }
    note(server, ThawExtent { extent, server: DataServerId(ask.server), sequence: 0 }).await
}

async fn note(server: &Server, thawed: ThawExtent) -> Result<Nothing, Refusal> {
    match server.shards.propose(None, Command::ThawExtent(thawed)).await {
        Ok(Outcome::Done) => Ok(Nothing),
        Ok(_) => Err(Refusal::NotHome),
        Err(ProposeError::NotLeader { leader }) => Err(server.not_leader(leader)),
        Err(_) => Err(Refusal::Busy),
    }
}
