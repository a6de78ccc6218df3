//! Processes of one host append records to a log, each by open, append and close; others open it,
//! look, and read it.

use std::sync::Arc;

use bytes::Bytes;
use wire_nfs::v4::ops::open::share;

use super::board::Board;
use super::files::{File, Truncate};
use super::host::Host;
use crate::chance::Chance;
use crate::check::linux::{Appended, DirectRead, Look, RECORD_BYTES};
use crate::client::workload::Whistle;

/// How long a log is in use, and for how long of that is appended to it.
const LOG_NS: u64 = 12_000_000_000;
const APPEND_NS: u64 = 9_000_000_000;
/// All appenders of a host begin at the same moments.
const BURST_NS: u64 = 1_500_000_000;
const BURST_MS_MAX: u64 = 15;
/// Times that a process opens, appends and closes in a burst, at most.
const BURST_APPENDS_MAX: u64 = 4;
/// Between two looks of a process that appends nothing.
const LOOK_MS_MAX: u64 = 500;
/// Bytes that a direct reader asks for at a time.
const DIRECT_BYTES: u64 = 128 << 10;

fn name(log: u64) -> String {
    format!("log-{log}")
}

/// The log of this time, if this host is the one that appends to it now.
fn current(host: &Host, number: usize) -> Option<u64> {
    let log = host.now_ns() / LOG_NS;
    let appends = host.now_ns() % LOG_NS < APPEND_NS;
    (appends && log % 2 == number as u64 % 2).then_some(log)
}

/// A process that appends, until the whistle.
pub(crate) async fn append(
    host: Arc<Host>,
    (number, process): (usize, usize),
    board: Board,
    mut chance: Chance,
    whistle: Whistle,
) {
    let mut record = 0;
    while !whistle.blown() {
        let wait_ns = BURST_NS - host.now_ns() % BURST_NS;
        host.sleep_ms(wait_ns / 1_000_000 + chance.below(BURST_MS_MAX)).await;
        let Some(log) = current(&host, number) else { continue };
        board.begin_append(log);
        for _ in 0..chance.between(1, BURST_APPENDS_MAX + 1) {
            let Some(file) = open(&host, number, log, share::ACCESS_WRITE).await else { break };
            // Now and then two with a pause between: what is written then is of no OPEN's size.
            for _ in 0..*chance.pick(&[1, 1, 1, 2]) {
                record += 1;
                let mark = (log + 1) << 32 | (process as u64 + 1) << 24 | record;
                one_record(&host, (number, process), log, &file, mark).await;
                host.sleep_ms(chance.below(3)).await;
            }
            close(&host, (number, process), log, file).await;
        }
        board.end_append(log);
    }
    board.stop_appending();
    whistle.end();
}

async fn open(host: &Arc<Host>, number: usize, log: u64, access: u32) -> Option<File> {
    let asked_ns = host.now_ns();
    let file = host.open(&name(log), access, Truncate::No).await?;
    let look = Look { host: number, asked_ns, size: file.inode.size() };
    host.client.record.lock().linux_log(log).looks.push(look);
    host.count("log opened");
    Some(file)
}

async fn one_record(host: &Arc<Host>, (number, process): (usize, usize), log: u64, file: &File, mark: u64) {
    let bytes = Bytes::from(mark.to_be_bytes().repeat(RECORD_BYTES as usize / 8));
    let offset = host.append(file, bytes).await;
    let written_ns = host.now_ns();
    let appended = Appended { host: number, process, mark, offset, written_ns, closed_ns: None };
    host.client.record.lock().linux_log(log).appended.push(appended);
    host.count("log appended");
}

async fn close(host: &Arc<Host>, (number, process): (usize, usize), log: u64, file: File) {
    let inode = Arc::clone(&file.inode);
    let written = host.close(file).await;
    let now_ns = host.now_ns();
    let mut record = host.client.record.lock();
    let log = record.linux_log(log);
    log.doubtful |= inode.is_doubtful() || !written;
    let own = log.appended.iter_mut().filter(|one| (one.host, one.process) == (number, process));
    own.filter(|one| one.closed_ns.is_none()).for_each(|one| one.closed_ns = Some(now_ns));
}

