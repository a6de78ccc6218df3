//! Attributes: from an inode to the reply of GETATTR, and from SETATTR and CREATE to the
//! namespace's attributes.
//!
//! Owners are decimal numbers on the wire, as Linux sends and accepts them with AUTH_SYS.
//!
//! Spec: RFC 8881 §5; RFC 8435 §5 (layout types); RFC 8881 §5.12.4 (mdsthreshold).

use bytes::Bytes;
use mds_namespace::{DirectoryChange, Inode, Kind, SetAttributes, SetTime, Timestamp};
use wire_nfs::v4::attr::{
    ChangeAttrType, FileType, Fsid, LayoutType, MdsThreshold, SpecData, ThresholdItem, numbers as n,
};
use wire_nfs::v4::{AttrValues, Bitmap, ChangeInfo, Fattr4, Filehandle, Nfsstat4, Nfstime4};

use crate::limits::TRANSFER_BYTES_MAX;

/// Attributes that GETATTR returns and SETATTR sets.
pub(crate) const SUPPORTED: Bitmap = Bitmap::of(&[
    n::SUPPORTED_ATTRS,
    n::TYPE,
    n::FH_EXPIRE_TYPE,
    n::CHANGE,
    n::SIZE,
    n::LINK_SUPPORT,
    n::SYMLINK_SUPPORT,
    n::NAMED_ATTR,
    n::FSID,
    n::UNIQUE_HANDLES,
    n::LEASE_TIME,
    n::RDATTR_ERROR,
    n::CANSETTIME,
    n::CASE_INSENSITIVE,
    n::CASE_PRESERVING,
    n::CHOWN_RESTRICTED,
    n::FILEHANDLE,
    n::FILEID,
    n::FILES_AVAIL,
    n::FILES_FREE,
    n::FILES_TOTAL,
    n::HOMOGENEOUS,
    n::MAXFILESIZE,
    n::MAXLINK,
    n::MAXNAME,
    n::MAXREAD,
    n::MAXWRITE,
    n::MODE,
    n::NO_TRUNC,
    n::NUMLINKS,
    n::OWNER,
    n::OWNER_GROUP,
    n::RAWDEV,
    n::SPACE_AVAIL,
    n::SPACE_FREE,
    n::SPACE_TOTAL,
    n::SPACE_USED,
    n::TIME_ACCESS,
    n::TIME_ACCESS_SET,
    n::TIME_DELTA,
    n::TIME_METADATA,
    n::TIME_MODIFY,
    n::TIME_MODIFY_SET,
    n::MOUNTED_ON_FILEID,
    n::FS_LAYOUT_TYPES,
    n::LAYOUT_BLKSIZE,
    n::MDSTHRESHOLD,
    n::SUPPATTR_EXCLCREAT,
    n::CHANGE_ATTR_TYPE,
]);

/// Attributes of an EXCLUSIVE4_1 create (the verifier is stored apart from all attributes).
pub(crate) const EXCLUSIVE_CREATE: Bitmap =
    Bitmap::of(&[n::SIZE, n::MODE, n::OWNER, n::OWNER_GROUP, n::TIME_ACCESS_SET, n::TIME_MODIFY_SET]);

/// Attributes that SETATTR accepts.
pub(crate) const SETTABLE: Bitmap = EXCLUSIVE_CREATE;

const PERMISSION_BITS: u32 = 0o7777;
const LINKS_MAX: u32 = 65_000;
const NAME_BYTES_MAX: u32 = 255;
const BLOCK_BYTES: u64 = 512;

/// Facts of the whole file system, for attributes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileSystemFacts {
    /// Identity of the file system.
    pub(crate) fsid: Fsid,
    /// Client lease, seconds.
    pub(crate) lease_seconds: u32,
    /// Files up to this size stay with the metadata, bytes.
    pub(crate) inline_bytes: u64,
    /// Layouts are given out.
    pub(crate) pnfs: bool,
    /// Bytes all data servers may hold; 0 if not requested.
    pub(crate) space_total_bytes: u64,
    /// Bytes free on them; 0 if not requested.
    pub(crate) space_free_bytes: u64,
    /// Inodes in use; 0 if not requested.
    pub(crate) files_used: u64,
}

