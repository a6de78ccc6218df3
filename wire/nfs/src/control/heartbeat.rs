//! HEARTBEAT and CLOCK: how a data server renews its lease, and the usage it reports (STAT reports
//! the same).
//!
//! Spec: docs/protocol/control.md §2, §5.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, xdr_struct};

use super::copies::Directory;
use super::handles::HandleKeys;
use super::limits;

/// How full and how busy a data server is. Counters start with the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What the server may hold.
    pub capacity_bytes: u64,
    /// What counts against it.
    pub used_bytes: u64,
    /// Journal files, dead bytes included.
    pub journal_bytes: u64,
    /// Bytes that can still be read.
    pub live_bytes: u64,
    /// Extents that hold bytes.
    pub extents: u64,
    /// READ requests answered.
    pub reads: u64,
    /// WRITE requests answered.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Flushes of the journal.
    pub flushes: u64,
    /// Reads refused because a checksum did not match.
    pub bad_blocks: u64,
    /// Per cent of the scrub's round that are done, 100 between two; [`SCRUB_OFF`].
    pub scrub_percent: u32,
    /// Wall clock when the last whole round ended, nanoseconds since 1970; 0: none did.
    pub scrub_ended_unix_ns: u64,
    /// What the scrub found and could not repair.
    pub scrub_bad: u64,
}

/// Nothing is scrubbed.
pub const SCRUB_OFF: u32 = u32::MAX;

xdr_struct! {
    Usage {
        capacity_bytes, used_bytes, journal_bytes, live_bytes, extents,
        reads, writes, read_bytes, written_bytes, flushes, bad_blocks,
        scrub_percent, scrub_ended_unix_ns, scrub_bad
    }
}

impl Usage {
    /// What may still be written.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes)
    }
}

/// How far a data server's journal goes. Later places are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalEnd {
    /// Number of the last segment; 0: there is none.
    pub segment: u64,
    /// Bytes from its start.
    pub offset: u64,
}

xdr_struct! { JournalEnd { segment, offset } }

/// Arguments of HEARTBEAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The id that REGISTER gave.
    pub server: u32,
    /// The store's identity.
    pub uuid: [u8; 16],
    /// How full and how busy it is.
    pub usage: Usage,
    /// Version of the directory it has; 0 for none.
    pub directory: u64,
    /// The write verifier of this start, as REGISTER had it.
    pub instance: u64,
    /// Why this start serves nothing any more, at most [`limits::WORDS_BYTES_MAX`] bytes; empty
    /// while it serves.
    pub failure: String,
    /// All before this is on stable storage.
    pub durable: JournalEnd,
    /// Version of the handle keys it has.
    pub keys: u64,
}

impl Decode for Heartbeat {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let (server, uuid) = (r.u32()?, r.fixed()?);
        let (usage, directory, instance) = (Usage::decode(r)?, r.u64()?, r.u64()?);
        let failure = r.string(limits::WORDS_BYTES_MAX)?;
        let failure = std::str::from_utf8(&failure).map_err(|_| XdrError::Invalid { field: "failure" })?;
        let failure = failure.to_owned();
        let (durable, keys) = (JournalEnd::decode(r)?, r.u64()?);
        Ok(Self { server, uuid, usage, directory, instance, failure, durable, keys })
    }
}

impl Encode for Heartbeat {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.server);
        w.fixed(&self.uuid);
        self.usage.encode(w);
        w.u64(self.directory);
        w.u64(self.instance);
        w.string(&self.failure);
        self.durable.encode(w);
        w.u64(self.keys);
    }
}

/// Body of HEARTBEAT's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// How long the lease lasts from the moment the heartbeat was sent; 0: a failure was reported,
    /// and there is none.
    pub lease_ms: u32,
    /// How long an extent rests before it is sealed; 0: sealing is off.
    pub seal_idle_ms: u32,
    /// The data servers, if the caller has another version.
    pub directory: Option<Directory>,
    /// The clock by which metadata servers say when handles were made, milliseconds.
    pub clock_ms: u64,
    /// Version of the exports that ADMITTED tells.
    pub exports: u64,
    /// The handle keys, if the caller has another version.
    pub keys: Option<HandleKeys>,
}

xdr_struct! { Renewed { lease_ms, seal_idle_ms, directory, clock_ms, exports, keys } }

/// Arguments of CLOCK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskClock {
    /// The id that REGISTER gave.
    pub server: u32,
    /// What the wall clock of the server's machine shows, nanoseconds since 1970.
    pub wall_unix_ns: u64,
}

xdr_struct! { AskClock { server, wall_unix_ns } }

/// Body of CLOCK's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockTold {
    /// What time it is in the cluster, nanoseconds since 1970.
    pub unix_ns: u64,
}

xdr_struct! { ClockTold { unix_ns } }

/// Body of STAT's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The store's identity.
    pub uuid: [u8; 16],
    /// The write verifier of this start.
    pub instance: u64,
    /// How full and how busy it is.
    pub usage: Usage,
}

xdr_struct! { Stat { uuid, instance, usage } }
