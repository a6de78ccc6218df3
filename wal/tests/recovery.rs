//! Opening after crashes, damage and reuse: on a disk in memory that tears.
#![allow(clippy::unwrap_used, reason = "a test: a failed step is a failed test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use env::memory::{Crash, MemoryDisk};
use env::{Disk, OpenMode};
use proptest::prelude::*;
use wal::{
    Damage, Durability, Location, OpenError, ReadError, Record, RecordHeader, RecoveryReport, Wal, WalConfig,
};

const DIR: &str = "/log";

fn config(segment_bytes: u64) -> WalConfig {
    WalConfig { segment_bytes, ..WalConfig::new([7; 16]) }
}

fn recycling() -> WalConfig {
    WalConfig { recycle_max: 2, ..config(64 << 10) }
}

fn record(position: u64, len: usize) -> Record {
    let seed = position.wrapping_mul(0x9e37_79b9);
    let payload = (0..len).map(|index| (seed.wrapping_add(index as u64 * 13) >> 3) as u8).collect::<Bytes>();
    Record { kind: 1, role: 2, stream: 3, sub: 4, epoch: 5, position, payload: vec![payload] }
}

struct Opened {
    wal: Wal,
    seen: Vec<(RecordHeader, Location)>,
    report: RecoveryReport,
}

async fn open(disk: &MemoryDisk, config: WalConfig) -> Opened {
    let mut seen = Vec::new();
    let mut visitor = |header: &RecordHeader, location: Location| seen.push((*header, location));
    let disk: Arc<dyn Disk> = Arc::new(disk.mount());
    let (wal, report) = Wal::open(disk, Path::new(DIR), config, &mut visitor).await.unwrap();
    Opened { wal, seen, report }
}

impl Opened {
    /// Every record shown can be read and is what its position says it must be.
    async fn check(&self) {
        for (header, location) in &self.seen {
            let (again, payload) = self.wal.read_record(*location).await.unwrap();
            assert_eq!(again, *header);
            assert_eq!(payload, record(header.position, header.payload_len as usize).payload[0]);
        }
    }

    fn positions(&self) -> Vec<u64> {
        self.seen.iter().map(|(header, _)| header.position).collect()
    }
}

fn path(segment: u64) -> PathBuf {
    Path::new(DIR).join(format!("seg-{segment:016x}.wal"))
}

/// What the script had been promised when the power went.
#[derive(Default)]
struct Promises {
    appended: u64,
    synced: u64,
    /// Positions below belong to a dropped segment.
    dropped: u64,
}

const LENGTHS: [usize; 7] = [330, 5, 9000, 0, 33_000, 1200, 4096];

/// Appends, syncs, trims, rolls, drops and reopens, until done or the power goes.
async fn script(disk: &MemoryDisk, config: WalConfig, promises: &mut Promises) -> Option<()> {
    let disk: Arc<dyn Disk> = Arc::new(disk.mount());
    let mut segments: BTreeMap<u64, u64> = BTreeMap::new();
    for _ in 0..2 {
        let (wal, _) = Wal::open(Arc::clone(&disk), Path::new(DIR), config, &mut |_, _| {}).await.ok()?;
        for _ in 0..12 {
            let position = promises.appended;
            promises.appended += 2;
            let durability =
                if position.is_multiple_of(3) { Durability::Synced } else { Durability::Written };
            let records = (position..position + 2).map(|at| record(at, LENGTHS[at as usize % 7])).collect();
            let locations = wal.append_batch(records, durability).await.ok()?;
            segments.insert(locations[1].segment, position + 2);
            if durability == Durability::Synced {
                promises.synced = promises.appended;
            }
            if position.is_multiple_of(8) {
                wal.trim().await.ok()?;
            }
        }
        wal.sync().await.ok()?;
        promises.synced = promises.appended;
        let oldest = wal.segments()[0];
        if oldest.sealed {
            // Once asked for, either answer may be found after a crash.
            let end = segments.range(..=oldest.seq).next_back().map_or(0, |(_, end)| *end);
            promises.dropped = promises.dropped.max(end + 1);
            wal.drop_segment(oldest.seq).await.ok()?;
        }
        wal.close().await.ok()?;
    }
    Some(())
}

