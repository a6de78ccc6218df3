//! Striped segments: a run of extents as one segment of a layout, each extent with an entry of its
//! own in every mirror.
//!
//! A run has 2, 4 or 8 extents and begins at a multiple of that number, so that entry i is for the
//! extent whose index leaves i. It is as wide as the export allows and the file so far reaches, and
//! is halved as long as not all of it can be granted. LAYOUTGET grants single extents without this
//! module.
//!
//! INVARIANT: a run is granted only while the log has the client's layout, without a recall, and
//! without pending work on any of its extents: as if each had been requested alone. Later changes
//! raise an extent's epoch.
//! QUIRK(linux): before 6.18 a mirror with several data servers fails the application with EIO.
//!
//! Spec: RFC 8435 §5, §6; docs/request.md, "Striped segments".

use futures_util::future::join_all;
use layout::ec::Profile;
use layout::{EXTENT_BYTES, ExtentId, Iomode};
use mds_namespace::{ExtentRecord, View, op};
use mds_state::command::layout::LayoutAnswer;

use crate::flexfile::{self, Body, Grant};
use crate::limits::LAYOUT_FRAME_BYTES;
use crate::seal::readers;
use crate::server::Server;
use crate::{content, copies};

/// The first Linux whose client accepts several data servers for a mirror.
const LINUX_SINCE: (u32, u32) = (6, 18);

/// A client's request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) client: u64,
    /// The extent that must be in the segment.
    pub(crate) extent: ExtentId,
    pub(crate) iomode: Iomode,
    /// Size limit of the reply, bytes.
    pub(crate) bytes_max: u32,
    /// The erasure code of new extents; `None` is the cluster's.
    pub(crate) code: Option<Profile>,
    /// The export that the client used.
    pub(crate) export: u16,
    /// The client may read the file.
    pub(crate) reads: bool,
}

impl Asked {
    /// The grant, once the log has answered.
    pub(crate) fn grant(&self, answer: &LayoutAnswer) -> Grant {
        let Self { client, iomode, export, reads, .. } = *self;
        Grant { client, iomode, seqid: answer.stateid.seqid, export, reads }
    }
}

/// Consecutive extents of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    first: ExtentId,
    /// A power of two, at least 2.
    count: u32,
}

impl Run {
    fn around(extent: ExtentId, count: u32) -> Self {
        assert!(count.is_power_of_two() && 2 <= count, "runs are halves of each other");
        Self { first: ExtentId { index: extent.index & !(count - 1), ..extent }, count }
    }

    /// The half with this extent; `None` if that is the extent alone.
    fn half(self, extent: ExtentId) -> Option<Self> {
        (2 < self.count).then(|| Self::around(extent, self.count / 2))
    }

    /// Its extents, by index.
    pub(crate) fn extents(self) -> impl Iterator<Item = ExtentId> {
        (0..self.count).map(move |at| ExtentId { index: self.first.index + at, ..self.first })
    }

    /// Its first byte in the file, and its length, bytes.
    pub(crate) fn range(self) -> (u64, u64) {
        (self.first.first_byte(), u64::from(self.count) * EXTENT_BYTES)
    }
}

/// Whether a client with this implementation name accepts several data servers for a mirror.
/// Clients may hide their name: then the answer is no.
fn takes_stripes(implementation: &str) -> bool {
    let release = implementation.strip_prefix("Linux ").and_then(|rest| rest.split_whitespace().next());
    let mut numbers = release.unwrap_or_default().split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => LINUX_SINCE <= (major, minor),
        _ => false,
    }
}

/// The run around an extent of a file of this size: as wide as the file, rounded up, so that no
/// more homes are assigned than the file has extents.
fn widest(stripes: u32, extent: ExtentId, end_bytes: u64) -> Option<Run> {
    let extents = end_bytes.div_ceil(EXTENT_BYTES).max(u64::from(extent.index) + 1);
    let count = u64::from(stripes).min(extents.next_power_of_two());
    let count = u32::try_from(count).ok().filter(|count| 2 <= *count && count.is_power_of_two())?;
    Some(Run::around(extent, count))
}

