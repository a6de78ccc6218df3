//! The session table under arbitrary sequences of what clients can ask for and connections can do.
//!
//! Arguments come through the codecs; which session, slot and sequence they name is then bent
//! towards ones that exist, or a fuzzer would never hit one. A model beside it knows what is being
//! executed and what was answered: nothing is executed twice, nothing else is replayed than what
//! was answered, and who is busy does not expire.
//!
//! Input: steps of one word (what to do, and three numbers), some followed by arguments as on the
//! wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use wire_nfs::v4::ops::create_session::ChannelAttrs;
use wire_nfs::v4::ops::{bind_conn_to_session, create_session, sequence};
use wire_nfs::v4::{Nfsstat4, SessionId};
use wire_session::limits::{SESSIONS_BYTES_MAX, SESSIONS_PER_CLIENT_MAX, SLOTS_MAX};
use wire_session::server::channel::negotiate;
use wire_session::server::slot::fingerprint;
use wire_session::server::{
    Admitted, Arrival, CallbackOutcome, CallbackToken, ConnectionId, Past, SessionRecord, Sessions,
    SlotToken, Verdict,
};
use wire_xdr::{Decode, Reader};

use super::row::{MemoryBound, Shape, Target};
use crate::seed::encoded;

pub(super) const TARGET: Target = Target {
    name: "session",
    about: "sequences of SEQUENCE, CREATE_SESSION, BIND_CONN_TO_SESSION, callbacks, lost connections, expiry",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound {
        // A session of up to 128 slots may stand for each CREATE_SESSION of some 100 bytes.
        live_bytes_per_byte: 256,
        ..MemoryBound::DECODER
    },
    input_bytes_max: 4096,
};

const LEASE_MS: u64 = 1000;
const CLIENTS: u64 = 3;
const CONNECTIONS: u64 = 5;

/// What a client's slot did last, by the model.
#[derive(Debug, Default)]
struct Slot {
    sequence: u32,
    running: bool,
    reply: Option<Bytes>,
}

/// The table, and what has to be true of it.
struct Bed {
    sessions: Sessions,
    alive: Vec<(SessionId, u64)>,
    slots: BTreeMap<([u8; 16], u32), Slot>,
    tokens: Vec<SlotToken>,
    callbacks: Vec<CallbackToken>,
    create_sequence: u32,
    now_ms: u64,
    valid: usize,
}

fn run(input: &[u8]) -> usize {
    let mut bed = Bed {
        sessions: Sessions::new(LEASE_MS),
        alive: Vec::new(),
        slots: BTreeMap::new(),
        tokens: Vec::new(),
        callbacks: Vec::new(),
        create_sequence: 0,
        now_ms: 0,
        valid: 0,
    };
    let mut r = Reader::new(Bytes::copy_from_slice(input));
    while let Ok(step) = r.fixed::<4>() {
        if !bed.step(step, &mut r) {
            break;
        }
        assert_eq!(bed.sessions.len(), bed.alive.len());
        assert!(bed.sessions.memory_bytes() <= SESSIONS_BYTES_MAX);
    }
    bed.end()
}

impl Bed {
    /// Takes one step; false if the input ends inside it.
    fn step(&mut self, [what, a, b, c]: [u8; 4], r: &mut Reader) -> bool {
        let (connection, client) = (ConnectionId(u64::from(c) % CONNECTIONS), u64::from(a) % CLIENTS);
        match what % 12 {
            0 => return self.create(client, connection, b, r),
            1 => self.sequence(a, b, c),
            2 => return self.sequence_raw(connection, r),
            3 => self.complete(a, b, c),
            4 => return self.bind(a, connection, r),
            5 => self.destroy(a, connection),
            6 => self.sessions.connection_closed(connection),
            7 => self.drop_client(client),
            8 => self.callback(client, b, c),
            9 => self.flags(client, a, b, c),
            10 => self.now_ms += u64::from(b) * 16,
            _ => self.check_expired(),
        }
        true
    }

    fn create(&mut self, client: u64, connection: ConnectionId, again: u8, r: &mut Reader) -> bool {
        let Ok(mut args) = create_session::Args::decode(r) else { return false };
        let Ok(negotiated) = negotiate(&args) else { return true };
        assert!((1..=SLOTS_MAX).contains(&negotiated.fore.requests_max));
        self.create_sequence += u32::from(!again.is_multiple_of(4));
        (args.clientid, args.sequence) = (client, self.create_sequence);
        let record = SessionRecord::new(&args, &negotiated, 1, 7);
        assert!(record.is_sound());
        let id = record.session();
        let known = self.alive.iter().any(|(one, _)| *one == id);
        // What the state keeps is what was negotiated; a session that is here stays as it is.
        if self.sessions.put(&record, 1, Past::None, self.now_ms).is_err() {
            return true;
        }
        self.sessions.bind_creator(id, connection, record.back_wanted);
        self.valid += 1;
        if !known {
            self.alive.push((id, client));
        }
        assert!(self.alive.iter().filter(|(_, one)| *one == client).count() <= SESSIONS_PER_CLIENT_MAX);
        true
    }

