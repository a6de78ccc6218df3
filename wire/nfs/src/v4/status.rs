//! The status of an operation: `nfsstat4`.
//!
//! All values of NFSv4.1, NFSv4.2 and the extended attributes. A number that is not known is kept,
//! so that a client can show what a newer server said.
//!
//! Spec: RFC 8881 §15.1; RFC 7862 §11.1; RFC 8276 §8.3.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

/// What became of an operation or a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nfsstat4 {
    /// Everything went well (0).
    Ok,
    /// Not the owner and not privileged (1).
    Perm,
    /// No such name (2).
    Noent,
    /// A hard error of the storage (5).
    Io,
    /// No such device or address; SEEK beyond the end (6).
    Nxio,
    /// Permission denied (13).
    Access,
    /// The name exists already (17).
    Exist,
    /// Crosses file systems (18).
    Xdev,
    /// A directory was needed (20).
    Notdir,
    /// A directory was not wanted (21).
    Isdir,
    /// An argument makes no sense (22).
    Inval,
    /// Beyond the largest file (27).
    Fbig,
    /// No space left (28).
    Nospc,
    /// The file system is read-only (30).
    Rofs,
    /// Too many hard links (31).
    Mlink,
    /// The name is too long (63).
    Nametoolong,
    /// The directory is not empty (66).
    Notempty,
    /// Over quota (69).
    Dquot,
    /// The object of the filehandle is gone (70).
    Stale,
    /// The filehandle is malformed (10001).
    Badhandle,
    /// The READDIR cookie is not valid (10003).
    BadCookie,
    /// The operation is not supported (10004).
    Notsupp,
    /// The reply does not fit the limit given (10005).
    Toosmall,
    /// An error with no code of its own (10006).
    Serverfault,
    /// CREATE cannot make this type (10007).
    Badtype,
    /// Busy: try again later (10008).
    Delay,
    /// NVERIFY found equal attributes (10009).
    Same,
    /// The lock is held by another (10010).
    Denied,
    /// The lease has expired (10011).
    Expired,
    /// I/O hits a mandatory lock (10012).
    Locked,
    /// The server is in its grace period (10013).
    Grace,
    /// The volatile filehandle has expired (10014).
    Fhexpired,
    /// A share reservation is in the way (10015).
    ShareDenied,
    /// Another security flavour is needed (10016).
    Wrongsec,
    /// The client id belongs to another principal (10017).
    ClidInuse,
    /// Out of resources (NFSv4.0 only) (10018).
    Resource,
    /// The file system is elsewhere (10019).
    Moved,
    /// There is no current filehandle (10020).
    Nofilehandle,
    /// The minor version is not served (10021).
    MinorVersMismatch,
    /// The client id is not known (10022).
    StaleClientid,
    /// The stateid is of an earlier server instance (10023).
    StaleStateid,
    /// The stateid's seqid is behind (10024).
    OldStateid,
    /// The stateid is not known (10025).
    BadStateid,
    /// The owner's seqid is wrong (NFSv4.0 only) (10026).
    BadSeqid,
    /// VERIFY found different attributes (10027).
    NotSame,
    /// The lock range overlaps in a way that is not supported (10028).
    LockRange,
    /// A symbolic link where none is allowed (10029).
    Symlink,
    /// There is no saved filehandle (10030).
    Restorefh,
    /// A lease has moved (10031).
    LeaseMoved,
    /// The attribute is not supported (10032).
    Attrnotsupp,
    /// A reclaim outside the grace period (10033).
    NoGrace,
    /// The reclaim cannot be honoured (10034).
    ReclaimBad,
    /// The reclaim conflicts with another (10035).
    ReclaimConflict,
    /// The arguments cannot be decoded (10036).
    Badxdr,
    /// Locks are still held (10037).
    LocksHeld,
    /// The open does not allow this I/O (10038).
    Openmode,
    /// The owner string cannot be translated (10039).
    Badowner,
    /// A character is not allowed (10040).
    Badchar,
    /// A name is not allowed (10041).
    Badname,
    /// The lock range is not supported (10042).
    BadRange,
    /// No atomic lock upgrade or downgrade (10043).
    LockNotsupp,
    /// No such operation (10044).
    OpIllegal,
    /// The lock would deadlock (10045).
    Deadlock,
    /// An open file is in the way (10046).
    FileOpen,
    /// The state was revoked by the administrator (10047).
    AdminRevoked,
    /// The callback path is down (10048).
    CbPathDown,
    /// The iomode makes no sense here (10049).
    Badiomode,
    /// The layout does not fit the request (10050).
    Badlayout,
    /// The SSV digest is wrong (10051).
    BadSessionDigest,
    /// The session is not known (10052).
    Badsession,
    /// The slot does not exist (10053).
    Badslot,
    /// RECLAIM_COMPLETE was done already (10054).
    CompleteAlready,
    /// The connection is not bound to the session (10055).
    ConnNotBoundToSession,
    /// A delegation is wanted already (10056).
    DelegAlreadyWanted,
    /// Backchannel requests are outstanding (10057).
    BackChanBusy,
    /// No layout now, perhaps later (10058).
    Layouttrylater,
    /// No layout: do the I/O through the metadata server (10059).
    Layoutunavailable,
    /// The client holds no such layout (10060).
    NomatchingLayout,
    /// A recall is in progress (10061).
    Recallconflict,
    /// The layout type is not known (10062).
    UnknownLayouttype,
    /// The sequence id is not the next one (10063).
    SeqMisordered,
    /// SEQUENCE is not the first operation (10064).
    SequencePos,
    /// The request is too big (10065).
    ReqTooBig,
    /// The reply would be too big (10066).
    RepTooBig,
    /// The reply would be too big for the reply cache (10067).
    RepTooBigToCache,
    /// A retry whose reply was not kept (10068).
    RetryUncachedRep,
    /// The compound could not be recovered from (10069).
    UnsafeCompound,
    /// Too many operations (10070).
    TooManyOps,
    /// The operation needs a session (10071).
    OpNotInSession,
    /// The hash algorithm is not supported (10072).
    HashAlgUnsupp,
    /// The client id still has state (10074).
    ClientidBusy,
    /// I/O to a hole of a sparse layout (10075).
    PnfsIoHole,
    /// A retry that is not the same request (10076).
    SeqFalseRetry,
    /// The highest slot id makes no sense (10077).
    BadHighSlot,
    /// The session is being torn down (10078).
    Deadsession,
    /// The encryption algorithm is not supported (10079).
    EncrAlgUnsupp,
    /// I/O without a layout (10080).
    PnfsNoLayout,
    /// The operation has to be alone (10081).
    NotOnlyOp,
    /// Not the credential that made the state (10082).
    WrongCred,
    /// The object has the wrong type (10083).
    WrongType,
    /// No directory delegation (10084).
    DirdelegUnavail,
    /// The delegation was rejected (10085).
    RejectDeleg,
    /// A layout return is in progress (10086).
    Returnconflict,
    /// The delegation or layout was revoked (10087).
    DelegRevoked,
    /// No server-to-server copy (10088).
    PartnerNotsupp,
    /// The other server did not authorise the copy (10089).
    PartnerNoAuth,
    /// An arm of the union is not supported (10090).
    UnionNotsupp,
    /// The copy is not allowed (10091).
    OffloadDenied,
    /// The label format is not supported (10092).
    WrongLfs,
    /// The label is wrong (10093).
    Badlabel,
    /// The copy's requirements cannot be met (10094).
    OffloadNoReqs,
    /// No such extended attribute (10095).
    Noxattr,
    /// The extended attribute is too big (10096).
    Xattr2big,
    /// A number that no RFC known here defines.
    Unknown(u32),
}