/// Chooses the run to grant: `stripes` extents at most, of a file that ends at `end_bytes` as far
/// as is known. For writing, [`place`] gives homes to extents without one.
pub(crate) fn choose(server: &Server, asked: &Asked, stripes: u32, end_bytes: u64) -> Option<Run> {
    let mut next = widest(stripes, asked.extent, end_bytes);
    next?;
    let view = server.view().ok()?;
    let stored = view.client(asked.client).ok()??;
    if !takes_stripes(&stored.record.implementation) {
        return None;
    }
    while let Some(run) = next {
        let fits = |extent| match op::extent::extent(view.namespace(), extent) {
            Ok(Some(record)) => is_usable(server, asked, &record),
            Ok(None) => asked.iomode.writes(),
            Err(_) => false,
        };
        if run.extents().all(fits) {
            return Some(run);
        }
        next = run.half(asked.extent);
    }
    None
}

/// Gives homes to the extents of a run that have none, except the requested one, all at once.
/// [`grant`] notices failures.
pub(crate) async fn place(server: &Server, asked: &Asked, run: Option<Run>) {
    let Some(run) = run.filter(|_| asked.iomode.writes()) else { return };
    let others = run.extents().filter(|extent| *extent != asked.extent);
    let homes = others.map(|extent| content::home_of(server, extent, Some(asked.client), asked.code));
    for status in join_all(homes).await.into_iter().filter_map(Result::err) {
        tracing::debug!(extent = %asked.extent, status = status.name(), "no home for an extent of a run");
    }
}

/// The segment in place of a single extent's, once the log has granted that: the run, or the widest
/// possible half of it.
pub(crate) fn grant(server: &Server, asked: &Asked, run: Run, answer: &LayoutAnswer) -> Option<(Run, Body)> {
    let view = server.view().ok()?;
    let held = view.layout(asked.extent.ino, asked.client).ok()??;
    let same = held.other == answer.stateid.other && held.holds(Some(asked.iomode));
    if !same || held.recall_seqid.is_some() {
        return None;
    }
    let mut next = Some(run);
    while let Some(run) = next {
        if let Some(body) = body(server, view.namespace(), asked, run, answer) {
            return Some((run, body));
        }
        next = run.half(asked.extent);
    }
    None
}

fn body(server: &Server, view: &dyn View, asked: &Asked, run: Run, answer: &LayoutAnswer) -> Option<Body> {
    let record = |extent| {
        let record = op::extent::extent(view, extent).ok()??;
        is_usable(server, asked, &record).then_some(record)
    };
    let records: Vec<ExtentRecord> = run.extents().map(record).collect::<Option<_>>()?;
    let size_bytes = answer.inode.size_bytes;
    let body = flexfile::layout_body(server, asked.grant(answer), &records, size_bytes)?;
    let room = usize::try_from(asked.bytes_max).unwrap_or(usize::MAX);
    (body.names_home && body.bytes.len() + LAYOUT_FRAME_BYTES <= room).then_some(body)
}

/// Whether a handle for the extent's home may be issued, and is useful, without any wait.
fn is_usable(server: &Server, asked: &Asked, record: &ExtentRecord) -> bool {
    if record.pending_work.is_some() || copies::is_moving(server, record.extent) {
        return false;
    }
    let whole = record.backups.iter().filter(|backup| !backup.filling).map(|backup| backup.server);
    let mut writes_to = std::iter::once(record.home).chain(whole);
    let full = asked.iomode.writes()
        && writes_to.any(|id| server.data_servers.is_full_for(asked.client, id, server.now_ms()));
    !full && readers::is_usable(server, Some(asked.client), record.home)
}

#[cfg(test)]
mod tests;
