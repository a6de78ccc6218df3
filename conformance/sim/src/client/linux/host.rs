//! A Linux host: its session, its inodes, and the data servers it knows. Its processes share all of
//! it.
//!
//! Mounts nothing: what a mount asks for once (the directory, how change attributes are to be read)
//! it asks for when it begins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use env_transport::{Limits, RpcClient};
use parking_lot::Mutex;
use wire_nfs::v4::attr::numbers;
use wire_nfs::v4::ops::getattr;
use wire_nfs::v4::{Bitmap, DeviceId, Fattr4, Filehandle, Nfsstat4, Op, Stateid};

use super::attributes::{Around, Attributes, ChangeOrder, Generations, Told};
use super::cache::Cache;
use super::layouts::Layouts;
use super::wire::Wire;
use crate::chance::Chance;
use crate::client::compound::{Operations, Reply};
use crate::client::names;
use crate::client::session::{Called, Client};

/// The directory that the hosts work in.
const DIRECTORY: &str = "linux";
/// For how long a client keeps off a layout, or a device, that it was refused: 120 s in the kernel,
/// at a lease of 90.
pub(crate) const UNAVAILABLE_NS: u64 = 8_000_000_000;
/// Replies that wait for the processor, in a hundred, and how long at most.
const STALLED: u64 = 3;
const STALL_MS_MAX: u64 = 40;

/// Processes that have a file open, by access: reading, writing, both.
#[derive(Debug, Default)]
pub(crate) struct Opens {
    pub(crate) stateid: Option<Stateid>,
    /// The client id that the stateid is of.
    pub(crate) clientid: u64,
    pub(crate) counts: [u32; 3],
    /// The access that the server knows of.
    pub(crate) held: u32,
    /// Below this size I/O goes in band: reading, writing.
    pub(crate) thresholds: [u64; 2],
}

impl Opens {
    /// The access that all of them need together.
    pub(crate) fn access(&self) -> u32 {
        let bits = self.counts.iter().zip(1..).filter(|(count, _)| 0 < **count).map(|(_, access)| access);
        bits.fold(0, |all, access| all | access)
    }

    pub(crate) fn writers(&self) -> bool {
        self.access() & 2 != 0
    }
}

/// A file as the host knows it.
pub(crate) struct Inode {
    pub(crate) handle: Filehandle,
    pub(crate) attributes: Mutex<Attributes>,
    pub(crate) cache: Mutex<Cache>,
    pub(crate) layouts: Mutex<Layouts>,
    pub(crate) opens: Mutex<Opens>,
    /// Held while the file is opened or closed at the server.
    pub(crate) opening: Arc<tokio::sync::Mutex<()>>,
    /// Held by who writes into the cache, or sets the size: `i_rwsem`.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Held while layouts are got or given back.
    pub(crate) getting: tokio::sync::Mutex<()>,
    /// Held by LAYOUTCOMMIT.
    pub(crate) committing: tokio::sync::Mutex<()>,
    /// The host cannot know what the file holds: a request, or bytes it wrote, were lost.
    doubtful: AtomicBool,
}

impl Inode {
    fn new(handle: Filehandle, opening: Arc<tokio::sync::Mutex<()>>) -> Self {
        Self {
            handle,
            attributes: Mutex::default(),
            cache: Mutex::default(),
            layouts: Mutex::default(),
            opens: Mutex::default(),
            opening,
            writing: tokio::sync::Mutex::default(),
            getting: tokio::sync::Mutex::default(),
            committing: tokio::sync::Mutex::default(),
            doubtful: AtomicBool::new(false),
        }
    }

    /// The stateid that I/O and SETATTR show. QUIRK(linux): always the latest.
    pub(crate) fn io_stateid(&self) -> Stateid {
        let stateid = self.opens.lock().stateid.unwrap_or(Stateid::ANONYMOUS);
        Stateid { seqid: 0, ..stateid }
    }

    pub(crate) fn size(&self) -> u64 {
        self.attributes.lock().size()
    }

    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }
}

/// A host. Its processes and its kernel's workers share it.
pub(crate) struct Host {
    pub(crate) client: Arc<Client>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) directory: Filehandle,
    order: ChangeOrder,
    generations: Mutex<Generations>,
    inodes: Mutex<BTreeMap<Filehandle, Arc<Inode>>>,
    opening: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub(super) devices: Mutex<BTreeMap<DeviceId, SocketAddr>>,
    /// Devices that could not be reached, until when they are left alone.
    unavailable: Mutex<BTreeMap<DeviceId, u64>>,
    data_servers: Mutex<BTreeMap<SocketAddr, RpcClient>>,
    chance: Mutex<Chance>,
}

impl Host {
    /// Begins to work in the directory.
    pub(crate) async fn mount(client: Arc<Client>, wire: Arc<Wire>, seed: u64) -> Arc<Self> {
        let directory = loop {
            match names::directory(&client, DIRECTORY).await {
                Some(directory) => break directory,
                None => client.pause(100).await,
            }
        };
        let order = loop {
            match change_order(&client, &directory).await {
                Some(order) => break order,
                None => client.pause(100).await,
            }
        };
        client.record.count(format!("linux: change attributes {order:?}"));
        let chance = Chance::new(seed, &format!("host {}", client.number));
        Arc::new(Self {
            client,
            wire,
            directory,
            order,
            generations: Mutex::default(),
            inodes: Mutex::default(),
            opening: Mutex::default(),
            devices: Mutex::default(),
            unavailable: Mutex::default(),
            data_servers: Mutex::default(),
            chance: Mutex::new(chance),
        })
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.client.now_ns()
    }

