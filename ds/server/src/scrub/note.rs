//! The file that says how far the scrub is.
//!
//! INVARIANT: the file was whole when it got its name.
//! Spec: docs/formats/scrub.md.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use env::{Disk, OpenMode};

use super::progress::{PROGRESS_BYTES, Progress};

/// The file, and the store that it is of.
pub(super) struct Note {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: [u8; 16],
    complained: bool,
}

impl Note {
    pub(super) fn new(disk: &Arc<dyn Disk>, dir: &Path, store: [u8; 16]) -> Self {
        Self { disk: Arc::clone(disk), dir: dir.to_path_buf(), store, complained: false }
    }

    /// Reads the progress that was kept; the beginning of everything if that is of no use.
    pub(super) async fn load_progress(&self) -> Progress {
        match self.read_file().await {
            Ok(bytes) => Progress::decode(&bytes, self.store).unwrap_or_else(|error| {
                tracing::warn!(
                    %error,
                    "the noted progress of the scrub is of no use: a round begins"
                );
                Progress::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Progress::default(),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the noted progress of the scrub cannot be read: a round begins"
                );
                Progress::default()
            }
        }
    }

    async fn read_file(&self) -> io::Result<Bytes> {
        let file = self.disk.open(&self.dir.join("scrub"), OpenMode::READ).await?;
        // One byte more than there should be: a longer file is another one.
        file.read_at(0, PROGRESS_BYTES + 1).await
    }

    /// Keeps the progress. If it cannot be kept, the scrub checks some of it again after a start.
    pub(super) async fn save_progress(&mut self, progress: &Progress) {
        match self.write_file(progress).await {
            Ok(()) => self.complained = false,
            Err(error) if !self.complained => {
                tracing::warn!(%error, "the progress of the scrub cannot be noted");
                self.complained = true;
            }
            Err(_) => {}
        }
    }

    async fn write_file(&self, progress: &Progress) -> io::Result<()> {
        let fresh = self.dir.join("scrub.new");
        let file = self.disk.open(&fresh, OpenMode { truncate: true, ..OpenMode::CREATE }).await?;
        let bytes = Bytes::copy_from_slice(&progress.encode(self.store));
        file.write_at_and_sync(vec![bytes], 0).await?;
        self.disk.rename(&fresh, &self.dir.join("scrub")).await?;
        self.disk.sync_dir(&self.dir).await
    }
}
