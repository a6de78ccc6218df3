//! A whole data server beside the metadata server of a rig, and a client that goes straight to it
//! with its handles.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use ds_server::{DataServer, DsConfig};
use env_transport::{Limits, RpcClient};
use prometheus_client::registry::Registry;
use wire_nfs::control::Keyring;
use wire_nfs::v3::{Fh3, Nfsstat3, PROGRAM, Procedure, StableHow, VERSION, read, write};
use wire_rpc::{AuthSys, Credential};
use wire_xdr::{Decode, Encode, Writer};

use super::Rig;
use super::data::key;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], port))
}

/// The data server, and a connection to its data port.
pub(crate) struct WholeDataServer {
    _server: DataServer,
    _directory: tempfile::TempDir,
    port: RpcClient,
}

impl WholeDataServer {
    pub(crate) async fn start(rig: &Rig) -> Self {
        Self::start_as(rig, 0, "", &key().into()).await
    }

    /// The same for one of several, from 0, with a name and keys.
    #[allow(dead_code, reason = "each test binary has its own part of the rig")]
    pub(crate) async fn start_as(rig: &Rig, number: u16, name: &str, keys: &Keyring) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = DsConfig {
            dir: directory.path().join("ds"),
            listen: address(3049 + 2 * number),
            control: address(3050 + 2 * number),
            advertise: None,
            metadata_servers: vec![rig.server.as_ref().expect("it runs").control_address()],
            cluster_keys: keys.clone(),
            capacity_bytes: 1 << 30,
            seal_bytes_per_s: ds_server::limits::SEAL_BYTES_PER_S,
            repair_bytes_per_s: 0,
            scrub_period_ms: 0,
            scrub_bytes_per_s: ds_server::limits::SCRUB_BYTES_PER_S,
            hang_ms: ds_server::limits::HANG_MS,
            accept_damage: false,
            domain: ds_server::Domain { host: name.to_owned(), ..ds_server::Domain::default() },
            name: name.to_owned(),
        };
        let server = DataServer::start(rig.env.clone(), config, &mut Registry::default()).await;
        let server = server.expect("it starts");
        let (net, clock) = (rig.env.net.clone(), rig.env.clock.clone());
        let port = RpcClient::new(net, clock, server.address(), Limits::default());
        Self { _server: server, _directory: directory, port }
    }

    /// From now on requests come from that address.
    pub(crate) fn come_from(&mut self, rig: &Rig, from: [u8; 4]) {
        let net = Arc::new(rig.net.seen_from(from.into()));
        self.port = RpcClient::new(net, rig.env.clock.clone(), address(3049), Limits::default());
    }

    /// Writes the first block of the file.
    pub(crate) async fn write(&self, handle: &Fh3) -> Result<(), Nfsstat3> {
        let (file, data) = (handle.clone(), Bytes::from_static(&[7; 4096]));
        let args = write::Args { file, offset: 0, stable: StableHow::FileSync, data };
        match self.call(Procedure::Write, &args).await {
            write::Res::Ok(_) => Ok(()),
            write::Res::Fail(status, _) => Err(status),
        }
    }

    /// Reads the first block of the file.
    pub(crate) async fn read(&self, handle: &Fh3) -> Result<(), Nfsstat3> {
        let args = read::Args { file: handle.clone(), offset: 0, count: 4096 };
        match self.call(Procedure::Read, &args).await {
            read::Res::Ok(_) => Ok(()),
            read::Res::Fail(status, _) => Err(status),
        }
    }

    async fn call<R: Decode>(&self, procedure: Procedure, args: &impl Encode) -> R {
        let mut w = Writer::new();
        args.encode(&mut w);
        let credential = Credential::Sys(AuthSys::default());
        let reply = self.port.call(PROGRAM, VERSION, procedure.as_u32(), &credential, w, 10_000).await;
        R::decode(&mut reply.expect("an answer")).expect("a result")
    }
}