    pub(crate) async fn sleep_ms(&self, ms: u64) {
        self.client.env.clock.sleep_ms(ms).await;
    }

    pub(crate) fn count(&self, what: &str) {
        self.client.record.count(format!("linux: {what}"));
    }

    /// `nfs_fattr_init`: an RPC begins.
    pub(crate) fn generation(&self) -> u64 {
        self.generations.lock().next()
    }

    /// Sends operations until they are answered; `None` if their fate is unknown: the session is
    /// lost.
    pub(crate) async fn call(&self, operations: Operations) -> Option<Reply> {
        let Called::Reply(reply) = self.client.call(operations).await else {
            self.count("fate unknown");
            return None;
        };
        let stall_ms = {
            let mut chance = self.chance.lock();
            if chance.percent(STALLED) { chance.between(1, STALL_MS_MAX) } else { 0 }
        };
        if 0 < stall_ms {
            self.sleep_ms(stall_ms).await;
        }
        Some(reply)
    }

    /// The host cannot know what a file holds: the checkers pass it over.
    pub(crate) fn doubt(&self, inode: &Inode, why: &str) {
        inode.doubtful.store(true, Ordering::Relaxed);
        self.count(&format!("a file is in doubt: {why}"));
    }

    pub(crate) fn around(&self, inode: &Inode) -> Around {
        Around {
            order: self.order,
            writebacks: inode.cache.lock().has_writebacks(),
            layoutcommit: inode.layouts.lock().commit_is_due(),
            writers: inode.opens.lock().writers(),
        }
    }

    /// Changes what is cached of a file's attributes.
    pub(crate) fn update(
        &self,
        inode: &Inode,
        change: impl FnOnce(&mut Attributes, Around, &mut Generations),
    ) {
        let around = self.around(inode);
        let mut generations = self.generations.lock();
        change(&mut inode.attributes.lock(), around, &mut generations);
    }

    /// What a reply says of a file.
    pub(crate) fn told(&self, handle: &Filehandle, generation: u64, attributes: &Fattr4) -> Told {
        self.wire.told(handle, Told::new(generation, attributes))
    }

    /// A reply of GETATTR is there.
    pub(crate) fn refresh(&self, inode: &Inode, generation: u64, attributes: &Fattr4) {
        let told = self.told(&inode.handle, generation, attributes);
        self.update(inode, |known, around, generations| known.refresh(told, around, generations));
    }

    /// Who opens or closes a file of this name holds this.
    pub(crate) fn opening(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.opening.lock().entry(name.to_owned()).or_default())
    }

    /// The inode of a handle, if there is one.
    pub(crate) fn known(&self, handle: &Filehandle) -> Option<Arc<Inode>> {
        self.inodes.lock().get(handle).cloned()
    }

    /// The inode of a name, if it was opened before.
    pub(crate) fn known_as(&self, name: &str) -> Option<Arc<Inode>> {
        let opening = self.opening(name);
        self.inodes.lock().values().find(|inode| Arc::ptr_eq(&inode.opening, &opening)).cloned()
    }

    /// The inode of a handle that was opened by a name.
    pub(crate) fn inode(&self, handle: &Filehandle, name: &str) -> Arc<Inode> {
        let opening = self.opening(name);
        let fresh = || Arc::new(Inode::new(handle.clone(), opening));
        Arc::clone(self.inodes.lock().entry(handle.clone()).or_insert_with(fresh))
    }

    /// Where to call a data server.
    pub(crate) fn data_server(&self, address: SocketAddr) -> RpcClient {
        let (net, clock) = (Arc::clone(&self.client.env.net), Arc::clone(&self.client.env.clock));
        let connect = || RpcClient::new(net, clock, address, Limits::default());
        self.data_servers.lock().entry(address).or_insert_with(connect).clone()
    }

    /// A device could not be reached: it is asked for again, and not at once.
    pub(crate) fn leave_device(&self, device: DeviceId) {
        self.devices.lock().remove(&device);
        self.unavailable.lock().insert(device, self.now_ns() + UNAVAILABLE_NS);
    }

    pub(crate) fn is_unavailable(&self, device: DeviceId) -> bool {
        self.unavailable.lock().get(&device).is_some_and(|until_ns| self.now_ns() < *until_ns)
    }
}

/// What the server says of its change attributes, once.
async fn change_order(client: &Client, directory: &Filehandle) -> Option<ChangeOrder> {
    let asked = getattr::Args { requested: Bitmap::of(&[numbers::CHANGE_ATTR_TYPE]) };
    let Called::Reply(mut reply) = client.call(Operations::at(directory).then(Op::Getattr, &asked)).await
    else {
        return None;
    };
    reply.skip(&[Op::Putfh]).ok()?;
    let told: getattr::ResOk = reply.next(Op::Getattr).ok()?;
    let order = told.attributes.to_values().ok()?.change_attr_type?;
    Some(ChangeOrder::of(order))
}

/// What is asked of a file in OPEN, CLOSE and GETATTR.
pub(crate) fn asked() -> getattr::Args {
    let numbers =
        [numbers::CHANGE, numbers::SIZE, numbers::FILEID, numbers::TIME_METADATA, numbers::TIME_MODIFY];
    getattr::Args { requested: Bitmap::of(&numbers) }
}

/// Whether a status says that a stateid, or all state of the client, is gone.
pub(crate) fn says_state_is_gone(status: Nfsstat4) -> bool {
    matches!(
        status,
        Nfsstat4::BadStateid
            | Nfsstat4::StaleStateid
            | Nfsstat4::StaleClientid
            | Nfsstat4::Expired
            | Nfsstat4::AdminRevoked
            | Nfsstat4::DelegRevoked
    )
}
