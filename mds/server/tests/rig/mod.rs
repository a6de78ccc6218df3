//! A metadata server on a network in memory, and a client that sends compounds to it.

#[allow(dead_code, reason = "each test binary has its own part of the rig")]
pub(crate) mod callbacks;
#[allow(dead_code, reason = "each test binary has its own part of the rig")]
pub(crate) mod data;
#[allow(dead_code, reason = "each test binary has its own part of the rig")]
pub(crate) mod whole;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use env::memory::{SeededEntropy, net::MemoryNet};
use env::os::OsClock;
use env::{Clock, Env};
use env_transport::{Limits, RpcClient};
use mds_server::export::Export;
use mds_server::server::Settings;
use mds_server::{MdsConfig, MetadataServer, ServiceAddresses};
use prometheus_client::registry::Registry;
use wire_nfs::control::{ClusterKey, Keyring};
use wire_nfs::v4::compound::{ReplyHeader, RequestWriter, decode_op_reply};
use wire_nfs::v4::ops::create_session::{self, ChannelAttrs};
use wire_nfs::v4::ops::exchange_id::{self, StateProtectAsked};
use wire_nfs::v4::ops::{destroy_session, reclaim_complete, sequence};
use wire_nfs::v4::{Nfsstat4, Op, SessionId, Verifier};
use wire_rpc::{AuthSys, Credential};
use wire_xdr::{Decode, Encode, Reader, Writer};

const NFS: u32 = 100_003;

/// A server, and the state to start it again.
pub(crate) struct Rig {
    pub(crate) env: Env,
    pub(crate) net: MemoryNet,
    pub(crate) server: Option<MetadataServer>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) exports: Vec<Export>,
    settings: Settings,
    service: Option<ServiceAddresses>,
    /// The cluster key, of the metadata server.
    pub(crate) keys: Keyring,
}

impl Rig {
    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) async fn start() -> Self {
        Self::with(vec![Export::any_port()], 1).await
    }

    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) async fn with_exports(exports: Vec<Export>) -> Self {
        Self::with(exports, 1).await
    }

    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) async fn with_service(service: ServiceAddresses) -> Self {
        let settings = Settings { shards: 1, ..Settings::default() };
        Self::made(vec![Export::any_port()], settings, Some(service)).await
    }

    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) async fn with_settings(settings: Settings) -> Self {
        Self::made(vec![Export::any_port()], settings, None).await
    }

    pub(crate) async fn with(exports: Vec<Export>, shards: u32) -> Self {
        Self::made(exports, Settings { shards, ..Settings::default() }, None).await
    }

    pub(crate) async fn made(
        exports: Vec<Export>,
        settings: Settings,
        service: Option<ServiceAddresses>,
    ) -> Self {
        Self::made_on(Arc::new(OsClock::new()), exports, settings, service).await
    }

    pub(crate) async fn made_on(
        clock: Arc<dyn Clock>,
        exports: Vec<Export>,
        settings: Settings,
        service: Option<ServiceAddresses>,
    ) -> Self {
        let net = MemoryNet::new();
        let env = Env {
            clock,
            entropy: Arc::new(SeededEntropy::new(7)),
            disk: env::os::open_disk("test", env::os::Preference::Blocking).expect("threads always start").0,
            net: Arc::new(net.clone()),
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let keys = ClusterKey::new([3; 32]).into();
        let mut rig = Self { env, net, server: None, directory, exports, settings, service, keys };
        rig.restart().await;
        rig
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> MdsConfig {
        MdsConfig {
            dir: self.directory.path().join("mds"),
            listen: address(2049),
            control: address(2050),
            exports: self.exports.clone(),
            settings: self.settings,
            cluster_keys: self.keys.clone(),
            node: 1,
            members: Vec::new(),
            join: Vec::new(),
            controls: Vec::new(),
            service: self.service.clone(),
        }
    }

    /// Stops, and starts again on the same directory.
    pub(crate) async fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        let config = self.config();
        let mut tries = 0;
        // The task that follows recalls up on the stopped server keeps its store open for a moment.
        self.server = loop {
            tries += 1;
            match MetadataServer::start(self.env.clone(), config.clone(), &mut Registry::default()).await {
                Ok(server) => break Some(server),
                Err(error) => assert!(tries < 100, "the server starts: {error:?}"),
            }
            self.env.clock.sleep_ms(20).await;
        };
    }

    pub(crate) fn connect(&self) -> RpcClient {
        let address = self.server.as_ref().expect("it runs").nfs_address();
        RpcClient::new(self.env.net.clone(), self.env.clock.clone(), address, Limits::default())
    }

    /// A connection from another address.
    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) fn connect_from(&self, from: IpAddr) -> RpcClient {
        let address = self.server.as_ref().expect("it runs").nfs_address();
        let net = Arc::new(self.net.seen_from(from));
        RpcClient::new(net, self.env.clock.clone(), address, Limits::default())
    }

    /// A connection from a source port.
    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) fn connect_from_port(&self, port: u16) -> RpcClient {
        let address = self.server.as_ref().expect("it runs").nfs_address();
        let net = Arc::new(self.net.from_source_port(port));
        RpcClient::new(net, self.env.clock.clone(), address, Limits::default())
    }

    /// A client with a session.
    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) async fn client(&self, owner: &'static [u8]) -> Client {
        self.client_on(self.connect(), owner).await
    }

    /// A client with a session, on a connection of its own.
    pub(crate) async fn client_on(&self, connection: RpcClient, owner: &'static [u8]) -> Client {
        self.introduced(Client::new(connection, owner, 0)).await
    }

    /// Gives a client an id and a session.
    pub(crate) async fn introduced(&self, mut client: Client) -> Client {
        client.exchange_id().await;
        client.create_session().await;
        client.compound(|c| c.op(Op::ReclaimComplete, &reclaim_complete::Args { one_fs: false })).await.ok(1);
        client
    }
}

