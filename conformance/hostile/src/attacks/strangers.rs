//! Clients and users that have no right to a file, and what they say or ask about it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire_nfs::v3::Nfsstat3;
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::{Nfsstat4, Stateid};

use super::hosts::{USER, client, inside, outside, serve};
use super::proof::{must_be_refused, must_have_happened};
use crate::attack::{Attack, Evidence, Play};
use crate::failed::{During, Outcome, failed};
use crate::honest::LARGE;
use crate::layouts::{self, DataPort, Held};
use crate::limits::{PATIENCE_MS_MAX, REPEAT_MS};
use crate::session::Client;
use crate::stage::Stage;
use crate::tree::{self, How, Opened};

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "stranger_full",
            line: 1,
            row: "reports NOSPC of a data server without holding a layout, from within and from outside",
            setting: serve(),
            quick: true,
            play: Play::Windows(|stage, until| Box::pin(report_full(stage, until))),
        },
        Attack {
            name: "stranger_cuts",
            line: 1,
            row: "cuts a file that it may not write, by SETATTR and by OPEN, to have layouts recalled",
            setting: serve(),
            quick: true,
            play: Play::Windows(|stage, until| Box::pin(cut(stage, until))),
        },
        Attack {
            name: "write_only_reads",
            line: 1,
            row: "reads through an open for writing alone what it may not read",
            setting: serve(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(read_through_writing(stage, until))),
        },
    ]
}

/// Data servers of a cluster, each of which is to be reported and to be written to.
const SERVERS: usize = 3;
/// Consecutive files begin at different data servers: more than these are not needed to meet all.
const BAITS_MAX: usize = 12;

async fn report_full(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let from_outside = Client::begin(outside(stage), stage.cluster.nfs, 0, "outside").await;
    must_be_refused(&mut evidence, "a host in no export became a client", &from_outside);
    let mut user = client(stage, USER, "reports full").await?;
    let mut root = client(stage, 0, "shows the way").await?;
    let handle = tree::find(&mut user, LARGE).await?;
    let large = Opened { handle, stateid: Stateid::ANONYMOUS };
    // Layouts of the owner's tell the names of all data servers.
    let baits = bait_each(&mut root).await?;
    let (mut turns, mut written) = (0, BTreeSet::new());
    while Instant::now() < until {
        for status in [Nfsstat4::Nospc, Nfsstat4::Nxio, Nfsstat4::Io] {
            report_all(&mut user, &large, &baits, status).await?;
        }
        written.insert(write_elsewhere(stage, &mut root, turns, &mut evidence).await?);
        turns += 1;
    }
    // A stranger's report moves nothing: new files go on to be written at each data server, and old
    // ones where they were.
    for turn in turns..turns + BAITS_MAX {
        if written.len() == SERVERS {
            break;
        }
        written.insert(write_elsewhere(stage, &mut root, turn, &mut evidence).await?);
    }
    if written.len() != SERVERS {
        evidence.exceeded(format!("after a stranger's reports writes go to {written:?} alone"));
    }
    for (bait, held) in baits.into_values() {
        layouts::give_back(&mut root, &bait, &held).await?;
        let again = layouts::take(&mut root, &bait, Iomode::ReadWrite).await?;
        if (again.server, again.device) != (held.server, held.device) {
            let (from, to) = (held.server, again.server);
            evidence.exceeded(format!("a stranger's reports moved a layout from {from} to {to}"));
        }
        layouts::give_back(&mut root, &bait, &again).await?;
        tree::close_file(&mut root, &bait).await?;
    }
    must_have_happened(&mut evidence, "rounds of reports", (turns, 1), None);
    evidence.note(format!("{turns} rounds of reports of {SERVERS} data servers"));
    root.end().await?;
    user.end().await?;
    Ok(evidence)
}

/// A file at each data server, and the owner's layout of it.
async fn bait_each(root: &mut Client) -> Outcome<BTreeMap<SocketAddr, (Opened, Held)>> {
    let mut baits = BTreeMap::new();
    for number in 0..BAITS_MAX {
        let bait = tree::open_file(root, &format!("bait-{number}"), 0o666).await?;
        tree::write_file(root, &bait, 0, vec![1; 65_536].into()).await?;
        let held = layouts::take(root, &bait, Iomode::ReadWrite).await?;
        if let Entry::Vacant(place) = baits.entry(held.server) {
            place.insert((bait, held));
        } else {
            layouts::give_back(root, &bait, &held).await?;
            tree::close_file(root, &bait).await?;
        }
        if baits.len() == SERVERS {
            return Ok(baits);
        }
    }
    Err(failed(format!("files are at {} of {SERVERS} data servers", baits.len())))
}

