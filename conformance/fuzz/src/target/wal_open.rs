//! Opening a log over whatever lies in its directory.
//!
//! Whatever opening makes of it, it must be a log: its records can be read, it takes more, and
//! opened again it shows the same records and what was appended.
//!
//! Input: a byte of settings, then either raw bytes as the content of one segment's file, or a
//! script for forged segments.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::memory::MemoryDisk;
use env::{Disk, OpenMode};
use wal::{Location, Record, RecordHeader, RecoveryReport, Wal, WalConfig};

use super::forged_log::{
    BLOCK, Fields, Forged, HEADER_BYTES, SEGMENT_BYTES, STORE_ID, Script, forge, script,
};
use super::row::{MemoryBound, Shape, Target};

pub(super) const TARGET: Target = Target {
    name: "wal_open",
    about: "log segments: raw bytes and forged headers, records, footers; reading, appending, opening again",
    run,
    seeds,
    shape: Shape::Bytes,
    bound: LOG_BOUND,
    input_bytes_max: 8192,
};

/// What opening may allocate: it reads in pieces of [`wal::limits::SCAN_READ_BYTES`], which here is
/// a whole file; the script builds a file of up to 256 KiB from a few bytes, and the disk in memory
/// keeps two images of it.
pub(super) const LOG_BOUND: MemoryBound = MemoryBound {
    single_bytes_per_byte: 0,
    single_bytes: wal::limits::SCAN_READ_BYTES as usize,
    live_bytes_per_byte: 0,
    live_bytes: 8 << 20,
};

const DIR: &str = "/log";

fn run(input: &[u8]) -> usize {
    let Some((settings, bytes)) = input.split_first() else { return 0 };
    let files =
        if settings & 1 == 0 { forge(&mut Script::new(bytes), fields) } else { vec![Forged::raw(bytes)] };
    let runtime = runtime();
    let recycle_max = usize::from(settings >> 1 & 3);
    let config = WalConfig { segment_bytes: SEGMENT_BYTES as u64, recycle_max, ..WalConfig::new(STORE_ID) };
    runtime.block_on(async {
        let disk = MemoryDisk::new();
        put_files(&disk, Path::new(DIR), &files).await;
        reopen(&disk, config, &files).await
    })
}

/// A runtime without threads or timers: what runs is a function of the input.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers needs nothing")
}

fn fields([_, kind, _, _]: [u8; 4], one: u64, other: u64) -> Fields {
    Fields { kind, role: 0, stream: one, sub: 3, epoch: other, position: 9 }
}

pub(super) async fn put_files(disk: &MemoryDisk, dir: &Path, files: &[Forged]) {
    disk.create_dir_all(dir).await.expect("a disk in memory does not fail");
    for file in files {
        let open = disk.open(&dir.join(&file.name), OpenMode { truncate: true, ..OpenMode::CREATE }).await;
        let bytes = Bytes::copy_from_slice(&file.bytes);
        let written = open.expect("a disk in memory does not fail").write_at_and_sync(vec![bytes], 0).await;
        written.expect("a disk in memory does not fail");
    }
}

type Seen = Vec<(RecordHeader, Location)>;

async fn open(disk: &MemoryDisk, config: WalConfig) -> Option<(Wal, RecoveryReport, Seen)> {
    let mut seen = Vec::new();
    let mut visitor = |header: &RecordHeader, location: Location| seen.push((*header, location));
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (wal, report) = Wal::open(disk, Path::new(DIR), config, &mut visitor).await.ok()?;
    assert_eq!(report.records, seen.len() as u64);
    Some((wal, report, seen))
}

/// A log leaves room behind its records for the footer that settles what a segment holds. A script
/// can make a record of what was that room: then the torn tail has none, and what it holds is
/// judged again at each opening.
pub(super) fn footer_fits(files: &[Forged], report: &RecoveryReport, records: usize) -> bool {
    let Some((segment, end)) = report.cut else { return true };
    let footer = ((records + 1) * HEADER_BYTES).next_multiple_of(BLOCK);
    let needed = usize::try_from(end).expect("files are short").next_multiple_of(BLOCK) + footer;
    files.iter().all(|file| file.seq != segment || needed <= file.bytes.len())
}