    fn pick(&self, number: u8) -> Option<(SessionId, u64)> {
        self.alive.get(usize::from(number) % self.alive.len().max(1)).copied()
    }

    fn sequence(&mut self, which: u8, slot: u8, mode: u8) {
        let Some((session, _)) = self.pick(which) else { return };
        let slotid = u32::from(slot);
        let last = self.slots.get(&(session.0, slotid)).map_or(0, |slot| slot.sequence);
        let args = sequence::Args {
            session,
            // The last again, the next (twice as often), or one too far.
            sequenceid: last.wrapping_add([0, 1, 1, 2][usize::from(mode % 4)]),
            slotid,
            highest_slotid: u32::from(mode & 0x40 != 0) * 127,
            cache_this: mode & 0x10 != 0,
        };
        let arrival = Arrival {
            connection: ConnectionId(u64::from(mode >> 2) % CONNECTIONS),
            record_bytes: 200,
            op_count: 2,
            minor_version: 1,
            fingerprint: fingerprint(b"who", 2, &[mode >> 7]),
        };
        self.admit(&args, &arrival);
    }

    fn sequence_raw(&mut self, connection: ConnectionId, r: &mut Reader) -> bool {
        let Ok(args) = sequence::Args::decode(r) else { return false };
        let arrival =
            Arrival { connection, record_bytes: 200, op_count: 1, minor_version: 1, fingerprint: 0 };
        self.admit(&args, &arrival);
        true
    }

    fn admit(&mut self, args: &sequence::Args, arrival: &Arrival) {
        let verdict = self.sessions.sequence(args, arrival, self.now_ms);
        let known = self.slots.get(&(args.session.0, args.slotid));
        match verdict {
            Verdict::Execute(admitted) => self.executing(args, &admitted),
            Verdict::Replay(reply) => {
                let slot = known.expect("what is replayed was executed");
                assert!(!slot.running && slot.sequence == args.sequenceid);
                assert_eq!(slot.reply.as_ref(), Some(&reply), "a retry gets what was answered");
                self.valid += 1;
            }
            Verdict::Reject(status) => assert_ne!(status, Nfsstat4::Ok),
            Verdict::Unknown => assert!(!self.alive.iter().any(|(id, _)| *id == args.session)),
        }
    }

    fn executing(&mut self, args: &sequence::Args, admitted: &Admitted) {
        let slot = self.slots.entry((args.session.0, args.slotid)).or_default();
        assert!(!slot.running, "one request at a time on a slot");
        assert_eq!(slot.sequence.wrapping_add(1), args.sequenceid, "nothing is executed twice");
        *slot = Slot { sequence: args.sequenceid, running: true, reply: None };
        assert_eq!(admitted.result.slotid, args.slotid);
        assert!(args.slotid <= admitted.result.highest_slotid);
        self.tokens.push(admitted.token);
        self.valid += 1;
    }

    /// Ends a request, sometimes with a reply, sometimes one that was ended before.
    fn complete(&mut self, which: u8, length: u8, mode: u8) {
        let Some(at) = usize::from(which).checked_rem(self.tokens.len()) else { return };
        let token = if mode.is_multiple_of(4) { self.tokens[at] } else { self.tokens.swap_remove(at) };
        let reply = (!mode.is_multiple_of(3)).then(|| Bytes::from(vec![length; usize::from(length)]));
        self.sessions.complete(token, reply.clone());
        if let Some(slot) = self.slots.get_mut(&(token.session.0, token.slot))
            && slot.running
            && slot.sequence == token.sequence
        {
            (slot.running, slot.reply) = (false, reply);
        }
    }

    fn bind(&mut self, which: u8, connection: ConnectionId, r: &mut Reader) -> bool {
        let Ok(mut args) = bind_conn_to_session::Args::decode(r) else { return false };
        if let Some((session, _)) = self.pick(which) {
            args.session = session;
        }
        self.valid += usize::from(self.sessions.bind(&args, connection, self.now_ms).is_ok());
        true
    }

    fn destroy(&mut self, which: u8, connection: ConnectionId) {
        let Some((session, _)) = self.pick(which) else { return };
        if self.sessions.may_destroy(session, connection).is_ok() {
            self.sessions.end(session);
            self.forget(|id, _| id == session);
        }
    }

    fn drop_client(&mut self, client: u64) {
        self.sessions.drop_client(client);
        self.forget(|_, one| one == client);
    }

