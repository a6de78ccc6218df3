//! Corruptions: which ones leave enough to make everything good again, and what has become of one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use layout::ExtentId;

use crate::cluster::Cluster;
use crate::journal;
use crate::places::{self, Dice, Part, Place, bytes_of};

const BLOCK: usize = 4096;

/// Bytes that were changed behind a server's back.
pub(crate) struct Damage {
    pub(crate) server: u32,
    pub(crate) path: PathBuf,
    /// Where the dice fell.
    pub(crate) part: Part,
    start: usize,
    before: Bytes,
    after: Vec<u8>,
    /// All parts that have changed bytes, and which bytes.
    changed: Vec<Place>,
}

/// What of the redundancy is used up by corruptions that are not made good yet.
#[derive(Default)]
pub(crate) struct Budget {
    /// Whose journals are bad where they speak of an extent.
    extents: BTreeMap<ExtentId, BTreeSet<u32>>,
    /// Headers of records stand in their segment and in its footer: one of the two is bad.
    headers: BTreeMap<(u32, PathBuf), Part>,
    /// Files of the superblock.
    superblocks: BTreeMap<u32, PathBuf>,
    /// Images of a group.
    groups: BTreeMap<u64, BTreeSet<(u32, PathBuf)>>,
}

impl Budget {
    /// Whether everything can still be made good after this one; then it is counted.
    pub(crate) fn admits(&mut self, cluster: &Cluster, damage: &Damage) -> bool {
        let server = damage.server;
        let file = (server, damage.path.clone());
        let parts: BTreeSet<Part> = damage.changed.iter().map(|place| place.part).collect();
        if parts.contains(&Part::Superblock) {
            return *self.superblocks.entry(server).or_insert_with(|| damage.path.clone()) == damage.path;
        }
        if damage.path.extension().is_some_and(|ending| ending == "img") {
            let log = cluster.log.lock().unwrap();
            let name = damage.path.file_stem().unwrap().to_str().unwrap();
            let found = log.groups.iter().find(|(_, group)| {
                let shape = group.shape();
                (0..shape.slots())
                    .any(|slot| shape.image(slot).is_some_and(|(one, _)| one.to_string() == name))
            });
            // One that is in no group is not needed: the journal has the bytes.
            let Some((number, group)) = found else { return true };
            let bad = self.groups.entry(*number).or_default();
            let is_more = !bad.contains(&file);
            if is_more && group.shape().profile().parity() <= bad.len() {
                return false;
            }
            bad.insert(file);
            return true;
        }
        let headers: BTreeSet<Part> = [Part::RecordHeader, Part::SegmentFooter]
            .into_iter()
            .filter(|part| parts.contains(part))
            .collect();
        let known = self.headers.get(&file);
        if 1 < headers.len() || headers.iter().any(|part| known.is_some_and(|known| known != part)) {
            return false;
        }
        let records = damage.changed.iter().filter_map(|place| Some(place.record?.extent));
        let extents: BTreeSet<ExtentId> = records.collect();
        let log = cluster.log.lock().unwrap();
        for extent in &extents {
            let Some(record) = log.extents.get(extent) else { continue };
            let mut bad = self.extents.get(extent).cloned().unwrap_or_default();
            bad.insert(server);
            let others = record.backups.iter().map(|one| one.server);
            if others.chain([record.home]).all(|one| bad.contains(&one)) {
                return false;
            }
        }
        for extent in extents {
            self.extents.entry(extent).or_default().insert(server);
        }
        self.headers.extend(headers.into_iter().map(|part| (file.clone(), part)));
        true
    }
}

