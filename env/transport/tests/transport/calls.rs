//! Calls in both directions, many at once.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use env::os::OsClock;
use env::os::tokio_net::TokioNet;
use env_transport::{CallError, Limits, RpcClient, serve};
use tokio::task::JoinSet;
use wire_rpc::{Credential, ReplyStatus};
use wire_xdr::Writer;

use crate::bed::{Bed, Behaviour, CALL_BACK, ECHO, HOLD, PANIC, SILENCE, ZEROS, call, settle, words};

#[tokio::test]
async fn results_come_back() {
    let bed = Bed::new(Limits::default()).await;
    let client = bed.client();
    let mut results = call(&client, ECHO, words(&[7, 8])).await.unwrap();
    assert_eq!((results.u32(), results.u32(), results.remaining()), (Ok(7), Ok(8), 0));
    let error = call(&client, 99, words(&[])).await.unwrap_err();
    assert_eq!(error, CallError::Rejected(ReplyStatus::ProcUnavail));
}

#[tokio::test]
async fn megabytes_go_over_tcp_both_ways() {
    let (net, clock, service) = (Arc::new(TokioNet::new()), Arc::new(OsClock::new()), Behaviour::service());
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = serve(net.clone(), clock.clone(), addr, service, Limits::default()).await.unwrap();
    let client = RpcClient::new(net, clock, server.local_addr(), Limits::default());
    let payload = Bytes::from((0..1 << 20).map(|index: u32| index.to_be_bytes()[2]).collect::<Vec<u8>>());
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (client, payload) = (client.clone(), payload.clone());
        tasks.spawn(async move {
            let mut args = Writer::new();
            args.raw_bytes(payload.clone());
            assert!(call(&client, ECHO, args).await.unwrap().rest() == payload);
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    server.shutdown().await;
}

#[tokio::test]
async fn two_hundred_calls_and_callbacks_share_a_connection() {
    let bed = Bed::new(Limits::default()).await;
    let client = bed.client().with_service(Behaviour::service());
    let mut tasks = JoinSet::new();
    for number in 0_u32..200 {
        let client = client.clone();
        tasks.spawn(async move {
            let procedure = if number % 2 == 0 { ECHO } else { CALL_BACK };
            let mut results = call(&client, procedure, words(&[number])).await.unwrap();
            assert_eq!((results.u32(), results.remaining()), (Ok(number), 0));
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    drop(client);
    settle().await;
    assert_eq!(bed.service.closed(), 1);
}

#[tokio::test]
async fn answers_overtake_each_other() {
    let bed = Bed::new(Limits::default()).await;
    let client = bed.client();
    let held = tokio::spawn({
        let client = client.clone();
        async move { call(&client, HOLD, words(&[])).await }
    });
    settle().await;
    assert!(call(&client, ECHO, words(&[1])).await.is_ok());
    assert!(!held.is_finished());
    bed.service.0.gate.add_permits(1);
    assert!(held.await.unwrap().is_ok());
}

#[tokio::test]
async fn client_without_a_service_has_no_program() {
    let bed = Bed::new(Limits::default()).await;
    let mut results = call(&bed.client(), CALL_BACK, words(&[1])).await.unwrap();
    let text = results.string(100).unwrap();
    assert_eq!(text, format!("{}", CallError::Rejected(ReplyStatus::ProgUnavail)));
}

/// The reply that comes too late is dropped and disturbs no other call.
#[tokio::test]
async fn timeout_gives_the_call_up() {
    let bed = Bed::new(Limits::default()).await;
    let client = bed.client();
    let error =
        client.call(crate::bed::PROGRAM, 1, HOLD, &Credential::None, words(&[]), 5).await.unwrap_err();
    assert_eq!(error, CallError::Timeout);
    let error =
        client.call(crate::bed::PROGRAM, 1, SILENCE, &Credential::None, words(&[]), 5).await.unwrap_err();
    assert_eq!(error, CallError::Timeout);
    bed.service.0.gate.add_permits(1);
    settle().await;
    let mut results = call(&client, ECHO, words(&[3])).await.unwrap();
    assert_eq!(results.u32(), Ok(3));
    assert_eq!(bed.service.closed(), 0);
}

/// A call whose task dies closes the connection: its caller would wait for ever otherwise.
#[tokio::test]
async fn panic_in_a_service_closes_the_connection() {
    let bed = Bed::new(Limits::default()).await;
    let client = bed.client();
    assert_eq!(call(&client, PANIC, words(&[])).await.unwrap_err(), CallError::Disconnected);
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
}

/// With its bound reached, a connection is not read from; the bound counts calls until their
/// replies are written.
#[tokio::test]
async fn calls_under_way_are_bounded() {
    let bed = Bed::new(Limits { in_flight_per_connection_max: 4, ..Limits::default() }).await;
    let mut raw = bed.raw().await;
    for xid in 0..10 {
        let message = wire_rpc::call(xid, crate::bed::PROGRAM, 1, HOLD, &Credential::None);
        raw.send_record(&message.into_bytes()).await;
    }
    settle().await;
    assert_eq!(bed.service.started(), 4);
    bed.service.0.gate.add_permits(3);
    settle().await;
    assert_eq!(bed.service.started(), 7);
    bed.service.0.gate.add_permits(7);
    for _ in 0..10 {
        assert!(raw.record().await.is_some());
    }
}

/// Large replies wait for room in the queue instead of piling up.
#[tokio::test]
async fn replies_are_bounded_in_bytes() {
    let bed = Bed::new(Limits { write_queue_bytes_max: 300_000, ..Limits::default() }).await;
    let client = bed.client();
    let mut tasks = JoinSet::new();
    for count in [100_000_u32, 400_000, 1, 299_999, 150_000] {
        let client = client.clone();
        tasks.spawn(async move {
            let results = call(&client, ZEROS, words(&[count])).await.unwrap();
            assert_eq!(results.remaining(), usize::try_from(count).unwrap());
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}
