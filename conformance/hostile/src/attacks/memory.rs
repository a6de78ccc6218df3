//! Bytes that a server keeps for a client: requests that do not end, and answers that are not
//! taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use wire_nfs::v3::{self, Fh3};
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::{readdir, sequence};
use wire_nfs::v4::{Bitmap, Op, Verifier};

use super::connections::{HOLDING, OPENING, open_many};
use super::hosts::{TWO_HOSTS, client, inside, outside, serve};
use super::proof::must_have_happened;
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::Setting;
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
            play: Play::Windows(|stage, until| Box::pin(begin_records(stage, until))),
        },
        Attack {
            name: "reads_not_taken",
            line: 10,
            row: "READs of 1 MiB from a data server, 64 connections with 64 each, answers not taken",
            setting: Setting { exports: TWO_HOSTS, ..serve() },
            quick: false,
            play: Play::Prepared(
                |stage| Box::pin(make_file(stage)),
                |stage, until| Box::pin(read_and_leave(stage, outside(stage), until)),
            ),
        },
        Attack {
            name: "reads_not_taken_here",
            line: 10,
            row: "the same from the honest client's own host",
            setting: serve(),
            quick: false,
            play: Play::Prepared(
                |stage| Box::pin(make_file(stage)),
                |stage, until| Box::pin(read_and_leave(stage, inside(stage), until)),
            ),
        },
        Attack {
            name: "readdirs_not_taken",
            line: 10,
            row: "READDIRs of a large directory, 24 sessions with 48 slots each, answers not taken",
            setting: Setting { exports: TWO_HOSTS, ..serve() },
            quick: false,
            play: Play::Prepared(
                |stage| Box::pin(make_names(stage)),
                |stage, until| Box::pin(list_and_leave(stage, outside(stage), until)),
            ),
        },
        Attack {
            name: "readdirs_not_taken_here",
            line: 10,
            row: "the same from the honest client's own host",
            setting: serve(),
            quick: false,
            play: Play::Prepared(
                |stage| Box::pin(make_names(stage)),
                |stage, until| Box::pin(list_and_leave(stage, inside(stage), until)),
            ),
        },
        Attack {
            name: "read_count_zero",
            line: 11,
            row: "READ, WRITE and COMMIT with counts and offsets at every edge",
            setting: serve(),
            quick: true,
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

/// What became of the start of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The server's side of the connection has it.
    Sent,
    /// The server reads no more of it for now.
    Unread,
    /// The server closed the connection.
    Cut,
}

/// Starts of records that are sent at a time.
const STARTING_MAX: usize = 64;

async fn begin_records(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    const COUNT: usize = 1_500;
    let mut evidence = Evidence::default();
    let held = open_many(stage.cluster.nfs, 8, COUNT, until + OPENING, b"").await;
    let opened = held.len();
    let mut begun = wire_rpc::mark_bytes(RECORD_BYTES).to_vec();
    begun.resize(RECORD_BYTES - 4096, 0);
    let begun: Arc<[u8]> = begun.into();
    let (held, starts) = start_records(held, &begun, until + OPENING).await;
    let until = until.max(Instant::now() + HOLDING);
    while Instant::now() < until {
        for raw in &held {
            let _ = raw.stream.try_write(&[0]);
        }
        sleep(Duration::from_millis(500)).await;
    }
    let count = |kind| starts.iter().filter(|start| **start == kind).count();
    let (sent, unread, cut) = (count(Start::Sent), count(Start::Unread), count(Start::Cut));
    must_have_happened(&mut evidence, "connections for records", (opened, COUNT), None);
    let bound = (sent + unread + cut == opened && unread + cut != 0)
        .then(|| format!("the server did not read {unread} more, and cut {cut}"));
    must_have_happened(&mut evidence, "records begun", (sent, COUNT), bound);
    evidence.note(format!("{} MiB at most in a server", stage.peak().rss_bytes >> 20));
    Ok(evidence)
}

/// Sends all but the end of a record on each connection, until a time. The connections, and what
/// became of each start.
async fn start_records(held: Vec<Raw>, begun: &Arc<[u8]>, until: Instant) -> (Vec<Raw>, Vec<Start>) {
    let (mut next, mut starting) = (held.into_iter(), JoinSet::new());
    let (mut held, mut starts) = (Vec::new(), Vec::new());
    loop {
        while starting.len() < STARTING_MAX && Instant::now() < until {
            let Some(mut raw) = next.next() else { break };
            let begun = Arc::clone(begun);
            starting.spawn(async move {
                let start = match timeout(Duration::from_millis(200), raw.send(&begun)).await {
                    Ok(Ok(())) => Start::Sent,
                    Ok(Err(_)) => Start::Cut,
                    Err(_) => Start::Unread,
                };
                (raw, start)
            });
        }
        match starting.join_next().await {
            Some(Ok((raw, start))) => {
                held.push(raw);
                starts.push(start);
            }
            Some(Err(_)) => {}
            None => break,
        }
    }
    held.extend(next);
    (held, starts)
}

