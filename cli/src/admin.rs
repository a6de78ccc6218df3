//! `shoal admin`: asks the metrics port of a running metadata server and prints tables; has the control port do something.

mod act;
mod exports;
mod get;
mod readmit;
mod verify;

use comfy_table::{CellAlignment, Table, presets};
use env::Clock;
use env::os::OsClock;
use mds_server::report::{BalanceStatus, DataServerLine, NarrowCode, ScrubStatus, ShardsStatus, Status};
use wire_nfs::control::admin::Route;

use crate::args::{Admin, AdminCommand, AdminDs, AdminExports, AdminMds};
use crate::http::MountLine;
use crate::output::bytes;

/// Runs the command.
///
/// # Errors
/// If the server cannot be reached, or answers something else.
pub(crate) async fn run(admin: Admin) -> anyhow::Result<()> {
    let at = admin.at;
    match &admin.what {
        AdminCommand::Status => println!("{}", status(&get::json(at, "/status")?)),
        AdminCommand::Exports { what: None | Some(AdminExports::List) } => {
            println!("{}", exports::table(&get::json::<Vec<MountLine>>(at, "/exports")?));
        }
        AdminCommand::Exports { what: Some(AdminExports::Set { config, if_version }) } => {
            exports::set(&admin, config, *if_version).await?;
        }
        AdminCommand::Ds(AdminDs::List) => {
            println!("{}", data_servers(&get::json::<Vec<DataServerLine>>(at, "/ds")?));
        }
        AdminCommand::Ds(AdminDs::Drain { id }) => act::drain(&admin, *id, true).await?,
        AdminCommand::Ds(AdminDs::Undrain { id }) => act::drain(&admin, *id, false).await?,
        AdminCommand::Ds(AdminDs::Remove { id }) => act::remove(&admin, *id).await?,
        AdminCommand::Mds(AdminMds::Readmit { id }) => readmit::run(&admin, *id).await?,
        AdminCommand::Rebalance { dry_run } => {
            let routes = act::rebalance(&admin, *dry_run).await?;
            if !routes.is_empty() {
                println!("{}", moves(&routes));
            }
        }
        AdminCommand::Verify { path, json } => {
            let file = act::verify(&admin, path).await?;
            if *json {
                println!("{}", verify::json(path, &file)?);
            } else {
                println!("{}", verify::words(path, &file));
                println!("{}", verify::table(&file));
            }
        }
    }
    Ok(())
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}

fn status(status: &Status) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let leader = match status.leader {
        None => "none: nothing can be changed now".to_owned(),
        Some(id) if id == status.node => id.to_string(),
        Some(id) => format!("{id} (data servers report to the leader only)"),
    };
    let replicas = match &status.members[..] {
        [] | [_] => "1".to_owned(),
        members => members.iter().map(|(id, at)| format!("{id} at {at}")).collect::<Vec<_>>().join(", "),
    };
    let rows = [
        ("File system", status.file_system.clone()),
        ("Metadata replicas", replicas),
        ("This replica, leader", format!("{}, {leader}", status.node)),
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
    ];
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table
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

