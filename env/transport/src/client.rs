//! Calls one address: connects when first needed, again after a failure, and runs many calls on one
//! connection.
//!
//! A call that fails is not repeated here: only the caller knows whether it may run twice.
//!
//! INVARIANT: a connection that is due to be renewed gets no further call, and is closed when those
//! under way have ended.
//! INVARIANT: at most one attempt to connect is under way, and everybody who needs it waits for
//! that one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use env::net::Net;
use env::{BoxFuture, Clock};
use tokio::sync::watch;
use wire_rpc::Credential;
use wire_xdr::{Reader, Writer};

use crate::budget::Budget;
use crate::limits::{CONNECT_MS_MAX, Traffic};
use crate::link::Link;
use crate::{CallError, Connection, Limits, Service};

/// What is said on a fresh connection before anything else; a refusal closes it.
pub type Hello = Arc<dyn Fn(Connection) -> BoxFuture<'static, Result<(), CallError>> + Send + Sync>;

/// A number that changes when the client should open another connection: that of the key it opens
/// them with, for one.
pub type Renewal = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Calls one address. Clones share the connection; when the last is dropped, it is closed.
#[derive(Clone)]
pub struct RpcClient {
    shared: Arc<Shared>,
}

struct Shared {
    net: Arc<dyn Net>,
    addr: SocketAddr,
    link: Link,
    hello: Option<Hello>,
    renewal: Option<Renewal>,
    state: Mutex<State>,
    // Kept for its end: when it is dropped, the connection's tasks stop.
    _stop: watch::Sender<bool>,
}

type Outcome = Result<Connection, CallError>;

enum State {
    Down,
    Connecting(watch::Receiver<Option<Outcome>>),
    Up(Up),
}

struct Up {
    connection: Connection,
    /// What renewal said before it was opened.
    renewal: u64,
}

impl RpcClient {
    /// A client of `addr`. Nothing is opened before the first call.
    pub fn new(net: Arc<dyn Net>, clock: Arc<dyn Clock>, addr: SocketAddr, limits: Limits) -> Self {
        let stop = watch::Sender::new(false);
        // Whom it calls it has chosen itself.
        let limits = Limits {
            unproven_ms_max: 0,
            unproven_record_bytes_max: usize::MAX,
            traffic: Traffic::Nodes,
            ..limits
        };
        let budget = Budget::of(&limits, false);
        let link = Link { clock, service: None, limits, budget, stop: stop.subscribe() };
        let shared = Shared {
            net,
            addr,
            link,
            hello: None,
            renewal: None,
            state: Mutex::new(State::Down),
            _stop: stop,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Has `hello` said on every fresh connection, before other calls.
    ///
    /// # Panics
    /// If the client was cloned or used before.
    #[must_use]
    pub fn with_hello(mut self, hello: Hello) -> Self {
        Arc::get_mut(&mut self.shared).expect("a client is set up before it is shared").hello = Some(hello);
        self
    }

    /// Has the next call open another connection when `renewal` gives another number; calls under
    /// way end on the one before.
    ///
    /// # Panics
    /// If the client was cloned or used before.
    #[must_use]
    pub fn with_renewal(mut self, renewal: Renewal) -> Self {
        Arc::get_mut(&mut self.shared).expect("a client is set up before it is shared").renewal =
            Some(renewal);
        self
    }

    /// Has `service` answer the calls that the other side makes.
    ///
    /// # Panics
    /// If the client was cloned or used before.
    #[must_use]
    pub fn with_service(mut self, service: Arc<dyn Service>) -> Self {
        Arc::get_mut(&mut self.shared).expect("a client is set up before it is shared").link.service =
            Some(service);
        self
    }

    /// Whom it calls.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Calls a procedure and waits for its results, at most `timeout_ms` milliseconds, connecting
    /// included.
    ///
    /// # Errors
    /// Any [`CallError`]. After [`CallError::Timeout`] and [`CallError::Disconnected`] the call may
    /// have run.
    pub async fn call(
        &self,
        program: u32,
        version: u32,
        procedure: u32,
        credential: &Credential,
        args: Writer,
        timeout_ms: u64,
    ) -> Result<Reader, CallError> {
        let late = self.shared.link.clock.sleep_ms(timeout_ms);
        let call = async {
            let connection = self.connection().await?;
            connection.exchange(program, version, procedure, credential, args).await
        };
        tokio::select! {
            biased;
            results = call => results,
            () = late => Err(CallError::Timeout),
        }
    }

    /// The connection, opened if there is none.
    ///
    /// # Errors
    /// [`CallError::Connect`]; [`CallError::Hello`] or whatever else the greeting ended in.
    pub async fn connection(&self) -> Result<Connection, CallError> {
        let mut outcome = {
            let mut state = self.shared.lock();
            let renewal = self.shared.renewal();
            if let State::Up(up) = &*state
                && up.renewal != renewal
            {
                tokio::spawn(up.connection.clone().retire());
                *state = State::Down;
            }
            match &*state {
                State::Up(up) if up.connection.is_open() => return Ok(up.connection.clone()),
                // An attempt whose task died has dropped its end.
                State::Connecting(outcome) if outcome.has_changed().is_ok() => outcome.clone(),
                State::Up(_) | State::Connecting(_) | State::Down => {
                    let (sender, outcome) = watch::channel(None);
                    *state = State::Connecting(outcome.clone());
                    tokio::spawn(connect(Arc::clone(&self.shared), renewal, sender));
                    outcome
                }
            }
        };
        let known = outcome.wait_for(Option::is_some).await.map_err(|_| CallError::Disconnected)?;
        known.clone().unwrap_or(Err(CallError::Disconnected))
    }

    /// Closes the connection, if there is one; the next call opens another.
    pub fn disconnect(&self) {
        let state = self.shared.lock();
        if let State::Up(up) = &*state {
            up.connection.close();
        }
    }
}

impl Shared {
    async fn open(&self) -> Outcome {
        let opened = self.net.connect(self.addr).await;
        let stream = opened.map_err(|error| CallError::Connect { addr: self.addr, kind: error.kind() })?;
        let connection = self.link.start(stream, Connection::prove);
        let Some(hello) = &self.hello else { return Ok(connection) };
        // The greeting can also be dropped, when it takes too long: the connection is unwanted
        // until it is through.
        let mut unwanted = CloseOnDrop(Some(connection.clone()));
        hello(connection.clone()).await?;
        unwanted.0 = None;
        Ok(connection)
    }

    fn renewal(&self) -> u64 {
        self.renewal.as_ref().map_or(0, |renewal| renewal())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, so a panicking holder did no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(shared: Arc<Shared>, renewal: u64, sender: watch::Sender<Option<Outcome>>) {
    let late = shared.link.clock.sleep_ms(CONNECT_MS_MAX);
    let outcome = tokio::select! {
        biased;
        outcome = shared.open() => outcome,
        () = late => Err(CallError::Connect { addr: shared.addr, kind: std::io::ErrorKind::TimedOut }),
    };
    *shared.lock() = match &outcome {
        Ok(connection) => State::Up(Up { connection: connection.clone(), renewal }),
        Err(_) => State::Down,
    };
    sender.send_replace(Some(outcome));
}

/// Closes a connection whose greeting was refused, or did not end in time.
struct CloseOnDrop(Option<Connection>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.close();
        }
    }
}
