//! The cluster key is replaced on a running cluster: servers read their key files again, show what
//! they hold, and refuse the key before.

#![allow(clippy::unwrap_used, reason = "a test: a failed step is a failed test")]

mod process;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use process::{Server, free, outcome, refused, run, until, write_key};

/// A server's metrics, once it serves them.
fn metrics(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.contains("# EOF").then_some(text)
}

/// Waits until a server holds the keys with these fingerprints, as these, and no other one.
fn until_held(at: SocketAddr, keys: &[(&str, &str)]) {
    let line = |(fingerprint, held_as): &(&str, &str)| {
        format!("shoal_cluster_key_info{{fingerprint=\"{fingerprint}\",use=\"{held_as}\"}} 1\n")
    };
    until(&format!("{at} holds {keys:?}"), || {
        let page = metrics(at)?;
        let all = page.matches("shoal_cluster_key_info{").count() == keys.len();
        (all && keys.iter().all(|key| page.contains(&line(key)))).then_some(())
    });
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What `key show` says of a file: the active key, and the accepted one.
fn shown(file: &Path) -> (String, Option<String>) {
    let said = run(&["admin", "--cluster-key", &text(file), "key", "show", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["kind"], "admin.key.show");
    let own = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    (own(&document["active"]).unwrap(), own(&document["accepted"]["fingerprint"]))
}

struct Cluster {
    mds: SocketAddr,
    ds: [SocketAddr; 2],
    control: SocketAddr,
    _servers: Vec<Server>,
}

impl Cluster {
    /// A metadata server with the file `mds.key`, and data servers with `n1.key` and `n2.key`.
    fn start(dir: &Path) -> Self {
        let at = |name: &str| text(&dir.join(name));
        let ([listen, control, metrics], [n1, n2]) = (free::<3>(), [free::<3>(), free::<3>()]);
        let mds = ["mds".to_owned(), format!("--dir={}", at("mds")), format!("--listen={listen}")];
        let rest = [format!("--control={control}"), format!("--metrics={metrics}")];
        let key = format!("--cluster-key={}", at("mds.key"));
        let mds = [&mds[..], &rest, &[key]].concat();
        let mut servers = vec![Server::spawn_logged(&mds, &dir.join("mds.log"))];
        for (name, [listen, own, metrics]) in [("n1", n1), ("n2", n2)] {
            servers.push(Server::spawn(&[
                "ds".to_owned(),
                format!("--dir={}", at(name)),
                format!("--listen={listen}"),
                format!("--control={own}"),
                format!("--metrics={metrics}"),
                format!("--mds={control}"),
                format!("--cluster-key={}", at(&format!("{name}.key"))),
                "--capacity=256M".to_owned(),
            ]));
        }
        Self { mds: metrics, ds: [n1[2], n2[2]], control, _servers: servers }
    }

    /// Both data servers have a lease.
    fn is_up(&self) -> bool {
        let (code, said, _) = outcome(&["admin", "--at", &self.mds.to_string(), "status", "--json"]);
        let document = || serde_json::from_str::<serde_json::Value>(&said).unwrap();
        code == Some(0) && document()["data_servers_up"] == 2
    }

    fn draining(&self, key: &Path) -> [String; 8] {
        let control = self.control.to_string();
        let words = ["admin", "--control", &control, "--cluster-key", &text(key), "ds", "drain", "9"];
        words.map(str::to_owned)
    }
}

/// Puts a file in the place of another.
fn put(from: &Path, to: &Path) {
    let beside = to.with_extension("tmp");
    std::fs::copy(from, &beside).unwrap();
    std::fs::rename(beside, to).unwrap();
}

#[test]
fn the_cluster_key_is_replaced_step_by_step() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (file, before) = (at("cluster.key"), at("before.key"));
    write_key(&file, "5a");
    put(&file, &before);
    let mut copies = 0;
    // What the operator does after each step, on all nodes.
    let mut hand_out = |order: [&str; 3]| {
        for name in order {
            copies += 1;
            let fresh = at(&format!("fresh-{copies}"));
            if name == "mds" {
                put(&file, &fresh);
            } else {
                let derive =
                    ["key", "derive", "--role", "data-server", "--name", name, "--out", &text(&fresh)];
                run(&[&["admin", "--cluster-key", &text(&file)], &derive[..]].concat());
            }
            std::fs::rename(fresh, at(&format!("{name}.key"))).unwrap();
        }
    };
    let step = |step: &str| {
        run(&["admin", "--cluster-key", &text(&file), "key", "rotate", "cluster", "--step", step])
    };
    hand_out(["mds", "n1", "n2"]);
    let cluster = Cluster::start(dir.path());
    until("the data servers are up", || cluster.is_up().then_some(()));
    let (old, none) = shown(&file);
    assert_eq!(none, None);
    let all = [cluster.mds, cluster.ds[0], cluster.ds[1]];
    all.iter().for_each(|at| until_held(*at, &[(&old, "active")]));

    let words = step("accept");
    let (_, new) = shown(&file);
    let new = new.unwrap();
    assert!(words.contains(&new) && words.contains("--step use"), "{words}");
    hand_out(["n2", "mds", "n1"]);
    all.iter().for_each(|at| until_held(*at, &[(&old, "active"), (&new, "accepted")]));
    step("use");
    hand_out(["mds", "n1", "n2"]);
    all.iter().for_each(|at| until_held(*at, &[(&new, "active"), (&old, "accepted")]));
    let words = |key: &Path| cluster.draining(key);
    let refusal = |key: &Path| refused(&words(key).each_ref().map(String::as_str));
    assert!(refusal(&before).contains("no data server 9"), "the key before is still taken");
    step("drop");
    hand_out(["n1", "n2", "mds"]);
    all.iter().for_each(|at| until_held(*at, &[(&new, "active")]));
    assert!(refusal(&before).contains("cannot be reached"), "{}", refusal(&before));
    assert!(refusal(&file).contains("no data server 9"), "{}", refusal(&file));
    // A file of another cluster is not taken.
    write_key(&at("mds.key"), "0f");
    until("it is not taken", || {
        let said = std::fs::read_to_string(at("mds.log")).unwrap();
        said.contains("no key in common").then_some(())
    });
    assert!(refusal(&at("mds.key")).contains("cannot be reached"));
    until_held(cluster.mds, &[(&new, "active")]);
}
