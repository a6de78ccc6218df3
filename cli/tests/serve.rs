//! `shoal serve` as a stranger runs it: the real binary, real ports, a directory of its own, no
//! root.

#![allow(clippy::unwrap_used, reason = "a test: a failed step is a failed test")]

mod process;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::os::{OsClock, tokio_net::TokioNet};
use env_transport::{Limits, RpcClient};
use process::{Cluster, refused, run, until, write_key};
use wire_nfs::v4::compound::{ReplyHeader, RequestWriter, decode_op_reply};
use wire_nfs::v4::ops::exchange_id::{self, StateProtectAsked, flags};
use wire_nfs::v4::{Nfsstat4, Op, Verifier};
use wire_rpc::{AuthSys, Credential};
use wire_xdr::{Decode, Writer};

const NFS: u32 = 100_003;
const CALL_MS: u64 = 20_000;

fn client(at: SocketAddr) -> RpcClient {
    RpcClient::new(Arc::new(TokioNet::new()), Arc::new(OsClock::new()), at, Limits::default())
}

/// NULL, then EXCHANGE_ID as a client of this name; the client id it got.
async fn exchange_id(at: SocketAddr, owner: &'static [u8]) -> u64 {
    let client = client(at);
    let no_credential = Credential::None;
    client.call(NFS, 4, 0, &no_credential, Writer::new(), CALL_MS).await.expect("NULL is answered");

    let mut args = Writer::new();
    let mut request = RequestWriter::begin(&mut args, &Bytes::new(), 2);
    let who = exchange_id::Args {
        verifier: Verifier([1; 8]),
        owner_id: Bytes::from_static(owner),
        flags: 0,
        state_protect: StateProtectAsked::None,
        impl_id: Vec::new(),
    };
    request.op(&mut args, Op::ExchangeId, &who);
    request.finish(&mut args);
    let root = Credential::Sys(AuthSys {
        stamp: 0,
        machine_name: Bytes::from_static(b"test"),
        uid: 0,
        gid: 0,
        gids: Vec::new(),
    });
    let mut reply = client.call(NFS, 4, 1, &root, args, CALL_MS).await.expect("COMPOUND is answered");
    let header = ReplyHeader::decode(&mut reply).unwrap();
    assert_eq!((header.status, header.op_count), (Nfsstat4::Ok, 1));
    assert_eq!(decode_op_reply(&mut reply, Op::ExchangeId).unwrap(), Nfsstat4::Ok);
    let answer = exchange_id::ResOk::decode(&mut reply).unwrap();
    assert_ne!(answer.flags & flags::USE_PNFS_MDS, 0, "it is a metadata server");
    answer.clientid
}

