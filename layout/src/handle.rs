//! The handle that a data server is shown: a capability for one extent, sealed with a MAC.
//!
//! Only metadata and data servers hold the key, so no client can make one up; a data server needs
//! no lookup to know what its bearer may do. It still has to compare the epoch with the one it
//! knows, the range with the extent's, and the caller's address with the export's; and once a
//! handle is no longer fresh, a metadata server must say that its layout is still held.
//!
//! INVARIANT: the same [`DsHandle`] always seals to the same bytes. Linux joins requests by
//! comparing handles.
//! Spec: docs/formats/ds_handle.md; RFC 1813 §2.3.3 (at most 64 bytes); RFC 8435 §5.1
//! (ffds_fh_vers).

use crate::copies::BACKUPS_MAX;
use crate::data_server::DataServerId;
use crate::epoch::Epoch;
use crate::extent::ExtentId;
use crate::iomode::Iomode;

/// Bytes of a sealed handle.
pub const HANDLE_BYTES: usize = 64;
/// Bytes of the key.
pub const KEY_BYTES: usize = 32;
/// The time at which a handle was made is told in steps of so much.
pub const ISSUE_UNIT_MS: u64 = 16_000;

const VERSION: u8 = 3;
const HOME_AT: usize = 36;
const BACKUPS_AT: usize = 40;
const KEY_AT: usize = 48;
const ISSUED_AT: usize = 49;
const MAC_AT: usize = 52;
const MAC_BYTES: usize = HANDLE_BYTES - MAC_AT;
const ISSUED_MASK: u32 = (1 << 24) - 1;

/// Bits of the second byte.
mod flag {
    pub(super) const WRITES: u8 = 1;
    /// The first replica is being filled; the next bit is the second one's.
    pub(super) const FILLING: u8 = 1 << 1;
    pub(super) const READER: u8 = 1 << 3;
    pub(super) const NO_READING: u8 = 1 << 4;
    pub(super) const METADATA_SERVER: u8 = 1 << 5;
    pub(super) const ALL: u8 = (1 << 6) - 1;
}

const _: () = assert!(HANDLE_BYTES <= 64, "RFC 1813 §2.3.3: an NFSv3 handle is at most 64 bytes");
const _: () = assert!(MAC_BYTES == 12, "the MAC is 96 bits");
const _: () = assert!(BACKUPS_AT + 4 * BACKUPS_MAX == KEY_AT, "all backups have their place");
const _: () = assert!(flag::FILLING << BACKUPS_MAX == flag::READER, "each backup has its bit");

/// A replica as a handle names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamedBackup {
    /// Which data server.
    pub server: DataServerId,
    /// It did not hold everything yet when the handle was made.
    pub filling: bool,
}

/// As what a data server is shown a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The extent's primary: it has the bytes.
    Home,
    /// A reader: it reads the extent's image from its group, and only while the extent is at rest.
    Reader,
}

/// For whom a handle was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A client, for a layout: it is good for as long as the layout is held, from addresses that
    /// the export admits.
    Client {
        /// Tells which client and, for writing, which grant.
        tag: u32,
        /// The export that the layout was got through.
        export: u16,
        /// READ is allowed. It always is where writing is not.
        reads: bool,
    },
    /// A metadata server, for one request in band: it is good while it is fresh, and no longer.
    MetadataServer,
}

/// When a handle was made, by the clock that metadata servers tell data servers, in steps of
/// [`ISSUE_UNIT_MS`]. It comes round after eight years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Issued(u32);

impl Issued {
    /// At a time in milliseconds.
    #[must_use]
    pub fn at_ms(now_ms: u64) -> Self {
        let steps = (now_ms / ISSUE_UNIT_MS) & u64::from(ISSUED_MASK);
        Self(u32::try_from(steps).expect("24 bits"))
    }

    /// How many steps it is old; a very large number if it was made later than `now_ms`.
    #[must_use]
    pub fn age_steps(self, now_ms: u64) -> u32 {
        Self::at_ms(now_ms).0.wrapping_sub(self.0) & ISSUED_MASK
    }

    /// The number of the step, as the handle carries it: 24 bits.
    #[must_use]
    pub fn step(self) -> u32 {
        self.0
    }
}

/// What the bearer of a handle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DsHandle {
    /// On which extent.
    pub extent: ExtentId,
    /// Made at this epoch of the extent; refused once the data server knows a higher one.
    pub epoch: Epoch,
    /// READ only, or WRITE and COMMIT as well.
    pub mode: Iomode,
    /// For whom it was made.
    pub holder: Holder,
    /// When.
    pub issued: Issued,
    /// Size of the file when the handle was made: below it a READ meets a hole, not the end of the
    /// file.
    pub size_hint_bytes: u64,
    /// As what it is shown. A reader's is for READ, and names no replicas.
    pub role: Role,
    /// The one data server that may be shown it: the primary, or the reader.
    pub home: DataServerId,
    /// Where the primary keeps further copies; those that are there come first.
    pub backups: [Option<NamedBackup>; BACKUPS_MAX],
}

