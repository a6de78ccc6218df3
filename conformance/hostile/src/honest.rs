//! The honest client: two sessions that do what an application does, and compare every byte with
//! what they wrote.
//!
//! It runs on a thread of its own, so that an attack does not hold it up inside this process. What
//! a server refuses for now is repeated; the time that takes counts. One session works with names
//! and small files, the other with a large file at its data server.
//!
//! INVARIANT: a WRITE is repeated until it is acknowledged, so the model says what each byte must
//! be.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use wire_nfs::v3::Nfsstat3;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::layout::Iomode;

use crate::failed::{During, Outcome, failed};
use crate::layouts::{self, DataPort, Held};
use crate::limits::{
    HONEST_FILE_BYTES, HONEST_PAUSE_MS, HONEST_SMALL_BYTES, HONEST_TRANSFER_BYTES, LEAVE_MS_MAX,
    PATIENCE_MS_MAX, REPEAT_MS,
};
use crate::meter::{Meter, Session, timed};
use crate::net::Via;
use crate::session::Client;
use crate::tree::{self, Opened};

/// Its large file.
pub(crate) const LARGE: &str = "honest-large";
/// Its directory of small files.
pub(crate) const SMALL: &str = "honest-small";

/// The host that it is.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// An honest client at work. Ends when it is dropped.
pub(crate) struct Honest {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    ready: AtomicU64,
    /// Creating is left out: what needs room is refused while a disk is full.
    sparing: AtomicBool,
    recalls: AtomicU64,
    meter: Arc<Meter>,
}

impl Honest {
    /// Begins, and waits until both sessions have their files.
    pub(crate) async fn begin(server: SocketAddr, reserved: bool, meter: Arc<Meter>) -> Outcome<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            ready: AtomicU64::new(0),
            sparing: AtomicBool::new(false),
            recalls: AtomicU64::new(0),
            meter,
        });
        let own = Arc::clone(&shared);
        let via = Via::host(HOST, reserved);
        let thread = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                let names = work_with_names(&own, via, server);
                let bytes = work_with_bytes(&own, via, server);
                let work = async { tokio::join!(told(&own, "names", names), told(&own, "bytes", bytes)) };
                // A server that is gone would keep it waiting for long.
                tokio::select! {
                    _ = work => {}
                    () = own.left_alone() => {}
                }
            });
        });
        let honest = Self { shared, thread: Some(thread) };
        let until = Instant::now() + Duration::from_secs(60);
        while honest.shared.ready.load(Ordering::SeqCst) < 2 {
            if until < Instant::now() || honest.shared.meter.error_count() != 0 {
                let (errors, _) = honest.shared.meter.faults();
                return Err(failed(format!("the honest client cannot begin: {}", errors.join("; "))));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(honest)
    }

    /// Leaves out what needs room, or does it again.
    pub(crate) fn spare(&self, sparing: bool) {
        self.shared.sparing.store(sparing, Ordering::SeqCst);
    }

    /// How many of its layouts were recalled.
    pub(crate) fn recalls(&self) -> u64 {
        self.shared.recalls.load(Ordering::SeqCst)
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// Returns when it was told to stop, and had time to leave in good order.
    async fn left_alone(&self) {
        while self.goes_on() {
            sleep(Duration::from_millis(REPEAT_MS)).await;
        }
        sleep(Duration::from_millis(LEAVE_MS_MAX)).await;
    }
}

async fn told(shared: &Shared, what: &str, work: impl Future<Output = Outcome<()>>) {
    if let Err(error) = work.await
        && shared.goes_on()
    {
        shared.meter.error(format!("the honest client's {what} ended: {error}"));
    }
}

/// Bytes that follow from a number, and that no other number gives.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}

async fn work_with_names(shared: &Shared, via: Via, server: SocketAddr) -> Outcome<()> {
    let mut client = Client::begin(via, server, 0, "honest names").await?;
    tree::make_directory(&mut client, SMALL, 0o755).await?;
    let kept = format!("{SMALL}/kept");
    let model = pattern(1, HONEST_SMALL_BYTES);
    let file = tree::open_file(&mut client, &kept, 0o644).await?;
    tree::write_file(&mut client, &file, 0, Bytes::from(model.clone())).await?;
    shared.ready.fetch_add(1, Ordering::SeqCst);
    let mut turn = 0_u64;
    while shared.goes_on() {
        turn += 1;
        match timed(&shared.meter, Session::Names, tree::stat(&mut client, &kept)).await.during("stat")? {
            bytes if bytes == HONEST_SMALL_BYTES as u64 => {}
            bytes => shared.meter.wrong(format!("a file of {HONEST_SMALL_BYTES} bytes has {bytes}")),
        }
        let read = timed(&shared.meter, Session::Names, tree::read_file(&mut client, &file, 0, 4096)).await;
        compare(shared, "a small file", &read.during("READ of a small file")?.data, &model);
        if !shared.sparing.load(Ordering::SeqCst) {
            let made = make_and_remove(shared, &mut client, turn).await;
            // Room that ran out just now is no fault while the disk is full.
            if !shared.sparing.load(Ordering::SeqCst) {
                made?;
            }
        }
        sleep(Duration::from_millis(HONEST_PAUSE_MS)).await;
    }
    client.end().await
}

async fn make_and_remove(shared: &Shared, client: &mut Client, turn: u64) -> Outcome<()> {
    let path = format!("{SMALL}/file-{turn}");
    let model = pattern(turn, HONEST_SMALL_BYTES);
    let file =
        timed(&shared.meter, Session::Names, tree::open_file(client, &path, 0o644)).await.during("OPEN")?;
    let write = tree::write_file(client, &file, 0, Bytes::from(model.clone()));
    timed(&shared.meter, Session::Names, write).await.during("WRITE of a small file")?;
    let read = timed(&shared.meter, Session::Names, tree::read_file(client, &file, 0, 4096)).await;
    compare(shared, "a new file", &read.during("READ of a new file")?.data, &model);
    tree::close_file(client, &file).await.during("CLOSE")?;
    tree::good(timed(&shared.meter, Session::Names, tree::remove_name(client, &path)).await?, "REMOVE")
}

fn compare(shared: &Shared, what: &str, got: &[u8], model: &[u8]) {
    if got != model {
        let count = got.iter().zip(model).filter(|(got, model)| got != model).count();
        let (came, wanted) = (got.len(), model.len());
        shared.meter.wrong(format!("{what}: {count} bytes differ, {came} of {wanted} came"));
    }
}

/// The large file, what it must hold, and the way to it.
struct Large<'a> {
    shared: &'a Shared,
    client: Client,
    file: Opened,
    via: Via,
    way: Option<(Held, DataPort)>,
    model: Vec<u8>,
}