async fn crash_everywhere(config: WalConfig, crash: Crash) {
    let mut finished = false;
    let mut step = 0;
    while !finished {
        let disk = MemoryDisk::new();
        disk.cut_power_after(step);
        let mut promises = Promises::default();
        finished = script(&disk, config, &mut promises).await.is_some();
        disk.crash(crash);
        let opened = open(&disk, config).await;
        let context = format!("power cut after {step} operations, {crash:?}, {:?}", opened.report);
        assert_eq!(opened.report.corrupt, [], "{context}");
        opened.check().await;
        let positions = opened.positions();
        assert!(positions.windows(2).all(|pair| pair[1] == pair[0] + 1), "{context}: {positions:?}");
        let (first, end) = match (positions.first(), positions.last()) {
            (Some(first), Some(last)) => (*first, last + 1),
            _ => (promises.dropped.min(promises.synced), promises.synced),
        };
        assert!(
            first <= promises.dropped && promises.synced <= end.max(promises.dropped),
            "{context}: {positions:?}"
        );
        // The log works, and what comes now is found behind what was found.
        opened.wal.append_durable(record(1000, 330)).await.unwrap();
        disk.crash(Crash::Drop);
        let again = open(&disk, config).await;
        let mut expected = positions;
        expected.push(1000);
        assert_eq!(again.positions(), expected, "{context}");
        again.check().await;
        step += 1;
    }
    assert!(step > 30, "the script does something: {step} steps");
}

#[tokio::test]
async fn synced_records_survive_a_crash_at_every_operation() {
    for config in [config(64 << 10), config(512 << 10), recycling()] {
        for crash in [Crash::Drop, Crash::Keep, Crash::Tear { seed: 1 }, Crash::Tear { seed: 2 }] {
            crash_everywhere(config, crash).await;
        }
    }
}

/// Many small records, the last ones torn; then an opening that is torn as well, after any of its
/// operations: the next one finds what the first would have. Seed 8966 of the simulator.
#[tokio::test]
async fn an_interrupted_opening_finds_the_same_again() {
    for config in [config(64 << 10), config(512 << 10), recycling(), showing()] {
        let mut cuts = 0;
        for seed in 0..24 {
            let disk = MemoryDisk::new();
            let opened = open(&disk, config).await;
            opened
                .wal
                .append_batch((0..20).map(|at| record(at, 330)).collect(), Durability::Synced)
                .await
                .unwrap();
            for more in 1..4 {
                let batch =
                    (20 * more..20 * more + 20).map(|at| record(at, 100 + 40 * more as usize)).collect();
                opened.wal.append_batch(batch, Durability::Written).await.unwrap();
            }
            disk.crash(Crash::Tear { seed });
            let whole = open(&disk.after_crash(Crash::Keep), config).await;
            cuts += u64::from(whole.report.cut.is_some());
            let mut is_done = false;
            for step in 0.. {
                let torn = disk.after_crash(Crash::Keep);
                torn.cut_power_after(step);
                let mounted: Arc<dyn Disk> = Arc::new(torn.mount());
                is_done |= Wal::open(mounted, Path::new(DIR), config, &mut |_, _| {}).await.is_ok();
                torn.crash(Crash::Tear { seed: seed + 1_000 * step });
                let again = open(&torn, config).await;
                let context = format!("seed {seed}, power cut after {step} operations: {:?}", again.report);
                assert_eq!(again.report.corrupt, [], "{context}");
                // A torn footer is one that was.
                let mut partial = again.report.partial.iter();
                assert!(partial.all(|bad| bad.what == Damage::Footer), "{context}");
                assert_eq!(again.positions(), whole.positions(), "{context}");
                again.check().await;
                if is_done {
                    break;
                }
            }
        }
        assert!(10 < cuts, "only {cuts} were torn");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Any mix of appends, any moment, any tearing: a prefix that holds all that was synced, and
    /// nothing else.
    #[test]
    fn any_crash_leaves_a_prefix(
        lens in prop::collection::vec((0_usize..20_000, any::<bool>()), 1..80),
        together in 1_usize..40,
        power in 0_u64..60,
        turns in (0_u32..12, 0_u32..40),
        seed in any::<u64>(),
        recycle in any::<bool>(),
        large in any::<bool>(),
        trim in 1_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let config = if recycle { recycling() } else { config(if large { 1 << 20 } else { 64 << 10 }) };
            let disk = MemoryDisk::new();
            disk.create_dir_all(Path::new(DIR)).await.unwrap();
            let opened = open(&disk, config).await;
            disk.set_turns(turns.0, turns.1);
            disk.cut_power_after(power);
            let mut synced = 0;
            let mut waiting = Vec::new();
            for (index, (len, sync)) in lens.iter().enumerate() {
                let durability = if *sync { Durability::Synced } else { Durability::Written };
                let Ok(appended) =
                    opened.wal.enqueue(vec![record(index as u64, *len)], durability).await else { break };
                waiting.push((index, *sync, appended));
                if index % trim == 0 && opened.wal.trim().await.is_err() {
                    break;
                }
                if index % together == 0 {
                    for (index, sync, appended) in waiting.drain(..) {
                        if appended.await.is_ok() && sync {
                            synced = index + 1;
                        }
                    }
                }
            }
            disk.crash(Crash::Tear { seed });
            let opened = open(&disk, config).await;
            opened.check().await;
            prop_assert_eq!(&opened.report.corrupt, &[]);
            let positions = opened.positions();
            prop_assert_eq!(&positions, &(0..positions.len() as u64).collect::<Vec<u64>>());
            prop_assert!(synced <= positions.len());
            Ok(())
        })?;
    }
}

