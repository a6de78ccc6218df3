//! Calls about copies: records to a backup, words to a metadata server.
//!
//! A record that is sent beside a WRITE is its own task: it ends, and is counted, whatever becomes
//! of the request.
//!
//! Spec: docs/protocol/replicate.md §1, §3.

use std::sync::Arc;

use bytes::Bytes;
use ds_store::ImageRef;
use layout::ec::ImageId;
use layout::{DataServerId, Epoch, ExtentId};
use tokio::sync::oneshot;
use wire_nfs::control::copies::{AskCopies, CopySet, Word};
use wire_nfs::control::replicate::{Act, Attach, Attached, Flush, HeldData, ReadData, Replicate};
use wire_nfs::control::{Nothing, Procedure, Refusal};

use super::member::{Fault, Step};
use super::table::ExtentCopies;
use crate::core::Core;
use crate::limits::BACKUP_STALL_MS_MAX;
use crate::link::AskError;

/// A record to be kept: what it does and where.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) act: Act,
    pub(super) sequence: u64,
    pub(super) offset: u32,
    pub(super) data: Bytes,
}

impl Line {
    /// Everything up to `sequence` is what the image says.
    pub(super) fn image(sequence: u64, image: &ImageRef) -> Self {
        let data = Bytes::copy_from_slice(&image.encode());
        Self { act: Act::Image, sequence, offset: image.content_bytes, data }
    }
}

/// Records of one WRITE on their way.
pub(crate) struct Sending {
    begun: Vec<oneshot::Receiver<()>>,
    done: Vec<oneshot::Receiver<()>>,
}

impl Sending {
    /// Waits until all have left: a fast writer is held back by a slow backup.
    pub(crate) async fn begun(self) {
        for begun in self.begun {
            // A task that has gone has counted its record as missing.
            let _ = begun.await;
        }
    }

    /// Waits until all are answered, or given up.
    pub(crate) async fn done(self) {
        for done in self.done {
            let _ = done.await;
        }
    }
}

impl ExtentCopies {
    /// Sends the record of a WRITE to every backup that can take it; for the others it is missing.
    pub(crate) fn send(
        self: &Arc<Self>,
        core: &Arc<Core>,
        sequence: u64,
        offset: u32,
        data: &Bytes,
        stable: bool,
    ) -> Sending {
        self.send_line(core, &Line { act: Act::Write, sequence, offset, data: data.clone() }, stable)
    }

    /// Sends a CUT to every backup that can take it; for the others it is missing. It counts as in
    /// flight until it is answered.
    pub(crate) fn send_cut(self: &Arc<Self>, core: &Arc<Core>, sequence: u64, keep_bytes: u32) {
        let line = Line { act: Act::Cut, sequence, offset: keep_bytes, data: Bytes::new() };
        // Settling waits for the answers.
        drop(self.send_line(core, &line, true));
    }

    fn send_line(self: &Arc<Self>, core: &Arc<Core>, line: &Line, stable: bool) -> Sending {
        let mut sending = Sending { begun: Vec::new(), done: Vec::new() };
        let mut state = self.state.lock();
        let epoch = state.epoch;
        for member in &mut state.members {
            let Some(instance) = member.sends(line.sequence) else { continue };
            let (begun, begins) = oneshot::channel();
            let (done, ends) = oneshot::channel();
            sending.begun.push(begins);
            sending.done.push(ends);
            let (copies, core, server) = (Arc::clone(self), Arc::clone(core), member.server);
            let line = line.clone();
            tokio::spawn(async move {
                copies.send_one(&core, server, instance, epoch, line, stable, begun).await;
                // Whoever waited may have gone.
                let _ = done.send(());
            });
        }
        sending
    }

    #[expect(clippy::too_many_arguments, reason = "one record, its place, and who is told that it has left")]
    async fn send_one(
        self: &Arc<Self>,
        core: &Arc<Core>,
        server: DataServerId,
        instance: u64,
        epoch: Epoch,
        line: Line,
        stable: bool,
        begun: oneshot::Sender<()>,
    ) {
        let sequence = line.sequence;
        let began_ms = core.env.clock.monotonic_ms();
        let answer = record(core, self.id, server, (instance, epoch), line, stable, Some(begun)).await;
        {
            let mut state = self.state.lock();
            let moved_on = epoch < state.epoch;
            let Some(member) = state.members.iter_mut().find(|one| one.server == server) else { return };
            match answer {
                Ok(()) if member.instance() == Some(instance) => member.took(sequence, stable),
                Ok(()) => member.missed(sequence),
                Err(fault) => {
                    member.missed(sequence);
                    // A record that was overtaken by a new epoch is sent again under it.
                    if !(fault == Fault::Outdated && moved_on) {
                        member.failed(Step::Rest, fault, began_ms);
                    }
                }
            }
        }
        self.changed.notify_waiters();
        if answer.is_err() {
            self.kick(core);
        }
    }
}

