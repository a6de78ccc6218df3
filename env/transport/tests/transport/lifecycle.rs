//! How connections begin and end.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use env::memory::ManualClock;
use env_transport::{CallError, Connection, Hello, Limits};
use wire_rpc::Credential;

use crate::bed::{Bed, CLOSE, ECHO, HOLD, PROGRAM, call, pass_ms, settle, words};

#[tokio::test]
async fn shutdown_waits_for_calls_under_way() {
    let bed = Bed::new(Limits::default()).await;
    let client = bed.client();
    let held = tokio::spawn({
        let client = client.clone();
        async move { call(&client, HOLD, words(&[])).await }
    });
    settle().await;
    let addr = bed.server.local_addr();
    let (server, service) = (bed.server, bed.service);
    let shutdown = tokio::spawn(async move { server.shutdown().await });
    settle().await;
    assert_eq!(held.await.unwrap().unwrap_err(), CallError::Disconnected);
    assert!(!shutdown.is_finished());
    assert_eq!((service.finished(), service.closed()), (0, 1));
    service.0.gate.add_permits(1);
    shutdown.await.unwrap();
    assert_eq!(service.finished(), 1);
    let error = call(&client, ECHO, words(&[])).await.unwrap_err();
    assert_eq!(error, CallError::Connect { addr, kind: ErrorKind::ConnectionRefused });
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let clock = Arc::new(ManualClock::new(0));
    let bed = Bed::with_clock(Limits::default(), clock.clone()).await;
    let mut raw = bed.raw().await;
    raw.send_record(&wire_rpc::call(1, PROGRAM, 1, HOLD, &Credential::None).into_bytes()).await;
    settle().await;
    let server = bed.server;
    let shutdown = tokio::spawn(async move { server.shutdown().await });
    settle().await;
    assert!(!shutdown.is_finished());
    pass_ms(&clock, 10_000).await;
    shutdown.await.unwrap();
}

#[tokio::test]
async fn client_reconnects_after_a_cut() {
    let bed = Bed::new(Limits::default()).await;
    let client = bed.client();
    let held = tokio::spawn({
        let client = client.clone();
        async move { call(&client, HOLD, words(&[])).await }
    });
    settle().await;
    bed.net.cut(bed.server.local_addr());
    assert_eq!(held.await.unwrap().unwrap_err(), CallError::Disconnected);
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    assert_eq!(call(&client, CLOSE, words(&[])).await.unwrap_err(), CallError::Disconnected);
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    settle().await;
    assert_eq!(bed.service.closed(), 2);
}

#[tokio::test]
async fn idle_connection_is_closed_and_opened_again() {
    let clock = Arc::new(ManualClock::new(0));
    let bed = Bed::with_clock(Limits { idle_ms_max: 1000, ..Limits::default() }, clock.clone()).await;
    let client = bed.client();
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    let held = tokio::spawn({
        let client = client.clone();
        async move { call(&client, HOLD, words(&[])).await }
    });
    settle().await;
    // A call under way keeps the connection, however long it takes.
    pass_ms(&clock, 10_000).await;
    assert_eq!(bed.service.closed(), 0);
    bed.service.0.gate.add_permits(1);
    assert!(held.await.unwrap().is_ok());
    pass_ms(&clock, 2000).await;
    assert_eq!(bed.service.closed(), 1);
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let bed = Bed::new(Limits { connections_max: 1, ..Limits::default() }).await;
    let mut idle = bed.raw().await;
    settle().await;
    let client = bed.client();
    assert!(call(&client, ECHO, words(&[])).await.is_ok(), "it has the place of one that has done nothing");
    assert!(idle.is_cut().await);
    assert!(bed.raw().await.is_cut().await, "it has shown that it is of use");
    client.disconnect();
    settle().await;
    assert!(call(&bed.client(), ECHO, words(&[])).await.is_ok());
}

