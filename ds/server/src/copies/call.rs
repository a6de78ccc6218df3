//! Calls about copies: records to a replica, and words to a metadata server.
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
use super::{ExtentCopies, Replication};
use crate::directory::Neighbour;
use crate::limits::{REPLICA_STALL_MS_MAX, TRANSFER_BYTES_MAX};
use crate::link::{AskError, extent_name};

/// A record that a replica keeps: its act, and where in the extent.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) act: Act,
    pub(super) sequence: u64,
    pub(super) offset: u32,
    pub(super) data: Bytes,
}

impl Record {
    /// Says that the image stands for everything up to `sequence`.
    pub(super) fn from_image(sequence: u64, image: &ImageRef) -> Self {
        let data = Bytes::copy_from_slice(&image.encode());
        Self { act: Act::Image, sequence, offset: image.content_bytes, data }
    }

    /// Says that the extent ends at `keep_bytes`.
    pub(super) fn from_cut(sequence: u64, keep_bytes: u32) -> Self {
        Self { act: Act::Cut, sequence, offset: keep_bytes, data: Bytes::new() }
    }
}

/// The records of one WRITE on their way.
pub(crate) struct Sending {
    begun: Vec<oneshot::Receiver<()>>,
    done: Vec<oneshot::Receiver<()>>,
}

impl Sending {
    /// Waits until all records have left: a slow replica holds a fast writer back.
    pub(crate) async fn wait_for_departure(self) {
        for begun in self.begun {
            // A task that has gone has counted its record as missing.
            let _ = begun.await;
        }
    }

    /// Waits until the replicas have answered all records, or this server has given them up.
    pub(crate) async fn wait_for_answers(self) {
        for done in self.done {
            let _ = done.await;
        }
    }
}

impl ExtentCopies {
    /// Sends the record of a WRITE to every replica that can take it; for the others it is missing.
    pub(crate) fn send_write(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
        sequence: u64,
        offset: u32,
        data: &Bytes,
        stable: bool,
    ) -> Sending {
        let record = Record { act: Act::Write, sequence, offset, data: data.clone() };
        self.send_to_all(replication, &record, stable)
    }

    /// Sends a CUT to every replica that can take it; for the others it is missing. It counts as in
    /// flight until the replica answers.
    pub(crate) fn send_cut(self: &Arc<Self>, replication: &Arc<Replication>, sequence: u64, keep_bytes: u32) {
        // Settling waits for the answers.
        drop(self.send_to_all(replication, &Record::from_cut(sequence, keep_bytes), true));
    }

    fn send_to_all(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
        record: &Record,
        stable: bool,
    ) -> Sending {
        let mut sending = Sending { begun: Vec::new(), done: Vec::new() };
        let mut state = self.state.lock();
        let epoch = state.epoch;
        for member in &mut state.members {
            let Some(instance) = member.sends(record.sequence) else { continue };
            let (begun, begins) = oneshot::channel();
            let (done, ends) = oneshot::channel();
            sending.begun.push(begins);
            sending.done.push(ends);
            let (copies, replication) = (Arc::clone(self), Arc::clone(replication));
            let to = Target { server: member.server, instance, epoch };
            let record = record.clone();
            tokio::spawn(async move {
                copies.send_to_one(&replication, to, record, stable, begun).await;
                // The request that waited may have gone.
                let _ = done.send(());
            });
        }
        assert!(sending.begun.len() <= state.members.len(), "each replica gets at most one record");
        sending
    }

    async fn send_to_one(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
        to: Target,
        record: Record,
        stable: bool,
        begun: oneshot::Sender<()>,
    ) {
        let sequence = record.sequence;
        let began_ms = replication.clock.monotonic_ms();
        let answer = send_record(replication, self.id, to, record, stable, Some(begun)).await;
        {
            let mut state = self.state.lock();
            assert!(to.epoch <= state.epoch, "the epoch of a set does not go back");
            let moved_on = to.epoch < state.epoch;
            let Some(member) = state.members.iter_mut().find(|one| one.server == to.server) else { return };
            match answer {
                Ok(()) if member.instance() == Some(to.instance) => member.took(sequence, stable),
                Ok(()) => member.missed(sequence),
                Err(fault) => {
                    member.missed(sequence);
                    // A record that a new epoch has overtaken is sent again under it.
                    if !(fault == Fault::Outdated && moved_on) {
                        member.failed(Step::Rest, fault, began_ms);
                    }
                }
            }
        }
        self.changed.notify_waiters();
        if answer.is_err() {
            self.start_drive(replication);
        }
    }
}

/// The replica that records go to, its start, and the epoch of the set.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) server: DataServerId,
    pub(super) instance: u64,
    pub(super) epoch: Epoch,
}

fn find_replica(replication: &Replication, server: DataServerId) -> Result<Arc<Neighbour>, Fault> {
    replication.directory.neighbour(server).ok_or(Fault::Silent)
}

