//! Requests that make sense, and far too many of them.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use wire_nfs::v4::ops::lock::{self, LockType, Locker};
use wire_nfs::v4::ops::putfh;
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{Nfsstat4, Op, Stateid};

use super::connections::newcomers;
use super::hosts::{TWO_HOSTS, USER, client, inside, outside, serve};
use super::proof::must_have_happened;
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::Setting;
use crate::failed::{Outcome, failed};
use crate::net::Via;
use crate::raw::{Raw, record};
use crate::session::{Client, compound, identity, user};
use crate::stage::Stage;
use crate::tree::{self, Opened};

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "reply_cache",
            line: 9,
            row: "600 sessions of 128 slots each, to reserve the reply cache",
            setting: serve(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(reserve(stage, until))),
        },
        Attack {
            name: "exchange_id_flood",
            line: 9,
            row: "2,000 EXCHANGE_IDs a second, each with another owner, none confirmed",
            setting: Setting { exports: TWO_HOSTS, ..serve() },
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(flood(stage, outside(stage), until))),
        },
        Attack {
            name: "exchange_id_flood_here",
            line: 9,
            row: "the same from the honest client's own host",
            setting: serve(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(flood(stage, inside(stage), until))),
        },
        Attack {
            name: "many_locks",
            line: 12,
            row: "up to 100,000 locks on one file, none beside another",
            setting: serve(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(lock_much(stage, until))),
        },
    ]
}

/// Sessions that a window is to make.
const SESSIONS: usize = 600;

async fn reserve(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut hoarder = Client::new(inside(stage), stage.cluster.nfs, USER);
    let (mut made, mut refused) = (0, String::new());
    let all = until + Duration::from_secs(5);
    for number in 0..SESSIONS {
        if all < Instant::now() {
            break;
        }
        if number % 16 == 0 {
            hoarder.introduce(&format!("hoarder {number}")).await?;
        }
        match hoarder.make_session(128).await {
            Ok(_) => made += 1,
            Err(error) => refused = error.to_string(),
        }
    }
    let bound = refused.contains("NFS4ERR").then(|| format!("more are refused with {refused:?}"));
    must_have_happened(&mut evidence, "sessions", (made, SESSIONS), bound);
    newcomers(stage, until.max(Instant::now() + Duration::from_secs(2)), &mut evidence).await;
    evidence.note(format!("{made} sessions in a window; last refused with {refused:?}"));
    Ok(evidence)
}

/// EXCHANGE_IDs a second.
const FLOOD_PER_S: usize = 2_000;
/// How many are sent at once, on each connection in turn.
const BURST: usize = 10;

/// A server that takes no more from a connection for so long holds itself well; another connection
/// is opened.
const SEND_MS_MAX: Duration = Duration::from_secs(1);

async fn flood(stage: &Stage, via: Via, until: Instant) -> Outcome<Evidence> {
    let (mut evidence, mut came) = (Evidence::default(), Evidence::default());
    let began = Instant::now();
    // Newcomers come while it goes on.
    let (sent, ()) = tokio::join!(send_many(stage, via, until), newcomers(stage, until, &mut came));
    let (sent, cut) = sent?;
    let ms = usize::try_from(until.saturating_duration_since(began).as_millis()).unwrap_or(0);
    let bound = (cut != 0).then(|| format!("servers cut off or did not read {cut} connections"));
    must_have_happened(&mut evidence, "EXCHANGE_IDs", (sent, ms * FLOOD_PER_S / 1000), bound);
    evidence.note(format!("about {} in a window", sent.div_ceil(1000) * 1000));
    if cut != 0 {
        evidence.note("connections were cut off, or not read");
    }
    evidence.add(came);
    Ok(evidence)
}

/// Sends EXCHANGE_IDs at a steady pace until a time; how many, and how many connections the server
/// cut or did not read.
async fn send_many(stage: &Stage, via: Via, until: Instant) -> Outcome<(usize, usize)> {
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(Raw::open(via, stage.cluster.nfs).await?);
    }
    let mut ticks = interval(Duration::from_micros(1_000_000 * BURST as u64 / FLOOD_PER_S as u64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut cut, mut turn) = (0, 0, 0);
    while Instant::now() < until {
        ticks.tick().await;
        turn = (turn + 1) % connections.len();
        let raw = &mut connections[turn];
        let mut bytes = Vec::new();
        for number in sent..sent + BURST {
            let owner = format!("flood {number} {until:?}");
            let args = compound(|c| c.op(Op::ExchangeId, &identity(&owner)));
            let xid = u32::try_from(number & 0xffff_ffff).unwrap_or(0);
            bytes.extend_from_slice(&record(xid, (100_003, 4, 1), &user(USER), args));
        }
        let taken = timeout(SEND_MS_MAX, raw.send(&bytes)).await;
        if matches!(taken, Ok(Ok(()))) {
            sent += BURST;
        }
        if !matches!(taken, Ok(Ok(()))) || raw.is_closed() {
            cut += 1;
            *raw = Raw::open(via, stage.cluster.nfs).await?;
        }
    }
    Ok((sent, cut))
}

