//! Handles of data servers: kept after their layout ended, shown from elsewhere, and forged.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire_nfs::v3::{Fh3, Nfsstat3};
use wire_nfs::v4::layout::Iomode;

use super::hosts::{client, inside, outside, serve};
use super::nodes::administer;
use super::proof::must_have_happened;
use crate::attack::{Attack, Evidence, Play};
use crate::failed::{During, Outcome, failed};
use crate::layouts::{self, DataPort, Held};
use crate::limits::{CLUSTER_KEY_MS_MAX, HANDLE_MS_MAX, KEY_MS_MAX};
use crate::session::Client;
use crate::stage::Stage;
use crate::tree::{self, Opened};

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "handle_elsewhere",
            line: 4,
            row: "shows a good handle to its data server from a host outside of the export",
            setting: serve(),
            quick: false,
            play: Play::Windows(|stage, until| Box::pin(show_elsewhere(stage, until))),
        },
        Attack {
            name: "handle_forged",
            line: 4,
            row: "changes bits of a good handle, or writes with one to read",
            setting: serve(),
            quick: true,
            play: Play::Windows(|stage, until| Box::pin(forge(stage, until))),
        },
        Attack {
            name: "handle_kept",
            line: 4,
            row: "uses a handle after chmod, LAYOUTRETURN, CLOSE and the end of its client",
            setting: serve(),
            quick: false,
            play: Play::Once(|stage| Box::pin(keep(stage))),
        },
        Attack {
            name: "keys_rotated",
            line: 4,
            row: "uses a handle key and a cluster key that `shoal admin key rotate` has replaced, beside clients at work",
            setting: serve(),
            quick: false,
            play: Play::Once(|stage| Box::pin(rotate(stage))),
        },
    ]
}

const BYTES: usize = 65_536;

/// A file at a data server, and a layout of it.
async fn at_data_server(stage: &Stage, path: &str, iomode: Iomode) -> Outcome<(Client, Opened, Held)> {
    let mut owner = client(stage, 0, path).await?;
    let file = tree::open_file(&mut owner, path, 0o644).await?;
    tree::write_file(&mut owner, &file, 0, vec![5; BYTES].into()).await?;
    let held = layouts::take(&mut owner, &file, iomode).await.during("LAYOUTGET")?;
    Ok((owner, file, held))
}

async fn read_until_good(port: &DataPort, handle: &Fh3) -> Outcome<()> {
    for _ in 0..200 {
        match port.read(handle, 0, 100).await? {
            Ok(data) if data.iter().all(|byte| *byte == 5) => return Ok(()),
            Ok(_) => return Err(failed("wrong bytes")),
            Err(Nfsstat3::Jukebox) => sleep(Duration::from_millis(50)).await,
            Err(status) => return Err(failed(format!("a good handle is refused: {status:?}"))),
        }
    }
    Err(failed("nothing but JUKEBOX"))
}

