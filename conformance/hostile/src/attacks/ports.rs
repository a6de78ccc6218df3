//! Source ports: only root of a host can bind one below 1024; every user can bind the others.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::open::share;

use super::hosts::{USER, client, inside, serve};
use super::proof::must_be_refused;
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::Setting;
use crate::failed::Outcome;
use crate::honest::{HOST, LARGE};
use crate::layouts::{self, DataPort};
use crate::net::Via;
use crate::session::Client;
use crate::stage::Stage;
use crate::tree::{self, How};

pub(super) fn attacks() -> Vec<Attack> {
    vec![Attack {
        name: "high_ports",
        line: 6,
        row: "says that it is root, from a port that any user of an admitted host can have",
        setting: Setting { needs_root: true, ..serve() },
        quick: false,
        play: Play::Windows(|stage, until| Box::pin(ask_from_high_ports(stage, until))),
    }]
}

async fn ask_from_high_ports(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let high = Via::host(HOST, false);
    let mut owner = client(stage, 0, "on a reserved port").await?;
    let file = tree::open_as(&mut owner, LARGE, How::Existing, share::ACCESS_BOTH).await?;
    let held = layouts::take(&mut owner, &file, Iomode::Read).await?;
    while Instant::now() < until {
        for uid in [0, USER] {
            // It may become a client; a file it gets none.
            let mut user = match Client::begin(high, stage.cluster.nfs, uid, "a user's program").await {
                Ok(user) => user,
                begun => {
                    must_be_refused(&mut evidence, "a client from a high port", &begun);
                    continue;
                }
            };
            let opened = tree::open_as(&mut user, LARGE, How::Existing, share::ACCESS_READ).await;
            must_be_refused(&mut evidence, &format!("OPEN from a high port as user {uid}"), &opened);
            if let Ok(opened) = opened {
                tree::close_file(&mut user, &opened).await?;
            }
            user.end().await?;
        }
        let port = DataPort::new(high, held.server);
        if matches!(port.read(&held.handle, 0, 100).await, Ok(Ok(_))) {
            evidence
                .note("a data server answers a good handle from a high port: no program of a user has one");
        }
        sleep(Duration::from_millis(20)).await;
    }
    let again = DataPort::new(inside(stage), held.server);
    if !matches!(again.read(&held.handle, 0, 100).await, Ok(Ok(_))) {
        evidence.broken("the same handle is not good from a reserved port");
    }
    layouts::give_back(&mut owner, &file, &held).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    Ok(evidence)
}