/// What would be moved.
fn moves(routes: &[Route]) -> Table {
    let mut table = table(&["From", "To", "Images", "Extents", "Bytes"]);
    for Route { from, to, images, extents, bytes: moved } in routes {
        let cells =
            [from.to_string(), to.to_string(), images.to_string(), extents.to_string(), bytes(*moved)];
        table.add_row(cells);
    }
    for at in 0..5 {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
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
    match (status.extents_unserved + status.groups_unreadable, status.losses_survived) {
        (0, 0) => "no data server: some data are on one only".to_owned(),
        (0, 1) => "any 1 data server".to_owned(),
        (0, count) => format!("any {count} data servers"),
        _ => "none more: data are missing until a data server is back".to_owned(),
    }
}

fn data_servers(lines: &[DataServerLine]) -> Table {
    let mut table = table(&[
        "Id",
        "State",
        "Address",
        "Control",
        "Used",
        "Capacity",
        "Full",
        "Share",
        "Journal",
        "Zone/rack/host",
        "Last seen",
    ]);
    let sum = |of: fn(&DataServerLine) -> u64| lines.iter().map(of).sum::<u64>();
    let (used, capacity) = (sum(|line| line.used_bytes), sum(|line| line.capacity_bytes));
    for line in lines {
        let seen = line.silent_ms.map_or_else(
            || "not since start".to_owned(),
            |ms| format!("{}.{} s ago", ms / 1000, ms % 1000 / 100),
        );
        table.add_row([
            line.id.to_string(),
            state(line),
            line.addresses.iter().map(|address| readable(address)).collect::<Vec<_>>().join(", "),
            line.control.clone(),
            bytes(line.used_bytes),
            bytes(line.capacity_bytes),
            percent(line.used_bytes, line.capacity_bytes),
            format!("{} of {}", percent(line.used_bytes, used), percent(line.capacity_bytes, capacity)),
            bytes(line.journal_bytes),
            line.domain.clone(),
            seen,
        ]);
    }
    for column in [0, 4, 5, 6, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// What a part is of a whole, to the nearest.
fn percent(part: u64, whole: u64) -> String {
    format!("{} %", (u128::from(part) * 200 / u128::from(whole.max(1))).div_ceil(2))
}

fn state(line: &DataServerLine) -> String {
    let mut state = match (line.up, line.full) {
        (true, false) => "up",
        (true, true) => "full",
        (false, _) => "DOWN",
    }
    .to_owned();
    if line.draining {
        state += match (line.extents_left, line.images_left) {
            (Some(0), Some(0)) => ", empty: may be removed",
            (Some(extents), Some(images)) => {
                return state + &format!(", draining, {extents} extents and {images} images left");
            }
            _ => ", draining",
        };
    }
    state
}

/// A universal address as people write it: `10.0.0.1.11.233` is `10.0.0.1:3049` (RFC 5665 §5.2.3.3).
fn readable(universal: &str) -> String {
    let parts = || {
        let (rest, low) = universal.rsplit_once('.')?;
        let (host, high) = rest.rsplit_once('.')?;
        let port = u16::from_be_bytes([high.parse().ok()?, low.parse().ok()?]);
        Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    };
    parts().unwrap_or_else(|| universal.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn universal_addresses_are_shown_as_people_write_them() {
        assert_eq!(readable("10.77.0.11.11.233"), "10.77.0.11:3049");
        assert_eq!(readable("::1.11.233"), "[::1]:3049");
        assert_eq!(readable("what.300.1"), "what.300.1");
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
        let text =
            super::moves(&[Route { from: 1, to: 7, images: 2, extents: 0, bytes: 1 << 20 }]).to_string();
        assert!(text.contains("1.0 MiB") && text.contains('7'), "{text}");
        assert_eq!(
            [percent(0, 0), percent(1, 3), percent(2, 3), percent(9, 9)],
            ["0 %", "33 %", "67 %", "100 %"]
        );
    }

    #[test]
    fn a_silent_server_stands_out() {
        let line = DataServerLine {
            id: 4,
            uuid: String::new(),
            addresses: vec!["127.0.0.1.11.233".into()],
            control: "127.0.0.1:3149".into(),
            domain: "-/-/h".into(),
            up: false,
            full: false,
            capacity_bytes: 20 << 30,
            used_bytes: 1536,
            journal_bytes: 0,
            draining: false,
            extents_left: None,
            images_left: None,
            silent_ms: Some(12_345),
        };
        let draining = |extents_left, images_left| {
            let line = DataServerLine { up: true, draining: true, extents_left, images_left, ..line.clone() };
            state(&line)
        };
        assert_eq!(draining(None, Some(1)), "up, draining");
        assert_eq!(draining(Some(3), Some(0)), "up, draining, 3 extents and 0 images left");
        assert_eq!(draining(Some(0), Some(0)), "up, empty: may be removed");
        let text = data_servers(&[line]).to_string();
        for word in ["DOWN", "127.0.0.1:3049", "1.5 KiB", "20.0 GiB", "12.3 s ago"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