/// Makes the conversions of a status out of number, value and name of each.
macro_rules! statuses {
    ($($number:literal $status:ident $name:literal,)+) => {
        const ALL: &[Nfsstat4] = &[$(Nfsstat4::$status),+];

        const fn status_of(number: u32) -> Nfsstat4 {
            match number {
                $($number => Nfsstat4::$status,)+
                unknown => Nfsstat4::Unknown(unknown),
            }
        }

        const fn row_of(status: Nfsstat4) -> (u32, &'static str) {
            match status {
                $(Nfsstat4::$status => ($number, $name),)+
                Nfsstat4::Unknown(number) => (number, "NFS4ERR_unknown"),
            }
        }
    };
}

// Ascending by number: the one place where number, value and name meet.
statuses! {
    0 Ok "NFS4_OK",
    1 Perm "NFS4ERR_PERM",
    2 Noent "NFS4ERR_NOENT",
    5 Io "NFS4ERR_IO",
    6 Nxio "NFS4ERR_NXIO",
    13 Access "NFS4ERR_ACCESS",
    17 Exist "NFS4ERR_EXIST",
    18 Xdev "NFS4ERR_XDEV",
    20 Notdir "NFS4ERR_NOTDIR",
    21 Isdir "NFS4ERR_ISDIR",
    22 Inval "NFS4ERR_INVAL",
    27 Fbig "NFS4ERR_FBIG",
    28 Nospc "NFS4ERR_NOSPC",
    30 Rofs "NFS4ERR_ROFS",
    31 Mlink "NFS4ERR_MLINK",
    63 Nametoolong "NFS4ERR_NAMETOOLONG",
    66 Notempty "NFS4ERR_NOTEMPTY",
    69 Dquot "NFS4ERR_DQUOT",
    70 Stale "NFS4ERR_STALE",
    10001 Badhandle "NFS4ERR_BADHANDLE",
    10003 BadCookie "NFS4ERR_BAD_COOKIE",
    10004 Notsupp "NFS4ERR_NOTSUPP",
    10005 Toosmall "NFS4ERR_TOOSMALL",
    10006 Serverfault "NFS4ERR_SERVERFAULT",
    10007 Badtype "NFS4ERR_BADTYPE",
    10008 Delay "NFS4ERR_DELAY",
    10009 Same "NFS4ERR_SAME",
    10010 Denied "NFS4ERR_DENIED",
    10011 Expired "NFS4ERR_EXPIRED",
    10012 Locked "NFS4ERR_LOCKED",
    10013 Grace "NFS4ERR_GRACE",
    10014 Fhexpired "NFS4ERR_FHEXPIRED",
    10015 ShareDenied "NFS4ERR_SHARE_DENIED",
    10016 Wrongsec "NFS4ERR_WRONGSEC",
    10017 ClidInuse "NFS4ERR_CLID_INUSE",
    10018 Resource "NFS4ERR_RESOURCE",
    10019 Moved "NFS4ERR_MOVED",
    10020 Nofilehandle "NFS4ERR_NOFILEHANDLE",
    10021 MinorVersMismatch "NFS4ERR_MINOR_VERS_MISMATCH",
    10022 StaleClientid "NFS4ERR_STALE_CLIENTID",
    10023 StaleStateid "NFS4ERR_STALE_STATEID",
    10024 OldStateid "NFS4ERR_OLD_STATEID",
    10025 BadStateid "NFS4ERR_BAD_STATEID",
    10026 BadSeqid "NFS4ERR_BAD_SEQID",
    10027 NotSame "NFS4ERR_NOT_SAME",
    10028 LockRange "NFS4ERR_LOCK_RANGE",
    10029 Symlink "NFS4ERR_SYMLINK",
    10030 Restorefh "NFS4ERR_RESTOREFH",
    10031 LeaseMoved "NFS4ERR_LEASE_MOVED",
    10032 Attrnotsupp "NFS4ERR_ATTRNOTSUPP",
    10033 NoGrace "NFS4ERR_NO_GRACE",
    10034 ReclaimBad "NFS4ERR_RECLAIM_BAD",
    10035 ReclaimConflict "NFS4ERR_RECLAIM_CONFLICT",
    10036 Badxdr "NFS4ERR_BADXDR",
    10037 LocksHeld "NFS4ERR_LOCKS_HELD",
    10038 Openmode "NFS4ERR_OPENMODE",
    10039 Badowner "NFS4ERR_BADOWNER",
    10040 Badchar "NFS4ERR_BADCHAR",
    10041 Badname "NFS4ERR_BADNAME",
    10042 BadRange "NFS4ERR_BAD_RANGE",
    10043 LockNotsupp "NFS4ERR_LOCK_NOTSUPP",
    10044 OpIllegal "NFS4ERR_OP_ILLEGAL",
    10045 Deadlock "NFS4ERR_DEADLOCK",
    10046 FileOpen "NFS4ERR_FILE_OPEN",
    10047 AdminRevoked "NFS4ERR_ADMIN_REVOKED",
    10048 CbPathDown "NFS4ERR_CB_PATH_DOWN",
    10049 Badiomode "NFS4ERR_BADIOMODE",
    10050 Badlayout "NFS4ERR_BADLAYOUT",
    10051 BadSessionDigest "NFS4ERR_BAD_SESSION_DIGEST",
    10052 Badsession "NFS4ERR_BADSESSION",
    10053 Badslot "NFS4ERR_BADSLOT",
    10054 CompleteAlready "NFS4ERR_COMPLETE_ALREADY",
    10055 ConnNotBoundToSession "NFS4ERR_CONN_NOT_BOUND_TO_SESSION",
    10056 DelegAlreadyWanted "NFS4ERR_DELEG_ALREADY_WANTED",
    10057 BackChanBusy "NFS4ERR_BACK_CHAN_BUSY",
    10058 Layouttrylater "NFS4ERR_LAYOUTTRYLATER",
    10059 Layoutunavailable "NFS4ERR_LAYOUTUNAVAILABLE",
    10060 NomatchingLayout "NFS4ERR_NOMATCHING_LAYOUT",
    10061 Recallconflict "NFS4ERR_RECALLCONFLICT",
    10062 UnknownLayouttype "NFS4ERR_UNKNOWN_LAYOUTTYPE",
    10063 SeqMisordered "NFS4ERR_SEQ_MISORDERED",
    10064 SequencePos "NFS4ERR_SEQUENCE_POS",
    10065 ReqTooBig "NFS4ERR_REQ_TOO_BIG",
    10066 RepTooBig "NFS4ERR_REP_TOO_BIG",
    10067 RepTooBigToCache "NFS4ERR_REP_TOO_BIG_TO_CACHE",
    10068 RetryUncachedRep "NFS4ERR_RETRY_UNCACHED_REP",
    10069 UnsafeCompound "NFS4ERR_UNSAFE_COMPOUND",
    10070 TooManyOps "NFS4ERR_TOO_MANY_OPS",
    10071 OpNotInSession "NFS4ERR_OP_NOT_IN_SESSION",
    10072 HashAlgUnsupp "NFS4ERR_HASH_ALG_UNSUPP",
    10074 ClientidBusy "NFS4ERR_CLIENTID_BUSY",
    10075 PnfsIoHole "NFS4ERR_PNFS_IO_HOLE",
    10076 SeqFalseRetry "NFS4ERR_SEQ_FALSE_RETRY",
    10077 BadHighSlot "NFS4ERR_BAD_HIGH_SLOT",
    10078 Deadsession "NFS4ERR_DEADSESSION",
    10079 EncrAlgUnsupp "NFS4ERR_ENCR_ALG_UNSUPP",
    10080 PnfsNoLayout "NFS4ERR_PNFS_NO_LAYOUT",
    10081 NotOnlyOp "NFS4ERR_NOT_ONLY_OP",
    10082 WrongCred "NFS4ERR_WRONG_CRED",
    10083 WrongType "NFS4ERR_WRONG_TYPE",
    10084 DirdelegUnavail "NFS4ERR_DIRDELEG_UNAVAIL",
    10085 RejectDeleg "NFS4ERR_REJECT_DELEG",
    10086 Returnconflict "NFS4ERR_RETURNCONFLICT",
    10087 DelegRevoked "NFS4ERR_DELEG_REVOKED",
    10088 PartnerNotsupp "NFS4ERR_PARTNER_NOTSUPP",
    10089 PartnerNoAuth "NFS4ERR_PARTNER_NO_AUTH",
    10090 UnionNotsupp "NFS4ERR_UNION_NOTSUPP",
    10091 OffloadDenied "NFS4ERR_OFFLOAD_DENIED",
    10092 WrongLfs "NFS4ERR_WRONG_LFS",
    10093 Badlabel "NFS4ERR_BADLABEL",
    10094 OffloadNoReqs "NFS4ERR_OFFLOAD_NO_REQS",
    10095 Noxattr "NFS4ERR_NOXATTR",
    10096 Xattr2big "NFS4ERR_XATTR2BIG",
}