/// Says of each data server, in the name of each file, with each kind of stateid, that it failed.
async fn report_all(
    user: &mut Client,
    large: &Opened,
    baits: &BTreeMap<SocketAddr, (Opened, Held)>,
    status: Nfsstat4,
) -> Outcome<()> {
    for (bait, held) in baits.values() {
        for stateid in [Stateid::ANONYMOUS, held.stateid, Stateid { seqid: 1, other: [7; 12] }] {
            for file in [large, bait] {
                layouts::report(user, file, (stateid, held.device), status).await?;
            }
        }
    }
    Ok(())
}

/// The owner makes a file and writes it, through a layout, at the data server that is returned;
/// then it is removed.
async fn write_elsewhere(
    stage: &Stage,
    root: &mut Client,
    turn: usize,
    evidence: &mut Evidence,
) -> Outcome<SocketAddr> {
    let path = format!("fresh-{turn}");
    let file = tree::open_file(root, &path, 0o600).await?;
    tree::write_file(root, &file, 0, vec![2; 65_536].into()).await?;
    let held = layouts::take(root, &file, Iomode::ReadWrite).await?;
    let port = DataPort::new(inside(stage), held.server);
    let patience = Instant::now() + Duration::from_millis(PATIENCE_MS_MAX);
    loop {
        match port.write(&held.handle, 0, vec![3; 4096].into()).await? {
            Ok(_) => break,
            Err(Nfsstat3::Jukebox) if Instant::now() < patience => {
                sleep(Duration::from_millis(REPEAT_MS)).await
            }
            Err(status) => {
                evidence.broken(format!("the owner's WRITE at {} is refused: {status:?}", held.server));
                break;
            }
        }
    }
    layouts::give_back(root, &file, &held).await?;
    tree::close_file(root, &file).await?;
    tree::good(tree::remove_name(root, &path).await?, "REMOVE")?;
    Ok(held.server)
}

async fn cut(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let recalls = stage.honest.recalls();
    let mut user = client(stage, USER, "cuts").await?;
    let handle = tree::find(&mut user, LARGE).await?;
    let mut tries = 0;
    while Instant::now() < until {
        match tree::set(&mut user, &handle, tree::size(0)).await? {
            Nfsstat4::Ok => evidence.exceeded("SETATTR cut a file that the user may not write"),
            Nfsstat4::Access | Nfsstat4::Perm => {}
            status => evidence.broken(format!("SETATTR is refused with {}", status.name())),
        }
        let opened = tree::open_as(&mut user, LARGE, How::Empty, share::ACCESS_BOTH).await;
        must_be_refused(&mut evidence, "OPEN cut a file that the user may not write", &opened);
        tries += 1;
        sleep(Duration::from_millis(20)).await;
    }
    must_have_happened(&mut evidence, "tries", (tries, 1), None);
    if recalls < stage.honest.recalls() {
        evidence.broken("the owner's layout was recalled for what was refused");
    }
    user.end().await?;
    Ok(evidence)
}

async fn read_through_writing(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut root = client(stage, 0, "keeps a secret").await?;
    let secret = tree::open_file(&mut root, "drop-box", 0o622).await?;
    // One that was there already has its mode.
    tree::good(tree::set(&mut root, &secret.handle, tree::mode(0o622)).await?, "SETATTR")?;
    tree::write_file(&mut root, &secret, 0, vec![9; 65_536].into()).await?;
    let mut user = client(stage, USER, "reads a drop box").await?;
    let open = tree::open_as(&mut user, "drop-box", How::Existing, share::ACCESS_WRITE).await?;
    let mut tries = 0;
    while Instant::now() < until {
        tries += 1;
        let read = tree::read_file(&mut user, &open, 0, 100).await;
        must_be_refused(&mut evidence, "READ through an open for writing", &read);
        let held = layouts::take(&mut user, &open, Iomode::Read).await;
        must_be_refused(&mut evidence, "a layout to read through an open for writing", &held);
        sleep(Duration::from_millis(20)).await;
    }
    must_have_happened(&mut evidence, "tries", (tries, 1), None);
    // It was the mode that kept them out.
    tree::write_file(&mut user, &open, 0, vec![8; 10].into())
        .await
        .during("WRITE through an open for writing")?;
    tree::close_file(&mut user, &open).await?;
    tree::close_file(&mut root, &secret).await?;
    user.end().await?;
    root.end().await?;
    Ok(evidence)
}