/// Sends a record, when the window lets it.
pub(super) async fn send_record(
    replication: &Replication,
    extent: ExtentId,
    to: Target,
    record: Record,
    stable: bool,
    begun: Option<oneshot::Sender<()>>,
) -> Result<(), Fault> {
    let neighbour = find_replica(replication, to.server)?;
    let bytes = u32::try_from(record.data.len()).expect("a record is at most a transfer");
    assert!(bytes <= TRANSFER_BYTES_MAX, "a record is at most a transfer");
    let _permit = neighbour.window.acquire_many(bytes).await.map_err(|_| Fault::Silent)?;
    if let Some(begun) = begun {
        let _ = begun.send(());
    }
    let Record { act, sequence, offset, data } = record;
    let (instance, extent, epoch) = (to.instance, extent_name(extent), to.epoch.0);
    let args = Replicate { instance, stable, act, extent, epoch, sequence, offset, data };
    let answer =
        neighbour.link.ask_within::<Nothing>(Procedure::Replicate, &args, REPLICA_STALL_MS_MAX).await;
    replication.metrics.count_replicated(u64::from(bytes));
    answer.map(drop).map_err(|error| find_fault(to.server, &error))
}

/// Attaches a replica: asks what it has, under the epoch of the set.
pub(super) async fn attach_replica(
    replication: &Replication,
    extent: ExtentId,
    server: DataServerId,
    epoch: Epoch,
) -> Result<Attached, Fault> {
    let neighbour = find_replica(replication, server)?;
    let args = Attach { extent: extent_name(extent), epoch: epoch.0 };
    let answer = neighbour.link.ask_within(Procedure::Attach, &args, REPLICA_STALL_MS_MAX).await;
    answer.map_err(|error| {
        // The next try gets a connection of its own.
        neighbour.link.disconnect_if_silent(&error);
        find_fault(server, &error)
    })
}

/// Has a replica make durable what it took.
pub(super) async fn flush_replica(
    replication: &Replication,
    server: DataServerId,
    instance: u64,
) -> Result<(), Fault> {
    let neighbour = find_replica(replication, server)?;
    let args = Flush { instance };
    let answer = neighbour.link.ask_within::<Nothing>(Procedure::Flush, &args, REPLICA_STALL_MS_MAX).await;
    answer.map(drop).map_err(|error| find_fault(server, &error))
}

/// The image that a replica uses, if any.
pub(super) async fn ask_used_image(
    replication: &Replication,
    extent: ExtentId,
    server: DataServerId,
    epoch: Epoch,
) -> Result<Option<ImageId>, Fault> {
    let neighbour = find_replica(replication, server)?;
    let args = ReadData { extent: extent_name(extent), epoch: epoch.0, offset: 0, length: 0 };
    let answer =
        neighbour.link.ask_within::<HeldData>(Procedure::ReadData, &args, REPLICA_STALL_MS_MAX).await;
    match answer {
        Ok(held) => ImageRef::decode(&held.data).map(|used| Some(used.image)).map_err(|_| Fault::Silent),
        Err(AskError::Refused(Refusal::Invalid)) => Ok(None),
        // The replica cannot read its own record: its scrub asks for everything again.
        Err(AskError::Refused(Refusal::Io)) => Err(Fault::Unreadable),
        Err(error) => Err(find_fault(server, &error)),
    }
}

fn find_fault(server: DataServerId, error: &AskError) -> Fault {
    let fault = match error {
        AskError::Refused(Refusal::AttachAgain) => Fault::Restarted,
        AskError::Refused(Refusal::Stale) => Fault::Outdated,
        AskError::Refused(Refusal::NoSpace) => Fault::Full,
        AskError::Refused(Refusal::NoImage) => Fault::OtherImage,
        _ => Fault::Silent,
    };
    tracing::debug!(server = server.0, %error, ?fault, "a replica did not do it");
    fault
}

/// What a metadata server answered about the copies.
pub(super) enum CopiesAnswer {
    /// The copies in force.
    Set(CopySet),
    /// Another data server is primary.
    NotPrimary,
    /// No metadata server answered; the caller asks again.
    Silence,
}

/// Reports on the copies of an extent to a metadata server, or asks it for them. `replica` and
/// `since` say of which one, if of any.
pub(super) async fn report_copies(
    replication: &Replication,
    extent: ExtentId,
    word: Word,
    replica: DataServerId,
    since: Epoch,
) -> CopiesAnswer {
    let directory = &replication.directory;
    let (Some(link), Some(server)) = (directory.metadata(), directory.own()) else {
        return CopiesAnswer::Silence;
    };
    let extent_name = extent_name(extent);
    let args = AskCopies { server: server.0, extent: extent_name, word, backup: replica.0, since: since.0 };
    match link.ask::<CopySet>(Procedure::Copies, &args).await {
        Ok(set) if set.extent == extent_name => CopiesAnswer::Set(set),
        Ok(_) => CopiesAnswer::Silence,
        Err(AskError::Refused(Refusal::NotHome)) => CopiesAnswer::NotPrimary,
        Err(error) => {
            tracing::debug!(%extent, %error, "no metadata server tells the copies");
            CopiesAnswer::Silence
        }
    }
}
