//! The compound loop: SEQUENCE first, then one row of the table after the other until one fails.
//!
//! The loop knows no operation but SEQUENCE. The slot is completed however an operation ends.
//!
//! INVARIANT: a SEQUENCE that moved its slot is answered OK: all checks that can refuse it come
//! before.
//!
//! Spec: RFC 8881 §2.10.6, §15.1, §16.2.

use env_transport::LogRate;
use std::sync::Arc;

use mds_namespace::Ino;
use mds_state::Outcome;
use wire_nfs::v4::compound::{CompoundHeader, ReplyWriter, decode_op, encode_refusal};
use wire_nfs::v4::ops::sequence;
use wire_nfs::v4::{Bitmap, Nfsstat4, Op};
use wire_session::server::slot::fingerprint;
use wire_session::server::{Admitted, Arrival, ConnectionId, SlotToken, Verdict};
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::context::{Context, Failure, InSession};
use crate::limits::SLOW_MS;
use crate::op_table::{Needs, Row, row};
use crate::server::Server;
use crate::slow;
use crate::status;

/// Limit of a reply, and the status beyond it.
#[derive(Clone, Copy)]
struct Room {
    bytes_max: usize,
    overflow: Nfsstat4,
}

/// A compound outside of a session has one operation with a short reply.
const ROOM_OUTSIDE: Room = Room { bytes_max: 64 << 10, overflow: Nfsstat4::RepTooBig };

/// Runs a compound and writes its reply, from the status on.
///
/// # Errors
/// Arguments that are no compound at all: the caller answers GARBAGE_ARGS.
pub(crate) async fn run_compound(cx: &mut Context, mut request: Reader) -> Result<Writer, XdrError> {
    let header = CompoundHeader::decode(&mut request)?;
    let mut w = Writer::new();
    if !(1..=2).contains(&header.minor_version) {
        encode_refusal(&mut w, Nfsstat4::MinorVersMismatch, &header.tag);
        return Ok(w);
    }
    cx.minor_version = header.minor_version;
    cx.operation_count = header.op_count;
    if header.op_count == 0 {
        encode_refusal(&mut w, Nfsstat4::Ok, &header.tag);
        return Ok(w);
    }
    if let Err(status) = header.check_op_count() {
        // RFC 8881 §15.1.3.4: more operations than any session is granted. The rest need not
        // decode.
        encode_refusal(&mut w, status, &header.tag);
        return Ok(w);
    }
    let first = decode_op(&mut request)?;
    if first == Ok(Op::Sequence) {
        return in_session(cx, &header, request).await;
    }
    let mut reply = ReplyWriter::begin(&mut w, &header.tag);
    let status = match first {
        Err(_) => refuse(&mut reply, &mut w, Op::Illegal, Nfsstat4::OpIllegal),
        Ok(op) => match row(op).filter(|row| row.needs == Needs::Nothing) {
            None => refuse(&mut reply, &mut w, op, Nfsstat4::OpNotInSession),
            Some(_) if header.op_count != 1 => refuse(&mut reply, &mut w, op, Nfsstat4::NotOnlyOp),
            Some(row) => execute(cx, row, &mut request, &mut reply, &mut w, ROOM_OUTSIDE).await,
        },
    };
    reply.finish(&mut w, status);
    Ok(w)
}

/// Executes a compound that begins with SEQUENCE.
async fn in_session(
    cx: &mut Context,
    header: &CompoundHeader,
    mut request: Reader,
) -> Result<Writer, XdrError> {
    let args = sequence::Args::decode(&mut request)?;
    let operations = request.rest();
    let arrival = Arrival {
        connection: ConnectionId(cx.connection.id()),
        record_bytes: cx.request_bytes,
        op_count: header.op_count,
        minor_version: header.minor_version,
        fingerprint: fingerprint(&cx.principal, header.op_count, &operations),
    };
    let verdict = cx.server.sequence(&args, &arrival).await;
    let mut w = Writer::new();
    let admitted = match verdict {
        Verdict::Execute(admitted) => admitted,
        Verdict::Replay(reply) => {
            cx.server.metrics.replayed();
            w.raw_bytes(reply);
            return Ok(w);
        }
        Verdict::Reject(status) => return Ok(refuse_sequence(cx, header, status)),
        Verdict::Unknown => return Ok(refuse_sequence(cx, header, Nfsstat4::Badsession)),
    };
    let completion = Completion { server: Arc::clone(&cx.server), token: Some(admitted.token) };
    cx.session = Some(InSession {
        id: admitted.token.session.0,
        client: admitted.token.client,
        slot: admitted.token.slot,
        sequence: admitted.token.sequence,
        request: arrival.fingerprint,
        tenure: admitted.token.tenure,
        again: admitted.again,
    });
    let mut reply = ReplyWriter::begin(&mut w, &header.tag);
    let status = rest_of_compound(cx, header, &admitted, Reader::new(operations), &mut reply, &mut w).await;
    if let Some(status) = cx.disowned.get().copied() {
        // No reply that another node might contradict.
        static RATE: LogRate = LogRate::new();
        if let Some(suppressed) = RATE.admit(cx.server.now_ms()) {
            tracing::info!(
                client = admitted.token.client,
                status = status.name(),
                suppressed,
                "request abandoned: the client has to resend it"
            );
        }
        drop(completion);
        return Ok(refuse_sequence(cx, header, status));
    }
    reply.finish(&mut w, status);
    completion.complete(admitted.cache.then_some(&w));
    Ok(w)
}

