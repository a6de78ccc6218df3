//! What an operator is told, against real processes: documents, health, followers, refusals that
//! leave nothing behind.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod process;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use process::{Cluster, Server, free, outcome, refused, run, unread, until, write_key};
use serde_json::Value;

fn document(text: &str, kind: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((value["schema"].as_u64(), value["kind"].as_str()), (Some(1), Some(kind)));
    value
}

/// Names of the fields of an object.
fn fields(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The command line of `shoal admin` against a cluster.
fn admin<'a>(at: &'a str, control: &'a str, key: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["admin", "--at", at, "--control", control, "--cluster-key", key], rest].concat()
}

#[test]
fn a_running_cluster_answers_in_documents() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &["--ds", "3"]);
    let (at, control) = (cluster.metrics.to_string(), cluster.control.to_string());
    let key = dir.path().join("cluster.key").display().to_string();
    let asked = |rest: &[&str]| run(&admin(&at, &control, &key, &[rest, &["--json"]].concat()));
    until("health", || (outcome(&admin(&at, &control, &key, &["health"])).0 == Some(0)).then_some(()));

    let status = document(&asked(&["status"]), "admin.status");
    assert_eq!(fields(&status), fields(&golden("admin.status.json")));
    assert_eq!((&status["node"], &status["asked"], &status["counted"]), (&1.into(), &1.into(), &true.into()));
    assert_eq!(fields(&status["replicas"][0]), fields(&golden("admin.status.json")["replicas"][0]));
    let own = document(&asked(&["status", "--own"]), "admin.status");
    assert_eq!(own["data_servers_up"], 3, "it leads, so it knows");
    let exports = document(&asked(&["exports"]), "admin.exports");
    assert_eq!(fields(&exports["exports"][0]), fields(&golden("admin.exports.json")["exports"][0]));
    assert_eq!(exports["exports"][0]["addresses"][0], cluster.nfs.to_string());
    let servers = document(&asked(&["ds", "list"]), "admin.ds.list");
    assert_eq!(fields(&servers["data_servers"][0]), fields(&golden("admin.ds.list.json")["data_servers"][0]));
    let names: BTreeSet<_> = servers["data_servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .map(Value::to_string)
        .collect();
    assert_eq!(names, BTreeSet::from(["\"ds-1\"", "\"ds-2\"", "\"ds-3\""].map(str::to_owned)));
    assert_eq!(document(&asked(&["health"]), "admin.health")["ok"], true);
    for (rest, kind) in [
        (&["ds", "drain", "3"][..], "admin.ds.drain"),
        (&["ds", "undrain", "3"], "admin.ds.undrain"),
        (&["mds", "readmit", "1"], "admin.mds.readmit"),
        (&["rebalance", "--dry-run"], "admin.rebalance"),
    ] {
        let text = outcome(&admin(&at, &control, &key, &[rest, &["--json"]].concat())).1;
        assert!(document(&text, kind)["words"].is_string(), "{text}");
    }
    let (code, text, _) = outcome(&admin(&at, &control, &key, &["ds", "remove", "3", "--json"]));
    assert_eq!((code, &document(&text, "admin.ds.remove")["done"]), (Some(1), &false.into()));

    for rest in [
        &["status"][..],
        &["health"],
        &["exports"],
        &["ds", "list"],
        &["status", "--json"],
        &["status", "--watch=1"],
    ] {
        assert_eq!(unread(&admin(&at, &control, &key, rest)), (Some(0), String::new()), "{rest:?}");
    }
    assert_eq!(cluster.terminate(), Some(0));
    let path = |rest: &str| dir.path().join(rest).display().to_string();
    let log = run(&["inspect", "raft-log", &path("mds/1/log"), "--json"]);
    let entries = log.lines().filter(|line| document(line, "inspect.raft-log")["record"] == "entry");
    assert_ne!(entries.count(), 0);
    let store = run(&["inspect", "namespace", &path("mds/1/state.redb"), "--prefix", "inode/", "--json"]);
    assert_eq!(document(store.lines().next().unwrap(), "inspect.namespace")["key"], "inode/1");
    let servers = run(&["inspect", "namespace", &path("mds/1/state.redb"), "--prefix", "state/server/"]);
    assert!(servers.contains("name \"ds-2\"") && servers.contains("addresses 127.0.0.1:"), "{servers}");
    for what in [["raft-log", "mds/1/log"], ["namespace", "mds/1/state.redb"]] {
        assert_eq!(unread(&["inspect", what[0], &path(what[1])]), (Some(0), String::new()), "{what:?}");
    }
}

/// A data server of a cluster whose metadata server has this control address.
fn data_server(dir: &Path, number: usize, at: [SocketAddr; 2], mds: SocketAddr, more: &[&str]) -> Server {
    data_server_with("key", dir, number, (at, mds), more)
}

