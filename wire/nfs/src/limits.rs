//! Named bounds of the NFS codecs.
//!
//! A decoder refuses what is above these before it allocates anything. They bound what the wire may
//! carry; a server may be stricter (a name of at most 255 bytes, for example) and answers with a
//! status of its own.
//!
//! Spec: RFC 8881 §3.2 (sizes fixed by the protocol); the others are ours.

/// Bytes of a filehandle (RFC 8881 §3.2, `NFS4_FHSIZE`).
pub const FILEHANDLE_BYTES_MAX: usize = 128;
/// Bytes of an opaque owner, scope or server id (RFC 8881 §3.2, `NFS4_OPAQUE_LIMIT`).
pub const OPAQUE_BYTES_MAX: usize = 1024;
/// Bytes of one name of a path. The server's own limit is lower; names between the two get
/// NAMETOOLONG, not BADXDR.
pub const COMPONENT_BYTES_MAX: usize = 1024;
/// Bytes of a symbolic link's target.
pub const LINK_TEXT_BYTES_MAX: usize = 4096;
/// Bytes of an owner, group or ACE principal string.
pub const PRINCIPAL_BYTES_MAX: usize = 1024;
/// Bytes of a COMPOUND tag.
pub const TAG_BYTES_MAX: usize = 1024;
/// Operations of one COMPOUND or CB_COMPOUND.
pub const COMPOUND_OPS_MAX: usize = 128;
/// Words of a bitmap on the wire. Only [`BITMAP_WORDS_KEPT`] of them are remembered.
pub const BITMAP_WORDS_MAX: usize = 8;
/// Words of a bitmap that a value keeps: attributes end at 86, operations at 75, notifications far
/// below.
pub const BITMAP_WORDS_KEPT: usize = 3;
/// Bytes of the value part of a `fattr4`.
pub const FATTR_BYTES_MAX: usize = 64 * 1024;
/// Layout types in one `fs_layout_types` attribute.
pub const LAYOUT_TYPES_MAX: usize = 16;
/// Layout types in one `mdsthreshold` attribute.
pub const THRESHOLD_ITEMS_MAX: usize = 16;
/// Bytes of READ or WRITE data in one operation.
pub const IO_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a READDIR reply's body that a client accepts, and so entries too.
pub const READDIR_ENTRIES_MAX: usize = 64 * 1024;
/// Bytes of an extended attribute's value (the Linux VFS stops at the same number).
pub const XATTR_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Names in one LISTXATTRS reply.
pub const XATTR_NAMES_MAX: usize = 16 * 1024;
/// Stateids in one TEST_STATEID.
pub const TEST_STATEIDS_MAX: usize = 1024;
/// Implementation ids in EXCHANGE_ID (RFC 8881 §18.35).
pub const IMPL_IDS_MAX: usize = 1;
/// Algorithm ids in each list of SP4_SSV.
pub const SSV_ALGORITHMS_MAX: usize = 32;
/// Context handles in an SP4_SSV reply.
pub const SSV_HANDLES_MAX: usize = 32;
/// Bytes of an object identifier of a security mechanism.
pub const OID_BYTES_MAX: usize = 128;
/// Bytes of an RPCSEC_GSS context handle.
pub const GSS_HANDLE_BYTES_MAX: usize = 1024;
/// Callback security parameters in CREATE_SESSION and BACKCHANNEL_CTL.
pub const CALLBACK_SEC_PARMS_MAX: usize = 8;
/// Supplementary groups in AUTH_SYS (RFC 5531 appendix A).
pub const AUTH_SYS_GIDS_MAX: usize = 16;
/// Bytes of the machine name in AUTH_SYS (RFC 5531 appendix A).
pub const AUTH_SYS_MACHINE_BYTES_MAX: usize = 255;
/// Values in `ca_rdma_ird` (RFC 8881 §18.36).
pub const RDMA_IRD_MAX: usize = 1;
/// Flavours in one SECINFO reply.
pub const SECINFO_FLAVORS_MAX: usize = 32;
/// Bytes of one layout's body. Linux decodes a layout into one page and refuses more.
pub const LAYOUT_BODY_BYTES_MAX: usize = 4096;
/// Layouts in one LAYOUTGET reply that a client decodes; Linux reads only the first.
pub const LAYOUTS_MAX: usize = 64;
/// Bytes of the body of LAYOUTRETURN, LAYOUTCOMMIT and LAYOUTSTATS.
pub const LAYOUT_RETURN_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a device address body.
pub const DEVICE_ADDR_BYTES_MAX: usize = 64 * 1024;
/// Device errors in one LAYOUTERROR, or in one `ff_ioerr4`.
pub const DEVICE_ERRORS_MAX: usize = 128;
/// Mirrors in one `ff_layout4`: more cannot fit in [`LAYOUT_BODY_BYTES_MAX`].
pub const MIRRORS_MAX: usize = 64;
/// Data servers in one mirror: more cannot fit in [`LAYOUT_BODY_BYTES_MAX`].
pub const MIRROR_SERVERS_MAX: usize = 64;
/// Filehandles of one data server, one for each version its device speaks.
pub const FH_VERSIONS_MAX: usize = 8;
/// Addresses of one device.
pub const NETADDRS_MAX: usize = 32;
/// Bytes of a network id ("tcp", "rdma6").
pub const NETID_BYTES_MAX: usize = 16;
/// Bytes of a universal address: 45 of an IPv6 address, and two numbers of the port.
pub const UADDR_BYTES_MAX: usize = 64;
/// Protocol versions of one device.
pub const DEVICE_VERSIONS_MAX: usize = 8;
/// I/O error reports in one LAYOUTRETURN.
pub const IO_ERRORS_MAX: usize = 128;
/// I/O statistics in one LAYOUTRETURN.
pub const IO_STATS_MAX: usize = 128;
/// Referring sessions in CB_SEQUENCE.
pub const REFERRING_LISTS_MAX: usize = 8;
/// Referring calls of one session in CB_SEQUENCE.
pub const REFERRING_CALLS_MAX: usize = 64;
/// Changes in one CB_NOTIFY_DEVICEID.
pub const DEVICE_NOTIFICATIONS_MAX: usize = 64;

const _: () = assert!(BITMAP_WORDS_KEPT <= BITMAP_WORDS_MAX, "what is kept was read");
const _: () =
    assert!(LAYOUT_BODY_BYTES_MAX <= LAYOUT_RETURN_BODY_BYTES_MAX, "a layout fits where a return does");
