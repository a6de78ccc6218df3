//! Drives one connection, of a server or a client: one task reads and hands out calls, one writes.
//!
//! The reading task also keeps watch over the peer and is the one that ends the connection for all
//! others.
//!
//! INVARIANT: a call holds a place among those under way from before its task starts until its
//! reply is written.

use std::io;
use std::sync::Arc;

use env::Clock;
use env::net::{Stream, StreamRead};
use tokio::sync::{Semaphore, watch};
use wire_rpc::{CallHeader, Message, ParseError, RecordAssembler, RecordError, parse, prog_unavail};
use wire_xdr::Reader;

use crate::activity::{Overdue, watch_period_ms};
use crate::budget::{Budget, Room};
use crate::outbox::write_loop;
use crate::{Answer, Call, Connection, Limits, LogRate, Service};

/// What all connections of one server or client have in common.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) clock: Arc<dyn Clock>,
    /// Answers the peer's calls; without one every program is unavailable.
    pub(crate) service: Option<Arc<dyn Service>>,
    pub(crate) limits: Limits,
    /// Bytes of records, calls and answers.
    pub(crate) budget: Budget,
    /// Turns true, or loses its sender, when all should end. Every task holds one, so its sender
    /// can see the last go.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the peer closed it")]
    PeerClosed,
    #[error("we closed it")]
    Closed,
    #[error("shutdown")]
    Stopped,
    #[error("{0:?}")]
    Overdue(Overdue),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Record(#[from] RecordError),
    #[error("{0}")]
    Message(ParseError),
}

