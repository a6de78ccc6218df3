//! Bytes that a server keeps for a client: requests that do not end, and answers that are not taken.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};
use wire_nfs::v3::{self, Fh3};
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::{readdir, sequence};
use wire_nfs::v4::{Bitmap, Op, Verifier};

use super::connections::open_many;
use super::{client, inside, serve};
use crate::attack::{Attack, Evidence, Play};
use crate::failed::{Outcome, failed};
use crate::layouts::{self, DataPort, read_args};
use crate::net::Via;
use crate::raw::{Raw, encoded, record};
use crate::session::{Client, compound, user};
use crate::stage::Stage;
use crate::tree;

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "unfinished_records",
            line: 10,
            row: "1,500 records of 1 MiB that lack their end, kept alive by a byte now and then",
            setting: serve(),
            quick: false,
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(begin_records(stage, until))),
        },
        Attack {
            name: "reads_not_taken",
            line: 10,
            row: "READs of 1 MiB from a data server, 64 connections with 64 each, answers not taken",
            setting: serve(),
            quick: false,
            problems: &[],
            play: Play::Prepared(
                |stage| Box::pin(make_file(stage)),
                |stage, until| Box::pin(read_and_leave(stage, until)),
            ),
        },
        Attack {
            name: "readdirs_not_taken",
            line: 10,
            row: "READDIRs of a large directory, 24 sessions with 48 slots each, answers not taken",
            setting: serve(),
            quick: false,
            problems: &[],
            play: Play::Prepared(
                |stage| Box::pin(make_names(stage)),
                |stage, until| Box::pin(list_and_leave(stage, until)),
            ),
        },
        Attack {
            name: "read_count_zero",
            line: 11,
            row: "READ, WRITE and COMMIT with counts and offsets at every edge",
            setting: serve(),
            quick: true,
            problems: &[],
            play: Play::Prepared(
                |stage| Box::pin(make_file(stage)),
                |stage, until| Box::pin(ask_at_edges(stage, until)),
            ),
        },
    ]
}

/// Between two requests: what is attacked is memory, not the processors.
const BREATH: Duration = Duration::from_millis(1);

/// Records of this length, of which all but the last bytes are sent.
const RECORD_BYTES: usize = 1 << 20;

async fn begin_records(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    const COUNT: usize = 1_500;
    let mut evidence = Evidence::default();
    let mut held = open_many(stage.cluster.nfs, 8, COUNT, until, b"").await;
    let mut begun = wire_rpc::mark_bytes(RECORD_BYTES).to_vec();
    begun.resize(RECORD_BYTES - 4096, 0);
    let mut sent = 0_u32;
    for stream in &mut held {
        if until < Instant::now() {
            break;
        }
        // One that is cut off, or not read from, is as good.
        if let Ok(Ok(())) = timeout(Duration::from_millis(200), stream.write_all(&begun)).await {
            sent += 1;
        }
    }
    while Instant::now() < until {
        for stream in &held {
            let _ = stream.try_write(&[0]);
        }
        sleep(Duration::from_millis(500)).await;
    }
    evidence.note(format!(
        "{sent} records in a window; {} MiB at most in a server",
        stage.peak().rss_bytes >> 20
    ));
    Ok(evidence)
}

/// A connection that takes little.
fn narrow(stage: &Stage) -> Via {
    Via { receive_bytes: Some(4096), reserved: stage.options.reserved, ..inside(stage) }
}

const FILE_BYTES: u64 = 4 << 20;
const LARGE_FILE: &str = "large";

/// A file at a data server, full of one byte.
async fn make_file(stage: &Stage) -> Outcome<()> {
    let mut owner = client(stage, 0, "prepares").await?;
    let file = tree::open_file(&mut owner, LARGE_FILE, 0o644).await?;
    for at in (0..FILE_BYTES).step_by(512 << 10) {
        tree::write_file(&mut owner, &file, at, vec![3; 512 << 10].into()).await?;
    }
    tree::close_file(&mut owner, &file).await?;
    owner.end().await
}

/// A directory whose list is long.
async fn make_names(stage: &Stage) -> Outcome<()> {
    const NAMES: u32 = 1_200;
    let mut owner = client(stage, 0, "prepares").await?;
    tree::make_directory(&mut owner, "wide", 0o755).await?;
    for number in 0..NAMES {
        let path = format!("wide/{number:0240}");
        tree::make_directory(&mut owner, &path, 0o755).await?;
    }
    owner.end().await
}