/// A key under which handles are sealed. All servers of a cluster share it.
#[derive(Clone, PartialEq, Eq)]
pub struct HandleKey {
    number: u8,
    bytes: [u8; KEY_BYTES],
}

impl HandleKey {
    /// The first key of a cluster, of these bytes, which must come from good entropy.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self::numbered(0, bytes)
    }

    /// A key of these bytes that handles name by this number.
    #[must_use]
    pub fn numbered(number: u8, bytes: [u8; KEY_BYTES]) -> Self {
        Self { number, bytes }
    }

    /// The bytes, to keep or to send over an authenticated connection.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// How handles name it.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }
}

impl std::fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HandleKey")
    }
}

/// A handle as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SealedHandle(pub [u8; HANDLE_BYTES]);

impl AsRef<[u8]> for SealedHandle {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Why a handle is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// Not [`HANDLE_BYTES`] long.
    #[error("handle has {got} bytes instead of {HANDLE_BYTES}")]
    Length {
        /// Its length in bytes.
        got: usize,
    },
    /// Made by a version of Shoal that this one does not know.
    #[error("handle version {got} is not known")]
    Version {
        /// The version byte.
        got: u8,
    },
    /// Sealed under a key that is not this one, or says so.
    #[error("handle is sealed under key {number}, which is not known")]
    Key {
        /// The key's number.
        number: u8,
    },
    /// The MAC is wrong: made up, altered, or sealed under another key.
    #[error("handle's MAC is wrong")]
    Forged,
    /// The MAC is right but the fields are not: sealed by something broken that holds the key.
    #[error("handle's fields make no sense")]
    Fields,
}

impl HandleError {
    /// Whether it may have been good once: made by an earlier version, or under a key that is used
    /// no longer.
    #[must_use]
    pub fn may_be_old(&self) -> bool {
        matches!(self, Self::Version { got: 1..VERSION } | Self::Key { .. })
    }
}

/// Seals a handle.
///
/// # Panics
/// If the fields do not go together: a reader's handle that writes, or one that neither reads nor
/// writes.
#[must_use]
pub fn seal(key: &HandleKey, handle: &DsHandle) -> SealedHandle {
    assert!(fits(handle), "the fields go together");
    let mut bytes = [0; HANDLE_BYTES];
    bytes[0] = VERSION;
    bytes[1] = flags_of(handle);
    if let Holder::Client { tag, export, .. } = handle.holder {
        bytes[2..4].copy_from_slice(&export.to_be_bytes());
        bytes[4..8].copy_from_slice(&tag.to_be_bytes());
    }
    bytes[8..16].copy_from_slice(&handle.extent.ino.to_be_bytes());
    bytes[16..20].copy_from_slice(&handle.extent.index.to_be_bytes());
    bytes[20..28].copy_from_slice(&handle.epoch.0.to_be_bytes());
    bytes[28..36].copy_from_slice(&handle.size_hint_bytes.to_be_bytes());
    bytes[HOME_AT..BACKUPS_AT].copy_from_slice(&handle.home.0.to_be_bytes());
    for (place, backup) in handle.backups.iter().enumerate() {
        let Some(backup) = backup else { continue };
        let at = BACKUPS_AT + 4 * place;
        bytes[at..at + 4].copy_from_slice(&backup.server.0.to_be_bytes());
    }
    bytes[KEY_AT] = key.number;
    bytes[ISSUED_AT..MAC_AT].copy_from_slice(&handle.issued.0.to_be_bytes()[1..]);
    let mac = mac_of(key, &bytes[..MAC_AT]);
    bytes[MAC_AT..].copy_from_slice(&mac);
    SealedHandle(bytes)
}

fn flags_of(handle: &DsHandle) -> u8 {
    let mut flags = 0;
    if handle.mode.writes() {
        flags |= flag::WRITES;
    }
    if handle.role == Role::Reader {
        flags |= flag::READER;
    }
    match handle.holder {
        Holder::Client { reads: false, .. } => flags |= flag::NO_READING,
        Holder::Client { reads: true, .. } => {}
        Holder::MetadataServer => flags |= flag::METADATA_SERVER,
    }
    for (place, backup) in handle.backups.iter().enumerate() {
        if backup.is_some_and(|backup| backup.filling) {
            flags |= flag::FILLING << place;
        }
    }
    assert!(flags & !flag::ALL == 0, "every flag is one that `open` knows");
    flags
}

/// The number of the key that a handle says it is sealed under: which key to try. Nothing vouches
/// for it yet.
#[must_use]
pub fn key_number(bytes: &[u8]) -> Option<u8> {
    bytes.get(KEY_AT).copied()
}