/// The same with this file for its key.
fn data_server_with(
    key: &str,
    dir: &Path,
    number: usize,
    (at, mds): ([SocketAddr; 2], SocketAddr),
    more: &[&str],
) -> Server {
    let own = dir.join(format!("ds{number}")).display().to_string();
    let key = dir.join(key).display().to_string();
    let (listen, control, mds) = (at[0].to_string(), at[1].to_string(), mds.to_string());
    let all = [
        "ds",
        "--dir",
        &own,
        "--listen",
        &listen,
        "--control",
        &control,
        "--mds",
        &mds,
        "--cluster-key",
        &key,
    ];
    let all = all.into_iter().chain(["--capacity", "256M"]).chain(more.iter().copied());
    let log = dir.join(format!("ds{number}.log"));
    Server::spawn_logged(&all.map(str::to_owned).collect::<Vec<_>>(), &log)
}

struct Metadata {
    metrics: [SocketAddr; 3],
    controls: [SocketAddr; 3],
    servers: Vec<Server>,
}

/// Three metadata servers; the third one knows no control addresses of the others.
fn three(dir: &Path) -> Metadata {
    let (listens, controls, metrics, members) = (free::<3>(), free::<3>(), free::<3>(), free::<3>());
    let list = |all: &[SocketAddr]| {
        (1..).zip(all).map(|(id, at): (u64, _)| format!("{id}={at}")).collect::<Vec<_>>().join(",")
    };
    write_key(&dir.join("key"), "5a");
    let server = |index: usize| {
        let own = dir.join(format!("mds{}", index + 1)).display().to_string();
        let mut all = vec![
            "mds".to_owned(),
            format!("--dir={own}"),
            format!("--listen={}", listens[index]),
            format!("--control={}", controls[index]),
            format!("--metrics={}", metrics[index]),
            format!("--members={}", list(&members)),
            format!("--id={}", index + 1),
            format!("--cluster-key={}", dir.join("key").display()),
        ];
        if index != 2 {
            all.push(format!("--controls={}", list(&controls)));
        }
        Server::spawn(&all)
    };
    let servers = (0..3).map(server).collect();
    Metadata { metrics, controls, servers }
}

fn status(at: SocketAddr) -> Option<Value> {
    let (code, text, _) = outcome(&["admin", "--at", &at.to_string(), "status", "--json"]);
    (code == Some(0)).then(|| document(&text, "admin.status"))
}

#[test]
fn a_follower_tells_what_the_leader_knows() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = three(dir.path());
    let leader = until("a leader", || {
        let own = |at: &SocketAddr| {
            let (code, text, _) = outcome(&["admin", "--at", &at.to_string(), "status", "--own", "--json"]);
            (code == Some(0)).then(|| document(&text, "admin.status")["leader"].as_u64()).flatten()
        };
        let leaders: Vec<_> = cluster.metrics.iter().filter_map(own).collect();
        (leaders.len() == 3 && leaders.iter().all(|one| *one == leaders[0])).then(|| leaders[0] as usize)
    });
    let control = cluster.controls[leader - 1];
    let _data: Vec<_> =
        (1..3).map(|number| data_server(dir.path(), number, free(), control, &["--host", "h"])).collect();
    // A follower that may ask; if the third one leads, both others do.
    let asked = (1..3).find(|id| *id != leader).unwrap();
    let follower = cluster.metrics[asked - 1];
    let seen = until("the leader's report", || {
        status(follower).filter(|status| status["data_servers_up"] == 2 && status["counted"] == true)
    });
    assert_eq!((&seen["node"], &seen["asked"]), (&leader.into(), &asked.into()));
    let at = follower.to_string();
    let list = run(&["admin", "--at", &at, "ds", "list"]);
    assert_eq!(list.matches(" up ").count(), 2, "{list}");
    assert!(run(&["admin", "--at", &at, "exports"]).contains("mount -t nfs4"));
    until("health", || (outcome(&["admin", "--at", &at, "health"]).0 == Some(0)).then_some(()));
    // What it knows by itself is not said to be the cluster's state.
    let own = run(&["admin", "--at", &at, "status", "--own"]);
    assert!(
        own.contains("this replica does not lead") && !own.contains("no data server: some data"),
        "{own}"
    );
    if leader != 3 {
        let third = cluster.metrics[2].to_string();
        for what in [&["status"][..], &["ds", "list"], &["health"], &["exports"]] {
            let said = refused(&[&["admin", "--at", &third], what].concat());
            let words = format!("metadata server 3 does not lead; {leader} does, at 127.0.0.1:");
            assert!(said.contains(&words) && said.contains("--controls"), "{said}");
        }
    }
    // Any control address will do for what changes something: the client goes where the leader is.
    let (controls, key) =
        (cluster.controls[asked - 1].to_string(), dir.path().join("key").display().to_string());
    let done = run(&["admin", "--control", &controls, "--cluster-key", &key, "ds", "drain", "2"]);
    assert!(done.contains("moves away"), "{done}");
    run(&["admin", "--control", &controls, "--cluster-key", &key, "ds", "undrain", "2"]);
    // One that is down is shown so. With the leader and this one there is still a majority.
    let gone = (1..=3).find(|id| *id != leader && *id != asked).unwrap();
    cluster.servers[gone - 1].kill();
    until("one of three is down", || {
        let (code, text, _) = outcome(&["admin", "--at", &at, "health"]);
        (code == Some(1) && text.contains("1 of 3 metadata replicas are down")).then_some(())
    });
    assert!(run(&["admin", "--at", &at, "status"]).contains("DOWN"));
}

