//! Clients write marks into blocks of files that they share, read them, and cut files.

use bytes::Bytes;
use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::write::StableHow;
use wire_nfs::v4::ops::{getattr, open, read, setattr, write};
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Filehandle, Nfsstat4, Op, Stateid};

use super::compound::{Operations, Reply};
use super::opens::owner;
use super::session::{Called, Client};
use crate::chance::Chance;
use crate::check::content::{BLOCKS, Blocks, FileAct, FileAnswer};
use crate::record::Place;

/// Bytes of a block: one mark, repeated.
pub(crate) const BLOCK_BYTES: u64 = 512;

/// A write that takes so long may have been tried again on its way.
const SLOW_NS: u64 = 500_000_000;

/// How the blocks of a file lie: together, so that it stays with its metadata, or apart, so that it
/// goes to a data server.
pub(crate) fn shape(place: Place) -> Blocks {
    let stride_bytes = if place.1.is_multiple_of(2) { BLOCK_BYTES } else { 16 << 10 };
    Blocks { stride_bytes, block_bytes: BLOCK_BYTES }
}

/// Whether clients cut it too: one that stays with its metadata, and if it is asked for one that
/// does not.
pub(crate) fn is_cut(place: Place, cuts: bool) -> bool {
    place.1 == 0 || cuts && place.1 == 1
}

/// Whether its blocks go to data servers.
fn is_in_extents(place: Place) -> bool {
    BLOCK_BYTES < shape(place).stride_bytes
}

/// A file that a client has open.
pub(crate) struct Opened {
    pub(crate) handle: Filehandle,
    pub(crate) stateid: Stateid,
    /// The client id that it was opened under.
    pub(crate) clientid: u64,
}

/// Opens a file at the root, and makes it if it is not there.
pub(crate) async fn open_file(client: &Client, name: &str) -> Option<Opened> {
    let clientid = client.clientid();
    let attributes = Fattr4::from_values(&AttrValues { mode: Some(0o666), ..AttrValues::default() });
    let args = open::Args {
        seqid: 0,
        share_access: share::ACCESS_BOTH,
        share_deny: share::DENY_NONE,
        owner: owner(client, "content"),
        how: OpenHow::Create(CreateHow::Unchecked(attributes)),
        claim: Claim::Null(Bytes::copy_from_slice(name.as_bytes())),
    };
    let called = client.call(Operations::at_root().then(Op::Open, &args).then_handle()).await;
    let Called::Reply(mut reply) = called else { return None };
    reply.skip(&[Op::Putrootfh]).ok()?;
    let opened: open::ResOk = reply.next(Op::Open).ok()?;
    // Sequence 0 of a stateid is whatever it is now.
    let stateid = Stateid { seqid: 0, ..opened.stateid };
    Some(Opened { handle: reply.handle().ok()?, stateid, clientid })
}

/// Does one thing with a file; says whether it may be used on.
pub(crate) async fn act(client: &Client, chance: &mut Chance, place: Place, file: &Opened) -> bool {
    let block = chance.index(BLOCKS);
    let act = match chance.below(100) {
        0..45 => FileAct::Write { block, mark: chance.next() | 1, in_doubt: false },
        45..50 if is_cut(place, client.record.cuts) => FileAct::Cut { blocks: block },
        50..56 => FileAct::Length,
        _ => FileAct::Read { block },
    };
    record(client, place, file, act).await
}

/// Does this, for the record.
pub(crate) async fn record(client: &Client, place: Place, file: &Opened, act: FileAct) -> bool {
    let operations = operations(file, place, &act, client.record.times);
    let asked_ns = client.now_ns();
    let at = client.record.begin_file(place, client.number, asked_ns, act.clone());
    let Called::Reply(mut reply) = client.call(operations).await else {
        client.record.count("content: unknown");
        if may_be_written_twice(place, &act) {
            client.record.begin_file(place, client.number, asked_ns, act);
        }
        return true;
    };
    let now_ns = client.now_ns();
    match answer(client, &mut reply, &act) {
        Ok(answer) => {
            client.record.count(format!("content: {}", kind(&act)));
            client.record.end_file(place, at, now_ns, answer);
            let tried_again = reply.sent_before
                || client.record.was_trouble_since(asked_ns)
                || SLOW_NS <= now_ns - asked_ns;
            if tried_again && may_be_written_twice(place, &act) {
                client.record.begin_file(place, client.number, asked_ns, act);
            }
            true
        }
        Err(status) => {
            client.record.count(format!("content: {} {}", kind(&act), status.name()));
            if is_in_extents(place) && matches!(status, Nfsstat4::Nospc | Nfsstat4::Delay) {
                client.record.doubt_file(place, at);
            }
            if status == Nfsstat4::Io {
                let what = || format!("client {}: {act:?} of {place:?}", client.number);
                client.record.io_error(asked_ns, what);
            }
            status == Nfsstat4::Delay
        }
    }
}

