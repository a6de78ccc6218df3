//! What the tests stand on: a service with a procedure for each way to behave, a server, and a raw
//! peer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use env::memory::ManualClock;
use env::memory::net::MemoryNet;
use env::net::{Net, Stream};
use env::os::OsClock;
use env::{BoxFuture, Clock};
use env_transport::{Answer, Call, CallError, Connection, Limits, RpcClient, Server, Service, serve};
use tokio::sync::Semaphore;
use wire_rpc::{Credential, RecordAssembler, accepted_success, proc_unavail};
use wire_xdr::{Reader, Writer};

pub(crate) const PROGRAM: u32 = 0x2000_0001;
pub(crate) const ECHO: u32 = 1;
pub(crate) const CALL_BACK: u32 = 2;
pub(crate) const HOLD: u32 = 3;
pub(crate) const CLOSE: u32 = 4;
pub(crate) const ZEROS: u32 = 5;
pub(crate) const PANIC: u32 = 6;
pub(crate) const SILENCE: u32 = 7;
pub(crate) const RESERVED: u32 = 8;

/// Behaves as the procedure says, and counts.
pub(crate) struct Behaviour {
    pub(crate) started: AtomicUsize,
    pub(crate) finished: AtomicUsize,
    pub(crate) closed: Mutex<Vec<u64>>,
    /// HOLD takes one permit before it answers.
    pub(crate) gate: Semaphore,
    /// Bytes of answers of RESERVED that are in memory.
    pub(crate) made_bytes: AtomicUsize,
}

/// What RESERVED answers.
struct Counted {
    bytes: Vec<u8>,
    made: Arc<Behaviour>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.made.made_bytes.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

impl Behaviour {
    pub(crate) fn service() -> Arc<Behaved> {
        let behaviour = Self {
            started: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            closed: Mutex::default(),
            gate: Semaphore::new(0),
            made_bytes: AtomicUsize::new(0),
        };
        Arc::new(Behaved(Arc::new(behaviour)))
    }
}

pub(crate) struct Behaved(pub(crate) Arc<Behaviour>);

impl Behaved {
    pub(crate) fn started(&self) -> usize {
        self.0.started.load(Ordering::SeqCst)
    }

    pub(crate) fn finished(&self) -> usize {
        self.0.finished.load(Ordering::SeqCst)
    }

    pub(crate) fn closed(&self) -> usize {
        self.0.closed.lock().unwrap().len()
    }
}

impl Service for Behaved {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let (behaviour, connection) = (Arc::clone(&self.0), connection.clone());
        behaviour.started.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mut reply = accepted_success(call.header.xid);
            let answer = match call.header.procedure {
                ECHO => {
                    connection.prove();
                    reply.raw_bytes(call.args.rest());
                    Answer::Reply(reply)
                }
                CALL_BACK => {
                    let mut args = Writer::new();
                    args.raw_bytes(call.args.rest());
                    let none = Credential::None;
                    match connection.call_back(PROGRAM, 1, ECHO, &none, args, 60_000).await {
                        Ok(mut results) => reply.raw_bytes(results.rest()),
                        Err(error) => reply.string(&error.to_string()),
                    }
                    Answer::Reply(reply)
                }
                HOLD => {
                    behaviour.gate.acquire().await.unwrap().forget();
                    Answer::Reply(reply)
                }
                CLOSE => Answer::CloseConnection,
                ZEROS => {
                    let count = usize::try_from(call.args.u32().unwrap()).unwrap();
                    reply.raw_bytes(Bytes::from(vec![0; count]));
                    Answer::Reply(reply)
                }
                PANIC => panic!("as asked"),
                SILENCE => Answer::None,
                RESERVED => {
                    let count = usize::try_from(call.args.u32().unwrap()).unwrap();
                    let Some(room) = connection.reserve(count).await else { return Answer::None };
                    behaviour.made_bytes.fetch_add(count, Ordering::SeqCst);
                    let data = Counted { bytes: vec![0; count], made: Arc::clone(&behaviour) };
                    reply.raw_bytes(Bytes::from_owner(data));
                    Answer::Reserved(reply, room)
                }
                _ => Answer::Reply(proc_unavail(call.header.xid)),
            };
            behaviour.finished.fetch_add(1, Ordering::SeqCst);
            answer
        })
    }

    fn closed(&self, connection_id: u64) {
        self.0.closed.lock().unwrap().push(connection_id);
    }
}

/// A network with one server on it.
pub(crate) struct Bed {
    pub(crate) net: Arc<MemoryNet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) server: Server,
    pub(crate) service: Arc<Behaved>,
    pub(crate) limits: Limits,
}

impl Bed {
    pub(crate) async fn new(limits: Limits) -> Self {
        Self::with_clock(limits, Arc::new(OsClock::new())).await
    }

    pub(crate) async fn with_clock(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let (net, service) = (Arc::new(MemoryNet::new()), Behaviour::service());
        let addr = SocketAddr::from(([10, 0, 0, 1], 0));
        let server = serve(net.clone(), Arc::clone(&clock), addr, service.clone(), limits).await.unwrap();
        Self { net, clock, server, service, limits }
    }

    pub(crate) fn client(&self) -> RpcClient {
        RpcClient::new(self.net.clone(), Arc::clone(&self.clock), self.server.local_addr(), self.limits)
    }

    pub(crate) async fn raw(&self) -> Raw {
        self.raw_from(1).await
    }

    /// One that comes from another address.
    pub(crate) async fn raw_from(&self, last: u8) -> Raw {
        let net = self.net.seen_from([127, 0, 0, last].into());
        let stream = net.connect(self.server.local_addr()).await.unwrap();
        Raw { stream, assembler: RecordAssembler::new(64 << 20) }
    }
}

/// A peer that sends what it likes.
pub(crate) struct Raw {
    pub(crate) stream: Stream,
    assembler: RecordAssembler,
}

impl Raw {
    /// Sends all bytes, or stops where the other side hung up.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stream.write.write(&[std::io::IoSlice::new(bytes)]).await {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => return,
            }
        }
    }

    pub(crate) async fn send_record(&mut self, record: &[u8]) {
        self.send(&[&wire_rpc::mark_bytes(record.len()), record].concat()).await;
    }

    /// The next record; none if the other side hung up.
    pub(crate) async fn record(&mut self) -> Option<Bytes> {
        loop {
            if let Some(record) = self.assembler.next_record().unwrap() {
                return Some(record);
            }
            let (buffer, wanted) = self.assembler.wanted();
            if self.stream.read.read(buffer, wanted).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Whether the other side has hung up.
    pub(crate) async fn is_cut(&mut self) -> bool {
        let mut buffer = BytesMut::with_capacity(64);
        matches!(self.stream.read.read(&mut buffer, 64).await, Ok(0) | Err(_))
    }
}

pub(crate) fn words(words: &[u32]) -> Writer {
    let mut writer = Writer::new();
    words.iter().for_each(|word| writer.u32(*word));
    writer
}

pub(crate) async fn call(client: &RpcClient, procedure: u32, args: Writer) -> Result<Reader, CallError> {
    client.call(PROGRAM, 1, procedure, &Credential::None, args, 60_000).await
}

/// Lets every task that can run do so.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Moves time in small steps, letting everybody see each.
pub(crate) async fn pass_ms(clock: &ManualClock, ms: u64) {
    for _ in 0..20 {
        clock.advance_ms(ms / 20);
        settle().await;
    }
}