async fn show_elsewhere(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let (mut owner, file, held) = at_data_server(stage, "shown", Iomode::ReadWrite).await?;
    let own = DataPort::new(inside(stage), held.server);
    read_until_good(&own, &held.handle).await?;
    let other = DataPort::new(outside(stage), held.server);
    while Instant::now() < until {
        let read = other.read(&held.handle, 0, 100).await.map(|read| read.map(drop));
        let write = other.write(&held.handle, 0, vec![6; 10].into()).await.map(|write| write.map(drop));
        for (what, answer) in [("READ", read), ("WRITE", write)] {
            match answer {
                Ok(Ok(())) => evidence.exceeded(format!("{what} from a host outside of the export")),
                Ok(Err(Nfsstat3::Acces)) => {}
                Ok(Err(status)) => evidence.broken(format!("{what} is refused with {status:?}, not ACCES")),
                Err(error) => evidence.broken(format!("{what} is not refused by an answer: {error}")),
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
    if evidence.exceeded.is_empty() {
        read_until_good(&own, &held.handle).await?;
    }
    layouts::give_back(&mut owner, &file, &held).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    Ok(evidence)
}

async fn forge(stage: &Stage, until: Instant) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let (mut owner, file, held) = at_data_server(stage, "forged", Iomode::Read).await?;
    let port = DataPort::new(inside(stage), held.server);
    read_until_good(&port, &held.handle).await?;
    match port.write(&held.handle, 0, vec![6; 10].into()).await? {
        Ok(_) => evidence.exceeded("WRITE with a handle to read"),
        Err(Nfsstat3::Jukebox) => evidence.broken("WRITE with a handle to read is answered JUKEBOX"),
        Err(_) => {}
    }
    let good = held.handle.as_bytes().clone();
    let mut tries = 0;
    for bit in 0..good.len() * 8 {
        if until < Instant::now() {
            break;
        }
        tries += 1;
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let forged = Fh3::new(bytes.into()).ok_or_else(|| failed("a handle that is too long"))?;
        match port.read(&forged, 0, 100).await? {
            Ok(_) => evidence.exceeded(format!("a handle with bit {bit} changed is good")),
            Err(Nfsstat3::Jukebox) => {
                evidence.broken(format!("a handle with bit {bit} changed is answered JUKEBOX"))
            }
            Err(_) => {}
        }
    }
    for len in [0, 1, 16, good.len() - 1] {
        let forged = Fh3::new(good.slice(..len)).ok_or_else(|| failed("a handle that is too long"))?;
        // An empty one may not be a handle at all, and end the connection.
        if matches!(port.read(&forged, 0, 100).await, Ok(Ok(_))) {
            evidence.exceeded(format!("{len} bytes of a handle are good"));
        }
    }
    // What was refused was refused for what was changed.
    read_until_good(&port, &held.handle).await?;
    must_have_happened(&mut evidence, "changed bits", (tries, good.len() * 8), None);
    evidence.note(format!("{tries} of {} bits", good.len() * 8));
    layouts::give_back(&mut owner, &file, &held).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    Ok(evidence)
}

async fn keep(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let (mut owner, file, held) = at_data_server(stage, "kept-handle", Iomode::ReadWrite).await?;
    let port = DataPort::new(inside(stage), held.server);
    read_until_good(&port, &held.handle).await?;
    tree::good(tree::set(&mut owner, &file.handle, tree::mode(0)).await?, "SETATTR")?;
    layouts::give_back(&mut owner, &file, &held).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    let ended = Instant::now();
    loop {
        let read = port.read(&held.handle, 0, 100).await?;
        let write = port.write(&held.handle, 0, vec![6; 10].into()).await?;
        let refused = |one: bool, status: Option<Nfsstat3>| !one && status != Some(Nfsstat3::Jukebox);
        if refused(read.is_ok(), read.err()) && refused(write.is_ok(), write.err()) {
            evidence.note(format!("refused {:.0} s after the layout ended", ended.elapsed().as_secs_f64()));
            return Ok(evidence);
        }
        if Duration::from_millis(HANDLE_MS_MAX) < ended.elapsed() {
            evidence.exceeded(format!("a handle is good {HANDLE_MS_MAX} ms after its layout ended"));
            return Ok(evidence);
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// The cluster key goes the same way, in three steps; then an administrator with the one before is
/// refused.
async fn rotate_cluster(stage: &Stage, evidence: &mut Evidence) -> Outcome<()> {
    let old = stage.cluster.directory.join("old.key");
    std::fs::copy(stage.cluster.key_file(), &old).during("the cluster key")?;
    let old = old.display().to_string();
    let words = ["verify", "/honest-large"];
    for step in ["accept", "use", "drop"] {
        if let Err(said) = administer(stage, &old, &words)? {
            evidence.broken(format!("a key is refused before it is dropped: {said}"));
        }
        let (code, _, errors) = stage.cluster.admin(&["key", "rotate", "cluster", "--step", step])?;
        if code != Some(0) {
            let said = errors.lines().next().unwrap_or_default();
            evidence.broken(format!("no step {step} of the cluster key: {said}"));
            return Ok(());
        }
        sleep(Duration::from_millis(CLUSTER_KEY_MS_MAX)).await;
    }
    let whole = stage.cluster.key_file().display().to_string();
    if let Err(said) = administer(stage, &whole, &words)? {
        evidence.broken(format!("the new cluster key is refused: {said}"));
    }
    match administer(stage, &old, &words)? {
        Ok(()) => evidence.exceeded(format!("a dropped cluster key is good after {CLUSTER_KEY_MS_MAX} ms")),
        Err(said) if said.contains("cannot be reached") => {}
        Err(said) => evidence.broken(format!("a dropped cluster key is not refused for itself: {said}")),
    }
    Ok(())
}

async fn rotate(stage: &Stage) -> Outcome<Evidence> {
    let mut evidence = Evidence::default();
    let (mut owner, file, held) = at_data_server(stage, "rotated", Iomode::Read).await?;
    let port = DataPort::new(inside(stage), held.server);
    read_until_good(&port, &held.handle).await?;
    let done = stage.meter.operations();
    let began = Instant::now();
    let (code, _, errors) = stage.cluster.admin(&["key", "rotate", "handles"])?;
    if code != Some(0) {
        evidence.broken(format!("no rotation: {}", errors.lines().next().unwrap_or_default()));
        return Ok(evidence);
    }
    evidence.note(format!("replaced in {:.1} s", began.elapsed().as_secs_f64()));
    let replaced = Instant::now();
    while !matches!(port.read(&held.handle, 0, 100).await?, Err(Nfsstat3::Stale)) {
        if Duration::from_millis(KEY_MS_MAX) < replaced.elapsed() {
            evidence.exceeded(format!("a handle under the old key is good after {KEY_MS_MAX} ms"));
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    // The client goes on with a handle under the new key.
    let again = layouts::take(&mut owner, &file, Iomode::Read).await.during("LAYOUTGET")?;
    read_until_good(&port, &again.handle).await?;
    layouts::give_back(&mut owner, &file, &again).await?;
    tree::close_file(&mut owner, &file).await?;
    owner.end().await?;
    rotate_cluster(stage, &mut evidence).await?;
    // The honest client notices nothing: its errors are counted.
    let until = Instant::now() + Duration::from_secs(20);
    while stage.meter.operations() < done + 200 && Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
    }
    let since = usize::try_from(stage.meter.operations() - done).unwrap_or(usize::MAX);
    must_have_happened(&mut evidence, "honest operations", (since, 200), None);
    Ok(evidence)
}
