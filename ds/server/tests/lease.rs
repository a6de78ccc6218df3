//! Registering, and serving only under a lease.

mod bed;

use std::sync::{Arc, mpsc};

use bed::*;
use bytes::Bytes;
use client::control::greeting;
use ds_server::limits::LEASE_WAIT_MS_MAX;
use ds_server::{DataServer, StartError};
use env::Env;
use env::memory::net::MemoryNet;
use env::memory::{Broken, Crash, ManualClock, MemoryDisk, SeededEntropy};
use env::os::OsClock;
use env_transport::RpcClient;
use prometheus_client::registry::Registry;
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::images::ReadImage;
use wire_nfs::control::replicate::{Act, Attach, Flush, ReadData, Replicate, SayAgain};
use wire_nfs::control::{self, ClusterKey, NodeKind, Nothing, Procedure, Refusal, decode_reply};
use wire_nfs::v3::{Nfsstat3, StableHow};
use wire_xdr::Encode;

/// Lets `ms` pass in small steps, so that everything that sleeps gets its turn.
async fn pass(bed: &Bed, ms: u64) {
    pass_on(&bed.clock, ms).await;
}

async fn pass_on(clock: &ManualClock, ms: u64) {
    for _ in 0..ms / 50 {
        clock.advance_ms(50);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
}

#[allow(clippy::unwrap_used, reason = "only tests call it")]
async fn refusal(client: &RpcClient, procedure: Procedure, args: &impl Encode) -> Option<Refusal> {
    let number = procedure.number();
    let mut reply = call(client, control::PROGRAM, control::VERSION, number, args).await.unwrap();
    // An answer that is more than a status is none that was refused.
    decode_reply::<Nothing>(reply.rest()).ok().and_then(Result::err)
}

#[tokio::test]
async fn it_says_who_it_is() {
    let bed = Bed::new().await;
    let register = bed.metadata.seen(|seen| seen.registers[0].clone());
    assert_eq!(register.uuid, bed.server.uuid());
    let port = bed.server.address().port();
    assert_eq!(register.addresses, [format!("127.0.0.1.{}.{}", port >> 8, port & 255)]);
    assert_eq!(register.control, bed.server.control_address().to_string());
    assert_eq!(register.capacity_bytes, bed.server.usage().capacity_bytes);
    assert_eq!(bed.server.server().unwrap().0, 4);
}

#[tokio::test]
async fn heartbeats_keep_the_lease() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, &[1; 1000], StableHow::FileSync).await.unwrap();
    pass(&bed, 4 * u64::from(LEASE_MS)).await;
    bed.read(rw(1), START, 10).await.unwrap();
    bed.metadata.seen(|seen| {
        assert_eq!(seen.registers.len(), 1);
        assert!((27..=34).contains(&seen.heartbeats.len()), "{}", seen.heartbeats.len());
        let last = seen.heartbeats.last().unwrap();
        assert_eq!((last.server, last.usage.written_bytes), (4, 1000));
    });
}

/// Spec: docs/protocol/control.md §2.
#[tokio::test]
async fn without_a_lease_it_is_jukebox() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, b"hello", StableHow::FileSync).await.unwrap();
    bed.metadata.behave(Behaviour::Silent);
    pass(&bed, u64::from(LEASE_MS) + 50).await;
    assert!(!bed.server.is_serving());
    let asked = async {
        tokio::join!(
            bed.read(rw(1), START, 5),
            bed.write(rw(1), START, b"x", StableHow::Unstable),
            bed.commit(rw(1))
        )
    };
    let ((read, written, committed), ()) = tokio::join!(asked, pass(&bed, LEASE_WAIT_MS_MAX + 100));
    assert_eq!(read.unwrap_err(), Nfsstat3::Jukebox);
    assert_eq!(written.unwrap_err(), Nfsstat3::Jukebox);
    assert_eq!(committed.unwrap_err(), Nfsstat3::Jukebox);
    // The metadata server is told the truth meanwhile.
    assert_eq!(bed.control().size(&[EXTENT]).await.unwrap()[0].end_bytes, 5);
    bed.metadata.behave(Behaviour::Lease);
    pass(&bed, 3_000).await;
    assert_eq!(&bed.read(rw(1), START, 5).await.unwrap().data[..], b"hello");
}

