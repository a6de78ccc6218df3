//! Half requests, over real connections and a clock that is moved by hand.

use axum::Router;
use axum::routing::get;
use env::memory::ManualClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A port that answers `/`, and its task.
async fn port() -> (SocketAddr, ManualClock, tokio::task::JoinHandle<()>) {
    let clock = ManualClock::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bounded = Bounded::new(listener, Arc::new(clock.clone()));
    let router = Router::new().route("/", get(async || "here"));
    let task = tokio::spawn(async move { axum::serve(bounded, router).await.unwrap() });
    (address, clock, task)
}

async fn half_request(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    stream
}

async fn is_answered(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.is_ok() && answer.ends_with("here")
}

/// Waits for the other side to close it.
async fn is_cut(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn the_oldest_half_requests_give_way() {
    let (address, _clock, task) = port().await;
    let mut half = Vec::new();
    for _ in 0..3 * CONNECTIONS_MAX {
        half.push(half_request(address).await);
        assert!(half.len() % 50 != 0 || is_answered(address).await);
    }
    assert!(is_answered(address).await);
    for stream in &mut half[..CONNECTIONS_MAX] {
        assert!(is_cut(stream).await);
    }
    task.abort();
}

#[tokio::test]
async fn a_request_that_does_not_come_whole_is_cut() {
    let (address, clock, task) = port().await;
    let mut half = half_request(address).await;
    assert!(is_answered(address).await, "it was accepted behind the other");
    clock.advance_ms(QUIET_MS_MAX);
    assert!(is_cut(&mut half).await);
    task.abort();
}

#[test]
fn the_address_with_most_gives_way() {
    let mut inside = Inside::default();
    let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let (_, mut first) = inside.enter(other);
    let mut flood: Vec<_> = (0..CONNECTIONS_MAX - 1).map(|_| inside.enter(one).1).collect();
    flood.extend((0..10).map(|_| inside.enter(one).1));
    assert!(first.try_recv() == Err(oneshot::error::TryRecvError::Empty), "it stays");
    let closed = flood.iter_mut().map(|one| one.try_recv() == Err(oneshot::error::TryRecvError::Closed));
    assert_eq!(closed.filter(|closed| *closed).count(), 10);
    assert_eq!(inside.connections.len(), CONNECTIONS_MAX);
}