/// Attributes that are sums over all data servers.
pub(crate) const OF_ALL_SERVERS: Bitmap = Bitmap::of(&[n::SPACE_AVAIL, n::SPACE_FREE, n::SPACE_TOTAL]);

/// Inodes that can still be created: only space limits them, so a round large number.
const FILES_FREE: u64 = 1 << 40;

/// All values of an object; the encoder picks the requested ones.
#[must_use]
pub(crate) fn values(
    facts: &FileSystemFacts,
    inode: &Inode,
    handle: Filehandle,
    asked: &Bitmap,
) -> AttrValues {
    let mut values = AttrValues {
        file_type: Some(file_type(inode.kind)),
        change: Some(inode.change),
        size: Some(inode.size_bytes),
        fsid: Some(facts.fsid),
        rdattr_error: Some(Nfsstat4::Ok),
        filehandle: Some(handle),
        fileid: Some(inode.ino),
        mode: Some(inode.mode),
        numlinks: Some(inode.nlink),
        owner: Some(decimal(inode.uid)),
        owner_group: Some(decimal(inode.gid)),
        rawdev: Some(device(inode.kind)),
        space_used: Some(inode.used_bytes.next_multiple_of(BLOCK_BYTES)),
        time_access: Some(time(inode.atime)),
        time_metadata: Some(time(inode.ctime)),
        time_modify: Some(time(inode.mtime)),
        mounted_on_fileid: Some(inode.ino),
        ..AttrValues::default()
    };
    if !asked.intersect(&OF_FILE_SYSTEM).is_empty() {
        add_file_system(&mut values, facts);
    }
    values
}

/// Values of an object that cannot be read, in a READDIR that requested `rdattr_error`.
#[must_use]
pub(crate) fn unreadable(status: Nfsstat4) -> AttrValues {
    AttrValues { rdattr_error: Some(status), ..AttrValues::default() }
}

/// Attributes that are the same for every object: rarely requested, so not computed for each entry
/// of a listing.
const OF_FILE_SYSTEM: Bitmap = Bitmap::of(&[
    n::SUPPORTED_ATTRS,
    n::FH_EXPIRE_TYPE,
    n::LINK_SUPPORT,
    n::SYMLINK_SUPPORT,
    n::NAMED_ATTR,
    n::UNIQUE_HANDLES,
    n::LEASE_TIME,
    n::CANSETTIME,
    n::CASE_INSENSITIVE,
    n::CASE_PRESERVING,
    n::CHOWN_RESTRICTED,
    n::FILES_AVAIL,
    n::FILES_FREE,
    n::FILES_TOTAL,
    n::HOMOGENEOUS,
    n::MAXFILESIZE,
    n::MAXLINK,
    n::MAXNAME,
    n::MAXREAD,
    n::MAXWRITE,
    n::NO_TRUNC,
    n::SPACE_AVAIL,
    n::SPACE_FREE,
    n::SPACE_TOTAL,
    n::TIME_DELTA,
    n::FS_LAYOUT_TYPES,
    n::LAYOUT_BLKSIZE,
    n::MDSTHRESHOLD,
    n::SUPPATTR_EXCLCREAT,
    n::CHANGE_ATTR_TYPE,
]);

