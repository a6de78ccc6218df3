//! Questions to the metadata server that a READ waits for: whether an extent is at rest, and where
//! a file ends.
//!
//! This server asks until the metadata server that leads answers, for as long as a READ may wait.
//! It keeps no answer: an answer holds for READs that came before the question.
//!
//! Spec: docs/protocol/control.md §6; docs/protocol/seal.md §11.

use std::sync::Arc;

use env::Clock;
use layout::ExtentId;
use tokio::sync::Semaphore;
use wire_nfs::control::extent::{AskFileEnd, FileEnd};
use wire_nfs::control::{Procedure, Refusal};
use wire_nfs::v3::Nfsstat3;
use wire_xdr::{Decode, Encode};

use crate::directory::Directory;
use crate::limits::{REST_CALLS_MAX, REST_MS_MAX, REST_PAUSE_MS};
use crate::link::{AskError, extent_name};
use crate::metrics::Metrics;

/// Asks metadata servers what READs wait for.
pub(crate) struct MetadataQueries {
    clock: Arc<dyn Clock>,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    /// Questions that may be under way.
    calls: Semaphore,
}

impl MetadataQueries {
    pub(crate) fn new(clock: Arc<dyn Clock>, directory: Arc<Directory>, metrics: Arc<Metrics>) -> Self {
        Self { clock, directory, metrics, calls: Semaphore::new(REST_CALLS_MAX) }
    }

    /// Asks until a metadata server answers, or for as long as a READ may wait.
    ///
    /// # Errors
    /// STALE if the metadata server says so; JUKEBOX while none answers.
    pub(crate) async fn query<R: Decode>(
        &self,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Result<R, Nfsstat3> {
        let asked = async {
            loop {
                match self.query_once(procedure, args).await {
                    Some(Ok(told)) => return Ok(told),
                    Some(Err(AskError::Refused(Refusal::Stale))) => return Err(Nfsstat3::Stale),
                    Some(Err(error)) => {
                        tracing::debug!(
                            ?procedure, %error,
                            "no metadata server answers what a READ waits for"
                        );
                    }
                    None => {}
                }
                self.clock.sleep_ms(REST_PAUSE_MS).await;
            }
        };
        tokio::select! {
            told = asked => told,
            () = self.clock.sleep_ms(REST_MS_MAX) => Err(Nfsstat3::Jukebox),
        }
    }

    /// One question; `None` if no metadata server is known.
    async fn query_once<R: Decode>(
        &self,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Option<Result<R, AskError>> {
        let _turn = self.calls.acquire().await.ok()?;
        let link = self.directory.metadata()?;
        Some(link.ask::<R>(procedure, args).await)
    }

    /// Where the file ends that an extent belongs to, at some moment after this was called.
    ///
    /// # Units
    /// Bytes from the start of the file.
    /// # Errors
    /// STALE if the file is gone; JUKEBOX while no metadata server can tell.
    pub(crate) async fn file_end(&self, extent: ExtentId) -> Result<u64, Nfsstat3> {
        self.metrics.count_file_end();
        let args = AskFileEnd { extent: extent_name(extent) };
        let told: FileEnd = self.query(Procedure::FileEnd, &args).await?;
        Ok(told.size_bytes)
    }
}