/// Checks a handle and reads what it allows.
///
/// # Errors
/// [`HandleError`]: nothing but what [`seal`] made under the same key is accepted.
pub fn open(key: &HandleKey, bytes: &[u8]) -> Result<DsHandle, HandleError> {
    let bytes: &[u8; HANDLE_BYTES] =
        bytes.try_into().map_err(|_| HandleError::Length { got: bytes.len() })?;
    if bytes[0] != VERSION {
        return Err(HandleError::Version { got: bytes[0] });
    }
    if bytes[KEY_AT] != key.number {
        return Err(HandleError::Key { number: bytes[KEY_AT] });
    }
    let mac = mac_of(key, &bytes[..MAC_AT]);
    // Every byte is looked at, whatever the first ones say: the time taken tells nothing about the
    // MAC.
    let difference = mac.iter().zip(&bytes[MAC_AT..]).fold(0, |seen, (a, b)| seen | (a ^ b));
    if difference != 0 {
        return Err(HandleError::Forged);
    }
    let flags = bytes[1];
    let home = DataServerId(u32_at(bytes, HOME_AT));
    if home.0 == 0 || flags & !flag::ALL != 0 {
        return Err(HandleError::Fields);
    }
    let (tag, export) = (u32_at(bytes, 4), u16::from_be_bytes([bytes[2], bytes[3]]));
    let holder = match (flags & flag::METADATA_SERVER != 0, flags & flag::NO_READING == 0) {
        (false, reads) => Holder::Client { tag, export, reads },
        (true, true) if tag == 0 && export == 0 => Holder::MetadataServer,
        (true, _) => return Err(HandleError::Fields),
    };
    let handle = DsHandle {
        role: if flags & flag::READER == 0 { Role::Home } else { Role::Reader },
        home,
        backups: backups_of(bytes)?,
        extent: ExtentId { ino: u64_at(bytes, 8), index: u32_at(bytes, 16) },
        epoch: Epoch(u64_at(bytes, 20)),
        mode: if flags & flag::WRITES == 0 { Iomode::Read } else { Iomode::ReadWrite },
        holder,
        issued: Issued(u32_at(bytes, KEY_AT) & ISSUED_MASK),
        size_hint_bytes: u64_at(bytes, 28),
    };
    if fits(&handle) { Ok(handle) } else { Err(HandleError::Fields) }
}

/// A reader neither writes nor has replicas, and every handle is for something.
fn fits(handle: &DsHandle) -> bool {
    let is_for_nothing =
        !handle.mode.writes() && matches!(handle.holder, Holder::Client { reads: false, .. });
    let reads_only = !handle.mode.writes() && handle.backups == [None; BACKUPS_MAX];
    !is_for_nothing && (handle.role == Role::Home || reads_only)
}

/// Those that are there come first, each once, and only those are being filled.
fn backups_of(bytes: &[u8; HANDLE_BYTES]) -> Result<[Option<NamedBackup>; BACKUPS_MAX], HandleError> {
    let mut backups = [None; BACKUPS_MAX];
    let mut ended = false;
    for (place, backup) in backups.iter_mut().enumerate() {
        let at = |place: usize| u32_at(bytes, BACKUPS_AT + 4 * place);
        let (server, filling) = (at(place), bytes[1] & (flag::FILLING << place) != 0);
        ended |= server == 0;
        let again = server == u32_at(bytes, HOME_AT) || (0..place).any(|earlier| at(earlier) == server);
        if ended && (server != 0 || filling) || !ended && again {
            return Err(HandleError::Fields);
        }
        if !ended {
            *backup = Some(NamedBackup { server: DataServerId(server), filling });
        }
    }
    Ok(backups)
}

/// The device id under which clients know a data server: the same on every replica and after every
/// restart.
///
/// RFC 8881 §12.2.10: a device id stands for an address for good, so a server with a new address
/// needs a new `generation`.
#[must_use]
pub fn device_id(server: DataServerId, generation: u32) -> [u8; 16] {
    let mut id = *b"shoal-ds\0\0\0\0\0\0\0\0";
    id[8..12].copy_from_slice(&generation.to_be_bytes());
    id[12..].copy_from_slice(&server.0.to_be_bytes());
    debug_assert_eq!(device_of(&id), Some((server, generation)), "an id leads back");
    id
}

/// The data server and generation of a device id; `None` if it is not one of ours.
#[must_use]
pub fn device_of(id: &[u8; 16]) -> Option<(DataServerId, u32)> {
    if !id.starts_with(b"shoal-ds") {
        return None;
    }
    let word = |at: usize| u32::from_be_bytes([id[at], id[at + 1], id[at + 2], id[at + 3]]);
    Some((DataServerId(word(12)), word(8)))
}

fn mac_of(key: &HandleKey, bytes: &[u8]) -> [u8; MAC_BYTES] {
    let whole = blake3::keyed_hash(&key.bytes, bytes);
    let mut mac = [0; MAC_BYTES];
    mac.copy_from_slice(&whole.as_bytes()[..MAC_BYTES]);
    mac
}

fn u32_at(bytes: &[u8; HANDLE_BYTES], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8; HANDLE_BYTES], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
