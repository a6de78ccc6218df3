//! Operation numbers of COMPOUND and CB_COMPOUND, with their names.
//!
//! A number that is not listed is no operation at all: the receiver answers OP_ILLEGAL (RFC 8881
//! §15.2), whose own number is listed because it stands in the reply.
//!
//! Spec: RFC 8881 §17, §20; RFC 7862 §15; RFC 8276 §8.4.

use crate::enumeration::xdr_enum;

xdr_enum! {
    /// An operation of a COMPOUND.
    pub enum Op, "nfs_opnum4" {
        /// ACCESS.
        Access = 3,
        /// CLOSE.
        Close = 4,
        /// COMMIT.
        Commit = 5,
        /// CREATE.
        Create = 6,
        /// DELEGPURGE.
        Delegpurge = 7,
        /// DELEGRETURN.
        Delegreturn = 8,
        /// GETATTR.
        Getattr = 9,
        /// GETFH.
        Getfh = 10,
        /// LINK.
        Link = 11,
        /// LOCK.
        Lock = 12,
        /// LOCKT.
        Lockt = 13,
        /// LOCKU.
        Locku = 14,
        /// LOOKUP.
        Lookup = 15,
        /// LOOKUPP.
        Lookupp = 16,
        /// NVERIFY.
        Nverify = 17,
        /// OPEN.
        Open = 18,
        /// OPENATTR.
        Openattr = 19,
        /// OPEN_CONFIRM.
        OpenConfirm = 20,
        /// OPEN_DOWNGRADE.
        OpenDowngrade = 21,
        /// PUTFH.
        Putfh = 22,
        /// PUTPUBFH.
        Putpubfh = 23,
        /// PUTROOTFH.
        Putrootfh = 24,
        /// READ.
        Read = 25,
        /// READDIR.
        Readdir = 26,
        /// READLINK.
        Readlink = 27,
        /// REMOVE.
        Remove = 28,
        /// RENAME.
        Rename = 29,
        /// RENEW.
        Renew = 30,
        /// RESTOREFH.
        Restorefh = 31,
        /// SAVEFH.
        Savefh = 32,
        /// SECINFO.
        Secinfo = 33,
        /// SETATTR.
        Setattr = 34,
        /// SETCLIENTID.
        Setclientid = 35,
        /// SETCLIENTID_CONFIRM.
        SetclientidConfirm = 36,
        /// VERIFY.
        Verify = 37,
        /// WRITE.
        Write = 38,
        /// RELEASE_LOCKOWNER.
        ReleaseLockowner = 39,
        /// BACKCHANNEL_CTL.
        BackchannelCtl = 40,
        /// BIND_CONN_TO_SESSION.
        BindConnToSession = 41,
        /// EXCHANGE_ID.
        ExchangeId = 42,
        /// CREATE_SESSION.
        CreateSession = 43,
        /// DESTROY_SESSION.
        DestroySession = 44,
        /// FREE_STATEID.
        FreeStateid = 45,
        /// GET_DIR_DELEGATION.
        GetDirDelegation = 46,
        /// GETDEVICEINFO.
        Getdeviceinfo = 47,
        /// GETDEVICELIST.
        Getdevicelist = 48,
        /// LAYOUTCOMMIT.
        Layoutcommit = 49,
        /// LAYOUTGET.
        Layoutget = 50,
        /// LAYOUTRETURN.
        Layoutreturn = 51,
        /// SECINFO_NO_NAME.
        SecinfoNoName = 52,
        /// SEQUENCE.
        Sequence = 53,
        /// SET_SSV.
        SetSsv = 54,
        /// TEST_STATEID.
        TestStateid = 55,
        /// WANT_DELEGATION.
        WantDelegation = 56,
        /// DESTROY_CLIENTID.
        DestroyClientid = 57,
        /// RECLAIM_COMPLETE.
        ReclaimComplete = 58,
        /// ALLOCATE.
        Allocate = 59,
        /// COPY.
        Copy = 60,
        /// COPY_NOTIFY.
        CopyNotify = 61,
        /// DEALLOCATE.
        Deallocate = 62,
        /// IO_ADVISE.
        IoAdvise = 63,
        /// LAYOUTERROR.
        Layouterror = 64,
        /// LAYOUTSTATS.
        Layoutstats = 65,
        /// OFFLOAD_CANCEL.
        OffloadCancel = 66,
        /// OFFLOAD_STATUS.
        OffloadStatus = 67,
        /// READ_PLUS.
        ReadPlus = 68,
        /// SEEK.
        Seek = 69,
        /// WRITE_SAME.
        WriteSame = 70,
        /// CLONE.
        Clone = 71,
        /// GETXATTR.
        Getxattr = 72,
        /// SETXATTR.
        Setxattr = 73,
        /// LISTXATTRS.
        Listxattrs = 74,
        /// REMOVEXATTR.
        Removexattr = 75,
        /// ILLEGAL.
        Illegal = 10_044,
    }
}