#[test]
fn a_data_server_that_was_replaced_leaves_no_dead_row() {
    let dir = tempfile::tempdir().unwrap();
    let [listen, control, metrics] = free();
    write_key(&dir.path().join("key"), "5a");
    let own = dir.path().join("mds").display().to_string();
    let key = dir.path().join("key").display().to_string();
    let _mds = Server::spawn(&[
        "mds".to_owned(),
        format!("--dir={own}"),
        format!("--listen={listen}"),
        format!("--control={control}"),
        format!("--metrics={metrics}"),
        format!("--cluster-key={key}"),
    ]);
    let at: [[SocketAddr; 2]; 4] = [free(), free(), free(), free()];
    let mut first = data_server(dir.path(), 1, at[0], control, &["--name", "rack1-a", "--host", "h"]);
    let mut second = data_server(dir.path(), 2, at[1], control, &["--host", "h"]);
    let metrics = metrics.to_string();
    // Number, name and whether it is up, of each.
    let rows = || {
        let (code, text, _) = outcome(&["admin", "--at", &metrics, "ds", "list", "--json"]);
        if code != Some(0) {
            return Vec::new();
        }
        let row = |one: &Value| {
            (one["id"].as_u64().unwrap(), one["name"].as_str().unwrap().to_owned(), one["up"] == true)
        };
        let list = document(&text, "admin.ds.list");
        list["data_servers"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let up = |rows: &[(u64, String, bool)]| rows.iter().filter(|row| row.2).count();
    let before = until("two with names", || Some(rows()).filter(|rows| up(rows) == 2));
    let id = |name: &str| before.iter().find(|row| row.1 == name).unwrap().0;
    let (old_first, old_second) = (id("rack1-a"), id("h"));
    first.kill();
    second.kill();
    // One takes the place of the first by its name. That another one runs on the second's host says
    // nothing.
    let (derived, whole) = (dir.path().join("rack1-a.key").display().to_string(), key);
    let derive = ["key", "derive", "--role", "data-server", "--name", "rack1-a", "--out", &derived];
    run(&[&["admin", "--cluster-key", &whole], &derive[..]].concat());
    // Its key says what it is called.
    let _third = data_server_with("rack1-a.key", dir.path(), 3, (at[2], control), &["--host", "h"]);
    let _fourth = data_server(dir.path(), 4, at[3], control, &["--host", "h"]);
    let after = until("the first is forgotten", || {
        Some(rows()).filter(|rows| up(rows) == 2 && rows.iter().all(|row| row.0 != old_first))
    });
    assert!(after.iter().any(|row| row.0 == old_second && !row.2), "{after:?}");
    // A new disk at the second's address.
    let _fifth = data_server(dir.path(), 5, at[1], control, &["--host", "h"]);
    let after =
        until("the second is forgotten", || Some(rows()).filter(|rows| up(rows) == 3 && rows.len() == 3));
    assert!(after.iter().all(|row| row.0 != old_second), "{after:?}");
    // The disk that was given up does not come back by itself.
    let _old = data_server(dir.path(), 1, at[0], control, &["--name", "elsewhere", "--host", "h"]);
    let log = dir.path().join("ds1.log");
    until("the old disk is refused", || {
        let said = std::fs::read_to_string(&log).unwrap();
        said.contains("an argument makes no sense").then_some(())
    });
    assert_eq!(rows().len(), 3);
}

#[test]
fn a_start_that_is_refused_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let at = format!("127.0.0.1:{port}");
    let new = dir.path().join("a/b").display().to_string();
    let key = dir.path().join("key").display().to_string();
    let serve: &[&str] =
        &["serve", "--dir", &new, "--ds-port", "0", "--control-port", "0", "--metrics-port", "0"];
    let mds: &[&str] = &[
        "mds",
        "--dir",
        &new,
        "--listen",
        "127.0.0.1:0",
        "--control",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--cluster-key",
        &key,
    ];
    let ds: &[&str] =
        &["ds", "--dir", &new, "--listen", "127.0.0.1:0", "--mds", "127.0.0.1:1", "--cluster-key", &key];
    for (arguments, words) in [
        ([serve, &["--port", &port]].concat(), "is in use"),
        ([serve, &["--port", "0", "--ds", "0"]].concat(), "expected 1 to 100"),
        ([serve, &["--port", "0", "--capacity", "1M"]].concat(), "too little"),
        ([serve, &["--port", "0", "--config", "/none.toml"]].concat(), "cannot be read"),
        ([mds, &["--shards", "8"]].concat(), "lose sight of extents during failover, refill and drain"),
        ([mds, &["--id", "2", "--members", "1=127.0.0.1:1"]].concat(), "does not name this replica"),
        ([ds, &["--control", &at]].concat(), "is in use"),
        ([ds, &["--control", "127.0.0.1:0"]].concat(), "cluster key"),
        ([ds, &["--control", "127.0.0.1:0", "--capacity", "1M"]].concat(), "too little"),
    ] {
        let said = refused(&arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(!dir.path().join("a").exists(), "{arguments:?} left something behind");
        assert!(!Path::new(&key).exists(), "{arguments:?} left a key behind");
    }
    assert!(run(&["mds", "--help"]).find("--shards").is_none(), "it is not offered");
}

#[test]
fn a_configuration_is_checked_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shoal.toml").display().to_string();
    std::fs::write(
        &file,
        "[cluster]\nlese_seconds = 30\nhot_copies = 7\n[[export]]\npath = \"/\"\nsquash = \"rot\"\n",
    )
    .unwrap();
    let (code, text, errors) = outcome(&["check-config", &file]);
    assert_eq!(code, Some(1));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].starts_with(&format!("{file}:2: ")) && lines[0].contains("did you mean `lease_seconds`")
    );
    assert!(
        lines[1].ends_with(":3: hot_copies = 7: expected 1 to 3") && lines[2].contains("did you mean `root`")
    );
    assert!(errors.contains("3 faults"), "{errors}");
    let (code, text, _) = outcome(&["check-config", &file, "--json"]);
    let checked = document(&text, "check-config");
    assert_eq!((code, checked["faults"].as_array().unwrap().len()), (Some(1), 3));
    assert_eq!(unread(&["check-config", &file]), (Some(0), String::new()));
    std::fs::write(&file, "[cluster]\nlease_seconds = 30\n").unwrap();
    assert_eq!(run(&["check-config", &file]), format!("{file}: ok\n"));
    assert!(refused(&["check-config", "/none.toml"]).contains("/none.toml: cannot be read"));
}

