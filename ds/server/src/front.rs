//! The data port: NFS version 3 as a stock Linux client speaks it to a data server.
//!
//! READ, WRITE, COMMIT and NULL; the other procedures fail with NOTSUPP in their own shape. The
//! capability in the handle and the address that it is shown from decide, so any user of AUTH_SYS,
//! and nobody in particular, may call.
//!
//! QUIRK(linux): kernels probe each data server for NFSACL and LOCALIO: other programs must be
//! refused politely.
//!
//! Spec: RFC 1813 §3; RFC 5531 §9.

use std::net::IpAddr;
use std::sync::Arc;

use env::BoxFuture;
use env_transport::{Answer, Call, Connection, LogRate, Room, Service};
use wire_nfs::v3::{Nfsstat3, PROGRAM, Procedure, VERSION, commit, failure, read, write};
use wire_rpc::{
    AuthStat, CallHeader, Credential, accepted_success, auth_error, garbage_args, proc_unavail,
    prog_mismatch, prog_unavail,
};
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::core::Core;
use crate::metrics::Op;
use crate::proc;

/// Answers on the data port.
pub(crate) struct DataService {
    core: Arc<Core>,
}

impl DataService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl Service for DataService {
    fn call(&self, call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let (core, connection) = (Arc::clone(&self.core), connection.clone());
        let asked = needs_disk(&call.header);
        let turns = core.watch.turns();
        let own = Arc::clone(&core);
        let mut work = Box::pin(async move {
            let mut room = None;
            let reply = answer(&own, &connection, &call.header, call.args, &mut room).await;
            match room {
                Some(room) => Answer::Reserved(reply, room),
                None => Answer::Reply(reply),
            }
        });
        Box::pin(async move {
            tokio::select! {
                biased;
                // What a replica has taken over is not for us to answer.
                reply = &mut work => match core.watch.turns() {
                    now if now == turns => reply,
                    _ => asked.map_or(reply, given_up),
                },
                () = core.watch.turned(turns) => match asked {
                    Some(asked) => {
                        // It goes on, as it would if its client had gone away.
                        drop(tokio::spawn(work));
                        given_up(asked)
                    }
                    None => work.await,
                },
            }
        })
    }
}

/// The number and procedure of a request that cannot be answered without the disk.
fn needs_disk(header: &CallHeader) -> Option<(u32, Procedure)> {
    let is_ours = header.program == PROGRAM && header.version == VERSION;
    let procedure = Procedure::from_u32(header.procedure).filter(|_| is_ours)?;
    let needs = matches!(procedure, Procedure::Read | Procedure::Write | Procedure::Commit);
    needs.then_some((header.xid, procedure))
}

/// What a request gets that was under way when the disk was given up: its client is to come back
/// for another layout, now rather than when the disk answers.
fn given_up((xid, procedure): (u32, Procedure)) -> Answer {
    let mut w = accepted_success(xid);
    failure(procedure, Nfsstat3::Stale).expect("only NULL cannot fail").encode(&mut w);
    Answer::Reply(w)
}

/// Makes the reply. What it needs of the room for answers it leaves in `room`.
async fn answer(
    core: &Arc<Core>,
    connection: &Connection,
    header: &CallHeader,
    args: Reader,
    room: &mut Option<Room>,
) -> Writer {
    let xid = header.xid;
    if header.program != PROGRAM {
        return prog_unavail(xid);
    }
    if header.version != VERSION {
        return prog_mismatch(xid, VERSION, VERSION);
    }
    if matches!(header.credential, Credential::Other(_)) {
        return auth_error(xid, AuthStat::REJECTEDCRED);
    }
    let Some(procedure) = Procedure::from_u32(header.procedure) else { return proc_unavail(xid) };
    let from = connection.peer().ip();
    let mut w = accepted_success(xid);
    let _client = core.client();
    let began_ns = core.env.clock.monotonic_ns();
    let done = match procedure {
        Procedure::Null => return w,
        Procedure::Read => read(core, connection, args, &mut w, room).await,
        Procedure::Write => write(core, args, from, &mut w).await,
        Procedure::Commit => commit(core, args, from, &mut w).await,
        _ => Ok((Op::Other, Err(Nfsstat3::Notsupp))),
    };
    let Ok((op, outcome)) = done else { return garbage_args(xid) };
    let status = outcome.err().unwrap_or(Nfsstat3::Ok);
    if status == Nfsstat3::Ok {
        // It has a handle that only a metadata server can make.
        connection.prove();
    } else {
        // Nothing was appended to `w`: a procedure encodes only what succeeded.
        failure(procedure, status).expect("NULL was answered above").encode(&mut w);
    }
    let spent_ns = core.env.clock.monotonic_ns().saturating_sub(began_ns);
    if status == Nfsstat3::Jukebox {
        // Rare, and to a client a pause of five seconds.
        static RATE: LogRate = LogRate::new();
        if let Some(suppressed) = RATE.admit(core.env.clock.monotonic_ms()) {
            tracing::info!(
                op = op.name(),
                waited_ms = spent_ns / 1_000_000,
                suppressed,
                "a client is told to ask again later"
            );
        }
    }
    core.metrics.operation(op, status, spent_ns);
    w
}

/// What a procedure came to: an outer error means that its arguments did not decode.
type Done = Result<(Op, Result<(), Nfsstat3>), XdrError>;

async fn read(
    core: &Arc<Core>,
    connection: &Connection,
    args: Reader,
    w: &mut Writer,
    room: &mut Option<Room>,
) -> Done {
    let args: read::Args = whole(args)?;
    let outcome = proc::read::run(core, connection, &args).await.map(|(answer, taken)| {
        *room = Some(taken);
        read::put_ok(w, None, answer.eof, &answer.data);
        core.metrics.data_read(answer.bytes);
    });
    Ok((Op::Read, outcome))
}

async fn write(core: &Arc<Core>, args: Reader, from: IpAddr, w: &mut Writer) -> Done {
    let args: write::Args = whole(args)?;
    let outcome = proc::write::run(core, args, from).await.map(|written| {
        core.metrics.data_written(u64::from(written.count));
        write::Res::Ok(written).encode(w);
    });
    Ok((Op::Write, outcome))
}

async fn commit(core: &Arc<Core>, args: Reader, from: IpAddr, w: &mut Writer) -> Done {
    let args: commit::Args = whole(args)?;
    let outcome = proc::commit::run(core, &args, from).await.map(|done| commit::Res::Ok(done).encode(w));
    Ok((Op::Commit, outcome))
}

fn whole<T: Decode>(mut args: Reader) -> Result<T, XdrError> {
    let value = T::decode(&mut args)?;
    args.finish()?;
    Ok(value)
}