/// Clients that lock at the same time, and locks in each of their requests.
const LOCKERS: u64 = 2;
const LOCKS_PER_REQUEST: u64 = 12;
const LOCKS_MAX: u64 = 100_000;
/// As many as a slow machine takes in a window.
const LOCKS_WANTED: usize = 1_000;

async fn lock_much(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut owner = client(stage, 0, "locked").await?;
    let file = tree::open_file(&mut owner, "locked", 0o666).await?;
    tree::close_file(&mut owner, &file).await?;
    // Each lock is durable: a window is longer here, for there to be many.
    let until = until + Duration::from_secs(10);
    let mut workers = JoinSet::new();
    for number in 0..LOCKERS {
        let mut locker = client(stage, USER, &format!("locker {number}")).await?;
        workers.spawn(async move {
            let file = tree::open_file(&mut locker, "locked", 0o666).await?;
            let took = lock_until(&mut locker, &file, number << 40, until).await;
            tree::close_file(&mut locker, &file).await.and(locker.end().await)?;
            took
        });
    }
    let (mut count, mut bound, mut early, mut late) = (0, None, Vec::new(), Vec::new());
    while let Some(worker) = workers.join_next().await {
        let (took, refused) = worker.map_err(|error| failed(error.to_string()))??;
        count += took.len() as u64 * LOCKS_PER_REQUEST;
        bound = bound.or_else(|| refused.map(|status| format!("more are refused with {}", status.name())));
        let part = took.len() / 5;
        early.extend_from_slice(&took[..part]);
        late.extend_from_slice(&took[took.len() - part..]);
    }
    evidence.note(format!("{count} locks in a window"));
    let done = usize::try_from(count).unwrap_or(usize::MAX);
    must_have_happened(&mut evidence, "locks", (done, LOCKS_WANTED), bound);
    match (median(&mut early), median(&mut late)) {
        (Some(early), Some(late)) => {
            evidence.note(format!("{LOCKS_PER_REQUEST} take {early:.1?} first, {late:.1?} last"));
            if early * 4 + Duration::from_millis(5) < late {
                evidence.broken(format!("what a lock costs grows with the file: {early:.1?} to {late:.1?}"));
            }
        }
        _ => evidence.broken(format!("{count} locks: too few requests to compare the first with the last")),
    }
    owner.end().await?;
    Ok(evidence)
}

/// The middle one; none if there are none.
fn median(all: &mut [Duration]) -> Option<Duration> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

/// Takes locks that do not touch each other; how long each request took that was granted, and what
/// refused the next one.
async fn lock_until(
    client: &mut Client,
    file: &Opened,
    base: u64,
    until: Instant,
) -> Outcome<(Vec<Duration>, Option<Nfsstat4>)> {
    let one = |offset: u64, locker: Locker| lock::Args {
        lock_type: LockType::Write,
        reclaim: false,
        offset,
        length: 1,
        locker,
    };
    let owner = StateOwner { clientid: client.clientid, owner: Bytes::from_static(b"locks") };
    let first = Locker::New { open_seqid: 0, open_stateid: file.stateid, lock_seqid: 0, owner };
    let first = one(base, first);
    let putfh = putfh::Args { filehandle: file.handle.clone() };
    let mut reply = client
        .call(|c| {
            c.op(Op::Putfh, &putfh);
            c.op(Op::Lock, &first);
        })
        .await?;
    reply.skip(Op::Putfh)?;
    let got: lock::ResOk = reply.next(Op::Lock)?;
    let lock_stateid = Stateid { seqid: 0, ..got.lock_stateid };
    let mut took = Vec::new();
    for request in 1..=LOCKS_MAX / LOCKERS / LOCKS_PER_REQUEST {
        if until < Instant::now() {
            break;
        }
        let began = Instant::now();
        let reply = client
            .call(|c| {
                c.op(Op::Putfh, &putfh);
                for number in 0..LOCKS_PER_REQUEST {
                    let offset = base + 2 * (request * LOCKS_PER_REQUEST + number);
                    c.op(Op::Lock, &one(offset, Locker::Existing { lock_stateid, lock_seqid: 0 }));
                }
            })
            .await?;
        match reply.status {
            Nfsstat4::Ok => took.push(began.elapsed()),
            // A bound on locks is a defence too.
            status @ (Nfsstat4::Nospc | Nfsstat4::Resource | Nfsstat4::Dquot) => {
                return Ok((took, Some(status)));
            }
            status => return Err(failed(format!("LOCK of a range that nothing is near: {}", status.name()))),
        }
        // What is attacked is the file, not the log that makes locks durable.
        sleep(Duration::from_millis(10)).await;
    }
    Ok((took, None))
}
