//! The numbers of the attributes, and sets of them.
//!
//! Spec: RFC 8881 §5.8, §5.11, §5.12; RFC 7862 §12.2; RFC 8275 §5; RFC 8276 §8.2.

use crate::v4::Bitmap;

/// The attributes that this object supports.
pub const SUPPORTED_ATTRS: u32 = 0;
/// The object's type.
pub const TYPE: u32 = 1;
/// Whether filehandles expire.
pub const FH_EXPIRE_TYPE: u32 = 2;
/// A number that moves with every change.
pub const CHANGE: u32 = 3;
/// Bytes of the object.
pub const SIZE: u32 = 4;
/// Hard links work.
pub const LINK_SUPPORT: u32 = 5;
/// Symbolic links work.
pub const SYMLINK_SUPPORT: u32 = 6;
/// The object has named attributes.
pub const NAMED_ATTR: u32 = 7;
/// The file system.
pub const FSID: u32 = 8;
/// Two filehandles are two objects.
pub const UNIQUE_HANDLES: u32 = 9;
/// Seconds of a lease.
pub const LEASE_TIME: u32 = 10;
/// Why READDIR could not read the attributes of an entry.
pub const RDATTR_ERROR: u32 = 11;
/// The access control list.
pub const ACL: u32 = 12;
/// Which kinds of access control entries work.
pub const ACLSUPPORT: u32 = 13;
/// Backed up since the last change.
pub const ARCHIVE: u32 = 14;
/// Times can be set.
pub const CANSETTIME: u32 = 15;
/// Names ignore case.
pub const CASE_INSENSITIVE: u32 = 16;
/// Names keep their case.
pub const CASE_PRESERVING: u32 = 17;
/// Only the privileged may give files away.
pub const CHOWN_RESTRICTED: u32 = 18;
/// The object's filehandle.
pub const FILEHANDLE: u32 = 19;
/// The inode number.
pub const FILEID: u32 = 20;
/// Inodes free for this user.
pub const FILES_AVAIL: u32 = 21;
/// Inodes free.
pub const FILES_FREE: u32 = 22;
/// Inodes in all.
pub const FILES_TOTAL: u32 = 23;
/// Other places of the file system.
pub const FS_LOCATIONS: u32 = 24;
/// A hidden file.
pub const HIDDEN: u32 = 25;
/// All objects of the file system support the same attributes.
pub const HOMOGENEOUS: u32 = 26;
/// Largest size.
pub const MAXFILESIZE: u32 = 27;
/// Most hard links.
pub const MAXLINK: u32 = 28;
/// Bytes of the longest name.
pub const MAXNAME: u32 = 29;
/// Bytes of the largest READ.
pub const MAXREAD: u32 = 30;
/// Bytes of the largest WRITE.
pub const MAXWRITE: u32 = 31;
/// The content type.
pub const MIMETYPE: u32 = 32;
/// Permission bits.
pub const MODE: u32 = 33;
/// Long names are refused, not cut.
pub const NO_TRUNC: u32 = 34;
/// Hard links.
pub const NUMLINKS: u32 = 35;
/// The owner, as a string.
pub const OWNER: u32 = 36;
/// The group, as a string.
pub const OWNER_GROUP: u32 = 37;
/// Bytes up to the hard quota.
pub const QUOTA_AVAIL_HARD: u32 = 38;
/// Bytes up to the soft quota.
pub const QUOTA_AVAIL_SOFT: u32 = 39;
/// Bytes counted against the quota.
pub const QUOTA_USED: u32 = 40;
/// Device numbers.
pub const RAWDEV: u32 = 41;
/// Bytes free for this user.
pub const SPACE_AVAIL: u32 = 42;
/// Bytes free.
pub const SPACE_FREE: u32 = 43;
/// Bytes in all.
pub const SPACE_TOTAL: u32 = 44;
/// Bytes that the object takes.
pub const SPACE_USED: u32 = 45;
/// A system file.
pub const SYSTEM: u32 = 46;
/// Last access.
pub const TIME_ACCESS: u32 = 47;
/// Sets the last access; write only.
pub const TIME_ACCESS_SET: u32 = 48;
/// Last backup.
pub const TIME_BACKUP: u32 = 49;
/// Creation.
pub const TIME_CREATE: u32 = 50;
/// The smallest step of a time.
pub const TIME_DELTA: u32 = 51;
/// Last change of the metadata.
pub const TIME_METADATA: u32 = 52;
/// Last change of the data.
pub const TIME_MODIFY: u32 = 53;
/// Sets the last change of the data; write only.
pub const TIME_MODIFY_SET: u32 = 54;
/// The inode number of what is mounted upon.
pub const MOUNTED_ON_FILEID: u32 = 55;
/// Delay of directory notifications.
pub const DIR_NOTIF_DELAY: u32 = 56;
/// Delay of directory entry notifications.
pub const DIRENT_NOTIF_DELAY: u32 = 57;
/// The discretionary access control list.
pub const DACL: u32 = 58;
/// The system access control list.
pub const SACL: u32 = 59;
/// Moves when the file system's policy does.
pub const CHANGE_POLICY: u32 = 60;
/// The state of a replica.
pub const FS_STATUS: u32 = 61;
/// Layout types of the file system.
pub const FS_LAYOUT_TYPES: u32 = 62;
/// A wish for the layout of a new file.
pub const LAYOUT_HINT: u32 = 63;
/// Layout types of the file.
pub const LAYOUT_TYPES: u32 = 64;
/// Block size for layouts.
pub const LAYOUT_BLKSIZE: u32 = 65;
/// Alignment for layouts.
pub const LAYOUT_ALIGNMENT: u32 = 66;
/// Other places of the file system, at length.
pub const FS_LOCATIONS_INFO: u32 = 67;
/// Sizes below which I/O goes to the metadata server.
pub const MDSTHRESHOLD: u32 = 68;
/// Retention.
pub const RETENTION_GET: u32 = 69;
/// Sets retention; write only.
pub const RETENTION_SET: u32 = 70;
/// Event-based retention.
pub const RETENTEVT_GET: u32 = 71;
/// Sets event-based retention; write only.
pub const RETENTEVT_SET: u32 = 72;
/// Retention holds.
pub const RETENTION_HOLD: u32 = 73;
/// Sets some of the permission bits; write only.
pub const MODE_SET_MASKED: u32 = 74;
/// Attributes that an exclusive create may set.
pub const SUPPATTR_EXCLCREAT: u32 = 75;
/// Which characters names may have.
pub const FS_CHARSET_CAP: u32 = 76;
/// Alignment of CLONE.
pub const CLONE_BLKSIZE: u32 = 77;
/// Bytes that would be freed by removing the object.
pub const SPACE_FREED: u32 = 78;
/// How CHANGE moves.
pub const CHANGE_ATTR_TYPE: u32 = 79;
/// The security label.
pub const SEC_LABEL: u32 = 80;
/// Sets the mode of a new file through a umask; write only.
pub const MODE_UMASK: u32 = 81;
/// Extended attributes work.
pub const XATTR_SUPPORT: u32 = 82;

/// Attributes that SETATTR, CREATE and OPEN can set and that [`AttrValues`](super::AttrValues) can
/// carry. What a server lets a client set is for the server to say.
pub const SETTABLE: Bitmap = Bitmap::of(&[
    SIZE,
    MODE,
    OWNER,
    OWNER_GROUP,
    TIME_ACCESS_SET,
    TIME_CREATE,
    TIME_MODIFY_SET,
    MODE_SET_MASKED,
    MODE_UMASK,
]);

/// Attributes that can be set but never read: GETATTR and VERIFY with one of them is INVAL (RFC
/// 8881 §5.5).
pub const WRITE_ONLY: Bitmap = Bitmap::of(&[
    TIME_ACCESS_SET,
    TIME_MODIFY_SET,
    RETENTION_SET,
    RETENTEVT_SET,
    MODE_SET_MASKED,
    MODE_UMASK,
]);