/// A connection that takes little.
fn narrow(via: Via) -> Via {
    Via { receive_bytes: Some(4096), ..via }
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

async fn read_and_leave(stage: &Stage, via: Via, until: Instant) -> Outcome<Evidence> {
    const CONNECTIONS: usize = 64;
    const READS: u32 = 64;
    let mut evidence = Evidence::default();
    let mut owner = client(stage, 0, "not taken").await?;
    let file = tree::open_file(&mut owner, LARGE_FILE, 0o644).await?;
    let held = layouts::take(&mut owner, &file, Iomode::Read).await?;
    let (mut connections, mut asked, mut unread) = (Vec::new(), 0, 0);
    let all = until + OPENING;
    while connections.len() < CONNECTIONS && Instant::now() < all {
        let mut raw = Raw::open(narrow(via), held.server).await?;
        for xid in 0..READS {
            let args = encoded(&read_args(&held.handle, (u64::from(xid) % 4) << 20, 1 << 20));
            let number = v3::Procedure::Read.as_u32();
            let call = record(xid, (v3::PROGRAM, v3::VERSION, number), &user(0), args);
            sleep(BREATH).await;
            // A server that takes no more requests holds itself well.
            if !is_taken(&mut raw, &call).await {
                unread += 1;
                break;
            }
            asked += 1;
        }
        connections.push(raw);
    }
    sleep(until.max(Instant::now() + HOLDING).saturating_duration_since(Instant::now())).await;
    let wanted = CONNECTIONS * READS as usize;
    must_have_happened(&mut evidence, "READs", (asked, wanted), bound_of_requests(unread));
    must_be_answered(&mut evidence, &connections).await;
    evidence.note(format!("{} MiB at most in a server", stage.peak().rss_bytes >> 20));
    drop(connections);
    layouts::give_back(&mut owner, &file, &held).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    Ok(evidence)
}

async fn is_taken(raw: &mut Raw, call: &[u8]) -> bool {
    matches!(timeout(Duration::from_millis(50), raw.send(call)).await, Ok(Ok(())))
}

/// Answers must be on their way on some connections, and not taken: a server that answers nothing
/// has nothing to hold. Others wait for room, or were cut.
async fn must_be_answered(evidence: &mut Evidence, connections: &[Raw]) {
    let mut answered = 0;
    for raw in connections {
        answered += usize::from(raw.has_come().await);
    }
    evidence.note(format!("{answered} of {} connections have answers that are not taken", connections.len()));
    if answered == 0 {
        evidence.broken("not played: no answer came on any connection");
    }
}

fn bound_of_requests(unread: usize) -> Option<String> {
    (unread != 0).then(|| format!("the server read no more requests of {unread} connections"))
}

async fn list_and_leave(stage: &Stage, via: Via, until: Instant) -> Outcome<Evidence> {
    const SESSIONS: usize = 24;
    const SLOTS: u32 = 48;
    let mut evidence = Evidence::default();
    let (mut connections, mut asked, mut unread, mut refused) = (Vec::new(), 0, 0, None);
    let all = until + OPENING;
    while connections.len() < SESSIONS && Instant::now() < all {
        let mut lister = Client::new(via, stage.cluster.nfs, 0);
        lister.introduce(&format!("lister {}", connections.len())).await?;
        if let Err(error) = lister.make_session(SLOTS).await {
            refused = Some(error.to_string()).filter(|text| text.contains("NFS4ERR"));
            break;
        }
        let raw = Raw::open(narrow(via), stage.cluster.nfs).await?;
        connections.push((lister, raw));
    }
    // A host whose answers are not taken waits for its next session: all of them are there before.
    for (lister, raw) in &mut connections {
        for slot in 0..SLOTS {
            sleep(BREATH * 2).await;
            let call = record(slot, (100_003, 4, 1), &user(0), list(lister, slot, SLOTS));
            if !is_taken(raw, &call).await {
                unread += 1;
                break;
            }
            asked += 1;
        }
    }
    sleep(until.max(Instant::now() + HOLDING).saturating_duration_since(Instant::now())).await;
    let bound = refused.map(|text| format!("more sessions are refused with {text:?}"));
    let wanted = SESSIONS * SLOTS as usize;
    must_have_happened(
        &mut evidence,
        "READDIRs",
        (asked, wanted),
        bound.or_else(|| bound_of_requests(unread)),
    );
    let (_listers, connections): (Vec<Client>, Vec<Raw>) = connections.into_iter().unzip();
    must_be_answered(&mut evidence, &connections).await;
    let (sessions, mib) = (connections.len(), stage.peak().rss_bytes >> 20);
    evidence.note(format!("{sessions} sessions; {mib} MiB at most in a server"));
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
    let (mut rounds, mut answered) = (0, 0);
    while Instant::now() < until && rounds < 20 {
        rounds += 1;
        for offset in edges {
            for count in [0, 1, 65_537, u32::MAX] {
                sleep(BREATH * 4).await;
                answered += usize::from(ask_once(&port, &held.handle, offset, count, &mut evidence).await);
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
    // What is refused before the store is asked would show nothing: most places are inside of the
    // file, or at its end.
    must_have_happened(
        &mut evidence,
        "READs with an answer",
        (answered, rounds.max(1) * edges.len() * 4),
        None,
    );
    evidence.note(format!("{rounds} rounds over {} places", edges.len() * 4));
    layouts::give_back(&mut owner, &file, &held).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    Ok(evidence)
}

/// Whether READ was answered with bytes, or none, and not refused.
async fn ask_once(port: &DataPort, handle: &Fh3, offset: u64, count: u32, evidence: &mut Evidence) -> bool {
    let mut is_answered = false;
    match port.read(handle, offset, count).await {
        Ok(Ok(data)) if data.iter().any(|byte| *byte != 3) => evidence.broken("READ at an edge: other bytes"),
        Ok(read) => is_answered = read.is_ok(),
        Err(error) => evidence.broken(format!("READ at {offset}, {count} bytes: {error}")),
    }
    if let Err(error) = port.commit(handle, offset, count).await {
        evidence.broken(format!("COMMIT at {offset}, {count} bytes: {error}"));
    }
    // No bytes, wherever: the file must stay as it is.
    if let Err(error) = port.write(handle, offset, bytes::Bytes::new()).await {
        evidence.broken(format!("WRITE of nothing at {offset}: {error}"));
    }
    is_answered
}
