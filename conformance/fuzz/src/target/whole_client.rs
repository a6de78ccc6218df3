//! The client of `whole_server`: keeps the session in order, and puts handles and stateids in where
//! the input has placeholders.

use bytes::Bytes;
use env_transport::RpcClient;
use wire_nfs::flexfiles::{FfLayout, decode_body};
use wire_nfs::v3::{Nfsstat3, Procedure, access, commit, fsinfo, fsstat, getattr, pathconf, read, write};
use wire_nfs::v4::callback_sec::CallbackSec;
use wire_nfs::v4::compound::{OpReplyHeader, ReplyHeader};
use wire_nfs::v4::ops::create_session::{self, ChannelAttrs};
use wire_nfs::v4::ops::exchange_id::{self, StateProtectAsked};
use wire_nfs::v4::ops::{AnyResOk, create, putfh, reclaim_complete, sequence};
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Filehandle, Nfsstat4, Op, SessionId, Stateid, Verifier};
use wire_rpc::{AuthSys, Credential};
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::nfs4_reply;
use crate::seed::encoded;

const NFS: u32 = 100_003;
/// A filehandle of the length of ours that begins with this stands for one that the server gave:
/// the byte behind says which.
pub(super) const HANDLE_MARK: [u8; 4] = [0xbb; 4];
pub(super) const HANDLE_BYTES: usize = mds_server::handle::HANDLE_BYTES;
/// The same for the handles that layouts bring, which are longer, and good at the data server.
pub(super) const DATA_HANDLE_MARK: [u8; 4] = [0xcc; 4];
pub(super) const DATA_HANDLE_BYTES: usize = layout::handle::HANDLE_BYTES;
/// A stateid whose other part is this stands for one that the server gave: its sequence says which.
pub(super) const OTHER_MARK: [u8; 12] = [0xaa; 12];

/// Ways to send a compound: bits of the word before it.
pub(super) mod mode {
    /// In no session: as it is.
    pub(in crate::target) const BARE: u8 = 1;
    /// Not behind PUTFH of the input's own directory.
    pub(in crate::target) const NO_HOME: u8 = 2;
    /// Minor version 1.
    pub(in crate::target) const MINOR_1: u8 = 4;
    /// As a user who is not the superuser.
    pub(in crate::target) const USER: u8 = 8;
    /// Twice under the same sequence.
    pub(in crate::target) const AGAIN: u8 = 16;
    /// The reply need not be kept.
    pub(in crate::target) const UNCACHED: u8 = 32;
    /// To the data server, as NFSv3; the number of operations is that of the procedure.
    pub(in crate::target) const DATA: u8 = 64;
}

/// A client with a session of one slot.
pub(super) struct Client {
    rpc: RpcClient,
    data: RpcClient,
    answer_ms_max: u64,
    clientid: u64,
    session: SessionId,
    sequence: u32,
    /// The input's own directory.
    home: Filehandle,
    handles: Vec<Bytes>,
    data_handles: Vec<Bytes>,
    stateids: Vec<Stateid>,
    valid: usize,
}

impl Client {
    pub(super) fn new(rpc: RpcClient, data: RpcClient, answer_ms_max: u64) -> Self {
        Self {
            rpc,
            data,
            answer_ms_max,
            clientid: 0,
            session: SessionId::default(),
            sequence: 0,
            home: Filehandle::default(),
            handles: Vec::new(),
            data_handles: Vec::new(),
            stateids: Vec::new(),
            valid: 0,
        }
    }

