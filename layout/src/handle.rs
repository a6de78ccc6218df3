//! The handle that a data server is shown: a capability for one extent, sealed with a MAC.
//!
//! Only metadata and data servers hold the key, so nobody can make one up; a data server needs no lookup to know what
//! its bearer may do. It still has to compare the epoch with the one it knows, and the range with the extent's.
//!
//! INVARIANT: the same [`DsHandle`] always seals to the same bytes. Linux joins requests by comparing handles.
//! Spec: docs/formats/ds_handle.md; RFC 1813 §2.3.3 (at most 64 bytes); RFC 8435 §5.1 (ffds_fh_vers).

use crate::copies::BACKUPS_MAX;
use crate::data_server::DataServerId;
use crate::epoch::Epoch;
use crate::extent::ExtentId;
use crate::iomode::Iomode;

/// Bytes of a sealed handle.
pub const HANDLE_BYTES: usize = 64;
/// Bytes of the key.
pub const KEY_BYTES: usize = 32;

const VERSION: u8 = 2;
const MAC_AT: usize = 48;
const HOME_AT: usize = 36;
const BACKUPS_AT: usize = 40;
const MAC_BYTES: usize = HANDLE_BYTES - MAC_AT;

const _: () = assert!(HANDLE_BYTES <= 64, "RFC 1813 §2.3.3: an NFSv3 handle is at most 64 bytes");
const _: () = assert!(MAC_BYTES == 16, "the MAC is 128 bits");
const _: () = assert!(BACKUPS_AT + 4 * BACKUPS_MAX == MAC_AT, "all backups have their place");

/// A backup as a handle names it.
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
    /// The extent's home: it has the bytes.
    Home,
    /// A reader: it reads the extent's image from its group, and only while the extent is at rest.
    Reader,
}

/// What the bearer of a handle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DsHandle {
    /// On which extent.
    pub extent: ExtentId,
    /// Made at this epoch of the extent; refused once the data server knows a higher one.
    pub epoch: Epoch,
    /// READ only, or everything.
    pub mode: Iomode,
    /// Tells for which client it was made; the data server only logs and counts by it.
    pub client_tag: u32,
    /// Size of the file when the handle was made: below it a READ meets a hole, not the end of the file.
    pub size_hint_bytes: u64,
    /// As what it is shown. A reader's is for READ, and names no backups.
    pub role: Role,
    /// The one data server that may be shown it: the home, or the reader.
    pub home: DataServerId,
    /// Where the home keeps further copies; those that are there come first.
    pub backups: [Option<NamedBackup>; BACKUPS_MAX],
}

/// The key under which handles are sealed. All data servers of a cluster share it.
#[derive(Clone, PartialEq, Eq)]
pub struct HandleKey([u8; KEY_BYTES]);

impl HandleKey {
    /// A key of these bytes, which must come from good entropy.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, to keep or to send over an authenticated connection.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
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

/// Why a handle is refused. All are answered with NFS3ERR_BADHANDLE: whoever shows such a thing did not get it from us.
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
    /// The MAC is wrong: made up, altered, or sealed under another key.
    #[error("handle's MAC is wrong")]
    Forged,
    /// The MAC is right but the fields are not: sealed by something broken that holds the key.
    #[error("handle's fields make no sense")]
    Fields,
}

