//! `shoal admin status`: the cluster in a table, once or again and again.

use std::io::IsTerminal;

use comfy_table::{Table, presets};
use env::Clock;
use env::os::OsClock;
use mds_server::report::{
    BalanceStatus, ClockLine, HandleKeyStatus, Health, NarrowCode, ReplicaLine, ScrubStatus, ShardsStatus,
    Status,
};

use super::get;
use crate::args::{Admin, AdminStatus};
use crate::json;
use crate::output::{bytes, print};

/// What a terminal does with this: the cursor goes home and everything behind it is erased.
const CLEAR: &str = "\x1b[H\x1b[2J";
const KIND: &str = "admin.status";

/// Prints the status, once or until the reader closes the pipe.
///
/// # Errors
/// If the server cannot be reached, or the leader not be asked. While it is watched that is
/// printed, and asked again.
pub(super) async fn print_status(admin: &Admin, asked: &AdminStatus) -> anyhow::Result<()> {
    let path = if asked.own { "/status/own" } else { "/status" };
    let Some(seconds) = asked.watch else {
        let status: Status = get::json(admin.at, path)?;
        return match admin.json {
            true => print(json::document(KIND, &status)?),
            false => print(table(&status)),
        };
    };
    let (clock, is_terminal) = (OsClock::new(), std::io::stdout().is_terminal());
    loop {
        let text = match get::json::<Status>(admin.at, path) {
            Ok(status) if admin.json => json::line(KIND, &status)?,
            Ok(status) => format!("{}\n", table(&status)),
            // Nothing that is no document comes between documents.
            Err(error) if admin.json => {
                eprintln!("shoal: {error:#}");
                String::new()
            }
            Err(error) => format!("{error:#}\n"),
        };
        let clear = if is_terminal && !admin.json { CLEAR } else { "" };
        if !text.is_empty() {
            print(format!("{clear}{text}"))?;
        }
        clock.sleep_ms(u64::from(seconds) * 1_000).await;
    }
}

/// The whole of it.
pub(super) fn table(status: &Status) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let health = Health::of(status);
    let health = match (health.ok, status.leader == Some(status.node)) {
        (_, false) => "not known here: this replica does not lead".to_owned(),
        (true, true) => "ok".to_owned(),
        (false, true) => format!("NOT OK, {} problems: see shoal admin health", health.problems.len()),
    };
    let rows = [
        ("File system", status.file_system.clone()),
        ("Health", health),
        ("Metadata replicas", replicas(&status.replicas)),
        ("Asked, leader", leader(status)),
        ("Service addresses", services(status)),
        ("Exports", exported(status)),
        ("Applied log entries", status.applied_index.to_string()),
        ("Shards", shards(&status.shards)),
        ("Clients, sessions", format!("{}, {}", status.clients, status.sessions)),
        ("Inodes", status.inodes.to_string()),
        ("Data servers up", format!("{} of {}", status.data_servers_up, status.data_servers)),
        ("Space", bytes(status.space_total_bytes)),
        ("Free", bytes(status.space_free_bytes)),
        ("Work waiting", status.work_items.to_string()),
        ("Copies of data", copies(status)),
        ("Sealed", sealed(status)),
        ("Rebalance", rebalance(&status.rebalance)),
        ("Scrub", scrub(&status.scrub, OsClock::new().wall_ms())),
        ("May be lost", tolerated(status)),
        ("Clocks", clocks(&status.clocks_off)),
        ("Handle key", handle_key(&status.handle_key)),
    ];
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn handle_key(key: &HandleKeyStatus) -> String {
    let HandleKeyStatus { number, stage, servers_without } = key;
    match stage.as_str() {
        "spreading" => {
            format!("{number}, being replaced: {servers_without} data servers have not learnt the new one")
        }
        "leaving" => format!("{number}, layouts given out with the one before are recalled"),
        _ => number.to_string(),
    }
}

