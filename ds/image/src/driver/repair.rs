//! Writes an image again where frames of it are bad: good ones are copied, bad ones come from the
//! caller.
//!
//! INVARIANT: the new file has the root of the old one; every frame in it was compared with its
//! hash.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::draft::Draft;
use super::image::Image;
use super::writer::Output;
use crate::error::RepairError;
use crate::identity::Sealed;
use crate::limits::WALK_READ_BYTES;
use crate::map::ImageMap;

/// Fills the draft from the damaged image and the frames given.
pub(super) async fn rewrite(
    draft: Draft,
    damaged: &Image,
    given: &BTreeMap<u16, Bytes>,
) -> Result<Sealed, RepairError> {
    let mut output = Output::new(draft);
    match fill(&mut output, damaged, given).await {
        Ok(()) => {
            let sum = output.publish(damaged.info().image_bytes).await?;
            Ok(Sealed { info: *damaged.info(), sum })
        }
        Err(error) => {
            output.abandon().await;
            Err(error)
        }
    }
}

async fn fill(output: &mut Output, damaged: &Image, given: &BTreeMap<u16, Bytes>) -> Result<(), RepairError> {
    let map = damaged.map();
    check_given(map, given)?;
    output.append(map.header()).await?;
    for run in map.runs(WALK_READ_BYTES) {
        let fetched = damaged.fetch(&run).await;
        for entry in run {
            let frame = map.places()[entry].frame;
            let stored = match given.get(&frame) {
                Some(stored) => stored.clone(),
                None => {
                    let stored = damaged.stored(&fetched, entry).await;
                    let checked = stored.and_then(|stored| map.check(entry, &stored).map(|()| stored));
                    checked.map_err(|fault| RepairError::Damaged { frame, fault })?
                }
            };
            output.append(stored).await?;
        }
    }
    output.append(map.tail()).await?;
    Ok(())
}

fn check_given(map: &ImageMap, given: &BTreeMap<u16, Bytes>) -> Result<(), RepairError> {
    for (&frame, stored) in given {
        let entry = map.entry_of(frame).ok_or(RepairError::NotStored { frame })?;
        map.check(entry, stored).map_err(|fault| RepairError::Given { frame, fault })?;
    }
    Ok(())
}