/// Three sealed segments and a tail in a fourth; each record is synced on its own, so all but the
/// last flush is known to have been durable.
async fn filled(disk: &MemoryDisk, crash: Crash) -> Vec<Location> {
    let opened = open(disk, config(64 << 10)).await;
    let mut locations = Vec::new();
    while locations.last().is_none_or(|last: &Location| last.segment < locations[0].segment + 4) {
        locations.push(opened.wal.append_durable(record(locations.len() as u64, 9000)).await.unwrap());
    }
    for _ in 0..3 {
        locations.push(opened.wal.append_durable(record(locations.len() as u64, 9000)).await.unwrap());
    }
    disk.crash(crash);
    locations
}

#[tokio::test]
async fn opening_reads_footers_and_the_tail_only() {
    let disk = MemoryDisk::new();
    let locations = filled(&disk, Crash::Drop).await;
    let segments = locations.last().unwrap().segment - locations[0].segment + 1;
    drop(open(&disk, config(64 << 10)).await);
    // The tail was scanned once and has a footer now.
    disk.crash(Crash::Drop);
    let before = disk.counts().read_bytes;
    let opened = open(&disk, config(64 << 10)).await;
    assert_eq!(opened.report.segments_scanned - opened.report.segments_scanned.min(1), 0);
    assert_eq!(opened.seen.len(), locations.len());
    // Header and footer of each, and at most one file made ready and never used.
    let read = disk.counts().read_bytes - before;
    assert!(read <= segments * 2 * 4096 + (64 << 10), "{read} bytes for {segments} segments");
}

/// Damages each record that was known to be durable in each of its parts, and opens. Says how often
/// opening noticed.
async fn damage_everywhere(crash: Crash) -> usize {
    let disk = MemoryDisk::new();
    let locations = filled(&disk, crash).await;
    let mut noticed = 0;
    // The last flush is the one that cannot be told from an unfinished one.
    for (victim, at) in locations.iter().enumerate().take(locations.len() - 2) {
        let is_last = locations[victim + 1].segment != at.segment;
        for (offset, what) in [
            (5, Damage::RecordHeader),
            (63, Damage::RecordHeader),
            (66, Damage::Table),
            (5000, Damage::Payload),
        ] {
            let disk = MemoryDisk::new();
            filled(&disk, crash).await;
            disk.corrupt(&path(at.segment), at.offset + offset, 0x10);
            let opened = open(&disk, config(64 << 10)).await;
            let context = format!("record {victim} at {at:?} byte {offset}: {:?}", opened.report);
            assert_eq!(opened.report.cut, None, "{context}");
            let read = opened.wal.read_record(*at).await;
            assert!(
                matches!(read, Err(ReadError::Corrupt { what: found, .. }) if found == what),
                "{context}"
            );
            assert_eq!(opened.wal.counters().corrupt_reads, 1);
            if opened.report.corrupt.is_empty() {
                // Known from a footer, which says nothing about the record's own bytes.
                assert_eq!(opened.seen.len(), locations.len(), "{context}");
                continue;
            }
            noticed += 1;
            let expected = if is_last && what == Damage::RecordHeader { Damage::Missing } else { what };
            assert_eq!(opened.report.corrupt.len(), 1, "{context}");
            assert_eq!(opened.report.corrupt[0].offset, at.offset, "{context}");
            assert_eq!(opened.report.corrupt[0].what, expected, "{context}");
            assert_eq!(opened.seen.len(), locations.len() - 1, "{context}");
            opened.check().await;
        }
    }
    noticed
}