impl Link {
    /// Starts the tasks of a fresh stream. What `enter` gives is dropped when the connection has
    /// ended.
    pub(crate) fn start<D: Send + 'static>(
        &self,
        stream: Stream,
        enter: impl FnOnce(&Connection) -> D,
    ) -> Connection {
        let Stream { local, peer, read, write } = stream;
        let (connection, outgoing) =
            Connection::new(local, peer, Arc::clone(&self.clock), &self.limits, &self.budget);
        let done = enter(&connection);
        let writer = connection.clone();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                result = write_loop(outgoing, write, writer.activity(), writer.clock()) => if let Err(error) = result {
                    tracing::debug!(connection = writer.id(), %error, "write failed");
                },
                () = writer.closed() => {}
            }
            writer.close();
            drop(stop);
        });
        let (link, reader) = (self.clone(), connection.clone());
        tokio::spawn(async move {
            let ended = link.run(read, &reader).await;
            reader.close();
            tracing::debug!(connection = reader.id(), peer = %reader.peer(), %ended, "connection ended");
            if let Some(service) = &link.service {
                service.closed(reader.id());
            }
            drop(done);
        });
        connection
    }

    async fn run(&self, read: Box<dyn StreamRead>, connection: &Connection) -> Ended {
        let in_flight_max = self.limits.in_flight_per_connection_max.max(1);
        let slots = Arc::new(Semaphore::new(in_flight_max));
        let mut stop = self.stop.clone();
        let quiet = || slots.available_permits() == in_flight_max && connection.pending().len() == 0;
        tokio::select! {
            ended = self.read_loop(read, connection, &slots) => ended,
            overdue = self.watch(connection, quiet) => Ended::Overdue(overdue),
            () = connection.closed() => Ended::Closed,
            _ = stop.wait_for(|stop| *stop) => Ended::Stopped,
        }
    }

    async fn watch(&self, connection: &Connection, quiet: impl Fn() -> bool) -> Overdue {
        let period_ms = watch_period_ms(&self.limits);
        let began_ms = self.clock.monotonic_ms();
        let unproven_ms_max = self.limits.unproven_ms_max;
        loop {
            tokio::select! {
                biased;
                () = connection.activity().pressed() => return Overdue::Pressed,
                () = self.clock.sleep_ms(period_ms) => {}
            }
            let now_ms = self.clock.monotonic_ms();
            let is_late = unproven_ms_max != 0 && unproven_ms_max <= now_ms.saturating_sub(began_ms);
            if is_late && !connection.is_proven() {
                return Overdue::Unproven;
            }
            if let Some(overdue) = connection.activity().overdue(now_ms, &self.limits, quiet()) {
                return overdue;
            }
            if connection.is_in_the_way(now_ms) {
                return Overdue::Pressed;
            }
        }
    }

    async fn read_loop(
        &self,
        mut read: Box<dyn StreamRead>,
        connection: &Connection,
        slots: &Arc<Semaphore>,
    ) -> Ended {
        let mut assembler = RecordAssembler::new(self.limits.record_bytes_max_of(connection.is_proven()));
        let mut room = None;
        loop {
            // The rest of a record is read when there is room for all of it.
            if let Some(bytes) = assembler.announced_bytes().filter(|_| room.is_none()) {
                room = Some(connection.room_for_record(bytes).await);
            }
            connection.activity().reads(assembler.is_between_records(), self.clock.monotonic_ms());
            let (buffer, wanted_bytes) = assembler.wanted();
            match read.read(buffer, wanted_bytes).await {
                Ok(0) => return Ended::PeerClosed,
                Ok(_) => connection.activity().reads_not(),
                Err(error) => return error.into(),
            }
            loop {
                // Looked at only now: what follows the proof may be long, and comes after its
                // answer.
                assembler.limit(self.limits.record_bytes_max_of(connection.is_proven()));
                let record = match assembler.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(error) => return error.into(),
                };
                connection.activity().record_completed();
                let record_bytes = record.len();
                let mut room = match room.take() {
                    Some(room) => room,
                    None => connection.room_for_record(record_bytes).await,
                };
                room.shrink(record_bytes);
                match parse(record) {
                    Ok(Message::Reply(header, results)) => connection.pending().deliver(header, results),
                    Ok(Message::Call(header, args)) => {
                        self.take_call((header, args), record_bytes, room, connection, slots).await;
                    }
                    Err(error) => match error.answer() {
                        // If the queue is closed, so is the connection, and our caller sees it.
                        Some(answer) => drop(connection.answer(answer, None, None).await),
                        None => return Ended::Message(error),
                    },
                }
            }
        }
    }

    /// Starts the task of a call, once there is a place for it. While it waits here, nothing is
    /// read.
    async fn take_call(
        &self,
        (header, args): (CallHeader, Reader),
        record_bytes: usize,
        room: Room,
        connection: &Connection,
        slots: &Arc<Semaphore>,
    ) {
        let Some(service) = self.service.clone() else {
            drop(connection.answer(prog_unavail(header.xid), None, None).await);
            return;
        };
        let slot = Arc::clone(slots).acquire_owned().await.expect("never closed");
        let received_ms = self.clock.monotonic_ms();
        let call = Call { header, args, record_bytes, peer: connection.peer(), received_ms };
        let (guard, stop) = (Unanswered { connection: Some(connection.clone()) }, self.stop.clone());
        tokio::spawn(async move {
            let mut guard = guard;
            let Some(connection) = &guard.connection else { return };
            let answer = service.call(call, connection).await;
            room.complete();
            match (answer, guard.connection.take()) {
                (Answer::Reply(reply), Some(connection)) => {
                    drop(connection.answer(reply, Some(slot), None).await);
                }
                (Answer::Reserved(reply, room), Some(connection)) => {
                    drop(connection.answer(reply, Some(slot), Some(room)).await);
                }
                (Answer::CloseConnection, Some(connection)) => connection.close(),
                (Answer::None, _) | (_, None) => {}
            }
            drop(stop);
        });
    }
}

/// Closes the connection if a call's task ends without an answer: a caller whose call went astray
/// must not wait for ever.
struct Unanswered {
    connection: Option<Connection>,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            static RATE: LogRate = LogRate::new();
            if let Some(suppressed) = RATE.admit(connection.clock().monotonic_ms()) {
                tracing::error!(connection = connection.id(), suppressed, "a call ended without an answer");
            }
            connection.close();
        }
    }
}