async fn work_with_bytes(shared: &Shared, via: Via, server: SocketAddr) -> Outcome<()> {
    let mut client = Client::begin(via, server, 0, "honest bytes").await?;
    let file = tree::open_file(&mut client, LARGE, 0o644).await?;
    let mut large = Large { shared, client, file, via, way: None, model: pattern(2, HONEST_FILE_BYTES) };
    for block in 0..blocks() {
        large.write(block).await?;
    }
    shared.ready.fetch_add(1, Ordering::SeqCst);
    let mut state = 88_172_645_463_325_252_u64;
    while shared.goes_on() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let block = usize::try_from(state % blocks() as u64).unwrap_or(0);
        let at = block * HONEST_TRANSFER_BYTES;
        let fresh = pattern(state, HONEST_TRANSFER_BYTES);
        large.model[at..at + HONEST_TRANSFER_BYTES].copy_from_slice(&fresh);
        timed(&shared.meter, Session::Bytes, large.write(block)).await.during("WRITE")?;
        let other = usize::try_from((state >> 32) % blocks() as u64).unwrap_or(0);
        let got = timed(&shared.meter, Session::Bytes, large.read(other)).await.during("READ")?;
        large.check(other, &got);
        if state.is_multiple_of(8) {
            let got = timed(&shared.meter, Session::Bytes, large.read_in_band(block))
                .await
                .during("READ in band")?;
            large.check(block, &got);
        }
        sleep(Duration::from_millis(HONEST_PAUSE_MS)).await;
    }
    large.leave().await?;
    tree::close_file(&mut large.client, &large.file).await?;
    large.client.end().await
}

fn blocks() -> usize {
    HONEST_FILE_BYTES / HONEST_TRANSFER_BYTES
}