/// A process on the host that appends: it opens the log and syncs it, asks for its size, or lists
/// the directory.
pub(crate) async fn poll_log(host: Arc<Host>, number: usize, mut chance: Chance, whistle: Whistle) {
    while !whistle.blown() {
        host.client.pause(LOOK_MS_MAX).await;
        let Some(log) = current(&host, number) else { continue };
        if chance.percent(30) {
            host.list().await;
            continue;
        }
        let Some(file) = open(&host, number, log, share::ACCESS_BOTH).await else { continue };
        match chance.below(2) {
            0 => drop(host.fsync(&file.inode).await),
            _ => {
                let asked_ns = host.now_ns();
                if let Some(size) = host.stat(&file.inode).await {
                    let look = Look { host: number, asked_ns, size };
                    host.client.record.lock().linux_log(log).looks.push(look);
                }
            }
        }
        host.close(file).await;
    }
    whistle.end();
}

/// A process on the other host: `tail -f` with O_DIRECT, through one open. Reads whole logs when
/// they are no longer appended to.
pub(crate) async fn read(host: Arc<Host>, number: usize, board: Board, whistle: Whistle) {
    let mut tailed: Option<(u64, File, u64)> = None;
    let mut is_over = false;
    while !is_over {
        is_over = whistle.blown() && board.appenders_stopped();
        host.client.pause(LOOK_MS_MAX).await;
        let before = if is_over { u64::MAX } else { host.now_ns() / LOG_NS };
        while let Some(log) = board.take_unread(number, before) {
            read_all(&host, number, log).await;
        }
        let log = host.now_ns() / LOG_NS;
        if tailed.as_ref().is_some_and(|(tailed, ..)| *tailed != log)
            && let Some((_, file, _)) = tailed.take()
        {
            host.close(file).await;
        }
        if is_over || current(&host, number).is_some() {
            continue;
        }
        if tailed.is_none() {
            let opened = host.open(&name(log), share::ACCESS_READ, Truncate::No).await;
            tailed = opened.map(|file| (log, file, 0));
        }
        if let Some((log, file, from)) = &mut tailed {
            *from = tail(&host, number, *log, file, *from).await;
        }
    }
    if let Some((_, file, _)) = tailed {
        host.close(file).await;
    }
    whistle.end();
}

/// Reads on from where it was; says where it got to.
async fn tail(host: &Arc<Host>, number: usize, log: u64, file: &File, from: u64) -> u64 {
    let asked_ns = host.now_ns();
    let Some(read) = host.read_direct(file, from, DIRECT_BYTES).await else { return from };
    let to = from + read.bytes.len() as u64;
    let seen = DirectRead { host: number, asked_ns, from, to, nothing: read.nothing };
    let mut record = host.client.record.lock();
    let log = record.linux_log(log);
    log.doubtful |= file.inode.is_doubtful();
    log.direct.push(seen);
    drop(record);
    host.count("log tailed");
    to
}

/// All that is in a log, for the record.
async fn read_all(host: &Arc<Host>, number: usize, log: u64) {
    let Some(file) = open(host, number, log, share::ACCESS_READ).await else {
        return host.client.record.broken(format!("log {log} cannot be opened"));
    };
    let bytes = host.read(&file, 0, u64::MAX).await;
    host.close(file).await;
    let Some(bytes) = bytes else {
        return host.client.record.broken(format!("log {log} cannot be read"));
    };
    let found = bytes.chunks(RECORD_BYTES as usize).map(mark_of).collect();
    host.client.record.lock().linux_log(log).found.push((number, found));
    host.count("log read");
}

/// The mark of a record, if it is one.
fn mark_of(bytes: &[u8]) -> Option<u64> {
    let (words, rest) = bytes.as_chunks::<8>();
    let whole = bytes.len() as u64 == RECORD_BYTES && rest.is_empty();
    let mark = u64::from_be_bytes(*words.first()?);
    (whole && mark != 0 && words.iter().all(|word| u64::from_be_bytes(*word) == mark)).then_some(mark)
}