    /// Begins as a client that has restarted, and makes a session.
    pub(super) async fn begin(&mut self, incarnation: u64) {
        let args = exchange_id::Args {
            verifier: Verifier(incarnation.to_be_bytes()),
            owner_id: Bytes::from_static(b"fuzzer"),
            flags: exchange_id::flags::SUPP_MOVED_REFER | exchange_id::flags::BIND_PRINC_STATEID,
            state_protect: StateProtectAsked::None,
            impl_id: Vec::new(),
        };
        let known: exchange_id::ResOk = self.bare(Op::ExchangeId, &args).await;
        self.clientid = known.clientid;
        let fore = ChannelAttrs {
            header_pad_bytes: 0,
            request_bytes_max: 1 << 20,
            response_bytes_max: 1 << 20,
            response_cached_bytes_max: 8192,
            operations_max: 16,
            requests_max: 1,
            rdma_ird: Vec::new(),
        };
        let back = ChannelAttrs {
            request_bytes_max: 4096,
            response_bytes_max: 4096,
            operations_max: 2,
            ..fore.clone()
        };
        let args = create_session::Args {
            clientid: known.clientid,
            sequence: known.sequenceid,
            flags: 0,
            fore,
            back,
            cb_program: 0x4000_0000,
            sec_parms: vec![CallbackSec::None],
        };
        let created: create_session::ResOk = self.bare(Op::CreateSession, &args).await;
        (self.session, self.sequence) = (created.session, 0);
        let complete = [(Op::ReclaimComplete, encoded(&reclaim_complete::Args { one_fs: false }))];
        self.in_session(0, &complete).await;
        self.make_home(incarnation).await;
    }

    /// Makes a directory for this input alone, so that it does not matter what inputs before it
    /// left.
    async fn make_home(&mut self, incarnation: u64) {
        let values = AttrValues { mode: Some(0o777), ..AttrValues::default() };
        let make = create::Args {
            object: create::ObjectType::Directory,
            name: format!("input-{incarnation}").into(),
            attributes: Fattr4::from_values(&values),
        };
        let make = [(Op::Putrootfh, Bytes::new()), (Op::Create, encoded(&make)), (Op::Getfh, Bytes::new())];
        assert!(self.in_session(0, &make).await, "a directory can be made");
        let home = self.handles.pop().expect("GETFH went well");
        self.home = Filehandle::new(home).expect("it came as a handle");
    }

    /// One operation outside of a session, which must go well.
    async fn bare<R: Decode>(&mut self, op: Op, args: &impl Encode) -> R {
        let mut reader = self.send(0, &[(op, encoded(args))]).await;
        let header = ReplyHeader::decode(&mut reader).expect("a reply has a header");
        let result = OpReplyHeader::decode(&mut reader).expect("a reply has a result");
        assert_eq!((header.status, result.status), (Nfsstat4::Ok, Nfsstat4::Ok), "{}", op.name());
        R::decode(&mut reader).expect("a result can be read")
    }

    /// Sends what the input says.
    pub(super) async fn send_all(&mut self, input: &[u8]) {
        let mut rest = input;
        while let Some(([mode, op_count, high, low], behind)) = rest.split_first_chunk::<4>() {
            let length = 4 * usize::from(u16::from_be_bytes([*high, *low]));
            let (operations, behind) = behind.split_at(length.min(behind.len()));
            rest = behind;
            let operations = self.filled_in(operations);
            self.send_one(*mode, u32::from(*op_count), &operations).await;
        }
    }

    async fn send_one(&mut self, mode: u8, op_count: u32, operations: &[u8]) {
        if mode & mode::DATA != 0 {
            return self.send_to_data_server(mode, op_count, operations).await;
        }
        if mode & mode::BARE != 0 {
            let request = request(mode, op_count, operations);
            self.exchange(mode, request).await;
            return;
        }
        let mut body = Writer::new();
        let mut count = op_count + 1;
        self.sequence += 1;
        put_op(&mut body, Op::Sequence, &self.sequence_args(mode));
        if mode & mode::NO_HOME == 0 {
            put_op(&mut body, Op::Putfh, &putfh::Args { filehandle: self.home.clone() });
            count += 1;
        }
        body.raw(operations);
        let request = request(mode, count, &body.into_bytes());
        let bytes = request.into_bytes();
        let went_on = self.exchange(mode, writer_of(&bytes)).await;
        if !went_on && mode & mode::MINOR_1 == 0 {
            // SEQUENCE itself was refused (too many operations): its number is not used up.
            self.sequence -= 1;
        } else if mode & mode::AGAIN != 0 {
            self.exchange(mode, writer_of(&bytes)).await;
        }
    }

