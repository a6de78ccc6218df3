//! The way to an extent: an address, a handle, and who to say we are.

use std::net::SocketAddr;

use bytes::Bytes;
use layout::SealedHandle;
use wire_nfs::v3::Fh3;
use wire_rpc::{AuthSys, Credential};

/// How to reach an extent on its data server.
#[derive(Clone, Debug)]
pub struct Route {
    /// The data server.
    pub address: SocketAddr,
    /// What it is shown.
    pub handle: Fh3,
    /// Who we say we are; the handle is what counts.
    pub credential: Credential,
}

impl Route {
    /// A route with the credential of a server of the cluster.
    #[must_use]
    pub fn new(address: SocketAddr, handle: SealedHandle) -> Self {
        let handle =
            Fh3::new(Bytes::copy_from_slice(&handle.0)).expect("a sealed handle fits NFSv3's 64 bytes");
        Self { address, handle, credential: Credential::Sys(AuthSys::default()) }
    }
}