/// Sends a record, when the window lets it.
pub(super) async fn record(
    core: &Core,
    extent: ExtentId,
    server: DataServerId,
    (instance, epoch): (u64, Epoch),
    line: Line,
    stable: bool,
    begun: Option<oneshot::Sender<()>>,
) -> Result<(), Fault> {
    let neighbour = core.directory.neighbour(&core.env, server).ok_or(Fault::Silent)?;
    let bytes = u32::try_from(line.data.len()).expect("a record is at most a transfer");
    let _permit = neighbour.window.acquire_many(bytes).await.map_err(|_| Fault::Silent)?;
    if let Some(begun) = begun {
        let _ = begun.send(());
    }
    let Line { act, sequence, offset, data } = line;
    let (extent, epoch) = (crate::extent_name::name_of(extent), epoch.0);
    let args = Replicate { instance, stable, act, extent, epoch, sequence, offset, data };
    let answer = neighbour.link.ask_within::<Nothing>(Procedure::Replicate, &args, BACKUP_STALL_MS_MAX).await;
    core.metrics.replicated(u64::from(bytes));
    answer.map(drop).map_err(|error| fault(server, &error))
}

pub(super) async fn attach(
    core: &Core,
    extent: ExtentId,
    server: DataServerId,
    epoch: Epoch,
) -> Result<Attached, Fault> {
    let neighbour = core.directory.neighbour(&core.env, server).ok_or(Fault::Silent)?;
    let args = Attach { extent: crate::extent_name::name_of(extent), epoch: epoch.0 };
    let answer = neighbour.link.ask_within(Procedure::Attach, &args, BACKUP_STALL_MS_MAX).await;
    answer.map_err(|error| {
        // The next try gets a connection of its own.
        neighbour.link.disconnect_if_silent(&error);
        fault(server, &error)
    })
}

pub(super) async fn flush(core: &Core, server: DataServerId, instance: u64) -> Result<(), Fault> {
    let neighbour = core.directory.neighbour(&core.env, server).ok_or(Fault::Silent)?;
    let answer = neighbour
        .link
        .ask_within::<Nothing>(Procedure::Flush, &Flush { instance }, BACKUP_STALL_MS_MAX)
        .await;
    answer.map(drop).map_err(|error| fault(server, &error))
}

/// The image that a backup uses, if any.
pub(super) async fn used_image(
    core: &Core,
    extent: ExtentId,
    server: DataServerId,
    epoch: Epoch,
) -> Result<Option<ImageId>, Fault> {
    let neighbour = core.directory.neighbour(&core.env, server).ok_or(Fault::Silent)?;
    let args = ReadData { extent: crate::extent_name::name_of(extent), epoch: epoch.0, offset: 0, length: 0 };
    let answer = neighbour.link.ask_within::<HeldData>(Procedure::ReadData, &args, BACKUP_STALL_MS_MAX).await;
    match answer {
        Ok(held) => ImageRef::decode(&held.data).map(|used| Some(used.image)).map_err(|_| Fault::Silent),
        Err(AskError::Refused(Refusal::Invalid)) => Ok(None),
        // It cannot read its own record: its scrub asks for everything again.
        Err(AskError::Refused(Refusal::Io)) => Err(Fault::Unreadable),
        Err(error) => Err(fault(server, &error)),
    }
}

fn fault(server: DataServerId, error: &AskError) -> Fault {
    let fault = match error {
        AskError::Refused(Refusal::AttachAgain) => Fault::Restarted,
        AskError::Refused(Refusal::Stale) => Fault::Outdated,
        AskError::Refused(Refusal::NoSpace) => Fault::Full,
        AskError::Refused(Refusal::NoImage) => Fault::OtherImage,
        _ => Fault::Silent,
    };
    tracing::debug!(server = server.0, %error, ?fault, "a backup did not do it");
    fault
}

/// What came of a word to a metadata server.
pub(super) enum Heard {
    /// The copies in force.
    Set(CopySet),
    /// Somebody else is home.
    NotHome,
    /// Nothing; it is to be said again.
    Nothing,
}

pub(super) async fn tell(
    core: &Core,
    extent: ExtentId,
    word: Word,
    backup: DataServerId,
    since: Epoch,
) -> Heard {
    let (Some(link), Some(server)) = (core.directory.metadata(), core.server()) else {
        return Heard::Nothing;
    };
    let args = AskCopies {
        server: server.0,
        extent: crate::extent_name::name_of(extent),
        word,
        backup: backup.0,
        since: since.0,
    };
    match link.ask::<CopySet>(Procedure::Copies, &args).await {
        Ok(set) if set.extent == crate::extent_name::name_of(extent) => Heard::Set(set),
        Ok(_) => Heard::Nothing,
        Err(AskError::Refused(Refusal::NotHome)) => Heard::NotHome,
        Err(error) => {
            tracing::debug!(%extent, %error, "no metadata server tells the copies");
            Heard::Nothing
        }
    }
}