    /// Sends an NFSv3 call to the data server, whose answer a client must be able to read.
    async fn send_to_data_server(&mut self, mode: u8, procedure: u32, args: &[u8]) {
        let mut w = Writer::new();
        w.raw(args);
        let answer = self.data.call(NFS, 3, procedure, &credential(mode), w, self.answer_ms_max).await;
        let status = match answer {
            Ok(mut reader) => result_status(procedure, &mut reader).expect("a client can read the result"),
            Err(env_transport::CallError::Rejected(_)) => return,
            Err(error) => panic!("every call has an answer: {error}"),
        };
        self.valid += usize::from(status == Nfsstat3::Ok);
    }

    fn sequence_args(&self, mode: u8) -> sequence::Args {
        sequence::Args {
            session: self.session,
            sequenceid: self.sequence,
            slotid: 0,
            highest_slotid: 0,
            cache_this: mode & mode::UNCACHED == 0,
        }
    }

    async fn in_session(&mut self, mode: u8, operations: &[(Op, Bytes)]) -> bool {
        let mut body = Writer::new();
        for (op, args) in operations {
            body.u32(op.as_u32());
            body.raw(args);
        }
        let before = self.valid;
        let count = u32::try_from(operations.len()).expect("a few");
        self.send_one(mode | mode::NO_HOME, count, &body.into_bytes()).await;
        before + operations.len() < self.valid
    }

    /// Sends a compound and reads its reply to the end, learning from it. Whether SEQUENCE, or what
    /// stood first, went well.
    async fn exchange(&mut self, mode: u8, request: Writer) -> bool {
        let answer = self.rpc.call(NFS, 4, 1, &credential(mode), request, self.answer_ms_max).await;
        let mut reader = match answer {
            Ok(reader) => reader,
            Err(env_transport::CallError::Rejected(_)) => return false,
            Err(error) => panic!("every compound has an answer: {error}"),
        };
        let header = ReplyHeader::decode(&mut reader).expect("a reply has a header");
        let mut first_went_well = false;
        for number in 0..header.op_count {
            let mut ahead = reader.clone();
            let left = ahead.clone().rest();
            assert_eq!(
                nfs4_reply::next_result(&mut reader),
                Ok(true),
                "a client reads result {number}: {left:02x?}"
            );
            let went_well = self.learn(&mut ahead);
            first_went_well |= went_well && number == 0;
            assert!(went_well || number + 1 == header.op_count, "a failure ends the compound");
        }
        assert_eq!(reader.remaining(), 0, "nothing follows the last result");
        first_went_well
    }

    async fn send(&mut self, mode: u8, operations: &[(Op, Bytes)]) -> Reader {
        let mut body = Writer::new();
        for (op, args) in operations {
            body.u32(op.as_u32());
            body.raw(args);
        }
        let count = u32::try_from(operations.len()).expect("a few");
        let request = request(mode, count, &body.into_bytes());
        self.rpc.call(NFS, 4, 1, &credential(mode), request, self.answer_ms_max).await.expect("an answer")
    }

    /// Remembers handles and stateids of a result; whether it went well.
    fn learn(&mut self, r: &mut Reader) -> bool {
        let header = OpReplyHeader::decode(r).expect("it was read before");
        if !header.status.is_ok() {
            return false;
        }
        self.valid += 1;
        let op = Op::from_u32(header.op).expect("it was read before");
        let stateid = match AnyResOk::decode(op, r) {
            Ok(Some(AnyResOk::Getfh(result))) => {
                self.handles.push(result.filehandle.into_bytes());
                return true;
            }
            Ok(Some(AnyResOk::Open(result))) => result.stateid,
            Ok(Some(AnyResOk::OpenDowngrade(result))) => result.open_stateid,
            Ok(Some(AnyResOk::Lock(result))) => result.lock_stateid,
            Ok(Some(AnyResOk::Locku(result))) => result.lock_stateid,
            Ok(Some(AnyResOk::Layoutget(result))) => {
                result.layouts.iter().for_each(|layout| self.learn_layout(&layout.body));
                result.stateid
            }
            _ => return true,
        };
        match self.stateids.iter_mut().find(|known| known.other == stateid.other) {
            Some(known) => *known = stateid,
            None => self.stateids.push(stateid),
        }
        true
    }

