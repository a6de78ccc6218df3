//! One client that wants to be another one.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire_nfs::v4::Op;
use wire_nfs::v4::ops::exchange_id::{self, flags};
use wire_nfs::v4::ops::{create_session, destroy_clientid, destroy_session};

use super::hosts::{USER, client, inside, outside, serve};
use super::proof::{must_be_refused, must_have_happened};
use crate::attack::{Attack, Evidence, Play};
use crate::failed::{During, Outcome};
use crate::session::{Client, identity, user, wanted};
use crate::stage::Stage;
use crate::tree;

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "takeover",
            line: 2,
            row: "uses another client's owner string, and ends it, as another user",
            setting: serve(),
            quick: true,
            play: Play::Windows(|stage, until| Box::pin(take_over(stage, until))),
        },
        Attack {
            name: "outside_host",
            line: 2,
            row: "asks from a host in no export's `clients`",
            setting: serve(),
            quick: true,
            play: Play::Windows(|stage, until| Box::pin(ask_from_outside(stage, until))),
        },
        Attack {
            name: "client_ids_guessed",
            line: 2,
            row: "guesses client ids from those that it was given",
            setting: serve(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(guess(stage, until))),
        },
    ]
}

async fn take_over(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let owner = "the victim";
    let mut victim = client(stage, 0, owner).await?;
    let file = tree::open_file(&mut victim, "victims-file", 0o600).await?;
    let mut thief = Client::new(inside(stage), stage.cluster.nfs, USER);
    thief.introduce("the thief").await.during("a name of one's own")?;
    let mut tries = 0;
    while Instant::now() < until {
        let args = destroy_clientid::Args { clientid: victim.clientid };
        let gone = thief.bare(|c| c.op(Op::DestroyClientid, &args)).await?.skip(Op::DestroyClientid);
        must_be_refused(&mut evidence, "DESTROY_CLIENTID of another user's client", &gone);
        let mut replaced = identity(owner);
        let mut reply = thief.bare(|c| c.op(Op::ExchangeId, &replaced)).await?;
        let got = reply.next::<exchange_id::ResOk>(Op::ExchangeId);
        must_be_refused(&mut evidence, "EXCHANGE_ID with another user's owner string", &got);
        replaced.flags |= flags::UPD_CONFIRMED_REC_A;
        let mut reply = thief.bare(|c| c.op(Op::ExchangeId, &replaced)).await?;
        let got = reply.next::<exchange_id::ResOk>(Op::ExchangeId);
        must_be_refused(&mut evidence, "an update of another user's client", &got);
        tries += 1;
        sleep(Duration::from_millis(20)).await;
    }
    must_have_happened(&mut evidence, "rounds", (tries, 1), None);
    // Client and session ids are not told to others. RFC 8881 lets any principal make sessions for
    // a confirmed client whose id it knows: `client_ids_guessed` and `outside_host` are about that.
    let read = tree::read_file(&mut victim, &file, 0, 10).await;
    if let Err(error) = read {
        evidence.broken(format!("the victim's session or open is lost: {error}"));
    }
    if let Err(error) = tree::close_file(&mut victim, &file).await {
        evidence.broken(format!("the victim's open is lost: {error}"));
    }
    leave(&mut victim, &mut evidence).await;
    Ok(evidence)
}

async fn ask_from_outside(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let log = said_bytes(stage);
    let mut victim = client(stage, 0, "known outside").await?;
    // One with a session could not be ended by any host.
    let mut idle = Client::new(inside(stage), stage.cluster.nfs, 0);
    idle.introduce("idle, known outside").await?;
    let mut stranger = Client::new(outside(stage), stage.cluster.nfs, 0);
    stranger.credential = user(0);
    let mut tries = 0;
    while Instant::now() < until {
        tries += 1;
        must_be_refused(&mut evidence, "EXCHANGE_ID", &stranger.introduce("outside").await);
        let args = wanted(victim.clientid, victim.create_sequence, 1);
        let mut reply = stranger.bare(|c| c.op(Op::CreateSession, &args)).await?;
        let made = reply.next::<create_session::ResOk>(Op::CreateSession);
        must_be_refused(&mut evidence, "CREATE_SESSION", &made);
        let args = destroy_session::Args { session: victim.session };
        let gone = stranger.bare(|c| c.op(Op::DestroySession, &args)).await?.skip(Op::DestroySession);
        must_be_refused(&mut evidence, "DESTROY_SESSION", &gone);
        let args = destroy_clientid::Args { clientid: idle.clientid };
        let gone = stranger.bare(|c| c.op(Op::DestroyClientid, &args)).await?.skip(Op::DestroyClientid);
        must_be_refused(&mut evidence, "DESTROY_CLIENTID", &gone);
        sleep(Duration::from_millis(1)).await;
    }
    must_have_happened(&mut evidence, "rounds", (tries, 1), None);
    let said = said_bytes(stage) - log;
    evidence.note(format!("{tries} rounds; the log grew by at most {} KiB a window", said.div_ceil(1 << 10)));
    if crate::limits::LOG_BYTES_MAX < said {
        evidence.broken(format!("a log line for each refusal: {} KiB", said >> 10));
    }
    let read = tree::find(&mut victim, "").await;
    if let Err(error) = read {
        evidence.broken(format!("the victim's session is lost: {error}"));
    }
    let args = destroy_clientid::Args { clientid: idle.clientid };
    let left = idle.bare(|c| c.op(Op::DestroyClientid, &args)).await?.skip(Op::DestroyClientid);
    if let Err(error) = left {
        evidence.broken(format!("the idle client is not there to leave: {error}"));
    }
    leave(&mut victim, &mut evidence).await;
    Ok(evidence)
}

/// The victim gives everything back, and has nothing more that it does not know of.
async fn leave(victim: &mut Client, evidence: &mut Evidence) {
    if let Err(error) = victim.end().await {
        evidence.broken(format!("the victim cannot leave: {error}"));
    }
}

fn said_bytes(stage: &Stage) -> u64 {
    stage.cluster.processes.lock().iter().map(crate::process::Process::said_bytes).sum()
}

async fn guess(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut own = Client::new(inside(stage), stage.cluster.nfs, USER);
    let mut known = BTreeSet::new();
    for number in 0..64 {
        own.introduce(&format!("guesser {number}")).await?;
        known.insert(own.clientid);
    }
    let close = |pair: &[u64]| pair[1] - pair[0] < 1 << 20;
    let sorted: Vec<u64> = known.iter().copied().collect();
    if sorted.windows(2).any(close) {
        evidence.exceeded("client ids that follow each other");
    }
    let (mut next, mut tries) = (known.iter().copied(), 0);
    while Instant::now() < until {
        let Some(id) = next.next() else { break };
        for near in [id.wrapping_add(1), id.wrapping_sub(1), id.wrapping_add(1 << 32), id ^ 1 << 63] {
            if known.contains(&near) {
                continue;
            }
            tries += 1;
            let args = wanted(near, 1, 1);
            let mut reply = own.bare(|c| c.op(Op::CreateSession, &args)).await?;
            let made = reply.next::<create_session::ResOk>(Op::CreateSession);
            must_be_refused(&mut evidence, "a session for a client id that was guessed", &made);
        }
    }
    must_have_happened(&mut evidence, "guesses", (tries, 64), None);
    Ok(evidence)
}