/// The reply to a compound whose SEQUENCE is refused: the client's slot is unchanged.
fn refuse_sequence(cx: &mut Context, header: &CompoundHeader, status: Nfsstat4) -> Writer {
    let mut w = Writer::new();
    let mut reply = ReplyWriter::begin(&mut w, &header.tag);
    reply.op_status(&mut w, Op::Sequence.as_u32(), status);
    reply.finish(&mut w, status);
    cx.server.metrics.operation(Op::Sequence.name(), status.name(), 0.0);
    cx.delayed = status == Nfsstat4::Delay;
    w
}

async fn rest_of_compound(
    cx: &mut Context,
    header: &CompoundHeader,
    admitted: &Admitted,
    mut request: Reader,
    reply: &mut ReplyWriter,
    w: &mut Writer,
) -> Nfsstat4 {
    let result = reply.begin_op(w, Op::Sequence.as_u32());
    admitted.result.encode(w);
    result.finish(w, Nfsstat4::Ok);
    let room = Room { bytes_max: admitted.reply_bytes_max, overflow: admitted.reply_overflow };
    if 1 < header.op_count && cx.server.shards.read_barrier().await.is_err() {
        delay_whole_if_again(cx, Nfsstat4::Delay);
        return refuse_next(&mut request, reply, w, Nfsstat4::Delay);
    }
    for operation in 1..header.op_count {
        (cx.operation, cx.may_repeat) = (operation, false);
        if cx.server.shards.pass(under_hand(cx)).await.is_err() {
            delay_whole_if_again(cx, Nfsstat4::Delay);
            return refuse_next(&mut request, reply, w, Nfsstat4::Delay);
        }
        let status = match decode_op(&mut request) {
            Err(_) => refuse(reply, w, Op::Illegal, Nfsstat4::Badxdr),
            Ok(Err(_)) => refuse(reply, w, Op::Illegal, Nfsstat4::OpIllegal),
            Ok(Ok(op)) => match serve(cx, op) {
                Ok(row) => execute(cx, row, &mut request, reply, w, room).await,
                Err(status) => refuse(reply, w, op, status),
            },
        };
        if !status.is_ok() {
            delay_whole_if_again(cx, status);
            return status;
        }
    }
    Nfsstat4::Ok
}

/// The objects an operation may touch: it waits for acts on several shards that change them.
fn under_hand(cx: &Context) -> impl Iterator<Item = Ino> + use<> {
    [cx.current, cx.saved].into_iter().flatten().map(|handle| handle.ino)
}

/// An operation's DELAY makes the client retry with a new request. If another node has executed
/// this request, or may have, the retry would execute it a second time: then SEQUENCE itself is
/// answered DELAY, and the request stays the same.
fn delay_whole_if_again(cx: &Context, status: Nfsstat4) {
    let again = cx.session.is_some_and(|session| session.again);
    if again
        && status == Nfsstat4::Delay
        && !cx.may_repeat
        && !was_delayed(cx.recorded().ok().flatten().as_ref())
    {
        // It may be disowned for another reason already.
        let _ = cx.disowned.set(Nfsstat4::Delay);
    }
}

/// Whether the recorded outcome of an operation is DELAY. It did nothing then; and as long as its
/// request stays the same, so does the record.
fn was_delayed(recorded: Option<&Outcome>) -> bool {
    match recorded {
        Some(Outcome::Refused(refusal)) => status::of_refusal(refusal) == Nfsstat4::Delay,
        Some(_) | None => false,
    }
}

/// The row of an operation that may run here and now.
fn serve(cx: &Context, op: Op) -> Result<&'static Row, Nfsstat4> {
    if op == Op::Sequence {
        return Err(Nfsstat4::SequencePos);
    }
    if op == Op::BindConnToSession {
        return Err(Nfsstat4::NotOnlyOp);
    }
    if cx.minor_version < op.minor_version() {
        return Err(Nfsstat4::OpIllegal);
    }
    let row = row(op).ok_or(Nfsstat4::Notsupp)?;
    if row.needs == Needs::Filehandle && cx.current.is_none() {
        return Err(Nfsstat4::Nofilehandle);
    }
    Ok(row)
}