    fn learn_layout(&mut self, body: &Bytes) {
        let layout: FfLayout = decode_body(body).expect("a client can read a layout");
        let servers = layout.mirrors.into_iter().flat_map(|mirror| mirror.data_servers);
        self.data_handles.extend(servers.flat_map(|one| one.filehandles).map(Filehandle::into_bytes));
    }

    /// The operations with placeholders replaced.
    fn filled_in(&self, operations: &[u8]) -> Vec<u8> {
        let mut out = operations.to_vec();
        for at in (0..out.len()).step_by(4) {
            if let Some(known) = self.stateids.get(at_or_less(&out, at + 3, self.stateids.len()))
                && out.get(at + 4..at + 16) == Some(&OTHER_MARK)
            {
                out[at..at + 16].copy_from_slice(&encoded(known));
            }
            put_handle(&mut out, at, HANDLE_MARK, HANDLE_BYTES, &self.handles);
            put_handle(&mut out, at, DATA_HANDLE_MARK, DATA_HANDLE_BYTES, &self.data_handles);
        }
        out
    }

    /// The server still serves, and its session is in order. Says how many operations went well in
    /// all.
    pub(super) async fn check_alive(&mut self) -> usize {
        let root = (Op::Putrootfh, Bytes::new());
        let requested = encoded(&wire_nfs::v4::ops::getattr::Args { requested: Bitmap::of(&[1, 3, 4]) });
        let sequence = self.sequence;
        let valid = self.valid;
        let alive = self.in_session(0, &[root, (Op::Getattr, requested)]).await;
        // The input may have ended the session or the client; then the server says so.
        assert!(alive || self.sequence == sequence, "the root has attributes");
        valid
    }
}

/// Puts a handle in the place of a placeholder at `at`, if there is one.
fn put_handle(out: &mut [u8], at: usize, mark: [u8; 4], bytes: usize, handles: &[Bytes]) {
    if let Some(known) = handles.get(at_or_less(out, at + 4, handles.len()))
        && out[at..].starts_with(&mark)
        && known.len() == bytes
        && at + bytes <= out.len()
    {
        out[at..at + bytes].copy_from_slice(known);
    }
}

fn credential(mode: u8) -> Credential {
    let uid = if mode & mode::USER == 0 { 0 } else { 1000 };
    Credential::Sys(AuthSys { uid, gid: uid, ..AuthSys::default() })
}

/// Reads a result of NFSv3 to its end, as far as it has a codec; its status.
fn result_status(procedure: u32, r: &mut Reader) -> Result<Nfsstat3, XdrError> {
    let status = match Procedure::from_u32(procedure) {
        Some(Procedure::Null) => Nfsstat3::Ok,
        Some(Procedure::Getattr) => getattr::Res::decode(r)?.status(),
        Some(Procedure::Access) => access::Res::decode(r)?.status(),
        Some(Procedure::Read) => read::Res::decode(r)?.status(),
        Some(Procedure::Write) => write::Res::decode(r)?.status(),
        Some(Procedure::Commit) => commit::Res::decode(r)?.status(),
        Some(Procedure::Fsstat) => fsstat::Res::decode(r)?.status(),
        Some(Procedure::Fsinfo) => fsinfo::Res::decode(r)?.status(),
        Some(Procedure::Pathconf) => pathconf::Res::decode(r)?.status(),
        _ => {
            let status = Nfsstat3::decode(r)?;
            drop(r.rest());
            status
        }
    };
    r.clone().finish().map(|()| status)
}

/// The byte at `at` as an index into so many things.
fn at_or_less(bytes: &[u8], at: usize, count: usize) -> usize {
    usize::from(bytes.get(at).copied().unwrap_or(0)) % count.max(1)
}

fn put_op(w: &mut Writer, op: Op, args: &impl Encode) {
    w.u32(op.as_u32());
    args.encode(w);
}

fn writer_of(bytes: &Bytes) -> Writer {
    let mut w = Writer::new();
    w.raw_bytes(bytes.clone());
    w
}

fn request(mode: u8, op_count: u32, operations: &[u8]) -> Writer {
    let mut w = Writer::new();
    w.opaque(b"");
    w.u32(if mode & mode::MINOR_1 == 0 { 2 } else { 1 });
    w.u32(op_count);
    w.raw(operations);
    w
}