impl Large<'_> {
    fn check(&self, block: usize, got: &[u8]) {
        let at = block * HONEST_TRANSFER_BYTES;
        compare(self.shared, &format!("block {block}"), got, &self.model[at..at + HONEST_TRANSFER_BYTES]);
    }

    /// A layout and a connection; another one when that was recalled.
    async fn way(&mut self) -> Outcome<&(Held, DataPort)> {
        if self.client.callbacks.take_recalled() {
            let recalls = u64::from(self.client.callbacks.recalls());
            self.shared.recalls.store(recalls, Ordering::SeqCst);
            self.leave().await?;
        }
        if self.way.is_none() {
            let held = layouts::take(&mut self.client, &self.file, Iomode::ReadWrite).await?;
            let port = DataPort::new(self.via, held.server);
            self.way = Some((held, port));
        }
        self.way.as_ref().ok_or_else(|| failed("no way"))
    }

    async fn leave(&mut self) -> Outcome<()> {
        match self.way.take() {
            Some((held, _)) => layouts::give_back(&mut self.client, &self.file, &held).await,
            None => Ok(()),
        }
    }

    async fn write(&mut self, block: usize) -> Outcome<()> {
        let at = block * HONEST_TRANSFER_BYTES;
        let data = Bytes::copy_from_slice(&self.model[at..at + HONEST_TRANSFER_BYTES]);
        let until = Instant::now() + Duration::from_millis(PATIENCE_MS_MAX);
        loop {
            let last = match self.way().await {
                Err(error) => error,
                Ok((held, port)) => match port.write(&held.handle, at as u64, data.clone()).await {
                    Ok(Ok(count)) if count as usize == data.len() => return Ok(()),
                    Ok(Ok(count)) => failed(format!("{count} bytes were taken")),
                    Ok(Err(status)) => self.refused(status).await,
                    Err(error) => self.lost(error).await,
                },
            };
            self.again(until, &last).await?;
        }
    }

    async fn read(&mut self, block: usize) -> Outcome<Bytes> {
        let at = (block * HONEST_TRANSFER_BYTES) as u64;
        let count = u32::try_from(HONEST_TRANSFER_BYTES).unwrap_or(u32::MAX);
        let until = Instant::now() + Duration::from_millis(PATIENCE_MS_MAX);
        loop {
            let last = match self.way().await {
                Err(error) => error,
                Ok((held, port)) => match port.read(&held.handle, at, count).await {
                    Ok(Ok(data)) => return Ok(data),
                    Ok(Err(status)) => self.refused(status).await,
                    Err(error) => self.lost(error).await,
                },
            };
            self.again(until, &last).await?;
        }
    }

    async fn read_in_band(&mut self, block: usize) -> Outcome<Bytes> {
        let at = (block * HONEST_TRANSFER_BYTES) as u64;
        let count = u32::try_from(HONEST_TRANSFER_BYTES).unwrap_or(u32::MAX);
        let until = Instant::now() + Duration::from_millis(PATIENCE_MS_MAX);
        loop {
            match tree::read_file(&mut self.client, &self.file, at, count).await {
                Ok(read) => return Ok(read.data),
                Err(error) => {
                    // DELAY is repeated by the session: this is an error that an application would
                    // see.
                    self.shared.meter.error(format!("READ in band: {error}"));
                    self.again(until, &error).await?;
                }
            }
        }
    }

    /// What a data server refused: JUKEBOX is waited out, for anything else another layout is
    /// fetched.
    async fn refused(&mut self, status: Nfsstat3) -> crate::failed::Failed {
        if status == Nfsstat3::Nospc {
            self.shared.meter.error("a data server is said to be full".to_owned());
        }
        match status {
            Nfsstat3::Jukebox => {}
            // The handle is of before: that is nothing to report.
            Nfsstat3::Stale | Nfsstat3::Acces | Nfsstat3::Badhandle => self.lose().await,
            _ => self.complain(Nfsstat4::Io).await,
        }
        failed(format!("{status:?}"))
    }

    async fn lost(&mut self, error: crate::failed::Failed) -> crate::failed::Failed {
        self.complain(Nfsstat4::Nxio).await;
        error
    }

    /// Reports an error of the data server, and gives the layout back.
    async fn complain(&mut self, status: Nfsstat4) {
        if let Some((held, _)) = &self.way {
            let place = (held.stateid, held.device);
            if let Err(error) = layouts::report(&mut self.client, &self.file, place, status).await {
                self.shared.meter.error(format!("LAYOUTERROR: {error}"));
            }
        }
        self.lose().await;
    }

    async fn lose(&mut self) {
        if let Err(error) = self.leave().await {
            self.shared.meter.error(format!("LAYOUTRETURN: {error}"));
        }
    }

    async fn again(&self, until: Instant, last: &crate::failed::Failed) -> Outcome<()> {
        if last.0.contains("NOSPC") {
            self.shared.meter.error(last.0.clone());
        }
        if !self.shared.goes_on() || until < Instant::now() {
            return Err(failed(format!("{last}, for too long")));
        }
        sleep(Duration::from_millis(REPEAT_MS)).await;
        Ok(())
    }
}