/// Who connects and then says nothing of use keeps no place.
#[tokio::test]
async fn an_unproven_connection_is_closed_after_its_time() {
    let clock = Arc::new(ManualClock::new(0));
    let limits = Limits { unproven_ms_max: 1000, idle_ms_max: 0, ..Limits::default() };
    let bed = Bed::with_clock(limits, clock.clone()).await;
    let client = bed.client();
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    let mut other = bed.raw().await;
    settle().await;
    pass_ms(&clock, 2000).await;
    assert!(other.is_cut().await);
    assert_eq!(bed.service.closed(), 1, "not the one that is of use");
}

fn counting_hello(count: Arc<AtomicUsize>, procedure: u32) -> Hello {
    Arc::new(move |connection: Connection| {
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            connection.call(PROGRAM, 1, procedure, &Credential::None, words(&[]), 60_000).await?;
            Ok(())
        })
    })
}

#[tokio::test]
async fn hello_is_said_once_on_each_connection_and_first() {
    let (bed, count) = (Bed::new(Limits::default()).await, Arc::new(AtomicUsize::new(0)));
    let client = bed.client().with_hello(counting_hello(count.clone(), HOLD));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client, ECHO, words(&[])).await })
        })
        .collect();
    settle().await;
    // Only the greeting has reached the server.
    assert_eq!((count.load(Ordering::SeqCst), bed.service.started()), (1, 1));
    bed.service.0.gate.add_permits(1);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    client.disconnect();
    bed.service.0.gate.add_permits(1);
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// Calls under way end on the connection that they began on, which is closed then; the next one
/// opens another.
#[tokio::test]
async fn a_connection_that_is_renewed_ends_with_its_calls() {
    let (bed, number) = (Bed::new(Limits::default()).await, Arc::new(AtomicUsize::new(0)));
    let shown = Arc::clone(&number);
    let client = bed.client().with_renewal(Arc::new(move || shown.load(Ordering::SeqCst) as u64));
    let held = tokio::spawn({
        let client = client.clone();
        async move { call(&client, HOLD, words(&[])).await }
    });
    settle().await;
    let first = client.connection().await.unwrap().id();
    number.store(1, Ordering::SeqCst);
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    let second = client.connection().await.unwrap().id();
    assert_ne!(first, second);
    settle().await;
    assert_eq!((held.is_finished(), bed.service.closed()), (false, 0));
    bed.service.0.gate.add_permits(1);
    assert!(held.await.unwrap().is_ok());
    settle().await;
    assert_eq!(bed.service.closed(), 1, "the one before");
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    assert_eq!(client.connection().await.unwrap().id(), second);
}

#[tokio::test]
async fn refused_hello_fails_the_call_and_closes_the_connection() {
    let (bed, count) = (Bed::new(Limits::default()).await, Arc::new(AtomicUsize::new(0)));
    let client = bed.client().with_hello(counting_hello(count.clone(), 99));
    for tries in 1..3 {
        assert!(matches!(call(&client, ECHO, words(&[])).await, Err(CallError::Rejected(_))));
        settle().await;
        assert_eq!((count.load(Ordering::SeqCst), bed.service.closed()), (tries, tries));
    }
}

/// A greeting that is never answered ends with the time to connect, and with it the connection.
#[tokio::test]
async fn hello_without_an_answer_times_out() {
    let clock = Arc::new(ManualClock::new(0));
    let bed = Bed::with_clock(Limits::default(), clock.clone()).await;
    let client = bed.client().with_hello(counting_hello(Arc::default(), HOLD));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { call(&client, ECHO, words(&[])).await }
    });
    settle().await;
    pass_ms(&clock, 10_000).await;
    let addr = bed.server.local_addr();
    assert_eq!(waiting.await.unwrap().unwrap_err(), CallError::Connect { addr, kind: ErrorKind::TimedOut });
    settle().await;
    assert_eq!(bed.service.closed(), 1);
}
