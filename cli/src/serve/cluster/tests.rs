//! Clusters in this process, on ports the system chooses.

use std::io::{Read, Write};
use std::net::TcpStream;

use clap::Parser;
use env::os::OsEntropy;
use tempfile::TempDir;

use super::*;
use crate::args::{Arguments, Command};
use crate::directory::Made;
use crate::key;
use crate::ports::Wanted;

/// Starts what these flags ask for, as `run` does.
async fn start(dir: &TempDir, flags: &str) -> Cluster {
    let line = format!(
        "shoal serve --dir {} --port 0 --ds-port 0 --control-port 0 --capacity 64M --disk blocking {flags}",
        dir.path().display()
    );
    let Command::Serve(serve) = Arguments::try_parse_from(line.split_whitespace()).unwrap().command else {
        panic!("{line}");
    };
    let mut plan = Plan::new(&serve, Made::load(dir.path()).unwrap().as_ref()).unwrap();
    let any =
        Wanted { address: ([127, 0, 0, 1], 0).into(), what: "metrics".to_owned(), flag: "--metrics-port" };
    plan.metrics = Some(any);
    plan.settle().unwrap();
    plan.made().store(dir.path()).unwrap();
    let key_file = dir.path().join("cluster.key");
    let setup = Setup {
        dir: dir.path(),
        config: &config::Config::default(),
        key_file: &key_file,
        keys: key::load_or_make(&key_file, &OsEntropy).unwrap().into(),
        disk: serve.disk,
        capacity: serve.capacity,
        accept_damage: false,
        accept_log_loss: None,
    };
    Cluster::start(&plan, &setup).await.unwrap()
}

fn page(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn data_servers_are_found_again_and_may_be_added() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(&dir, "--ds 2").await;
    let before: Vec<_> = cluster.metadata().data_servers().into_iter().map(|line| line.uuid).collect();
    cluster.stop().await.unwrap();
    let cluster = start(&dir, "--ds 3").await;
    let after: Vec<_> = cluster.metadata().data_servers().into_iter().map(|line| line.uuid).collect();
    assert_eq!((after[..2].to_vec(), after.len()), (before, 3));
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_are_led_by_the_one_with_the_front() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let cluster = start(&dir, "--ds 1 --replicas 3").await;
        let status = cluster.metadata().status();
        assert_eq!((status.node, status.leader, status.replicas.len()), (1, Some(1), 3));
        let at = cluster.metrics_address().unwrap();
        // Followers are known to be up once they have answered the leader.
        let healthy = async {
            while !page(at, "/health").ends_with("\r\n\r\nok\n") {
                tokio::task::yield_now().await;
            }
        };
        healthy.await;
        cluster.stop().await.unwrap();
    }
}