fn implementation(name: &'static str) -> exchange_id::ImplId {
    exchange_id::ImplId {
        domain: Bytes::from_static(b"example.org"),
        name: Bytes::from_static(name.as_bytes()),
        date: wire_nfs::v4::Nfstime4::default(),
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// A client with at most one session and one slot.
pub(crate) struct Client {
    rpc: RpcClient,
    owner: &'static [u8],
    /// Changes with each restart of the client.
    pub(crate) verifier: Verifier,
    pub(crate) credential: Credential,
    /// Its implementation name, if any.
    pub(crate) implementation: Option<&'static str>,
    /// Operations of a compound that it requests.
    pub(crate) operations_max: u32,
    pub(crate) clientid: u64,
    pub(crate) create_sequence: u32,
    pub(crate) session: SessionId,
    pub(crate) sequence: u32,
}

/// Writes the operations of a compound.
pub(crate) struct Ops<'a> {
    writer: &'a mut Writer,
    request: RequestWriter,
}

impl Ops<'_> {
    pub(crate) fn op(&mut self, op: Op, args: &impl Encode) {
        self.request.op(self.writer, op, args);
    }
}

/// A reply being read.
pub(crate) struct Reply {
    pub(crate) status: Nfsstat4,
    pub(crate) count: u32,
    pub(crate) reader: Reader,
}

impl Reply {
    /// The next result, which must be OK.
    pub(crate) fn next<R: Decode>(&mut self, op: Op) -> R {
        assert_eq!(self.next_status(op), Nfsstat4::Ok, "{}", op.name());
        R::decode(&mut self.reader).unwrap_or_else(|e| panic!("{}: {e}", op.name()))
    }

    /// The status of the next result.
    pub(crate) fn next_status(&mut self, op: Op) -> Nfsstat4 {
        decode_op_reply(&mut self.reader, op).unwrap_or_else(|e| panic!("{}: {e}", op.name()))
    }

    /// Checks that all operations succeeded, with this many results behind SEQUENCE.
    #[track_caller]
    pub(crate) fn ok(self, count: u32) -> Self {
        assert_eq!((self.status, self.count), (Nfsstat4::Ok, count + 1));
        self
    }
}

impl Client {
    pub(crate) fn new(rpc: RpcClient, owner: &'static [u8], uid: u32) -> Self {
        Self {
            rpc,
            owner,
            verifier: Verifier(*b"verifier"),
            credential: Credential::Sys(AuthSys { uid, gid: uid, ..AuthSys::default() }),
            implementation: None,
            operations_max: 16,
            clientid: 0,
            create_sequence: 0,
            session: SessionId::default(),
            sequence: 0,
        }
    }