fn clocks(off: &[ClockLine]) -> String {
    let one = |line: &ClockLine| {
        let (kind, id, ahead_ms) = (&line.kind, line.id, line.ahead_ms);
        let seconds = ahead_ms.unsigned_abs().div_ceil(1_000);
        let way = if ahead_ms < 0 { "behind" } else { "ahead" };
        format!("{kind} server {id} is {seconds} s {way}")
    };
    match off {
        [] => "right".to_owned(),
        off => format!("WRONG: {}", off.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

fn leader(status: &Status) -> String {
    let leader = match status.leader {
        None => "none: nothing can be changed now".to_owned(),
        Some(id) => id.to_string(),
    };
    let own =
        if status.leader == Some(status.node) { "" } else { " (what follows is all it knows by itself)" };
    format!("{}, {leader}{own}", status.asked)
}

fn replicas(all: &[ReplicaLine]) -> String {
    let one = |replica: &ReplicaLine| {
        let state = match replica.up {
            Some(true) => "up",
            Some(false) => "DOWN",
            None => "not known here",
        };
        match replica.address.as_str() {
            "" => format!("{} {state}", replica.id),
            at => format!("{} at {at} {state}", replica.id),
        }
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn shards(shards: &ShardsStatus) -> String {
    let ShardsStatus { all, led, voted, hibernating, leaderless, log_flushes, .. } = shards;
    let mut text = format!(
        "{all}, {voted} voted in here, {led} led ({hibernating} hibernate), {log_flushes} log flushes"
    );
    if *leaderless != 0 {
        text += &format!(", {leaderless} WITHOUT A LEADER");
    }
    text
}

fn exported(status: &Status) -> String {
    match status.exports_version {
        0 => "not known here yet".to_owned(),
        version => format!("{}, version {version}", status.exports),
    }
}

fn services(status: &Status) -> String {
    let place = |(address, at): &(String, Option<u64>)| match at {
        Some(replica) => format!("{address} at {replica}"),
        None => format!("{address} nowhere"),
    };
    match &status.service_addresses[..] {
        [] => "none".to_owned(),
        all => all.iter().map(place).collect::<Vec<_>>().join(", "),
    }
}

fn copies(status: &Status) -> String {
    let Status { hot_copies, extents, extents_degraded, extents_filling, extents_unserved, .. } = status;
    if !status.counted {
        return format!("{hot_copies} wished, not counted yet");
    }
    let mut text = format!("{hot_copies} wished, {extents} extents");
    for (count, what) in [
        (extents_degraded, "with fewer"),
        (extents_filling, "being filled"),
        (extents_unserved, "NOT SERVED"),
    ] {
        if *count != 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

fn sealed(status: &Status) -> String {
    let Status { groups, groups_unreadable, images_waiting, images_away, images_remade, .. } = status;
    let mut text = match (status.seal, status.groups) {
        (false, 0) => return "off".to_owned(),
        (false, _) => "off now".to_owned(),
        (true, _) if status.erasure_code.is_empty() => "too few data servers to seal".to_owned(),
        (true, _) => status.erasure_code.clone(),
    };
    text += &format!(", {groups} groups, {}", bytes(status.sealed_bytes));
    if status.sealed_dead_bytes != 0 {
        text += &format!(" and {} dead", bytes(status.sealed_dead_bytes));
    }
    for (count, what) in [
        (images_waiting, "images wait for a group"),
        (images_away, "images away"),
        (&status.images_missing, "images missing"),
        (images_remade, "being made again"),
        (groups_unreadable, "groups NOT READABLE in part"),
    ] {
        if *count != 0 {
            text += &format!(", {count} {what}");
        }
    }
    if status.seal {
        text.extend(status.codes_narrow.iter().map(|code| format!("; {}", narrow(code))));
    }
    if status.repair_left_bytes != 0 {
        let eta = status.repair_eta_s.map(|eta_s| format!(" (about {})", ago(eta_s))).unwrap_or_default();
        text += &format!(", {} to make again{eta}", bytes(status.repair_left_bytes));
    }
    text
}

/// What comes of a code that there are too few data servers for.
fn narrow(narrow: &NarrowCode) -> String {
    let NarrowCode { code, servers_full, servers_least, servers, images_waiting } = narrow;
    if servers < servers_least {
        format!(
            "{code} NOT POSSIBLE with {servers} data servers ({servers_least} at least, {servers_full} for full groups): \
             {images_waiting} images wait, their data stay as copies"
        )
    } else {
        format!("{code} only as short groups: {servers} data servers, {servers_full} for full ones")
    }
}

/// How far data are on their way to where each data server has its share.
fn rebalance(balance: &BalanceStatus) -> String {
    let BalanceStatus { on, waits, moves, images, extents, left_bytes, left_s, .. } = balance;
    match (on, waits.as_str(), moves) {
        (false, ..) => "off, or not known here".to_owned(),
        (true, "", false) => "nothing to move".to_owned(),
        (true, "", true) => {
            format!(
                "{} to move, {images} images and {extents} extents now, about {}",
                bytes(*left_bytes),
                ago(*left_s)
            )
        }
        (true, why, _) => format!("waits: {why}"),
    }
}

/// How far the data servers are with reading all they keep.
fn scrub(scrub: &ScrubStatus, now_unix_ms: u64) -> String {
    if scrub.servers == 0 {
        return "off, or not known here".to_owned();
    }
    let place =
        if scrub.percent == 100 { "at rest".to_owned() } else { format!("{} % of round", scrub.percent) };
    let ended = match scrub.ended_unix_ms {
        0 => "no whole round yet".to_owned(),
        at => format!("last whole round ended {} ago", ago(now_unix_ms.saturating_sub(at) / 1_000)),
    };
    let bad = if scrub.bad == 0 { "0 bad".to_owned() } else { format!("{} BAD", scrub.bad) };
    format!("{place}, {ended}, {bad}")
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn tolerated(status: &Status) -> String {
    if !status.counted {
        return "not known yet".to_owned();
    }
    match (status.extents_unserved + status.groups_unreadable, status.losses_survived) {
        (0, 0) => "no data server: some data are on one only".to_owned(),
        (0, 1) => "any 1 data server".to_owned(),
        (0, count) => format!("any {count} data servers"),
        _ => "none more: data are missing until a data server is back".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_shown_up_or_down() {
        let line = |id, up| ReplicaLine { id, address: format!("10.0.0.{id}:2051"), up, leads: id == 1 };
        let text = replicas(&[line(1, Some(true)), line(2, Some(false)), line(3, None)]);
        assert_eq!(text, "1 at 10.0.0.1:2051 up, 2 at 10.0.0.2:2051 DOWN, 3 at 10.0.0.3:2051 not known here");
    }

    #[test]
    fn a_replica_that_does_not_lead_judges_nothing() {
        let status = Status { node: 2, asked: 2, leader: Some(1), ..Status::default() };
        let text = table(&status).to_string();
        for words in
            ["not known here: this replica does not lead", "all it knows by itself", "not counted yet"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("no data server: some data"), "{text}");
    }

    #[test]
    fn the_scrub_is_told_in_a_line() {
        let at = |percent, ended_unix_ms, bad| ScrubStatus { servers: 3, percent, ended_unix_ms, bad };
        let now_ms = 10_000_000_000;
        assert_eq!(scrub(&at(42, 0, 0), now_ms), "42 % of round, no whole round yet, 0 bad");
        let ended = "at rest, last whole round ended 3 h ago, 2 BAD";
        assert_eq!(scrub(&at(100, now_ms - 3 * 3_600_000, 2), now_ms), ended);
        assert_eq!(scrub(&ScrubStatus::default(), now_ms), "off, or not known here");
        assert_eq!([ago(5), ago(600), ago(200_000)], ["5 s", "10 min", "2 days"]);
    }

    #[test]
    fn a_code_that_needs_more_servers_stands_out() {
        let code = NarrowCode {
            code: "8+4".to_owned(),
            servers_full: 12,
            servers_least: 5,
            servers: 4,
            images_waiting: 7,
        };
        let words = narrow(&code);
        assert!(
            words.starts_with("8+4 NOT POSSIBLE with 4 data servers (5 at least, 12 for full"),
            "{words}"
        );
        assert!(words.contains("7 images wait"), "{words}");
        let short = narrow(&NarrowCode { servers: 5, ..code });
        assert_eq!(short, "8+4 only as short groups: 5 data servers, 12 for full ones");
    }

    #[test]
    fn data_on_their_way_are_told_in_a_line() {
        let on = BalanceStatus { on: true, ..BalanceStatus::default() };
        assert_eq!(rebalance(&BalanceStatus::default()), "off, or not known here");
        assert_eq!(rebalance(&on), "nothing to move");
        let waits = BalanceStatus { waits: "a data server is down".to_owned(), moves: true, ..on.clone() };
        assert_eq!(rebalance(&waits), "waits: a data server is down");
        let moves =
            BalanceStatus { moves: true, images: 3, extents: 1, left_bytes: 3 << 29, left_s: 150, ..on };
        assert_eq!(rebalance(&moves), "1.5 GiB to move, 3 images and 1 extents now, about 2 min");
    }
}
