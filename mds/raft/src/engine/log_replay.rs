//! Computes what the records of a shared log leave in force, group by group, from headers alone
//! (docs/formats/raft_log.md).
//!
//! Reads nothing and keeps no payload: the payloads of entries in force are read afterwards.
//!
//! INVARIANT: any prefix of a renewal leaves the same in force as before it.

use std::collections::BTreeMap;

use wal::{Location, RecordHeader};

use super::log_record::{self, LogEvent, UnknownRecord};
use super::type_config::{LogId, Vote};

/// Why records do not form a log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Unknown(#[from] UnknownRecord),
    #[error("the log has records of shard {shard}, but this node was started with {shards}")]
    NoSuchGroup { shard: u64, shards: u64 },
    #[error("shard {shard}: entry {found} follows entry {last}")]
    Hole { shard: u64, last: u64, found: u64 },
    #[error("shard {shard}: entry {index} is repeated with another term")]
    OtherTerm { shard: u64, index: u64 },
}

/// One group's part of the log.
#[derive(Debug, Default)]
pub(crate) struct GroupReplay {
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    /// Entries in force, by index.
    pub(crate) entries: BTreeMap<u64, (LogId, Location)>,
    /// Segment of the last vote's record.
    pub(crate) vote_at: Option<u64>,
    /// Segment of the last purge's record.
    pub(crate) purge_at: Option<u64>,
}

impl GroupReplay {
    fn follow(&mut self, shard: u64, event: LogEvent, location: Location) -> Result<(), ReplayError> {
        match event {
            LogEvent::Vote(vote) => {
                self.vote = Some(vote);
                self.vote_at = Some(location.segment);
            }
            LogEvent::Truncate(last_kept) => self.entries.retain(|index, _| Some(*index) <= last_kept),
            LogEvent::Purge(upto) => {
                self.entries.retain(|index, _| upto.index() < *index);
                self.purged = self.purged.max(Some(upto));
                self.purge_at = Some(location.segment);
            }
            LogEvent::Entry(id) => {
                let last = self.entries.keys().next_back().copied();
                let last = last.or_else(|| self.purged.map(|id| id.index()));
                // A gap is no error yet: the missing entries may be cut, their segment gone, and
                // the purge record of it comes later. A gap that is left at the end is an error.
                if let Some(last) = last
                    && id.index() <= last
                {
                    return Err(ReplayError::Hole { shard, last, found: id.index() });
                }
                self.entries.insert(id.index(), (id, location));
            }
            LogEvent::Renewed(id) => {
                let before = self.entries.insert(id.index(), (id, location));
                if before.is_some_and(|(before, _)| before != id) {
                    return Err(ReplayError::OtherTerm { shard, index: id.index() });
                }
            }
        }
        Ok(())
    }

    /// Checks that entries in force have no holes. Only known at the end: a renewal repeats entries
    /// whose first records may be gone.
    fn check(&self, shard: u64) -> Result<(), ReplayError> {
        let mut last = self.purged.map(|id| id.index());
        for index in self.entries.keys().copied() {
            if let Some(last) = last
                && last + 1 != index
            {
                return Err(ReplayError::Hole { shard, last, found: index });
            }
            last = Some(index);
        }
        Ok(())
    }
}

/// All groups' parts.
#[derive(Debug)]
pub(crate) struct Replay {
    groups: Vec<GroupReplay>,
    failed: Option<ReplayError>,
}

impl Replay {
    pub(crate) fn new(groups: usize) -> Self {
        Self { groups: (0..groups).map(|_| GroupReplay::default()).collect(), failed: None }
    }

    /// Replays the next record; the first invalid one ends the replay.
    pub(crate) fn visit(&mut self, header: &RecordHeader, location: Location) {
        if self.failed.is_none()
            && let Err(error) = self.follow(header, location)
        {
            self.failed = Some(error);
        }
    }

    fn follow(&mut self, header: &RecordHeader, location: Location) -> Result<(), ReplayError> {
        let event = log_record::event(header)?;
        let (shard, shards) = (header.stream, self.groups.len() as u64);
        let group = usize::try_from(shard).ok().and_then(|at| self.groups.get_mut(at));
        group.ok_or(ReplayError::NoSuchGroup { shard, shards })?.follow(shard, event, location)
    }

    /// Every group's part, in order of their numbers.
    pub(crate) fn finish(self) -> Result<Vec<GroupReplay>, ReplayError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        for (shard, group) in (0..).zip(&self.groups) {
            group.check(shard)?;
        }
        Ok(self.groups)
    }
}
