//! Ways out of an export, and into one that is not the client's.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::ops::{getattr, getfh, lookup, lookupp, secinfo};
use wire_nfs::v4::{Bitmap, Nfsstat4, Op};

use super::hosts::{STRANGER, client, serve};
use super::proof::{must_be_refused, must_have_happened};
use crate::attack::{Attack, Evidence, Play};
use crate::cluster::Setting;
use crate::failed::Outcome;
use crate::honest::SMALL;
use crate::net::Via;
use crate::session::Client;
use crate::stage::Stage;
use crate::tree::{self, How};

/// The root for the honest client's host, one directory for all, one for a third host alone.
const EXPORTS: &str = "[[export]]\npath = \"/\"\nclients = [\"127.0.0.1/32\"]\n\
    [[export]]\npath = \"/open\"\nclients = [\"127.0.0.0/8\"]\n\
    [[export]]\npath = \"/far/secure\"\nclients = [\"127.0.0.3/32\"]\n";

/// Admitted to `/far/secure` alone.
const LISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "export_walls",
            line: 3,
            row: "leaves its export by OPEN, LOOKUP, LOOKUPP, SECINFO and handles of elsewhere",
            setting: Setting { exports: EXPORTS, ..serve() },
            quick: true,
            play: Play::Windows(|stage, until| Box::pin(leave(stage, until))),
        },
        Attack {
            name: "export_roots",
            line: 3,
            row: "renames and removes an export's root, and what leads to it, from a wider export",
            setting: Setting { exports: EXPORTS, ..serve() },
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(move_roots(stage, until))),
        },
    ]
}

async fn leave(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut root = client(stage, 0, "inner").await?;
    let secret = tree::open_file(&mut root, "secret", 0o600).await?;
    let hidden = tree::find(&mut root, SMALL).await?;
    let via = Via::host(STRANGER, stage.options.reserved);
    let mut guest = Client::begin(via, stage.cluster.nfs, 0, "guest of /open").await?;
    tree::make_directory(&mut guest, "open/own", 0o777).await?;
    let mut rounds = 0;
    while Instant::now() < until {
        for path in ["secret", "open/../secret", "honest-large"] {
            let opened = tree::open_as(&mut guest, path, How::Existing, share::ACCESS_READ).await;
            must_be_refused(&mut evidence, &format!("OPEN of {path}"), &opened);
            must_be_refused(&mut evidence, &format!("LOOKUP of {path}"), &tree::find(&mut guest, path).await);
        }
        must_be_refused(&mut evidence, "/far/secure", &tree::find(&mut guest, "far/secure").await);
        for handle in [&secret.handle, &hidden] {
            let args = getattr::Args { requested: Bitmap::of(&[4]) };
            if tree::status_at(&mut guest, handle, |c| c.op(Op::Getattr, &args)).await? == Nfsstat4::Ok {
                evidence.exceeded("a handle from outside of the export was taken");
            }
        }
        step_up(&mut guest, &mut evidence).await?;
        let asked = secinfo::Args { name: tree::name("secret") };
        let reply = guest.call(|c| {
            tree::walk(c, "");
            c.op(Op::Secinfo, &asked);
        });
        if reply.await?.status == Nfsstat4::Ok {
            evidence.exceeded("SECINFO tells of what is not exported");
        }
        rounds += 1;
        sleep(Duration::from_millis(10)).await;
    }
    must_have_happened(&mut evidence, "rounds", (rounds, 1), None);
    let mut listed =
        Client::begin(Via::host(LISTED, stage.options.reserved), stage.cluster.nfs, 0, "listed").await?;
    if let Err(error) = tree::make_directory(&mut listed, "far/secure/own", 0o777).await {
        evidence.broken(format!("who is listed for /far/secure does not get there: {error}"));
    }
    tree::close_file(&mut root, &secret).await?;
    for mut client in [root, guest, listed] {
        client.end().await?;
    }
    Ok(evidence)
}

/// From inside of `/open` up, again and again, and down to what is not exported.
async fn step_up(guest: &mut Client, evidence: &mut Evidence) -> Outcome<()> {
    let mut reply = guest
        .call(|c| {
            tree::walk(c, "open/own");
            for _ in 0..2 {
                c.op(Op::Lookupp, &lookupp::Args);
            }
            c.op(Op::Lookup, &lookup::Args { name: tree::name("secret") });
            c.op(Op::Getfh, &getfh::Args);
        })
        .await?;
    if reply.status == Nfsstat4::Ok {
        evidence.exceeded("LOOKUPP leads out of an export");
    }
    tree::walked(&mut reply, "open/own")
}

async fn move_roots(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let mut root = client(stage, 0, "wide").await?;
    tree::make_directory(&mut root, "other", 0o755).await?;
    // What is no export's root, and leads to none, can be moved.
    for (from, to) in [("other", "another"), ("another", "other")] {
        tree::good(tree::rename_in_root(&mut root, from, to).await?, "RENAME of a directory")?;
    }
    let mut rounds = 0;
    while Instant::now() < until {
        for (from, to) in [("open", "x"), ("far", "x"), ("other", "open")] {
            if tree::rename_in_root(&mut root, from, to).await? == Nfsstat4::Ok {
                evidence.exceeded(format!("RENAME of {from} to {to}"));
            }
        }
        for path in ["open", "far", "far/secure"] {
            if tree::remove_name(&mut root, path).await? == Nfsstat4::Ok {
                evidence.exceeded(format!("REMOVE of {path}"));
            }
        }
        rounds += 1;
        sleep(Duration::from_millis(10)).await;
    }
    must_have_happened(&mut evidence, "rounds", (rounds, 1), None);
    root.end().await?;
    Ok(evidence)
}