xdr_enum! {
    /// An operation of a CB_COMPOUND: the server calls, the client answers.
    pub enum CbOp, "nfs_cb_opnum4" {
        /// CB_GETATTR.
        Getattr = 3,
        /// CB_RECALL.
        Recall = 4,
        /// CB_LAYOUTRECALL.
        Layoutrecall = 5,
        /// CB_NOTIFY.
        Notify = 6,
        /// CB_PUSH_DELEG.
        PushDeleg = 7,
        /// CB_RECALL_ANY.
        RecallAny = 8,
        /// CB_RECALLABLE_OBJ_AVAIL.
        RecallableObjAvail = 9,
        /// CB_RECALL_SLOT.
        RecallSlot = 10,
        /// CB_SEQUENCE.
        Sequence = 11,
        /// CB_WANTS_CANCELLED.
        WantsCancelled = 12,
        /// CB_NOTIFY_LOCK.
        NotifyLock = 13,
        /// CB_NOTIFY_DEVICEID.
        NotifyDeviceid = 14,
        /// CB_OFFLOAD.
        Offload = 15,
        /// CB_ILLEGAL.
        Illegal = 10_044,
    }
}

impl Op {
    /// The name the RFC gives it, without the "OP_".
    #[must_use]
    pub fn name(self) -> &'static str {
        // The operations have consecutive numbers and stand in the table in their order; ILLEGAL is
        // the last.
        let index = self.as_u32() - Self::Access.as_u32();
        usize::try_from(index).ok().and_then(|index| OP_NAMES.get(index)).map_or("ILLEGAL", |row| row.1)
    }

    /// The first minor version that has this operation.
    #[must_use]
    pub fn minor_version(self) -> u32 {
        match self.as_u32() {
            40..=58 => 1,
            59..=75 => 2,
            _ => 0,
        }
    }

    /// Whether NFSv4.1 took this operation of NFSv4.0 away (RFC 8881 §17: mandatory not to
    /// implement).
    #[must_use]
    pub fn is_v40_only(self) -> bool {
        matches!(
            self,
            Self::OpenConfirm
                | Self::Renew
                | Self::Setclientid
                | Self::SetclientidConfirm
                | Self::ReleaseLockowner
        )
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl CbOp {
    /// The name the RFC gives it, without the "OP_".
    #[must_use]
    pub fn name(self) -> &'static str {
        // As with the operations of clients: consecutive numbers, and ILLEGAL is the last.
        let index = self.as_u32() - Self::Getattr.as_u32();
        let row = usize::try_from(index).ok().and_then(|index| CB_OP_NAMES.get(index));
        row.map_or("CB_ILLEGAL", |row| row.1)
    }
}

impl std::fmt::Display for CbOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