/// Head and body of a page.
fn raw(at: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn page(at: SocketAddr, path: &str) -> String {
    let (head, body) = raw(at, path);
    assert!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    body
}

fn pages_answer(at: SocketAddr) {
    let metrics = page(at, "/metrics");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    for line in
        ["shoal_data_bytes_total{role=\"mds\",direction=\"write\"} 0", "# TYPE shoal_journal_bytes gauge"]
    {
        assert_eq!(metrics.matches(line).count(), 1, "{line}: {metrics}");
    }
    assert!(metrics.contains("shoal_journal_bytes{ds=\"3\"}"), "{metrics}");
    // Extents are counted a moment after the servers are up.
    until("health", || (raw(at, "/health").1 == "ok\n").then_some(()));
    assert!(page(at, "/status").contains("\"data_servers_up\":3"));
    assert!(page(at, "/exports").contains("mount -t nfs4 -o vers=4.2,port="));
    assert!(page(at, "/ds").contains("\"up\":true"));
    let at = at.to_string();
    assert!(run(&["admin", "--at", &at, "status"]).contains("3 of 3"));
    assert!(run(&["admin", "--at", &at, "exports"]).contains("mount -t nfs4"));
    assert_eq!(run(&["admin", "--at", &at, "ds", "list"]).matches(" up ").count(), 3);
}

/// What needs the cluster key, against the control port.
fn administrators_act(cluster: &Cluster, dir: &Path) {
    let (at, control) = (cluster.metrics.to_string(), cluster.control.to_string());
    let key = dir.join("cluster.key").display().to_string();
    let wrong = dir.join("wrong.key");
    write_key(&wrong, "0f");
    let shared = dir.join("shared.key");
    std::fs::write(&shared, "0f".repeat(32)).unwrap();
    std::fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let with = |key: &str, rest: &[&str]| {
        let head = ["admin", "--at", &at, "--control", &control, "--cluster-key", key];
        head.iter().chain(rest).map(ToString::to_string).collect::<Vec<_>>()
    };
    let done = |rest: &[&str]| run(&with(&key, rest).iter().map(String::as_str).collect::<Vec<_>>());
    let not_done =
        |key: &str, rest: &[&str]| refused(&with(key, rest).iter().map(String::as_str).collect::<Vec<_>>());
    let stranger = not_done(&wrong.display().to_string(), &["ds", "drain", "3"]);
    assert!(stranger.contains("cannot be reached"), "{stranger}");
    let wide = not_done(&shared.display().to_string(), &["ds", "drain", "3"]);
    assert!(wide.contains("chmod 600"), "{wide}");
    keys_for_one_role(dir, &key, not_done);
    assert!(!run(&["admin", "--at", &at, "ds", "list"]).contains("draining"));
    assert!(not_done(&key, &["ds", "drain", "9"]).contains("no data server 9"));
    assert!(not_done(&key, &["ds", "remove", "3"]).contains("has a lease"));
    assert!(not_done(&key, &["verify", "/none"]).contains("/none: no such file"));
    assert!(not_done(&key, &["mds", "readmit", "9"]).contains("no metadata server has the number 9"));
    assert!(done(&["mds", "readmit", "1"]).contains("1 of 1 shards have it"));
    assert!(done(&["ds", "drain", "3"]).contains("moves away"));
    let list = run(&["admin", "--at", &at, "ds", "list"]);
    assert!(list.contains("up, draining") || list.contains("up, empty"), "{list}");
    assert!(done(&["ds", "undrain", "3"]).contains("keeps what it has"));
    assert!(!run(&["admin", "--at", &at, "ds", "list"]).contains("up, "));
    exports_are_set(dir, &at, done, |rest| not_done(&key, rest));
}

/// An administrator's key does what an administrator may, a data server's does not.
fn keys_for_one_role(dir: &Path, whole: &str, not_done: impl Fn(&str, &[&str]) -> String) {
    let at = |name: &str| dir.join(name).display().to_string();
    let (own, n7) = (at("admin.key"), at("n7.key"));
    let derive = ["admin", "--cluster-key", whole, "key", "derive"];
    let administrator = [&derive[..], &["--role", "administrator", "--out", &own]].concat();
    assert!(run(&administrator).contains("nothing else"));
    run(&[&derive[..], &["--role", "data-server", "--name", "n7", "--out", &n7]].concat());
    assert!(not_done(&own, &["ds", "drain", "9"]).contains("no data server 9"));
    assert!(not_done(&n7, &["ds", "drain", "9"]).contains("this key is for data server n7 only"));
    assert!(refused(&administrator).contains("cannot be made"));
}

fn exports_are_set(
    dir: &Path,
    at: &str,
    done: impl Fn(&[&str]) -> String,
    not_done: impl Fn(&[&str]) -> String,
) {
    let file = dir.join("exports.toml").display().to_string();
    let set = ["exports", "set", "--config", &file];
    assert!(not_done(&set).contains("exports.toml: cannot be read"));
    std::fs::write(&file, "[[export]]\npath = \"/\"\nreadonly = true\n").unwrap();
    assert!(not_done(&set).contains("did you mean `read_only`"));
    std::fs::write(&file, "[[export]]\npath = \"/made/here\"\nsquash = \"root\"\n[[export]]\npath = \"/\"\n")
        .unwrap();
    let words = done(&set);
    assert!(words.contains("version 2") && words.contains("/made/here is exported now"), "{words}");
    assert!(words.contains("its own configuration file counts"), "{words}");
    for list in [&["exports"][..], &["exports", "list"]] {
        let list = run(&[&["admin", "--at", at], list].concat());
        let row =
            |path: &str| list.lines().find(|line| line.split_whitespace().nth(1) == Some(path)).unwrap();
        assert!(row("/made/here").contains("root to 65534:65534"), "{list}");
        assert!(
            row("/made/here").trim_start().starts_with("1 ") && row("/").trim_start().starts_with("0 "),
            "{list}"
        );
    }
    assert!(run(&["admin", "--at", at, "status"]).contains("2, version 2"));
    let other = [&set[..], &["--if-version", "1"]].concat();
    std::fs::write(&file, "").unwrap();
    assert!(not_done(&other).contains("version 2 is in force"));
    assert!(done(&set).contains("/made/here is exported no longer"));
    assert!(run(&["admin", "exports", "set", "--help"]).contains("`[[export]]` tables"));
}

fn inspect_reads(dir: &Path) {
    let at = |rest: &str| dir.join(rest).display().to_string();
    let log = run(&["inspect", "raft-log", &at("mds/1/log")]);
    assert!(log.contains("ExchangeId") && log.contains("checksums ok"), "{log}");
    assert!(log.contains("keys not shown"), "{log}");
    assert_eq!(run(&["inspect", "raft-log", &at("mds/1/log"), "--last", "2"]).lines().count(), 2);
    let store = run(&["inspect", "namespace", &at("mds/1/state.redb")]);
    assert!(store.contains("inode/1 = Directory mode 1777"), "{store}");
    let clients = run(&["inspect", "namespace", &at("mds/1/state.redb"), "--prefix", "state/client/"]);
    assert!(clients.contains("owner \"one client\""), "{clients}");
    assert!(refused(&["inspect", "journal", &at("mds")]).contains("no segment files"));
}

/// The Raft engine stops when the log cannot be written: the process says so and ends, and has what
/// it acknowledged when it is started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_engine_stops_ends() {
    for replicas in ["1", "3"] {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::start(dir.path(), &["--ds", "1", "--replicas", replicas]);
        exchange_id(cluster.nfs, b"one client").await;
        cluster.fail_writes();
        let nfs = cluster.nfs;
        let refused = tokio::spawn(async move { exchange_id(nfs, b"another client").await });
        let (code, errors) = cluster.wait();
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains("shoal: the Raft engine of shard 0 has stopped: "), "{errors}");
        assert!(refused.await.is_err(), "no client was told that it was done");
        let mut cluster = Cluster::start(dir.path(), &[]);
        exchange_id(cluster.nfs, b"another client").await;
        assert_eq!(cluster.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_serves_stops_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &["--ds", "3"]);
    let first = exchange_id(cluster.nfs, b"one client").await;
    pages_answer(cluster.metrics);
    administrators_act(&cluster, dir.path());

    let second = refused(&["serve", "--dir", &dir.path().display().to_string()]);
    assert!(second.contains("in use by another shoal (process "), "{second}");
    let other = tempfile::tempdir().unwrap();
    let (port, other) = (cluster.nfs.port().to_string(), other.path().display().to_string());
    let taken = refused(&["serve", "--dir", &other, "--port", &port]);
    assert!(taken.contains("is in use; choose another with --port"), "{taken}");

    assert_eq!(cluster.terminate(), Some(0));
    inspect_reads(dir.path());
    let fewer = refused(&["serve", "--dir", &dir.path().display().to_string(), "--ds", "2"]);
    assert!(fewer.contains("has 3 data servers, with --ds 2"), "{fewer}");

    // The client is still known, also after the process was killed; a data server may join.
    let mut cluster = Cluster::start(dir.path(), &[]);
    let again = exchange_id(cluster.nfs, b"one client").await;
    let other = exchange_id(cluster.nfs, b"another client").await;
    assert!(
        first != again && again != other && other != first,
        "{first} {again} {other}: none is given out twice"
    );
    cluster.kill();
    let mut cluster = Cluster::start(dir.path(), &["--ds", "4"]);
    assert!(page(cluster.metrics, "/status").contains("\"data_servers_up\":4"));
    assert!(page(cluster.metrics, "/exports").contains("\"id\":0,\"path\":\"/\""));
    assert_eq!(cluster.terminate(), Some(0));
}
