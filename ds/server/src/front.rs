//! The data port: NFS version 3 as a stock Linux client speaks it to a data server.
//!
//! READ, WRITE, COMMIT and NULL; the other procedures fail with NOTSUPP in their own shape. The
//! capability in the handle and the address that a client shows it from decide, so any user of
//! AUTH_SYS, and a caller without credentials, may call.
//!
//! QUIRK(linux): kernels probe each data server for NFSACL and LOCALIO: other programs must be
//! refused politely.
//!
//! Spec: RFC 1813 §3; RFC 5531 §9.

use std::sync::Arc;

use env::{BoxFuture, Clock};
use env_transport::{Answer, Call, Connection, LogRate, Room, Service};
use wire_nfs::v3::{Nfsstat3, PROGRAM, Procedure, VERSION, commit, failure, read, write};
use wire_rpc::{
    AuthStat, CallHeader, Credential, accepted_success, auth_error, garbage_args, proc_unavail,
    prog_mismatch, prog_unavail,
};
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use crate::lease::Serving;
use crate::metrics::{ClientLoad, Metrics, Op};
use crate::proc::Primary;
use crate::proc::read::Source;

/// Answers on the data port.
pub(crate) struct DataService {
    port: Arc<DataPort>,
}

/// What requests on the data port are answered with.
pub(crate) struct DataPort {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) load: Arc<ClientLoad>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) source: Source,
    pub(crate) primary: Primary,
}

impl DataService {
    pub(crate) fn new(port: DataPort) -> Self {
        Self { port: Arc::new(port) }
    }
}

impl Service for DataService {
    fn call(&self, call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let (port, connection) = (Arc::clone(&self.port), connection.clone());
        let asked = needs_disk(&call.header);
        let turns = port.serving.disk_turns();
        let own = Arc::clone(&port);
        let mut work = Box::pin(async move {
            let mut room = None;
            let reply = own.answer(&connection, &call.header, call.args, &mut room).await;
            match room {
                Some(room) => Answer::Reserved(reply, room),
                None => Answer::Reply(reply),
            }
        });
        Box::pin(async move {
            tokio::select! {
                biased;
                // A replica has taken the extent over: its answer counts, not this one.
                reply = &mut work => match port.serving.disk_turns() {
                    now if now == turns => reply,
                    _ => asked.map_or(reply, given_up),
                },
                () = port.serving.wait_for_turn(turns) => match asked {
                    Some(asked) => {
                        // The work goes on, as it would if its client had gone away.
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

/// The answer to a request that was under way when the disk was given up: its client is to come
/// back for another layout, now rather than when the disk answers.
fn given_up((xid, procedure): (u32, Procedure)) -> Answer {
    let mut w = accepted_success(xid);
    failure(procedure, Nfsstat3::Stale).expect("only NULL cannot fail").encode(&mut w);
    Answer::Reply(w)
}

/// The outcome of a procedure: an outer error means that its arguments did not decode.
type Done = Result<(Op, Result<(), Nfsstat3>), XdrError>;

impl DataPort {
    /// Makes the reply. The room for answers that it needs it leaves in `room`.
    async fn answer(
        &self,
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
        let mut w = accepted_success(xid);
        let _client = self.load.begin_request();
        let began_ns = self.clock.monotonic_ns();
        let done = match procedure {
            Procedure::Null => return w,
            Procedure::Read => self.read(connection, args, &mut w, room).await,
            Procedure::Write => self.write(connection, args, &mut w).await,
            Procedure::Commit => self.commit(connection, args, &mut w).await,
            _ => Ok((Op::Other, Err(Nfsstat3::Notsupp))),
        };
        let Ok((op, outcome)) = done else { return garbage_args(xid) };
        let status = outcome.err().unwrap_or(Nfsstat3::Ok);
        if status == Nfsstat3::Ok {
            assert_ne!(op, Op::Other, "only READ, WRITE and COMMIT succeed");
            // The client has a handle that only a metadata server can make.
            connection.prove();
        } else {
            // Nothing was appended to `w`: a procedure encodes only what succeeded.
            failure(procedure, status).expect("NULL was answered above").encode(&mut w);
        }
        let spent_ns = self.clock.monotonic_ns().saturating_sub(began_ns);
        if status == Nfsstat3::Jukebox {
            self.log_delay(op, spent_ns);
        }
        self.metrics.count_operation(op, status, spent_ns);
        w
    }

    /// Logs a request that is to come again: rare, and to a client a pause of five seconds.
    fn log_delay(&self, op: Op, spent_ns: u64) {
        static RATE: LogRate = LogRate::new();
        if let Some(suppressed) = RATE.admit(self.clock.monotonic_ms()) {
            tracing::info!(
                op = op.name(),
                waited_ms = spent_ns / 1_000_000,
                suppressed,
                "a client is told to ask again later"
            );
        }
    }

    async fn read(
        &self,
        connection: &Connection,
        args: Reader,
        w: &mut Writer,
        room: &mut Option<Room>,
    ) -> Done {
        let args: read::Args = decode_whole(args)?;
        let outcome = self.source.read(connection, &args).await.map(|(answer, taken)| {
            assert!(room.is_none(), "a request takes room once");
            *room = Some(taken);
            read::put_ok(w, None, answer.eof, &answer.data);
            self.metrics.count_read(answer.bytes);
        });
        Ok((Op::Read, outcome))
    }

    async fn write(&self, connection: &Connection, args: Reader, w: &mut Writer) -> Done {
        let args: write::Args = decode_whole(args)?;
        let from = connection.peer().ip();
        let outcome = self.primary.write(args, from).await.map(|written| {
            self.metrics.count_written(u64::from(written.count));
            write::Res::Ok(written).encode(w);
        });
        Ok((Op::Write, outcome))
    }

    async fn commit(&self, connection: &Connection, args: Reader, w: &mut Writer) -> Done {
        let args: commit::Args = decode_whole(args)?;
        let from = connection.peer().ip();
        let outcome = self.primary.commit(&args, from).await.map(|done| commit::Res::Ok(done).encode(w));
        Ok((Op::Commit, outcome))
    }
}

fn decode_whole<T: Decode>(mut args: Reader) -> Result<T, XdrError> {
    let value = T::decode(&mut args)?;
    args.finish()?;
    Ok(value)
}
