//! The attributes that have a codec: their values in memory, and the one list of them.
//!
//! Encoding, decoding and presence are generated from the list.
//!
//! Spec: RFC 8881 §5; RFC 7862 §12.2; RFC 8276 §8.2.

use bytes::Bytes;

use super::{
    ChangeAttrType, FileType, Fsid, LayoutType, MdsThreshold, ModeMasked, ModeUmask, SetTime, SpecData,
    numbers,
};
use crate::v4::{Bitmap, Filehandle, Nfsstat4, Nfstime4};

/// The attributes that we can read and write. Each is there or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(
    missing_docs,
    reason = "each field is the attribute of the same name in `numbers`, which is documented"
)]
pub struct AttrValues {
    pub supported_attrs: Option<Bitmap>,
    pub file_type: Option<FileType>,
    pub fh_expire_type: Option<u32>,
    pub change: Option<u64>,
    pub size: Option<u64>,
    pub link_support: Option<bool>,
    pub symlink_support: Option<bool>,
    pub named_attr: Option<bool>,
    pub fsid: Option<Fsid>,
    pub unique_handles: Option<bool>,
    pub lease_time_s: Option<u32>,
    pub rdattr_error: Option<Nfsstat4>,
    pub aclsupport: Option<u32>,
    pub cansettime: Option<bool>,
    pub case_insensitive: Option<bool>,
    pub case_preserving: Option<bool>,
    pub chown_restricted: Option<bool>,
    pub filehandle: Option<Filehandle>,
    pub fileid: Option<u64>,
    pub files_avail: Option<u64>,
    pub files_free: Option<u64>,
    pub files_total: Option<u64>,
    pub homogeneous: Option<bool>,
    pub maxfilesize: Option<u64>,
    pub maxlink: Option<u32>,
    pub maxname: Option<u32>,
    pub maxread: Option<u64>,
    pub maxwrite: Option<u64>,
    pub mode: Option<u32>,
    pub no_trunc: Option<bool>,
    pub numlinks: Option<u32>,
    pub owner: Option<Bytes>,
    pub owner_group: Option<Bytes>,
    pub quota_avail_hard: Option<u64>,
    pub quota_avail_soft: Option<u64>,
    pub quota_used: Option<u64>,
    pub rawdev: Option<SpecData>,
    pub space_avail: Option<u64>,
    pub space_free: Option<u64>,
    pub space_total: Option<u64>,
    pub space_used: Option<u64>,
    pub time_access: Option<Nfstime4>,
    pub time_access_set: Option<SetTime>,
    pub time_create: Option<Nfstime4>,
    pub time_delta: Option<Nfstime4>,
    pub time_metadata: Option<Nfstime4>,
    pub time_modify: Option<Nfstime4>,
    pub time_modify_set: Option<SetTime>,
    pub mounted_on_fileid: Option<u64>,
    pub fs_layout_types: Option<Vec<LayoutType>>,
    pub layout_types: Option<Vec<LayoutType>>,
    pub layout_blksize: Option<u32>,
    pub layout_alignment: Option<u32>,
    pub mdsthreshold: Option<MdsThreshold>,
    pub mode_set_masked: Option<ModeMasked>,
    pub suppattr_exclcreat: Option<Bitmap>,
    pub fs_charset_cap: Option<u32>,
    pub clone_blksize: Option<u32>,
    pub space_freed: Option<u64>,
    pub change_attr_type: Option<ChangeAttrType>,
    pub mode_umask: Option<ModeUmask>,
    pub xattr_support: Option<bool>,
}

/// Calls a macro with every attribute that [`AttrValues`] has: number, field, and the bound where
/// the codec needs one. Presence, encoding and decoding are all made from this list, so they cannot
/// disagree.
macro_rules! with_attrs {
    ($use_list:ident) => {
        $use_list! {
            SUPPORTED_ATTRS supported_attrs,
            TYPE file_type,
            FH_EXPIRE_TYPE fh_expire_type,
            CHANGE change,
            SIZE size,
            LINK_SUPPORT link_support,
            SYMLINK_SUPPORT symlink_support,
            NAMED_ATTR named_attr,
            FSID fsid,
            UNIQUE_HANDLES unique_handles,
            LEASE_TIME lease_time_s,
            RDATTR_ERROR rdattr_error,
            ACLSUPPORT aclsupport,
            CANSETTIME cansettime,
            CASE_INSENSITIVE case_insensitive,
            CASE_PRESERVING case_preserving,
            CHOWN_RESTRICTED chown_restricted,
            FILEHANDLE filehandle,
            FILEID fileid,
            FILES_AVAIL files_avail,
            FILES_FREE files_free,
            FILES_TOTAL files_total,
            HOMOGENEOUS homogeneous,
            MAXFILESIZE maxfilesize,
            MAXLINK maxlink,
            MAXNAME maxname,
            MAXREAD maxread,
            MAXWRITE maxwrite,
            MODE mode,
            NO_TRUNC no_trunc,
            NUMLINKS numlinks,
            OWNER owner: opaque(PRINCIPAL_BYTES_MAX),
            OWNER_GROUP owner_group: opaque(PRINCIPAL_BYTES_MAX),
            QUOTA_AVAIL_HARD quota_avail_hard,
            QUOTA_AVAIL_SOFT quota_avail_soft,
            QUOTA_USED quota_used,
            RAWDEV rawdev,
            SPACE_AVAIL space_avail,
            SPACE_FREE space_free,
            SPACE_TOTAL space_total,
            SPACE_USED space_used,
            TIME_ACCESS time_access,
            TIME_ACCESS_SET time_access_set,
            TIME_CREATE time_create,
            TIME_DELTA time_delta,
            TIME_METADATA time_metadata,
            TIME_MODIFY time_modify,
            TIME_MODIFY_SET time_modify_set,
            MOUNTED_ON_FILEID mounted_on_fileid,
            FS_LAYOUT_TYPES fs_layout_types: list(LAYOUT_TYPES_MAX),
            LAYOUT_TYPES layout_types: list(LAYOUT_TYPES_MAX),
            LAYOUT_BLKSIZE layout_blksize,
            LAYOUT_ALIGNMENT layout_alignment,
            MDSTHRESHOLD mdsthreshold,
            MODE_SET_MASKED mode_set_masked,
            SUPPATTR_EXCLCREAT suppattr_exclcreat,
            FS_CHARSET_CAP fs_charset_cap,
            CLONE_BLKSIZE clone_blksize,
            SPACE_FREED space_freed,
            CHANGE_ATTR_TYPE change_attr_type,
            MODE_UMASK mode_umask,
            XATTR_SUPPORT xattr_support,
        }
    };
}
pub(super) use with_attrs;

macro_rules! known_numbers {
    ($($number:ident $field:ident $(: $kind:ident($max:ident))?,)*) => {
        Bitmap::of(&[$(numbers::$number),*])
    };
}

impl AttrValues {
    /// Every attribute that this struct has a field for.
    pub const KNOWN: Bitmap = with_attrs!(known_numbers);
}