/// Bytes of extents go to data servers before the command that tells of them: those of a server
/// that dies in between, or is cut off, may show before and after others'
/// (docs/protocol/sessions.md §5). The same holds if their primary dies: the metadata server writes
/// them again.
fn may_be_written_twice(place: Place, act: &FileAct) -> bool {
    matches!(act, FileAct::Write { .. }) && is_in_extents(place)
}

fn kind(act: &FileAct) -> &'static str {
    match act {
        FileAct::Write { .. } => "write",
        FileAct::Read { .. } => "read",
        FileAct::Cut { .. } => "cut",
        FileAct::Length => "length",
    }
}

fn looked_at(times: bool) -> Bitmap {
    match times {
        true => Bitmap::of(&[numbers::SIZE, numbers::TIME_METADATA, numbers::TIME_MODIFY]),
        false => Bitmap::of(&[numbers::SIZE]),
    }
}

fn operations(file: &Opened, place: Place, act: &FileAct, times: bool) -> Operations {
    let at = Operations::at(&file.handle);
    let stride_bytes = shape(place).stride_bytes;
    match act {
        FileAct::Write { block, mark, .. } => {
            let data = Bytes::from(mark.to_be_bytes().repeat(BLOCK_BYTES as usize / 8));
            let offset = *block as u64 * stride_bytes;
            at.then(
                Op::Write,
                &write::Args { stateid: file.stateid, offset, stable: StableHow::Unstable, data },
            )
        }
        FileAct::Read { block } => {
            let (offset, count) = (*block as u64 * stride_bytes, BLOCK_BYTES as u32);
            at.then(Op::Read, &read::Args { stateid: file.stateid, offset, count })
        }
        FileAct::Cut { blocks } => {
            let size = Some(*blocks as u64 * stride_bytes);
            let attributes = Fattr4::from_values(&AttrValues { size, ..AttrValues::default() });
            at.then(Op::Setattr, &setattr::Args { stateid: file.stateid, attributes })
        }
        FileAct::Length => at.then(Op::Getattr, &getattr::Args { requested: looked_at(times) }),
    }
}

fn answer(client: &Client, reply: &mut Reply, act: &FileAct) -> Result<FileAnswer, Nfsstat4> {
    reply.skip(&[Op::Putfh])?;
    match act {
        FileAct::Write { .. } => {
            let written: write::ResOk = reply.next(Op::Write)?;
            if u64::from(written.count) != BLOCK_BYTES || written.committed != StableHow::FileSync {
                client.record.broken(format!("a write in band was answered {written:?}"));
            }
            Ok(FileAnswer::Done)
        }
        FileAct::Read { .. } => {
            let read: read::ResOk = reply.next(Op::Read)?;
            let marks = read
                .data
                .chunks_exact(8)
                .map(|mark| mark.first_chunk().map(|mark| u64::from_be_bytes(*mark)));
            let marks: Vec<Option<u64>> = marks.collect();
            match marks.first().copied().flatten() {
                None => Ok(FileAnswer::End),
                Some(mark) => {
                    let whole = read.data.len() as u64 == BLOCK_BYTES;
                    if !whole || marks.iter().any(|other| *other != Some(mark)) {
                        client.record.broken(format!(
                            "client {}: {act:?} found a torn block of {} bytes",
                            client.number,
                            read.data.len()
                        ));
                    }
                    Ok(FileAnswer::Mark(mark))
                }
            }
        }
        FileAct::Cut { .. } => {
            let _: setattr::ResOk = reply.next(Op::Setattr)?;
            Ok(FileAnswer::Done)
        }
        FileAct::Length => {
            let attributes: getattr::ResOk = reply.next(Op::Getattr)?;
            let values = attributes.attributes.to_values().map_err(|_| Nfsstat4::Badxdr)?;
            for time in [values.time_modify, values.time_metadata].into_iter().flatten() {
                client.record.file_time(client.now_ns(), time);
            }
            values.size.map(FileAnswer::Length).ok_or(Nfsstat4::Badxdr)
        }
    }
}