async fn execute(
    cx: &mut Context,
    row: &Row,
    request: &mut Reader,
    reply: &mut ReplyWriter,
    w: &mut Writer,
    room: Room,
) -> Nfsstat4 {
    // An operation that changes state must not run if its reply may not fit.
    let answer_bytes_max = usize::try_from(row.reply_bytes_max).expect("usize has 32 bits at least") + 8;
    if row.mutates && room.bytes_max < w.len() + answer_bytes_max {
        return refuse(reply, w, row.op, room.overflow);
    }
    let started_ns = cx.server.env.clock.monotonic_ns();
    let result = reply.begin_op(w, row.op.as_u32());
    let (outcome, waited) = slow::noting((row.run)(cx, request, w)).await;
    let status = match outcome {
        Ok(()) if room.bytes_max < w.len() => {
            result.fail(w, room.overflow);
            room.overflow
        }
        Ok(()) => {
            result.finish(w, Nfsstat4::Ok);
            Nfsstat4::Ok
        }
        Err(Failure { status, body }) => {
            debug_assert!(!status.is_ok());
            match body {
                // The body is a buffer of its own: bytes written in place are dropped with the
                // result.
                Some(body) => {
                    w.append(body);
                    result.finish(w, status);
                }
                None => {
                    result.fail(w, status);
                    put_failure_body(w, row.op);
                }
            }
            status
        }
    };
    tracing::debug!(
        client = cx.session.map_or(0, |session| session.client),
        op = row.op.name(),
        ino = cx.current.map_or(0, |handle| handle.ino),
        status = status.name(),
        "operation"
    );
    let spent_ns = cx.server.env.clock.monotonic_ns().saturating_sub(started_ns);
    if SLOW_MS * 1_000_000 <= spent_ns {
        let (waited_ms, what) =
            waited.map_or_else(|| (0, "-".to_owned()), |(ms, wait)| (ms, wait.to_string()));
        static RATE: LogRate = LogRate::new();
        if let Some(suppressed) = RATE.admit(cx.server.now_ms()) {
            tracing::info!(
                client = cx.session.map_or(0, |session| session.client),
                op = row.op.name(),
                ino = cx.current.map_or(0, |handle| handle.ino),
                status = status.name(),
                spent_ms = spent_ns / 1_000_000,
                waited_ms,
                waited_for = %what,
                suppressed, "slow operation"
            );
        }
    }
    cx.server.metrics.operation(
        row.op.name(),
        status.name(),
        std::time::Duration::from_nanos(spent_ns).as_secs_f64(),
    );
    status
}

fn refuse(reply: &mut ReplyWriter, w: &mut Writer, op: Op, status: Nfsstat4) -> Nfsstat4 {
    reply.op_status(w, op.as_u32(), status);
    put_failure_body(w, op);
    status
}

/// The bytes after the status of an operation that failed early. RFC 8881 §18.30.2: SETATTR always
/// returns the attributes that were set.
fn put_failure_body(w: &mut Writer, op: Op) {
    if op == Op::Setattr {
        Bitmap::EMPTY.encode(w);
    }
}

fn refuse_next(request: &mut Reader, reply: &mut ReplyWriter, w: &mut Writer, status: Nfsstat4) -> Nfsstat4 {
    match decode_op(request) {
        Ok(Ok(op)) => refuse(reply, w, op, status),
        Ok(Err(_)) | Err(_) => refuse(reply, w, Op::Illegal, Nfsstat4::OpIllegal),
    }
}

/// Completes the slot. If the request is dropped or panics half-way, a command of it may still be
/// applied: then the session is given up, and the node that resumes it next finds out.
struct Completion {
    server: Arc<Server>,
    token: Option<SlotToken>,
}

impl Completion {
    fn complete(mut self, reply: Option<&Writer>) {
        let token = self.token.take().expect("completed once");
        let kept = reply.map(Writer::to_bytes);
        self.server.front.sessions.lock().complete(token, kept);
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            tracing::debug!(client = token.client, slot = token.slot, "request ended without a reply");
            self.server.front.sessions.lock().disown(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use mds_namespace::FsError;
    use mds_state::Refusal;

    use super::*;

    /// A request whose SEQUENCE is answered DELAY is resent unchanged, and its record does not
    /// change: the client would retry for ever. An operation that changed state is not answered
    /// DELAY, whatever follows it.
    #[test]
    fn only_a_recorded_delay_is_answered_by_itself() {
        let refused = [Refusal::TableFull, Refusal::Busy, Refusal::Namespace(FsError::Busy)];
        for refusal in refused {
            assert!(was_delayed(Some(&Outcome::Refused(refusal))));
        }
        assert!(!was_delayed(Some(&Outcome::Refused(Refusal::Namespace(FsError::Exists)))));
        assert!(!was_delayed(Some(&Outcome::Done)));
        assert!(!was_delayed(None), "it may have been executed, and be recorded later");
    }
}