impl Damage {
    /// Throws the dice for one on this server; nothing is changed yet.
    pub(crate) async fn thrown(cluster: &Cluster, dice: &mut Dice, server: u32) -> Option<Self> {
        let path = match dice.below(100) {
            0..4 => Path::new(*dice.pick(&["/ds/superblock", "/ds/superblock.copy"])).to_owned(),
            4..7 => Path::new("/ds/scrub").to_owned(),
            7..58 => {
                let segments = places::segments(cluster, server).await;
                if segments.is_empty() {
                    return None;
                }
                dice.pick(&segments).clone()
            }
            _ => {
                let files = places::paths_in(cluster, server, "/ds/images").await;
                let files: Vec<PathBuf> = files
                    .into_iter()
                    .filter(|path| path.extension().is_some_and(|one| one == "img"))
                    .collect();
                if files.is_empty() {
                    return None;
                }
                dice.pick(&files).clone()
            }
        };
        let whole = bytes_of(cluster, server, &path).await?;
        let places = places::places(&path, &whole);
        let mut parts: Vec<Part> = places.iter().map(|place| place.part).collect();
        parts.sort_unstable();
        parts.dedup();
        let mut weight = usize::try_from(parts.iter().map(|part| part.weight()).sum::<u64>()).unwrap();
        weight = dice.below(weight);
        let part = *parts.iter().find(|part| {
            let own = usize::try_from(part.weight()).unwrap();
            let is_it = weight < own;
            weight = weight.saturating_sub(own);
            is_it
        })?;
        let of_it: Vec<&Place> = places.iter().filter(|place| place.part == part).collect();
        let place = dice.pick(&of_it);
        let at = place.start + dice.below(place.end - place.start);
        let (start, end) = match dice.is_one_in(2) {
            true => (at, at + 1),
            false => (at / BLOCK * BLOCK, (at / BLOCK * BLOCK + BLOCK).min(whole.len())),
        };
        let before = whole.slice(start..end);
        let after: Vec<u8> =
            before.iter().map(|byte| byte ^ u8::try_from(1 + dice.below(255)).unwrap()).collect();
        let changed = places.iter().filter(|one| one.start < end && start < one.end);
        let changed =
            changed.map(|one| Place { start: one.start.max(start), end: one.end.min(end), ..one.clone() });
        Some(Self { server, path, part, start, before, after, changed: changed.collect() })
    }

    /// One of a part, whatever that costs.
    pub(crate) fn of(server: u32, path: &Path, whole: &Bytes, place: &Place) -> Self {
        let (start, end) = (place.start, place.start + 1);
        let before = whole.slice(start..end);
        let after = vec![before[0] ^ 1];
        let changed = vec![Place { end, ..place.clone() }];
        Self { server, path: path.to_owned(), part: place.part, start, before, after, changed }
    }

    /// Whether both change bytes of one block.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let blocks = |one: &Self| (one.start / BLOCK, (one.start + one.before.len() - 1) / BLOCK);
        let ((low, high), (other_low, other_high)) = (blocks(self), blocks(other));
        (self.server, &self.path) == (other.server, &other.path) && low <= other_high && other_low <= high
    }

    pub(crate) fn apply(&self, cluster: &Cluster) {
        let disk = &cluster.nodes[self.server as usize - 1].disk;
        for (number, (old, new)) in self.before.iter().zip(&self.after).enumerate() {
            disk.corrupt(&self.path, (self.start + number) as u64, old ^ new);
        }
    }

    /// Whether it changed bytes that a reader looks for. The note is rewritten each time; a
    /// journal writes over what lies behind its last record.
    pub(crate) fn is_in_use(&self) -> bool {
        self.changed.iter().any(|place| !matches!(place.part, Part::Slack | Part::Spare | Part::ScrubNote))
    }

    /// What has become of it when the scrub finds nothing any more.
    ///
    /// # Panics
    /// If the bytes are as bad as before, and an extent may need them.
    pub(crate) async fn outcome(&self, cluster: &Cluster) -> &'static str {
        let Some(whole) = bytes_of(cluster, self.server, &self.path).await else {
            let is_journal = journal::number_of(&self.path).is_some();
            let is_image = self.path.extension().is_some_and(|ending| ending == "img");
            assert!(is_journal || is_image, "{self} has gone");
            // An image that no group has is given up, and its extent sealed again.
            return if is_journal { "segment emptied" } else { "image given up" };
        };
        let now = whole.get(self.start..self.start + self.before.len()).unwrap_or_default();
        if now == self.before {
            return "as it was";
        }
        if self.part == Part::ScrubNote {
            return "note rewritten";
        }
        let all = places::records(cluster, self.server).await;
        let mut outcome = "slack";
        for place in &self.changed {
            match place.part {
                Part::Slack | Part::Spare => {}
                Part::RecordTable | Part::RecordPayload => {
                    let record = place.record.expect("a record's part");
                    assert!(record.is_dead(place.start, place.end, &all), "{self}: {record:?} is needed");
                    outcome = "dead record";
                }
                _ => panic!("{self} is as bad as before"),
            }
        }
        outcome
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (server, path, end) = (self.server, self.path.display(), self.start + self.before.len());
        write!(out, "{} of server {server}: {path} from {} to {end}", self.part.name(), self.start)
    }
}