const OP_NAMES: &[(Op, &str)] = &[
    (Op::Access, "ACCESS"),
    (Op::Close, "CLOSE"),
    (Op::Commit, "COMMIT"),
    (Op::Create, "CREATE"),
    (Op::Delegpurge, "DELEGPURGE"),
    (Op::Delegreturn, "DELEGRETURN"),
    (Op::Getattr, "GETATTR"),
    (Op::Getfh, "GETFH"),
    (Op::Link, "LINK"),
    (Op::Lock, "LOCK"),
    (Op::Lockt, "LOCKT"),
    (Op::Locku, "LOCKU"),
    (Op::Lookup, "LOOKUP"),
    (Op::Lookupp, "LOOKUPP"),
    (Op::Nverify, "NVERIFY"),
    (Op::Open, "OPEN"),
    (Op::Openattr, "OPENATTR"),
    (Op::OpenConfirm, "OPEN_CONFIRM"),
    (Op::OpenDowngrade, "OPEN_DOWNGRADE"),
    (Op::Putfh, "PUTFH"),
    (Op::Putpubfh, "PUTPUBFH"),
    (Op::Putrootfh, "PUTROOTFH"),
    (Op::Read, "READ"),
    (Op::Readdir, "READDIR"),
    (Op::Readlink, "READLINK"),
    (Op::Remove, "REMOVE"),
    (Op::Rename, "RENAME"),
    (Op::Renew, "RENEW"),
    (Op::Restorefh, "RESTOREFH"),
    (Op::Savefh, "SAVEFH"),
    (Op::Secinfo, "SECINFO"),
    (Op::Setattr, "SETATTR"),
    (Op::Setclientid, "SETCLIENTID"),
    (Op::SetclientidConfirm, "SETCLIENTID_CONFIRM"),
    (Op::Verify, "VERIFY"),
    (Op::Write, "WRITE"),
    (Op::ReleaseLockowner, "RELEASE_LOCKOWNER"),
    (Op::BackchannelCtl, "BACKCHANNEL_CTL"),
    (Op::BindConnToSession, "BIND_CONN_TO_SESSION"),
    (Op::ExchangeId, "EXCHANGE_ID"),
    (Op::CreateSession, "CREATE_SESSION"),
    (Op::DestroySession, "DESTROY_SESSION"),
    (Op::FreeStateid, "FREE_STATEID"),
    (Op::GetDirDelegation, "GET_DIR_DELEGATION"),
    (Op::Getdeviceinfo, "GETDEVICEINFO"),
    (Op::Getdevicelist, "GETDEVICELIST"),
    (Op::Layoutcommit, "LAYOUTCOMMIT"),
    (Op::Layoutget, "LAYOUTGET"),
    (Op::Layoutreturn, "LAYOUTRETURN"),
    (Op::SecinfoNoName, "SECINFO_NO_NAME"),
    (Op::Sequence, "SEQUENCE"),
    (Op::SetSsv, "SET_SSV"),
    (Op::TestStateid, "TEST_STATEID"),
    (Op::WantDelegation, "WANT_DELEGATION"),
    (Op::DestroyClientid, "DESTROY_CLIENTID"),
    (Op::ReclaimComplete, "RECLAIM_COMPLETE"),
    (Op::Allocate, "ALLOCATE"),
    (Op::Copy, "COPY"),
    (Op::CopyNotify, "COPY_NOTIFY"),
    (Op::Deallocate, "DEALLOCATE"),
    (Op::IoAdvise, "IO_ADVISE"),
    (Op::Layouterror, "LAYOUTERROR"),
    (Op::Layoutstats, "LAYOUTSTATS"),
    (Op::OffloadCancel, "OFFLOAD_CANCEL"),
    (Op::OffloadStatus, "OFFLOAD_STATUS"),
    (Op::ReadPlus, "READ_PLUS"),
    (Op::Seek, "SEEK"),
    (Op::WriteSame, "WRITE_SAME"),
    (Op::Clone, "CLONE"),
    (Op::Getxattr, "GETXATTR"),
    (Op::Setxattr, "SETXATTR"),
    (Op::Listxattrs, "LISTXATTRS"),
    (Op::Removexattr, "REMOVEXATTR"),
    (Op::Illegal, "ILLEGAL"),
];

const CB_OP_NAMES: &[(CbOp, &str)] = &[
    (CbOp::Getattr, "CB_GETATTR"),
    (CbOp::Recall, "CB_RECALL"),
    (CbOp::Layoutrecall, "CB_LAYOUTRECALL"),
    (CbOp::Notify, "CB_NOTIFY"),
    (CbOp::PushDeleg, "CB_PUSH_DELEG"),
    (CbOp::RecallAny, "CB_RECALL_ANY"),
    (CbOp::RecallableObjAvail, "CB_RECALLABLE_OBJ_AVAIL"),
    (CbOp::RecallSlot, "CB_RECALL_SLOT"),
    (CbOp::Sequence, "CB_SEQUENCE"),
    (CbOp::WantsCancelled, "CB_WANTS_CANCELLED"),
    (CbOp::NotifyLock, "CB_NOTIFY_LOCK"),
    (CbOp::NotifyDeviceid, "CB_NOTIFY_DEVICEID"),
    (CbOp::Offload, "CB_OFFLOAD"),
    (CbOp::Illegal, "CB_ILLEGAL"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations run from 3 to 75 without a gap; every one has a name of its own.
    #[test]
    fn numbers_are_dense_and_named() {
        for number in 3..=75 {
            let op = Op::from_u32(number).unwrap();
            assert_eq!(op.as_u32(), number);
            let row = OP_NAMES.iter().find(|row| row.0 == op).unwrap();
            assert_eq!(op.name(), row.1);
        }
        assert_eq!(Op::from_u32(2), None);
        assert_eq!(Op::from_u32(76), None);
        assert_eq!(Op::from_u32(10_044), Some(Op::Illegal));
        assert_eq!(OP_NAMES.len(), Op::ALL.len());
        assert_eq!(CB_OP_NAMES.len(), CbOp::ALL.len());
        assert!(CB_OP_NAMES.iter().all(|(op, name)| op.name() == *name));
    }

    #[test]
    fn well_known_numbers() {
        assert_eq!(Op::Sequence.as_u32(), 53);
        assert_eq!(Op::Layoutget.as_u32(), 50);
        assert_eq!(Op::Getxattr.as_u32(), 72);
        assert_eq!(Op::ExchangeId.name(), "EXCHANGE_ID");
        assert_eq!(Op::Seek.minor_version(), 2);
        assert_eq!(CbOp::Layoutrecall.as_u32(), 5);
        assert_eq!(CbOp::NotifyDeviceid.name(), "CB_NOTIFY_DEVICEID");
    }
}