/// Opens, reads everything, appends, closes, opens again. A file that lost its end has no room for
/// the footer that settles what it holds, so only of whole files it is known that nothing changes.
async fn reopen(disk: &MemoryDisk, config: WalConfig, files: &[Forged]) -> usize {
    let Some((wal, report, seen)) = open(disk, config).await else { return 0 };
    let whole = files.iter().all(|file| file.whole) && footer_fits(files, &report, seen.len());
    for (header, location) in &seen {
        // A footer lists records that recovery has not read: they may be damaged, or, if the footer
        // was forged, say something else.
        if let Ok((_, payload)) = wal.read_record(*location).await {
            assert_eq!(payload.len(), header.payload_len as usize);
        }
    }
    let record =
        Record { kind: 1, position: 77, payload: vec![Bytes::from_static(b"new")], ..Record::default() };
    let appended = wal.append_durable(record).await.expect("an opened log takes records");
    wal.close().await.expect("a disk in memory does not fail");
    let Some((again, second, seen_again)) = open(disk, config).await else {
        assert!(!whole, "what was opened opens again");
        return seen.len();
    };
    let (last, same) = seen_again.split_last().expect("a record was appended");
    assert_eq!(last.1, appended);
    assert_eq!(second.cut, None, "what was cut does not come back");
    again.close().await.expect("a disk in memory does not fail");
    // Nor is anything promised of a log that is damaged, but that opening tells so.
    if !whole || !report.corrupt.is_empty() {
        return seen.len();
    }
    assert_eq!(same, seen, "the same records again: {report:?}, then {second:?}");
    assert_eq!(second.corrupt, [], "no new damage: {report:?}");
    seen.len()
}

fn seeds() -> Vec<Vec<u8>> {
    let small = ([1, 9, 0, 0], &b""[..]);
    let payload = ([1, 5, 5, 0], &b"bytes"[..]);
    let long = ([1, 5, 40, 2], &b""[..]);
    let large = ([1, 5, 200, 2], &b""[..]);
    let durable = ([1, 1, 0, 12], &b""[..]);
    let mut seeds: Vec<Vec<u8>> = [
        script(&[small]),
        script(&[payload, small]),
        script(&[long, payload]),
        script(&[large]),
        script(&[small, durable, payload]),
    ]
    .into_iter()
    .flat_map(|script| [0, 4].map(|settings: u8| [&[settings][..], &script].concat()))
    .collect();
    // A file that is a segment byte by byte, as raw content.
    let forged = forge(&mut Script::new(&script(&[payload, small])), fields);
    let raw = &forged[0].bytes[..BLOCK + 512];
    seeds.push([&[1][..], raw].concat());
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both segments of a script are taken as a log wrote them: the page and the code say the same.
    #[test]
    fn forged_segments_are_right() {
        let payload = ([1, 5, 200, 2], &b""[..]);
        let files = forge(&mut Script::new(&script(&[payload, ([1, 5, 5, 0], b"bytes")])), fields);
        let seen = runtime().block_on(async {
            let disk = MemoryDisk::new();
            put_files(&disk, Path::new(DIR), &files).await;
            let config = WalConfig { segment_bytes: SEGMENT_BYTES as u64, ..WalConfig::new(STORE_ID) };
            let (wal, report, seen) = open(&disk, config).await.unwrap();
            assert_eq!((report.records, report.cut, report.corrupt), (4, None, Vec::new()));
            for (header, location) in &seen {
                assert_eq!(wal.read_record(*location).await.unwrap().0, *header);
            }
            seen
        });
        assert_eq!(seen[0].0.payload_len, 200 * 256);
        assert_eq!(seen[3].0.payload_len, 5);
    }
}
