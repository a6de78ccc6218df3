//! The backup's side: taking up an extent, keeping records of its home, making them durable, giving
//! back what the home has lost.
//!
//! INVARIANT: a record is taken only from a home that attached to this start of ours, and at no
//! epoch below the extent's.
//! Spec: docs/protocol/replicate.md §1; docs/protocol/seal.md §4, §10.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ds_store::{ChangeError, ImageRef, Stability};
use layout::{DataServerId, Epoch, ExtentId};
use wire_nfs::control::limits::RECORD_DATA_BYTES_MAX;
use wire_nfs::control::replicate::{Act, Attach, Attached, Flush, HeldData, ReadData, Replicate, SayAgain};
use wire_nfs::control::{Nothing, Refusal};

use crate::copies::{self, Asked};
use crate::core::Core;
use crate::extent_name::id_of;

pub(crate) async fn attach(core: &Core, ask: Attach) -> Result<Attached, Refusal> {
    let extent = id_of(ask.extent);
    let sequence = core.store.attach(extent, Epoch(ask.epoch)).await.map_err(|e| refusal(core, &e))?;
    let server = core.server().map(|own| own.0);
    tracing::debug!(server, %extent, epoch = ask.epoch, sequence, "a backup now");
    // Only now is it sure that whoever attaches is home: it may be one that was deposed, and we its
    // heir, who owes backups what was written since.
    core.copies.forget(extent);
    Ok(Attached { instance: core.store.instance(), sequence })
}

pub(crate) async fn replicate(core: &Core, record: Replicate) -> Result<Nothing, Refusal> {
    same_start(core, record.instance)?;
    // The home's client waits for this as well.
    let _client = core.client();
    let (extent, epoch, sequence) = (id_of(record.extent), Epoch(record.epoch), record.sequence);
    let stability = if record.stable { Stability::Synced } else { Stability::Unstable };
    let bytes = record.data.len() as u64;
    let taken = match record.act {
        Act::Write => {
            core.store.write_at(extent, epoch, sequence, record.offset, record.data, stability).await
        }
        Act::Cut => core.store.cut_at(extent, epoch, sequence, record.offset).await,
        Act::Image => return image(core, extent, epoch, sequence, &record).await,
    };
    taken.map_err(|e| refusal(core, &e))?;
    core.metrics.kept(bytes);
    Ok(Nothing)
}

/// The home says that an image stands for everything up to a sequence.
///
/// NO_IMAGE if it does not show here: another image lies above it, since everything was said again
/// (docs/protocol/replicate.md §2). A home that took that for an answer would have the other
/// image's group go, and this journal is what its heir reads.
async fn image(
    core: &Core,
    extent: ExtentId,
    epoch: Epoch,
    sequence: u64,
    record: &Replicate,
) -> Result<Nothing, Refusal> {
    let image = ImageRef::decode(&record.data).map_err(|_| Refusal::Invalid)?;
    if image.content_bytes != record.offset {
        return Err(Refusal::Invalid);
    }
    core.store.use_image(extent, epoch, sequence, &image).await.map_err(|e| refusal(core, &e))?;
    let shows = core.store.image(extent).await.map_err(|_| Refusal::Io)?;
    if shows.is_some_and(|(above, other)| sequence < above && other.image != image.image) {
        return Err(Refusal::NoImage);
    }
    core.metrics.kept(record.data.len() as u64);
    let server = core.server().map(|own| own.0);
    tracing::debug!(server, %extent, image = %image.image, sequence, "a backup that was told an image");
    Ok(Nothing)
}

pub(crate) async fn flush(core: &Core, ask: Flush) -> Result<Nothing, Refusal> {
    same_start(core, ask.instance)?;
    let _client = core.client();
    core.store.flush().await.map_err(|e| refusal(core, &e))?;
    Ok(Nothing)
}

/// Bytes of an extent for its home, whose journal has lost them; or which image it uses.
pub(crate) async fn read_data(core: &Core, ask: ReadData) -> Result<HeldData, Refusal> {
    let (extent, length) = (id_of(ask.extent), ask.length);
    if RECORD_DATA_BYTES_MAX < length as usize {
        return Err(Refusal::Invalid);
    }
    if Epoch(ask.epoch) < core.store.size(extent).epoch {
        return Err(Refusal::Stale);
    }
    if length == 0 {
        let used = core.store.image(extent).await.map_err(|_| Refusal::Io)?;
        let (sequence, image) = used.ok_or(Refusal::Invalid)?;
        return Ok(HeldData { sequence, data: Bytes::copy_from_slice(&image.encode()) });
    }
    let _room = core.read_room.acquire_many(length).await.map_err(|_| Refusal::Busy)?;
    let sequence = core.store.lowest_sequence(extent, ask.offset, length).ok_or(Refusal::Invalid)?;
    let mut data = BytesMut::with_capacity(length as usize);
    while data.len() < length as usize {
        let got = u32::try_from(data.len()).expect("no more than was asked for");
        let pieces =
            core.store.peek(extent, ask.offset + got, length - got).await.map_err(|_| Refusal::Io)?;
        pieces.iter().for_each(|piece| data.extend_from_slice(piece));
    }
    // What was cut meanwhile reads as zeros.
    match core.store.lowest_sequence(extent, ask.offset, length) {
        Some(again) if sequence <= again => Ok(HeldData { sequence, data: data.freeze() }),
        Some(_) | None => Err(Refusal::Busy),
    }
}

/// The home's side: something that a backup took is bad there. Everything is said to it again, if
/// all of it can be read here: a backup that was told a part would have lost what the home wants
/// from it.
pub(crate) async fn say_again(core: &Arc<Core>, ask: SayAgain) -> Result<Nothing, Refusal> {
    let extent = id_of(ask.extent);
    let set = match copies::ask(core, extent).await {
        Asked::Home(set) => set,
        Asked::NotHome => return Err(Refusal::NotHome),
        Asked::Unknown => return Err(Refusal::Busy),
    };
    let is_backup = set.backups.iter().any(|one| one.server == ask.server && !one.filling);
    if set.epoch != ask.epoch || !is_backup {
        return Err(Refusal::Stale);
    }
    let mut next = Some(0);
    while let Some(from) = next {
        let checked = core.store.check(extent, from).await;
        if !checked.bad.is_empty() {
            return Err(Refusal::Io);
        }
        next = checked.next;
    }
    let kept = copies::keep(core, &set).ok_or(Refusal::Busy)?;
    kept.say_again(core, DataServerId(ask.server)).await.map_err(|error| {
        tracing::warn!(%extent, backup = ask.server, ?error, "a backup is not told everything again yet");
        Refusal::Busy
    })?;
    tracing::info!(%extent, backup = ask.server, "a backup was told everything again");
    Ok(Nothing)
}

fn same_start(core: &Core, instance: u64) -> Result<(), Refusal> {
    if instance == core.store.instance() { Ok(()) } else { Err(Refusal::AttachAgain) }
}

fn refusal(core: &Core, error: &ChangeError) -> Refusal {
    core.note(error);
    match error {
        ChangeError::Stale { .. } => Refusal::Stale,
        ChangeError::Range => Refusal::Invalid,
        ChangeError::NoSpace => Refusal::NoSpace,
        ChangeError::Busy | ChangeError::Closed => Refusal::Busy,
        ChangeError::Failed(_) => Refusal::Io,
    }
}