    fn forget(&mut self, gone: impl Fn(SessionId, u64) -> bool) {
        let (ended, alive) = self.alive.drain(..).partition(|(id, client)| gone(*id, *client));
        self.alive = alive;
        let ended: Vec<(SessionId, u64)> = ended;
        self.slots.retain(|(id, _), _| !ended.iter().any(|(one, _)| one.0 == *id));
    }

    fn callback(&mut self, client: u64, which: u8, mode: u8) {
        if mode.is_multiple_of(2) {
            let call = self.sessions.begin_callback(client);
            if let Some(call) = call {
                assert!(self.sessions.has_path(client));
                assert!(!self.callbacks.contains(&call.token), "one call at a time on a slot");
                self.callbacks.push(call.token);
                self.valid += 1;
            }
            return;
        }
        let Some(at) = usize::from(which).checked_rem(self.callbacks.len()) else { return };
        let outcome = match mode % 16 / 2 {
            0 => CallbackOutcome::Lost,
            1 => CallbackOutcome::Sequence(Nfsstat4::Delay),
            2 => CallbackOutcome::Sequence(Nfsstat4::RetryUncachedRep),
            3 => CallbackOutcome::Sequence(Nfsstat4::Badsession),
            4 => CallbackOutcome::Answered(Nfsstat4::Delay),
            5 => CallbackOutcome::Answered(Nfsstat4::RetryUncachedRep),
            _ => CallbackOutcome::Answered(Nfsstat4::Ok),
        };
        let token = self.callbacks.swap_remove(at);
        self.sessions.finish_callback(token, outcome);
    }

    fn flags(&mut self, client: u64, which: u8, flags: u8, mode: u8) {
        match mode % 3 {
            0 => self.sessions.raise_flags(client, u32::from(flags)),
            1 => self.sessions.lower_flags(client, u32::from(flags)),
            _ => {
                if let Some((session, _)) = self.pick(which) {
                    assert!(self.sessions.set_callback(session, u32::from(flags), None));
                }
            }
        }
    }

    fn check_expired(&self) {
        for client in self.sessions.expired(self.now_ms) {
            let own = self.alive.iter().filter(|(_, one)| *one == client);
            let busy = own.flat_map(|(id, _)| self.slots.range((id.0, 0)..=(id.0, u32::MAX)));
            assert!(busy.clone().all(|(_, slot)| !slot.running), "who is busy does not expire");
        }
    }

    /// Everybody leaves: nothing may stay counted.
    fn end(mut self) -> usize {
        (0..CLIENTS).for_each(|client| self.drop_client(client));
        assert!(self.sessions.is_empty() && self.alive.is_empty());
        assert_eq!(self.sessions.memory_bytes(), 0);
        self.valid
    }
}

fn create_args(flags: u32, cached: u32) -> Vec<u8> {
    let attrs = ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: 1 << 20,
        response_bytes_max: 1 << 20,
        response_cached_bytes_max: cached,
        operations_max: 8,
        requests_max: 4,
        rdma_ird: Vec::new(),
    };
    let args = create_session::Args {
        clientid: 1,
        sequence: 1,
        flags,
        fore: attrs.clone(),
        back: attrs,
        cb_program: 0x4000_0000,
        sec_parms: Vec::new(),
    };
    encoded(&args).to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    let step = |what: u8, a: u8, b: u8, c: u8| vec![what, a, b, c];
    let create = |client: u8, flags: u32| [step(0, client, 1, client), create_args(flags, 4096)].concat();
    let bind = bind_conn_to_session::Args {
        session: SessionId([0; 16]),
        direction: bind_conn_to_session::DirectionAsked::BackOrBoth,
        rdma_mode: false,
    };
    let bind = [step(4, 0, 0, 1), encoded(&bind).to_vec()].concat();
    let raw = sequence::Args {
        session: SessionId([0; 16]),
        sequenceid: 1,
        slotid: 0,
        highest_slotid: 0,
        cache_this: true,
    };
    let raw = [step(2, 0, 0, 0), encoded(&raw).to_vec()].concat();
    let work = [step(1, 0, 0, 0x11), step(3, 0, 40, 1), step(1, 0, 0, 0x10), step(1, 0, 1, 1)].concat();
    let back = [step(8, 1, 0, 0), step(8, 1, 0, 1), step(8, 1, 0, 0), step(8, 1, 0, 15)].concat();
    vec![
        create(1, 2),
        [create(1, 2), work.clone()].concat(),
        [create(1, 2), back.clone(), bind.clone(), back].concat(),
        [create(1, 0), create(2, 2), raw, work.clone(), step(6, 0, 0, 1), step(5, 0, 0, 1)].concat(),
        [create(1, 2), work, step(10, 0, 255, 0), step(11, 0, 0, 0), bind, step(7, 1, 0, 0)].concat(),
        [create(1, 2), [step(0, 1, 0, 1), create_args(2, 4096)].concat(), step(9, 1, 8, 0)].concat(),
    ]
}
