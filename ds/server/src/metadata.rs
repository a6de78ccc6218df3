//! Questions to the metadata server that a READ waits for: whether an extent is at rest, and where
//! a file ends.
//!
//! They are asked again until the metadata server that leads answers, for as long as a READ may
//! wait. Nothing that it says is kept: it holds for READs that came before it was asked.
//!
//! Spec: docs/protocol/control.md §6; docs/protocol/seal.md §11.

use wire_nfs::control::extent::{AskFileEnd, ExtentName, FileEnd};
use wire_nfs::control::{Procedure, Refusal};
use wire_nfs::v3::Nfsstat3;
use wire_xdr::{Decode, Encode};

use crate::core::Core;
use crate::limits::{REST_MS_MAX, REST_PAUSE_MS};
use crate::link::AskError;

/// Asks until it is answered, or for as long as a READ may wait.
///
/// # Errors
/// STALE if the metadata server says so; JUKEBOX while none answers.
pub(crate) async fn ask<R: Decode>(
    core: &Core,
    procedure: Procedure,
    args: &impl Encode,
) -> Result<R, Nfsstat3> {
    let asked = async {
        loop {
            match ask_once(core, procedure, args).await {
                Some(Ok(told)) => return Ok(told),
                Some(Err(AskError::Refused(Refusal::Stale))) => return Err(Nfsstat3::Stale),
                Some(Err(error)) => {
                    tracing::debug!(?procedure, %error, "no metadata server answers what a READ waits for");
                }
                None => {}
            }
            core.env.clock.sleep_ms(REST_PAUSE_MS).await;
        }
    };
    tokio::select! {
        told = asked => told,
        () = core.env.clock.sleep_ms(REST_MS_MAX) => Err(Nfsstat3::Jukebox),
    }
}

/// One question; `None` if no metadata server is known.
async fn ask_once<R: Decode>(
    core: &Core,
    procedure: Procedure,
    args: &impl Encode,
) -> Option<Result<R, AskError>> {
    let _turn = core.rest_calls.acquire().await.ok()?;
    let link = core.directory.metadata()?;
    Some(link.ask::<R>(procedure, args).await)
}

/// Where the file ends that an extent belongs to, at some moment after this was called.
///
/// # Units
/// Bytes from the start of the file.
/// # Errors
/// STALE if it is gone; JUKEBOX while no metadata server can tell.
pub(crate) async fn file_end(core: &Core, extent: layout::ExtentId) -> Result<u64, Nfsstat3> {
    core.metrics.file_end_asked();
    let extent = ExtentName { ino: extent.ino, index: extent.index };
    let told: FileEnd = ask(core, Procedure::FileEnd, &AskFileEnd { extent }).await?;
    Ok(told.size_bytes)
}