#[tokio::test]
async fn damage_to_durable_bytes_is_reported_and_the_rest_kept() {
    let with_footers = damage_everywhere(Crash::Keep).await;
    let without = damage_everywhere(Crash::Drop).await;
    assert!(0 < with_footers && with_footers < without, "{with_footers}, {without}");
}

#[tokio::test]
async fn a_damaged_footer_costs_a_scan_and_nothing_else() {
    for (back, mask) in [(1, 1), (60, 1), (64, 0xff), (4096, 4), (4090, 1)] {
        let disk = MemoryDisk::new();
        let locations = filled(&disk, Crash::Keep).await;
        disk.corrupt(&path(locations[0].segment), (64 << 10) - back, mask);
        let opened = open(&disk, config(64 << 10)).await;
        assert_eq!(opened.report.corrupt, []);
        assert_eq!(opened.report.cut, None);
        assert_eq!(opened.seen.len(), locations.len());
        opened.check().await;
    }
}

#[tokio::test]
async fn a_damaged_segment_header_is_reported() {
    for first in [true, false] {
        let disk = MemoryDisk::new();
        let locations = filled(&disk, Crash::Drop).await;
        let segment = if first { locations[0].segment } else { locations.last().unwrap().segment };
        disk.corrupt(&path(segment), 20, 1);
        let opened = open(&disk, config(64 << 10)).await;
        assert_eq!(opened.report.corrupt.len(), 1);
        assert_eq!(opened.report.corrupt[0].what, Damage::SegmentHeader);
        assert_eq!(opened.seen.len(), locations.len());
    }
}

#[tokio::test]
async fn records_missing_before_a_younger_segment_are_damage() {
    let disk = MemoryDisk::new();
    let locations = filled(&disk, Crash::Drop).await;
    let first = locations[0].segment;
    let last_of_first = locations.iter().rfind(|at| at.segment == first).unwrap();
    // Neither footer nor the last record's header.
    disk.corrupt(&path(first), (64 << 10) - 1, 1);
    disk.corrupt(&path(first), last_of_first.offset, 1);
    let opened = open(&disk, config(64 << 10)).await;
    assert_eq!(opened.report.corrupt.len(), 1);
    assert_eq!(opened.report.corrupt[0].offset, last_of_first.offset);
    assert_eq!(opened.report.corrupt[0].what, Damage::Missing);
    assert_eq!(opened.seen.len(), locations.len() - 1);
    // Found again next time: it was not dealt with.
    drop(opened);
    disk.crash(Crash::Drop);
    assert_eq!(open(&disk, config(64 << 10)).await.report.corrupt.len(), 1);
}

#[tokio::test]
async fn a_recycled_segment_shows_no_old_records() {
    let disk = MemoryDisk::new();
    let opened = open(&disk, recycling()).await;
    let mut position = 0;
    let mut first_free = 0;
    for _ in 0..6 {
        let start = position;
        let mut last = None;
        while wal_segments_after(&opened.wal, last) < 2 {
            last.get_or_insert(opened.wal.append_durable(record(position, 4000)).await.unwrap().segment);
            opened.wal.append_durable(record(position + 1, 100)).await.unwrap();
            position += 2;
        }
        opened.wal.sync().await.unwrap();
        for stat in opened.wal.segments().iter().filter(|stat| stat.sealed) {
            opened.wal.drop_segment(stat.seq).await.unwrap();
        }
        first_free = start;
    }
    let files = disk.list(Path::new(DIR)).await.unwrap();
    assert!(files.len() <= 5, "{files:?}");
    // One more short segment in a file full of old records, and the power goes.
    opened.wal.roll().await.unwrap();
    for at in 0..3 {
        opened.wal.append_durable(record(10_000 + at, 4000)).await.unwrap();
    }
    disk.crash(Crash::Drop);
    let opened = open(&disk, recycling()).await;
    opened.check().await;
    let positions = opened.positions();
    assert!(positions.is_sorted() && positions[0] > first_free, "{positions:?}");
    assert_eq!(positions[positions.len() - 3..], [10_000, 10_001, 10_002]);
}

fn wal_segments_after(wal: &Wal, first: Option<u64>) -> usize {
    let Some(first) = first else { return 0 };
    wal.segments().iter().filter(|stat| first < stat.seq).count()
}

#[tokio::test]
async fn refuses_another_stores_log_and_a_later_version() {
    let disk = MemoryDisk::new();
    filled(&disk, Crash::Drop).await;
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let other = WalConfig::new([8; 16]);
    let refused = Wal::open(Arc::clone(&shared), Path::new(DIR), other, &mut |_, _| {}).await;
    assert!(matches!(refused, Err(OpenError::ForeignStore { .. })));
}

