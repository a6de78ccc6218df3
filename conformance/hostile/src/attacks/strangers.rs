//! Clients and users that have no right to a file, and what they say or ask about it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::{Nfsstat4, Stateid};

use super::{USER, client, must_be_refused, outside, serve};
use crate::attack::{Attack, Evidence, Play};
use crate::failed::Outcome;
use crate::honest::LARGE;
use crate::layouts;
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
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(report_full(stage, until))),
        },
        Attack {
            name: "stranger_cuts",
            line: 1,
            row: "cuts a file that it may not write, by SETATTR and by OPEN, to have layouts recalled",
            setting: serve(),
            quick: true,
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(cut(stage, until))),
        },
        Attack {
            name: "write_only_reads",
            line: 1,
            row: "reads through an open for writing alone what it may not read",
            setting: serve(),
            quick: false,
            problems: &[],
            play: Play::Windows(|stage, until| Box::pin(read_through_writing(stage, until))),
        },
    ]
}

async fn report_full(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let from_outside = Client::begin(outside(stage), stage.cluster.nfs, 0, "outside").await;
    must_be_refused(&mut evidence, "a host in no export became a client", &from_outside);
    // A layout of its own tells it the names of data servers.
    let mut user = client(stage, USER, "reports full").await?;
    let mut root = client(stage, 0, "shows the way").await?;
    let bait = tree::open_file(&mut root, "bait", 0o666).await?;
    tree::write_file(&mut root, &bait, 0, vec![1; 65_536].into()).await?;
    let held = layouts::take(&mut root, &bait, Iomode::ReadWrite).await?;
    let handle = tree::find(&mut user, LARGE).await?;
    let large = Opened { handle, stateid: Stateid::ANONYMOUS };
    while Instant::now() < until {
        for status in [Nfsstat4::Nospc, Nfsstat4::Nxio, Nfsstat4::Io] {
            for stateid in [Stateid::ANONYMOUS, held.stateid, Stateid { seqid: 1, other: [7; 12] }] {
                layouts::report(&mut user, &large, (stateid, held.device), status).await?;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    layouts::give_back(&mut root, &bait, &held).await?;
    tree::close_file(&mut root, &bait).await?;
    root.end().await?;
    user.end().await?;
    Ok(evidence)
}

async fn cut(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let recalls = stage.honest.recalls();
    let mut user = client(stage, USER, "cuts").await?;
    let handle = tree::find(&mut user, LARGE).await?;
    while Instant::now() < until {
        if tree::set(&mut user, &handle, tree::size(0)).await? == Nfsstat4::Ok {
            evidence.exceeded("SETATTR cut a file that the user may not write");
        }
        let opened = tree::open_as(&mut user, LARGE, How::Empty, share::ACCESS_BOTH).await;
        must_be_refused(&mut evidence, "OPEN cut a file that the user may not write", &opened);
        sleep(Duration::from_millis(20)).await;
    }
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
    while Instant::now() < until {
        let read = tree::read_file(&mut user, &open, 0, 100).await;
        must_be_refused(&mut evidence, "READ through an open for writing", &read);
        let held = layouts::take(&mut user, &open, Iomode::Read).await;
        must_be_refused(&mut evidence, "a layout to read through an open for writing", &held);
        sleep(Duration::from_millis(20)).await;
    }
    tree::close_file(&mut user, &open).await?;
    tree::close_file(&mut root, &secret).await?;
    user.end().await?;
    root.end().await?;
    Ok(evidence)
}