/// Seals a handle.
///
/// # Panics
/// If a reader's handle may write or names backups.
#[must_use]
pub fn seal(key: &HandleKey, handle: &DsHandle) -> SealedHandle {
    assert!(fits(handle), "a reader only reads");
    let mut bytes = [0; HANDLE_BYTES];
    bytes[0] = VERSION;
    bytes[1] = u8::try_from(handle.mode.as_u32()).expect("an iomode is 1 or 2");
    bytes[3] = u8::from(handle.role == Role::Reader);
    bytes[4..8].copy_from_slice(&handle.client_tag.to_be_bytes());
    bytes[8..16].copy_from_slice(&handle.extent.ino.to_be_bytes());
    bytes[16..20].copy_from_slice(&handle.extent.index.to_be_bytes());
    bytes[20..28].copy_from_slice(&handle.epoch.0.to_be_bytes());
    bytes[28..36].copy_from_slice(&handle.size_hint_bytes.to_be_bytes());
    bytes[HOME_AT..BACKUPS_AT].copy_from_slice(&handle.home.0.to_be_bytes());
    for (place, backup) in handle.backups.iter().enumerate() {
        let Some(backup) = backup else { continue };
        let at = BACKUPS_AT + 4 * place;
        bytes[at..at + 4].copy_from_slice(&backup.server.0.to_be_bytes());
        bytes[2] |= u8::from(backup.filling) << place;
    }
    let mac = mac_of(key, &bytes[..MAC_AT]);
    bytes[MAC_AT..].copy_from_slice(&mac);
    SealedHandle(bytes)
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
    let mac = mac_of(key, &bytes[..MAC_AT]);
    // Every byte is looked at, whatever the first ones say: the time taken tells nothing about the MAC.
    let difference = mac.iter().zip(&bytes[MAC_AT..]).fold(0, |seen, (a, b)| seen | (a ^ b));
    if difference != 0 {
        return Err(HandleError::Forged);
    }
    let mode = Iomode::from_u32(u32::from(bytes[1])).ok_or(HandleError::Fields)?;
    let home = DataServerId(u32_at(bytes, HOME_AT));
    let role = match bytes[3] {
        0 => Role::Home,
        1 => Role::Reader,
        _ => return Err(HandleError::Fields),
    };
    if home.0 == 0 {
        return Err(HandleError::Fields);
    }
    let handle = DsHandle {
        role,
        home,
        backups: backups_of(bytes)?,
        extent: ExtentId { ino: u64_at(bytes, 8), index: u32_at(bytes, 16) },
        epoch: Epoch(u64_at(bytes, 20)),
        mode,
        client_tag: u32_at(bytes, 4),
        size_hint_bytes: u64_at(bytes, 28),
    };
    if fits(&handle) { Ok(handle) } else { Err(HandleError::Fields) }
}

/// A reader neither writes nor has backups.
fn fits(handle: &DsHandle) -> bool {
    handle.role == Role::Home || !handle.mode.writes() && handle.backups == [None; BACKUPS_MAX]
}

/// Those that are there come first, each once, and only those are being filled.
fn backups_of(bytes: &[u8; HANDLE_BYTES]) -> Result<[Option<NamedBackup>; BACKUPS_MAX], HandleError> {
    let mut backups = [None; BACKUPS_MAX];
    let mut ended = false;
    for (place, backup) in backups.iter_mut().enumerate() {
        let at = |place: usize| u32_at(bytes, BACKUPS_AT + 4 * place);
        let (server, filling) = (at(place), bytes[2] >> place & 1 == 1);
        ended |= server == 0;
        let again = server == u32_at(bytes, HOME_AT) || (0..place).any(|earlier| at(earlier) == server);
        if ended && (server != 0 || filling) || !ended && again {
            return Err(HandleError::Fields);
        }
        if !ended {
            *backup = Some(NamedBackup { server: DataServerId(server), filling });
        }
    }
    if bytes[2] >> BACKUPS_MAX == 0 { Ok(backups) } else { Err(HandleError::Fields) }
}

/// The device id under which clients know a data server: the same on every replica and after every restart.
///
/// RFC 8881 §12.2.10: a device id stands for an address for good, so a server with a new address needs a new
/// `generation`.
#[must_use]
pub fn device_id(server: DataServerId, generation: u32) -> [u8; 16] {
    let mut id = *b"shoal-ds\0\0\0\0\0\0\0\0";
    id[8..12].copy_from_slice(&generation.to_be_bytes());
    id[12..].copy_from_slice(&server.0.to_be_bytes());
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
    let whole = blake3::keyed_hash(&key.0, bytes);
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
