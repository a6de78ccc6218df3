//! The log on the machine's own disks: written, left without closing, opened again, on each back
//! end.
#![allow(clippy::unwrap_used, reason = "a test: a failed step is a failed test")]

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use env::Disk;
use env::os::{Preference, open_disk};
use wal::{Durability, Location, Record, RecordHeader, Wal, WalConfig};

fn record(position: u64) -> Record {
    let len = [330, 0, 5000, 70_000, 1 << 20][position as usize % 5];
    let payload = Bytes::from(vec![position as u8; len]);
    Record { stream: 9, position, payload: vec![payload], ..Record::default() }
}

async fn write_and_reopen(disk: Arc<dyn Disk>, recycle_max: usize) {
    let dir = tempfile::tempdir().unwrap();
    let config = WalConfig { segment_bytes: 4 << 20, recycle_max, ..WalConfig::new([3; 16]) };
    let mut known: Vec<u64> = Vec::new();
    for round in 0..3 {
        let mut seen: Vec<(RecordHeader, Location)> = Vec::new();
        let mut visitor = |header: &RecordHeader, location: Location| seen.push((*header, location));
        let (wal, report) = Wal::open(Arc::clone(&disk), dir.path(), config, &mut visitor).await.unwrap();
        assert_eq!((report.cut, report.corrupt.len()), (None, 0));
        assert_eq!(seen.iter().map(|(header, _)| header.position).collect::<Vec<_>>(), known);
        for (header, location) in &seen {
            let (_, payload) = wal.read_record(*location).await.unwrap();
            assert_eq!(payload, record(header.position).payload[0]);
        }
        for position in 40 * round..40 * (round + 1) {
            let durability = if position % 7 == 0 { Durability::Synced } else { Durability::Written };
            wal.append_batch(vec![record(position)], durability).await.unwrap();
            known.push(position);
        }
        wal.sync().await.unwrap();
        let oldest = wal.segments()[0];
        assert!(oldest.sealed);
        let dropped = seen.iter().filter(|(_, at)| at.segment == oldest.seq).count();
        if round > 0 {
            wal.drop_segment(oldest.seq).await.unwrap();
            known.drain(..dropped);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_reopening_on_each_back_end() {
    for preference in [Preference::Blocking, Preference::Uring] {
        match open_disk("test", preference) {
            Ok((disk, _)) => {
                write_and_reopen(Arc::clone(&disk), 0).await;
                write_and_reopen(disk, 2).await;
            }
            Err(error) => {
                // Past the test harness, which would swallow it.
                let _ = writeln!(io::stderr(), "SKIPPED {preference:?}: the kernel refuses: {error}");
            }
        }
    }
}