/// One that has missed something knows who it is before it does that, since a cut with replicas
/// takes it; it serves behind it, and asks for its lease again and again.
/// Spec: docs/protocol/control.md §2.
#[tokio::test]
async fn it_knows_who_it_is_before_it_has_a_lease() {
    let bed = Bed::new().await;
    bed.metadata.behave(Behaviour::RefuseHeartbeat(Refusal::RegisterAgain));
    pass(&bed, u64::from(LEASE_MS)).await;
    bed.metadata.behave(Behaviour::NoLeaseYet);
    let registers = bed.metadata.seen(|seen| seen.registers.len());
    pass(&bed, 2 * u64::from(LEASE_MS)).await;
    assert!(!bed.server.is_serving());
    assert_eq!(bed.server.server().unwrap().0, 4);
    assert!(registers + 2 < bed.metadata.seen(|seen| seen.registers.len()), "it asks again");
    bed.metadata.behave(Behaviour::Lease);
    pass(&bed, 3_000).await;
    assert!(bed.server.is_serving());
}

/// A lease counts once it is on stable storage that nothing is missing: else the next start would
/// say that it found as little as this one, of a journal that had gone further.
/// Spec: docs/protocol/control.md §2, Marks.
#[tokio::test]
async fn a_judgement_that_cannot_be_noted_gives_no_lease() {
    let (clock, disk, net) = (ManualClock::new(1_000_000), MemoryDisk::new(), MemoryNet::new());
    let env = env_of(&clock, &disk, &net, 1);
    let metadata = Metadata::start(&env, cluster_key()).await;
    metadata.behave(Behaviour::Refuse(Refusal::Busy));
    let config = || config(vec![metadata.address()]);
    let start = async || DataServer::start(env.clone(), config(), &mut Registry::default()).await;
    let server = start().await.unwrap();
    pass_on(&clock, 500).await;
    disk.set_broken(Broken { syncs: true, ..Broken::default() });
    metadata.behave(Behaviour::Lease);
    for _ in 0..20 {
        pass_on(&clock, 50).await;
        assert!(!server.is_serving());
    }
    let failure = metadata.seen(|seen| seen.heartbeats.last().unwrap().failure.clone());
    assert!(failure.contains("cannot note that nothing is missing"), "{failure}");
    drop(server);
    disk.crash(Crash::Drop);
    disk.set_broken(Broken::default());
    let server = start().await.unwrap();
    pass_on(&clock, 500).await;
    assert!(server.is_serving());
    metadata
        .seen(|seen| assert_eq!(seen.registers.first().unwrap().found, seen.registers.last().unwrap().found));
}

/// What the store has may be an older copy: it is no replica before a metadata server has judged
/// it.
/// Spec: docs/protocol/control.md §2, Marks.
#[tokio::test]
async fn a_store_that_is_not_judged_is_no_replica() {
    let bed = Bed::new().await;
    bed.metadata.behave(Behaviour::Refuse(Refusal::Busy));
    let config = ds_server::DsConfig { dir: "/other".into(), ..config(vec![bed.metadata.address()]) };
    let server = DataServer::start(bed.env.clone(), config, &mut Registry::default()).await.unwrap();
    let link = (NodeKind::Data, NodeKind::Data);
    let hello = greeting(cluster_key(), control::PROGRAM, link, bed.env.entropy.clone());
    let neighbour = connect(&bed.env, server.control_address()).with_hello(hello);
    let extent = ExtentName { ino: EXTENT.ino, index: EXTENT.index };
    let (attach, flush) = (Attach { extent, epoch: 1 }, Flush { instance: 1 });
    let read = ReadData { extent, epoch: 1, offset: 0, length: 0 };
    let again = SayAgain { extent, epoch: 1, server: 1 };
    let data = Bytes::from_static(b"x");
    let record = Replicate {
        instance: 1,
        stable: true,
        act: Act::Write,
        extent,
        epoch: 1,
        sequence: 1,
        offset: 0,
        data,
    };
    let image = ReadImage { image: [7; 16], offset: 0, length: 1 };
    for is_judged in [false, true] {
        let answers = [
            refusal(&neighbour, Procedure::Attach, &attach).await,
            refusal(&neighbour, Procedure::Replicate, &record).await,
            refusal(&neighbour, Procedure::Flush, &flush).await,
            refusal(&neighbour, Procedure::ReadData, &read).await,
        ];
        let expected = if is_judged {
            [None, Some(Refusal::AttachAgain), Some(Refusal::AttachAgain), Some(Refusal::Invalid)]
        } else {
            assert_eq!(refusal(&neighbour, Procedure::SayAgain, &again).await, Some(Refusal::Busy));
            [const { Some(Refusal::Busy) }; 4]
        };
        assert_eq!(answers, expected);
        // Images are checked against what metadata servers know of them.
        assert_eq!(refusal(&neighbour, Procedure::ReadImage, &image).await, Some(Refusal::NoImage));
        bed.metadata.behave(Behaviour::NoLeaseYet);
        pass(&bed, 1_000).await;
    }
    assert!(!server.is_serving());
}

