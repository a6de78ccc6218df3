//! Requests that make sense, and far too many of them.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use wire_nfs::v4::ops::lock::{self, LockType, Locker};
use wire_nfs::v4::ops::putfh;
use wire_nfs::v4::owner::StateOwner;
use wire_nfs::v4::{Op, Stateid};

use super::connections::newcomers;
use super::{USER, client, inside, serve};
use crate::attack::{Attack, Evidence, Play};
use crate::failed::Outcome;
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
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(reserve(stage, until))),
        },
        Attack {
            name: "exchange_id_flood",
            line: 9,
            row: "2,000 EXCHANGE_IDs a second, each with another owner, none confirmed",
            setting: serve(),
            quick: false,
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(flood(stage, until))),
        },
        Attack {
            name: "many_locks",
            line: 12,
            row: "up to 100,000 locks on one file, none beside another",
            setting: serve(),
            quick: false,
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(lock_much(stage, until))),
        },
    ]
}

async fn reserve(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut hoarder = Client::new(inside(stage), stage.cluster.nfs, USER);
    let (mut made, mut refused) = (0_u32, String::new());
    let all = until + Duration::from_secs(5);
    for number in 0..600 {
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
    newcomers(stage, until.max(Instant::now() + Duration::from_secs(2)), &mut evidence).await;
    evidence.note(format!("{made} sessions in a window; last refused with {refused:?}"));
    Ok(evidence)
}

/// EXCHANGE_IDs a second.
const FLOOD_PER_S: u64 = 2_000;
/// How many are sent at once, on each connection in turn.
const BURST: u32 = 10;

async fn flood(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(Raw::open(inside(stage), stage.cluster.nfs).await?);
    }
    let mut ticks = interval(Duration::from_micros(1_000_000 * u64::from(BURST) / FLOOD_PER_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut turn) = (0_u64, 0);
    while Instant::now() < until {
        ticks.tick().await;
        turn = (turn + 1) % connections.len();
        let raw = &mut connections[turn];
        for _ in 0..BURST {
            sent += 1;
            let owner = format!("flood {sent} {:?}", until);
            let args = compound(|c| c.op(Op::ExchangeId, &identity(&owner)));
            let xid = u32::try_from(sent & 0xffff_ffff).unwrap_or(0);
            raw.send(&record(xid, (100_003, 4, 1), &user(USER), args)).await?;
        }
        if raw.is_closed() {
            evidence.note("connections were cut off");
            *raw = Raw::open(inside(stage), stage.cluster.nfs).await?;
        }
    }
    evidence.note(format!("about {} in a window", sent.div_ceil(1000) * 1000));
    let mut late = Evidence::default();
    newcomers(stage, until, &mut late).await;
    evidence.broken.extend(late.broken);
    Ok(evidence)
}

/// Clients that lock at the same time, and locks in each of their requests.
const LOCKERS: u64 = 2;
const LOCKS_PER_REQUEST: u64 = 12;
const LOCKS_MAX: u64 = 100_000;

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
    let (mut count, mut early, mut late) = (0, Vec::new(), Vec::new());
    while let Some(worker) = workers.join_next().await {
        let took = worker.map_err(|error| crate::failed::failed(error.to_string()))??;
        count += took.len() as u64 * LOCKS_PER_REQUEST;
        let part = took.len() / 5;
        early.extend_from_slice(&took[..part]);
        late.extend_from_slice(&took[took.len() - part..]);
    }
    let median = |all: &mut Vec<Duration>| {
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    let (early, late) = (median(&mut early), median(&mut late));
    evidence.note(format!(
        "{count} locks in a window; {LOCKS_PER_REQUEST} take {early:.1?} first, {late:.1?} last"
    ));
    if early * 4 + Duration::from_millis(5) < late {
        evidence.broken(format!("what a lock costs grows with the file: {early:.1?} to {late:.1?}"));
    }
    owner.end().await?;
    Ok(evidence)
}

/// Takes locks that do not touch each other; how long each request took.
async fn lock_until(client: &mut Client, file: &Opened, base: u64, until: Instant) -> Outcome<Vec<Duration>> {
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
        took.push(began.elapsed());
        // A bound on locks is a defence too.
        if reply.status != wire_nfs::v4::Nfsstat4::Ok {
            break;
        }
        // What is attacked is the file, not the log that makes locks durable.
        sleep(Duration::from_millis(10)).await;
    }
    Ok(took)
}