fn add_file_system(values: &mut AttrValues, facts: &FileSystemFacts) {
    values.supported_attrs = Some(supported(facts));
    values.fh_expire_type = Some(0);
    values.link_support = Some(true);
    values.symlink_support = Some(true);
    values.named_attr = Some(false);
    values.unique_handles = Some(true);
    values.lease_time_s = Some(facts.lease_seconds);
    values.cansettime = Some(true);
    values.case_insensitive = Some(false);
    values.case_preserving = Some(true);
    values.chown_restricted = Some(true);
    values.files_avail = Some(FILES_FREE);
    values.files_free = Some(FILES_FREE);
    values.files_total = Some(FILES_FREE + facts.files_used);
    values.homogeneous = Some(true);
    values.maxfilesize = Some(layout::FILE_BYTES_MAX);
    values.maxlink = Some(LINKS_MAX);
    values.maxname = Some(NAME_BYTES_MAX);
    values.maxread = Some(u64::from(TRANSFER_BYTES_MAX));
    values.maxwrite = Some(u64::from(TRANSFER_BYTES_MAX));
    values.no_trunc = Some(true);
    values.space_avail = Some(facts.space_free_bytes);
    values.space_free = Some(facts.space_free_bytes);
    values.space_total = Some(facts.space_total_bytes);
    values.time_delta = Some(Nfstime4 { seconds: 0, nseconds: 1 });
    values.suppattr_exclcreat = Some(EXCLUSIVE_CREATE);
    // QUIRK(linux): if the counter is declared monotonic, the client takes the reply with the
    // larger counter for the newer, though its size may be the older one (docs/protocol/sizes.md
    // §3). So their order is left undefined.
    values.change_attr_type = Some(ChangeAttrType::Undefined);
    if facts.pnfs {
        values.fs_layout_types = Some(vec![LayoutType::FLEX_FILES]);
        values.layout_blksize = Some(4096);
        // Linux sends I/O to the metadata server while both the file and the I/O so far are below
        // the threshold.
        values.mdsthreshold = Some(MdsThreshold {
            hints: vec![ThresholdItem {
                layout_type: LayoutType::FLEX_FILES,
                read_size: Some(facts.inline_bytes + 1),
                write_size: Some(facts.inline_bytes + 1),
                read_iosize: None,
                write_iosize: None,
            }],
        });
    }
}

fn supported(facts: &FileSystemFacts) -> Bitmap {
    let mut bitmap = SUPPORTED;
    if !facts.pnfs {
        bitmap.remove(n::FS_LAYOUT_TYPES);
        bitmap.remove(n::LAYOUT_BLKSIZE);
        bitmap.remove(n::MDSTHRESHOLD);
    }
    bitmap
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Regular => FileType::Regular,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Link,
        Kind::Block { .. } => FileType::Block,
        Kind::Character { .. } => FileType::Character,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}

fn device(kind: Kind) -> SpecData {
    match kind {
        Kind::Block { major, minor } | Kind::Character { major, minor } => SpecData { major, minor },
        Kind::Regular | Kind::Directory | Kind::Symlink | Kind::Fifo | Kind::Socket => SpecData::default(),
    }
}

fn time(at: Timestamp) -> Nfstime4 {
    Nfstime4 { seconds: at.seconds, nseconds: at.nanos }
}

fn decimal(id: u32) -> Bytes {
    Bytes::from(id.to_string())
}

/// A directory's change counter around an operation. Commands are atomic, so the pair always is.
#[must_use]
pub(crate) fn change_info(change: DirectoryChange) -> ChangeInfo {
    ChangeInfo { atomic: true, before: change.before, after: change.after }
}

