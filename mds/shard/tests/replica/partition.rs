//! A network in memory of which nodes are cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use env::BoxFuture;
use env::memory::net::MemoryNet;
use env::net::{Listener, Net, Stream};

/// The network as one node has it: a node that is cut off reaches no other one, and no other one reaches it.
pub(crate) struct NetOf {
    /// Where the node is.
    pub(crate) own: SocketAddr,
    /// The network of all.
    pub(crate) net: MemoryNet,
    /// Nodes that are cut off.
    pub(crate) alone: Arc<Mutex<BTreeSet<SocketAddr>>>,
    /// Connections made so far, by the node they went to.
    pub(crate) connects: Arc<Mutex<BTreeMap<SocketAddr, u64>>>,
}

impl Net for NetOf {
    /// Where it is, whatever it says.
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