#[tokio::test]
async fn hostile_files_are_refused_or_ignored() {
    let sizes = [0_usize, 1, 63, 64, 4095, 4096, 4097, 5000, 8192, 40_000, 65_536];
    for size in sizes {
        for fill in [0x00_u8, 0xff, 0x57] {
            let disk = MemoryDisk::new();
            disk.create_dir_all(Path::new(DIR)).await.unwrap();
            let mut names =
                vec!["readme", "seg-1.wal", "seg-00000000000000zz.wal", "free-0000000000000002.wal"];
            names.push("seg-0000000000000005.wal");
            for name in names {
                let file = disk.open(&Path::new(DIR).join(name), OpenMode::CREATE).await.unwrap();
                file.write_at(vec![vec![fill; size].into()], 0).await.unwrap();
            }
            let opened = open(&disk, recycling()).await;
            assert!(opened.seen.is_empty());
            let location = opened.wal.append_durable(record(1, 100)).await.unwrap();
            assert!(location.segment > 5);
        }
    }
}

#[tokio::test]
async fn cut_short_files_do_no_harm() {
    for len in [0, 100, 4096, 5000, 20_000, 40_000, 61_440, 65_000] {
        let disk = MemoryDisk::new();
        let locations = filled(&disk, Crash::Drop).await;
        let victim = disk.open(&path(locations[0].segment), OpenMode::WRITE).await.unwrap();
        victim.set_len(len).await.unwrap();
        let opened = open(&disk, config(64 << 10)).await;
        opened.check().await;
        let lost = locations.len() - opened.seen.len();
        assert!(lost == 0 || !opened.report.corrupt.is_empty(), "{len}: {lost} lost");
    }
}

/// Three records in one segment, closed; where the last record's header is, and how long the file
/// is.
async fn closed_log(config: WalConfig) -> (MemoryDisk, u64, u64) {
    let disk = MemoryDisk::new();
    let opened = open(&disk, config).await;
    let mut last = 0;
    for position in 0..3 {
        let record = record(position, 9_000);
        last = opened.wal.append_durable(record).await.unwrap().offset;
    }
    opened.wal.close().await.unwrap();
    let length = disk.open(&path(1), OpenMode::READ).await.unwrap().len().await.unwrap();
    (disk, last, length)
}

fn showing() -> WalConfig {
    WalConfig { shows_damaged: true, ..config(64 << 10) }
}

#[tokio::test]
async fn behind_a_bad_footer_nothing_is_a_torn_tail() {
    for (config, is_damage) in [(showing(), true), (config(64 << 10), false)] {
        let (disk, last, length) = closed_log(config).await;
        disk.corrupt(&path(1), last + 3, 1);
        disk.corrupt(&path(1), length - 1, 1);
        let Opened { seen, report, .. } = open(&disk, config).await;
        assert_eq!(seen.len(), 2);
        assert_eq!(report.corrupt.len(), usize::from(is_damage), "{report:?}");
        assert_eq!(report.partial.len(), usize::from(is_damage), "the footer");
    }
    assert!(
        !WalConfig { recycle_max: 1, ..showing() }.is_valid(),
        "what a reused file had before is no footer"
    );
}

#[tokio::test]
async fn a_record_with_bad_payload_is_shown_and_not_read() {
    let (disk, last, length) = closed_log(showing()).await;
    for at in [40, length - 1, last + 5_000] {
        disk.corrupt(&path(1), at, 1);
    }
    let Opened { wal, seen, report } = open(&disk, showing()).await;
    assert_eq!((seen.len(), &report.corrupt[..], report.cut), (3, &[][..], None));
    let mut what: Vec<Damage> = report.partial.iter().map(|one| one.what).collect();
    what.sort_by_key(ToString::to_string);
    assert_eq!(what, [Damage::Footer, Damage::Payload, Damage::SegmentHeader]);
    let read = wal.read_record(seen[2].1).await;
    assert!(matches!(read, Err(ReadError::Corrupt { what: Damage::Payload, .. })));
    assert!(wal.read_record(seen[1].1).await.is_ok());
    // The footer is good again. The header is found again until its segment is dropped.
    let (bad, _) = wal.check_segment(1).await.unwrap();
    assert_eq!(bad.iter().map(|one| one.what).collect::<Vec<_>>(), [Damage::SegmentHeader]);
    wal.drop_segment(1).await.unwrap();
    assert_eq!(wal.check_segment(1).await.unwrap(), (vec![], 0));
}