#[test]
fn shells_and_readers_of_manuals_are_served() {
    for (shell, word) in
        [("bash", "complete -F _shoal"), ("zsh", "#compdef shoal"), ("fish", "complete -c shoal")]
    {
        let text = run(&["completions", shell]);
        assert!(text.contains(word) && text.contains("check-config") && text.contains("readmit"), "{shell}");
        assert_eq!(unread(&["completions", shell]), (Some(0), String::new()));
    }
    let page = run(&["man"]);
    assert!(page.contains(".TH") && page.contains("check\\-config"), "{page}");
    assert_eq!(unread(&["man"]), (Some(0), String::new()));
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("man1");
    run(&["man", "--dir", &made.display().to_string()]);
    for page in [
        "shoal.1",
        "shoal-serve.1",
        "shoal-admin-status.1",
        "shoal-admin-ds-drain.1",
        "shoal-inspect-journal.1",
    ] {
        assert!(made.join(page).exists(), "{page}");
    }
    assert!(!made.join("shoal-mds-guard.1").exists(), "what is hidden has no page");
}

#[test]
fn every_command_has_an_example() {
    for command in [
        &["serve"][..],
        &["mds"],
        &["ds"],
        &["admin", "status"],
        &["admin", "health"],
        &["admin", "exports"],
        &["admin", "exports", "set"],
        &["admin", "ds", "list"],
        &["admin", "ds", "drain"],
        &["admin", "ds", "undrain"],
        &["admin", "ds", "remove"],
        &["admin", "mds", "readmit"],
        &["admin", "rebalance"],
        &["admin", "verify"],
        &["inspect", "journal"],
        &["inspect", "image"],
        &["inspect", "raft-log"],
        &["inspect", "namespace"],
        &["check-config"],
        &["completions"],
        &["man"],
    ] {
        let help = run(&[command, &["--help"]].concat());
        let example = format!("\n  shoal {}", command.join(" "));
        assert!(help.contains("Example") && help.contains(&example), "{command:?}: {help}");
    }
}