    /// Continues over another connection.
    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) fn go_over_to(&mut self, rpc: RpcClient) {
        self.rpc = rpc;
    }

    /// Sends a compound without SEQUENCE.
    pub(crate) async fn bare(&self, write: impl FnOnce(&mut Ops<'_>)) -> Reply {
        self.send(2, write).await
    }

    /// Sends a compound of any minor version.
    pub(crate) async fn send(&self, minor_version: u32, write: impl FnOnce(&mut Ops<'_>)) -> Reply {
        let mut writer = Writer::new();
        let request = RequestWriter::begin(&mut writer, &Bytes::from_static(b"tag"), minor_version);
        let mut ops = Ops { writer: &mut writer, request };
        write(&mut ops);
        let Ops { request, .. } = ops;
        request.finish(&mut writer);
        let mut reader = self.rpc.call(NFS, 4, 1, &self.credential, writer, 10_000).await.expect("an answer");
        let header = ReplyHeader::decode(&mut reader).expect("a header");
        assert_eq!(header.tag, b"tag".as_slice());
        Reply { status: header.status, count: header.op_count, reader }
    }

    /// Sends a compound in the session, on slot 0, with the next sequence.
    pub(crate) async fn compound(&mut self, write: impl FnOnce(&mut Ops<'_>)) -> Reply {
        self.sequence += 1;
        self.again(write).await
    }

    /// Sends a compound with the last sequence.
    pub(crate) async fn again(&mut self, write: impl FnOnce(&mut Ops<'_>)) -> Reply {
        self.flagged(write).await.1
    }

    /// The same; also returns the status flags of SEQUENCE.
    pub(crate) async fn flagged(&mut self, write: impl FnOnce(&mut Ops<'_>)) -> (u32, Reply) {
        let args = sequence::Args {
            session: self.session,
            sequenceid: self.sequence,
            slotid: 0,
            highest_slotid: 0,
            cache_this: true,
        };
        let mut reply = self
            .send(2, |ops| {
                ops.op(Op::Sequence, &args);
                write(ops);
            })
            .await;
        if reply.status != Nfsstat4::Ok && reply.count == 1 {
            return (0, reply);
        }
        let result: sequence::ResOk = reply.next(Op::Sequence);
        (result.status_flags, reply)
    }

    pub(crate) async fn exchange_id(&mut self) -> exchange_id::ResOk {
        let args = exchange_id::Args {
            verifier: self.verifier,
            owner_id: Bytes::from_static(self.owner),
            flags: exchange_id::flags::SUPP_MOVED_REFER | exchange_id::flags::BIND_PRINC_STATEID,
            state_protect: StateProtectAsked::None,
            impl_id: self.implementation.into_iter().map(implementation).collect(),
        };
        let mut reply = self.bare(|c| c.op(Op::ExchangeId, &args)).await;
        let result: exchange_id::ResOk = reply.next(Op::ExchangeId);
        self.clientid = result.clientid;
        self.create_sequence = result.sequenceid;
        result
    }

    /// The session that CREATE_SESSION requests.
    pub(crate) fn session_asked(&self, sequence: u32) -> create_session::Args {
        let channel = ChannelAttrs {
            header_pad_bytes: 0,
            request_bytes_max: 1 << 20,
            response_bytes_max: 1 << 20,
            response_cached_bytes_max: 8192,
            operations_max: self.operations_max,
            requests_max: 16,
            rdma_ird: Vec::new(),
        };
        let back = ChannelAttrs {
            request_bytes_max: 4096,
            response_bytes_max: 4096,
            operations_max: 2,
            ..channel.clone()
        };
        create_session::Args {
            clientid: self.clientid,
            sequence,
            flags: create_session::flags::CONN_BACK_CHAN,
            fore: channel,
            back,
            cb_program: 0x4000_0000,
            sec_parms: vec![wire_nfs::v4::callback_sec::CallbackSec::None],
        }
    }

    pub(crate) async fn create_session(&mut self) -> create_session::ResOk {
        let args = self.session_asked(self.create_sequence);
        let mut reply = self.bare(|c| c.op(Op::CreateSession, &args)).await;
        let result: create_session::ResOk = reply.next(Op::CreateSession);
        self.session = result.session;
        self.sequence = 0;
        self.create_sequence += 1;
        result
    }

    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) async fn destroy_session(&mut self) -> Nfsstat4 {
        let args = destroy_session::Args { session: self.session };
        self.bare(|c| c.op(Op::DestroySession, &args)).await.status
    }
}