impl Nfsstat4 {
    /// The status with this number.
    #[must_use]
    pub fn from_u32(number: u32) -> Self {
        status_of(number)
    }

    /// The number on the wire.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        row_of(self).0
    }

    /// The name the RFC gives it; "NFS4ERR_unknown" for a number that is not known.
    #[must_use]
    pub fn name(self) -> &'static str {
        row_of(self).1
    }

    /// Whether it is NFS4_OK.
    #[must_use]
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }

    /// Every status that has a name, ascending by number.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().copied()
    }
}

impl std::fmt::Display for Nfsstat4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(number) => write!(f, "{}({number})", self.name()),
            known => f.write_str(known.name()),
        }
    }
}

impl Decode for Nfsstat4 {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        r.u32().map(Self::from_u32)
    }
}

impl Encode for Nfsstat4 {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.as_u32());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is sorted, for its readers; each number must come back as itself.
    #[test]
    fn statuses_are_ascending_and_numbers_return() {
        assert!(ALL.is_sorted_by(|one, next| one.as_u32() < next.as_u32()));
        for status in Nfsstat4::all() {
            assert_eq!(Nfsstat4::from_u32(status.as_u32()), status);
        }
    }

    /// Values that a stock client acts upon, checked against RFC 8881 §15.1 one by one.
    #[test]
    fn numbers_a_client_depends_on() {
        assert_eq!(Nfsstat4::Delay.as_u32(), 10_008);
        assert_eq!(Nfsstat4::MinorVersMismatch.as_u32(), 10_021);
        assert_eq!(Nfsstat4::OpIllegal.as_u32(), 10_044);
        assert_eq!(Nfsstat4::Badsession.as_u32(), 10_052);
        assert_eq!(Nfsstat4::Layoutunavailable.as_u32(), 10_059);
        assert_eq!(Nfsstat4::SeqMisordered.as_u32(), 10_063);
        assert_eq!(Nfsstat4::DelegRevoked.as_u32(), 10_087);
        assert_eq!(Nfsstat4::Xattr2big.as_u32(), 10_096);
    }

    #[test]
    fn unknown_numbers_are_kept() {
        assert_eq!(Nfsstat4::from_u32(10_073), Nfsstat4::Unknown(10_073));
        assert_eq!(Nfsstat4::Unknown(77_777).as_u32(), 77_777);
        assert_eq!(Nfsstat4::Unknown(77_777).to_string(), "NFS4ERR_unknown(77777)");
    }
}