/// A client that is told to ask again sits for five seconds: who comes while there is no lease
/// waits for it.
#[tokio::test]
async fn a_request_waits_for_the_lease() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, b"hello", StableHow::FileSync).await.unwrap();
    bed.metadata.behave(Behaviour::Silent);
    pass(&bed, u64::from(LEASE_MS) + 50).await;
    assert!(!bed.server.is_serving());
    let again = async {
        pass(&bed, LEASE_WAIT_MS_MAX / 8).await;
        bed.metadata.behave(Behaviour::Lease);
        pass(&bed, LEASE_WAIT_MS_MAX * 3 / 4).await;
    };
    let (read, ()) = tokio::join!(bed.read(rw(1), START, 5), again);
    assert_eq!(&read.unwrap().data[..], b"hello");
}

/// One that hangs, and does not die, is given up in time.
#[tokio::test]
async fn a_silent_metadata_server_leaves_time_for_another() {
    let bed = Bed::new().await;
    let other = Metadata::start(&bed.env, cluster_key()).await;
    let both = vec![bed.metadata.address(), other.address()];
    let config = ds_server::DsConfig { dir: "/other".into(), ..config(both) };
    let server = DataServer::start(bed.env.clone(), config, &mut Registry::default()).await.unwrap();
    pass(&bed, 1_000).await;
    assert!(server.is_serving());
    bed.metadata.behave(Behaviour::Silent);
    for _ in 0..3 * LEASE_MS / 50 {
        pass(&bed, 50).await;
        assert!(server.is_serving());
    }
    assert_eq!(other.seen(|seen| seen.registers.len()), 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn one_that_is_not_known_registers_again() {
    let bed = Bed::new().await;
    bed.metadata.behave(Behaviour::RefuseHeartbeat(Refusal::RegisterAgain));
    pass(&bed, u64::from(LEASE_MS)).await;
    assert!(1 < bed.metadata.seen(|seen| seen.registers.len()));
    assert!(bed.server.is_serving(), "registering gives a lease");
}

#[tokio::test]
async fn the_leader_is_followed() {
    let bed = Bed::new().await;
    let leader = Metadata::start(&bed.env, cluster_key()).await;
    let refusal = Refusal::NotLeader { leader: leader.address().to_string() };
    bed.metadata.behave(Behaviour::Refuse(refusal));
    pass(&bed, u64::from(LEASE_MS)).await;
    assert_eq!(leader.seen(|seen| seen.registers.len()), 1);
    assert!(bed.server.is_serving());
    pass(&bed, 2 * u64::from(LEASE_MS)).await;
    assert!(bed.server.is_serving());
}

#[tokio::test]
async fn the_next_metadata_server_is_tried() {
    let bed = Bed::new().await;
    let unused = "127.0.0.1:9".parse().unwrap();
    let config = ds_server::DsConfig { dir: "/other".into(), ..config(vec![unused, bed.metadata.address()]) };
    let server = DataServer::start(bed.env.clone(), config, &mut Registry::default()).await.unwrap();
    assert!(!server.is_serving());
    pass(&bed, 1_000).await;
    assert!(server.is_serving());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn another_cluster_gives_no_lease() {
    let bed = Bed::new().await;
    let config = ds_server::DsConfig {
        dir: "/other".into(),
        cluster_keys: ClusterKey::new([6; 32]).into(),
        ..config(vec![bed.metadata.address()])
    };
    let server = DataServer::start(bed.env.clone(), config, &mut Registry::default()).await.unwrap();
    pass(&bed, 1_000).await;
    assert!(!server.is_serving() && server.server().is_none());
    assert_eq!(bed.metadata.seen(|seen| seen.registers.len()), 1, "only the bed's own");
}

#[tokio::test]
async fn it_must_know_where_clients_find_it() {
    let bed = Bed::new().await;
    let config = ds_server::DsConfig {
        dir: "/other".into(),
        listen: "0.0.0.0:0".parse().unwrap(),
        ..config(vec![bed.metadata.address()])
    };
    let started = DataServer::start(bed.env.clone(), config, &mut Registry::default()).await;
    assert!(matches!(started.err(), Some(StartError::NoAddress { .. })));
}

#[tokio::test]
async fn a_stopped_server_lets_go_and_comes_back() {
    let Bed { clock, disk, net, server, metadata, client, .. } = {
        let bed = Bed::new().await;
        bed.write(rw(1), START, b"hello", StableHow::Unstable).await.unwrap();
        bed
    };
    let uuid = server.uuid();
    server.stop().await.unwrap();
    drop((metadata, client));
    let bed = Bed::on(clock, disk, net, 2).await;
    assert_eq!(bed.server.uuid(), uuid);
    assert_eq!(&bed.read(rw(1), START, 5).await.unwrap().data[..], b"hello", "a clean stop loses nothing");
}

/// A metadata server that cannot renew now is asked again, and not left for good: to register takes
/// longer.
#[tokio::test]
async fn a_heartbeat_that_is_refused_for_now_comes_again() {
    let bed = Bed::new().await;
    bed.metadata.behave(Behaviour::RefuseHeartbeat(Refusal::Busy));
    pass(&bed, u64::from(LEASE_MS) / 2).await;
    bed.metadata.behave(Behaviour::Lease);
    pass(&bed, u64::from(LEASE_MS)).await;
    assert!(bed.server.is_serving());
    assert_eq!(bed.metadata.seen(|seen| seen.registers.len()), 1);
}

/// What else a metadata server is asked may be much, and take long.
#[tokio::test]
async fn heartbeats_have_a_connection_of_their_own() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, b"hello", StableHow::FileSync).await.unwrap();
    pass(&bed, u64::from(LEASE_MS)).await;
    bed.metadata.seen(|seen| {
        let of = |which: Procedure| -> Vec<u64> {
            seen.connections.iter().filter(|one| one.0 == which).map(|one| one.1).collect()
        };
        let (beats, promises) = (of(Procedure::Heartbeat), of(Procedure::Promise));
        assert!(!beats.is_empty() && promises.len() == 1, "{beats:?} {promises:?}");
        assert!(!beats.contains(&promises[0]));
    });
}

/// Nothing is called stable before the log says that it may be; then for good.
/// Spec: docs/protocol/seal.md §12.
#[tokio::test]
async fn nothing_is_promised_before_the_log_says_so() {
    let bed = Bed::new().await;
    bed.metadata.behave(Behaviour::NoPromises);
    bed.write(rw(1), START, b"hello", StableHow::Unstable).await.unwrap();
    assert_eq!(&bed.read(rw(1), START, 5).await.unwrap().data[..], b"hello");
    let stable = async {
        tokio::select! {
            committed = bed.commit(rw(1)) => panic!("{committed:?}"),
            written = bed.write(rw(1), START + 9, b"hello", StableHow::FileSync) => panic!("{written:?}"),
            () = pass(&bed, 4_000) => {}
        }
    };
    stable.await;
    bed.metadata.behave(Behaviour::Lease);
    let (committed, ()) = tokio::join!(bed.commit(rw(1)), pass(&bed, 1_000));
    committed.unwrap();
    bed.metadata.behave(Behaviour::NoPromises);
    bed.write(rw(1), START + 9, b"hello", StableHow::FileSync).await.unwrap();
    bed.commit(rw(1)).await.unwrap();
}

/// All threads of the runtime are at work on something that gives no way: the lease is renewed
/// meanwhile.
#[test]
fn work_that_gives_no_way_costs_no_lease() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (ours, theirs) = (runtime(), runtime());
    let env = Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(SeededEntropy::new(1)),
        disk: Arc::new(MemoryDisk::new()),
        net: Arc::new(MemoryNet::new()),
    };
    let metadata = theirs.block_on(metadata::Metadata::start(&env, cluster_key()));
    let config = config(vec![metadata.address()]);
    let server = ours.block_on(DataServer::start(env.clone(), config, &mut Registry::default())).unwrap();
    let beats = || metadata.seen(|seen| seen.heartbeats.len());
    let until = |count: usize| {
        theirs.block_on(async {
            while beats() < count {
                env.clock.sleep_ms(10).await;
            }
        });
    };
    until(1);
    let ((begun, begins), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
    ours.spawn(async move {
        begun.send(()).unwrap();
        // Until the other end is dropped.
        let _ = ended.recv();
    });
    begins.recv().unwrap();
    until(beats() + 8);
    assert!(server.is_serving());
    drop(end);
}