async fn read_and_leave(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut owner = client(stage, 0, "not taken").await?;
    let file = tree::open_file(&mut owner, LARGE_FILE, 0o644).await?;
    let held = layouts::take(&mut owner, &file, Iomode::Read).await?;
    let mut connections = Vec::new();
    for _ in 0..64 {
        if until < Instant::now() {
            break;
        }
        let mut raw = Raw::open(narrow(stage), held.server).await?;
        for xid in 0..64 {
            if until < Instant::now() {
                break;
            }
            let args = encoded(&read_args(&held.handle, (u64::from(xid) % 4) << 20, 1 << 20));
            let number = v3::Procedure::Read.as_u32();
            let call = record(xid, (v3::PROGRAM, v3::VERSION, number), &user(0), args);
            sleep(BREATH).await;
            // A server that takes no more requests holds itself well.
            if !matches!(timeout(Duration::from_millis(50), raw.send(&call)).await, Ok(Ok(()))) {
                break;
            }
        }
        connections.push(raw);
    }
    sleep(until.saturating_duration_since(Instant::now())).await;
    evidence.note(format!("{} MiB at most in a server", stage.peak().rss_bytes >> 20));
    drop(connections);
    layouts::give_back(&mut owner, &file, &held).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    Ok(evidence)
}

async fn list_and_leave(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    const SESSIONS: u32 = 24;
    const SLOTS: u32 = 48;
    let mut evidence = Evidence::default();
    let (mut connections, mut sessions) = (Vec::new(), 0_u32);
    for number in 0..SESSIONS {
        if until < Instant::now() {
            break;
        }
        let mut lister = Client::new(inside(stage), stage.cluster.nfs, 0);
        lister.introduce(&format!("lister {number}")).await?;
        if lister.make_session(SLOTS).await.is_err() {
            break;
        }
        sessions += 1;
        let mut raw = Raw::open(narrow(stage), stage.cluster.nfs).await?;
        for slot in 0..SLOTS {
            if until < Instant::now() {
                break;
            }
            sleep(BREATH * 2).await;
            let call = record(slot, (100_003, 4, 1), &user(0), list(&lister, slot, SLOTS));
            if !matches!(timeout(Duration::from_millis(50), raw.send(&call)).await, Ok(Ok(()))) {
                break;
            }
        }
        connections.push((lister, raw));
    }
    sleep(until.saturating_duration_since(Instant::now())).await;
    evidence.note(format!("{sessions} sessions; {} MiB at most in a server", stage.peak().rss_bytes >> 20));
    drop(connections);
    Ok(evidence)
}

fn list(lister: &Client, slot: u32, slots: u32) -> wire_xdr::Writer {
    let session = lister.session;
    let args =
        sequence::Args { session, sequenceid: 1, slotid: slot, highest_slotid: slots - 1, cache_this: false };
    let asked = readdir::Args {
        cookie: 0,
        verifier: Verifier::default(),
        dircount: 1 << 20,
        maxcount: 1 << 20,
        requested: Bitmap::of(&[1, 3, 4, 20, 33, 36, 37, 45, 47, 52, 53]),
    };
    compound(|c| {
        c.op(Op::Sequence, &args);
        tree::walk(c, "wide");
        c.op(Op::Readdir, &asked);
    })
}

async fn ask_at_edges(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut owner = client(stage, 0, "edges").await?;
    let file = tree::open_file(&mut owner, LARGE_FILE, 0o644).await?;
    let held = layouts::take(&mut owner, &file, Iomode::ReadWrite).await?;
    let port = DataPort::new(inside(stage), held.server);
    let edges =
        [0, 1, 65_536, FILE_BYTES - 1, FILE_BYTES, FILE_BYTES + 1, (64 << 20) - 1, 64 << 20, u64::MAX];
    let mut rounds = 0_u32;
    while Instant::now() < until && rounds < 20 {
        rounds += 1;
        for offset in edges {
            for count in [0, 1, 65_537, u32::MAX] {
                sleep(BREATH * 4).await;
                ask_once(&port, &held.handle, offset, count, &mut evidence).await;
                let read = tree::read_file(&mut owner, &file, offset, count).await;
                if read.is_ok_and(|read| read.data.iter().any(|byte| *byte != 3)) {
                    evidence.broken("READ in band at an edge: other bytes");
                }
            }
        }
    }
    if let Err(error) = tree::read_file(&mut owner, &file, 0, 10).await {
        return Err(failed(format!("the session did not survive: {error}")));
    }
    evidence.note(format!("{rounds} rounds over {} places", edges.len() * 4));
    layouts::give_back(&mut owner, &file, &held).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    Ok(evidence)
}

async fn ask_once(port: &DataPort, handle: &Fh3, offset: u64, count: u32, evidence: &mut Evidence) {
    match port.read(handle, offset, count).await {
        Ok(Ok(data)) if data.iter().any(|byte| *byte != 3) => evidence.broken("READ at an edge: other bytes"),
        Ok(_) => {}
        Err(error) => evidence.broken(format!("READ at {offset}, {count} bytes: {error}")),
    }
    if let Err(error) = port.commit(handle, offset, count).await {
        evidence.broken(format!("COMMIT at {offset}, {count} bytes: {error}"));
    }
    // No bytes, wherever: the file must stay as it is.
    if let Err(error) = port.write(handle, offset, bytes::Bytes::new()).await {
        evidence.broken(format!("WRITE of nothing at {offset}: {error}"));
    }
}
