//! A network in memory that cuts nodes off.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use env::BoxFuture;
use env::memory::net::MemoryNet;
use env::net::{Listener, Net, Stream};

/// The network as one node has it: a node that is cut off reaches no other one, and no other one
/// reaches it.
pub(crate) struct NetOf {
    /// The node's address.
    pub(crate) own: SocketAddr,
    /// The network of all nodes.
    pub(crate) net: MemoryNet,
    /// Nodes that are cut off.
    pub(crate) alone: Arc<Mutex<BTreeSet<SocketAddr>>>,
    /// Connections made so far, by receiver.
    pub(crate) connects: Arc<Mutex<BTreeMap<SocketAddr, u64>>>,
}

impl Net for NetOf {
    /// Listens at the node's own address, whatever address it gives.
    fn listen(&self, _addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        self.net.listen(self.own)
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        let alone = self.alone.lock().unwrap();
        if addr != self.own && (alone.contains(&addr) || alone.contains(&self.own)) {
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        }
        drop(alone);
        *self.connects.lock().unwrap().entry(addr).or_default() += 1;
        self.net.connect(addr)
    }
}