/// Decodes the attributes that a client sets.
///
/// # Errors
/// ATTRNOTSUPP for an attribute that is not settable here, BADXDR for a malformed body, BADOWNER
/// for an owner that is no number, INVAL for a mode or time out of range.
pub(crate) fn to_set(attributes: &Fattr4) -> Result<SetAttributes, Nfsstat4> {
    let values = attributes.to_values().map_err(|e| e.status())?;
    let refused = attributes.mask.difference(&SETTABLE);
    if !refused.is_empty() {
        // RFC 8881 §18.30.3: INVAL for a read-only attribute, ATTRNOTSUPP for an unsupported one.
        let read_only = refused.intersect(&SUPPORTED);
        return Err(if read_only.is_empty() { Nfsstat4::Attrnotsupp } else { Nfsstat4::Inval });
    }
    if values.mode.is_some_and(|mode| mode & !PERMISSION_BITS != 0) {
        return Err(Nfsstat4::Inval);
    }
    if values.size.is_some_and(|size| layout::FILE_BYTES_MAX < size) {
        return Err(Nfsstat4::Fbig);
    }
    Ok(SetAttributes {
        mode: values.mode,
        uid: values.owner.as_deref().map(parse_owner).transpose()?,
        gid: values.owner_group.as_deref().map(parse_owner).transpose()?,
        size_bytes: values.size,
        atime: values.time_access_set.map(parse_time).transpose()?,
        mtime: values.time_modify_set.map(parse_time).transpose()?,
    })
}

fn parse_owner(text: &[u8]) -> Result<u32, Nfsstat4> {
    let text = std::str::from_utf8(text).map_err(|_| Nfsstat4::Badowner)?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Nfsstat4::Badowner);
    }
    // POSIX chown takes this number for "leave it", so no system can have such a user.
    text.parse().ok().filter(|id| *id != u32::MAX).ok_or(Nfsstat4::Badowner)
}

fn parse_time(at: wire_nfs::v4::attr::SetTime) -> Result<SetTime, Nfsstat4> {
    match at {
        wire_nfs::v4::attr::SetTime::Server => Ok(SetTime::Now),
        wire_nfs::v4::attr::SetTime::Client(time) if time.is_valid() => {
            Ok(SetTime::At(Timestamp { seconds: time.seconds, nanos: time.nseconds }))
        }
        wire_nfs::v4::attr::SetTime::Client(_) => Err(Nfsstat4::Inval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_plain_decimal_numbers() {
        assert_eq!((parse_owner(b"1000"), parse_owner(b"4294967294")), (Ok(1000), Ok(u32::MAX - 1)));
        for bad in [b"".as_slice(), b"alice", b"1000@example", b"-1", b"+1", b"4294967295", b"4294967296"] {
            assert_eq!(parse_owner(bad), Err(Nfsstat4::Badowner));
        }
    }

    /// Spec: RFC 8881 §18.30.3.
    #[test]
    fn unsettable_attributes_are_refused_by_kind() {
        let set = |values: AttrValues| to_set(&Fattr4::from_values(&values));
        let read_only = AttrValues { fileid: Some(1), ..AttrValues::default() };
        assert_eq!(set(read_only), Err(Nfsstat4::Inval));
        let not_there = AttrValues { xattr_support: Some(true), ..AttrValues::default() };
        assert_eq!(set(not_there), Err(Nfsstat4::Attrnotsupp));
        let mode = AttrValues { mode: Some(0o10000), ..AttrValues::default() };
        assert_eq!(set(mode), Err(Nfsstat4::Inval));
        let good = AttrValues { mode: Some(0o640), size: Some(7), ..AttrValues::default() };
        let want = SetAttributes { mode: Some(0o640), size_bytes: Some(7), ..SetAttributes::default() };
        assert_eq!(set(good), Ok(want));
    }

    /// Spec: RFC 8881 §5.6: every supported attribute that is requested has a value.
    #[test]
    fn everything_supported_is_answered() {
        let facts = FileSystemFacts { pnfs: true, ..FileSystemFacts::default() };
        let inode = Inode {
            ino: 1,
            generation: 0,
            kind: Kind::Directory,
            mode: 0o755,
            nlink: 2,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            used_bytes: 0,
            change: 1,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            parent: 1,
            content: mds_namespace::Content::Inline,
        };
        let values = values(&facts, &inode, Filehandle::default(), &SUPPORTED);
        let write_only = Bitmap::of(&[n::TIME_ACCESS_SET, n::TIME_MODIFY_SET]);
        assert_eq!(SUPPORTED.difference(&values.present()), write_only);
    }
}
