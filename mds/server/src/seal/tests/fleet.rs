//! A metadata server on a network in memory, with data servers that hold nothing: they register,
//! renew their leases, and acknowledge each ENCODE, REBUILD, ADOPT and FENCE.

use std::net::SocketAddr;
use std::sync::Arc;

use client::admin::AdminControl;
use client::control::greeting;
use env::Env;
use env::memory::{SeededEntropy, net::MemoryNet};
use env::os::OsClock;
use env_transport::{Limits, RpcClient, serve};
use layout::ec::{CodecId, Draft, Group, ImageId, ImageSum, Member, Profile};
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::op::extent::extents;
use mds_namespace::op::seal::SealedAs;
use mds_namespace::store::mem::MemStore;
use mds_namespace::{Caller, ROOT_INO, SetAttributes};
use mds_state::command::client::{ConfirmClient, ExchangeId};
use mds_state::command::data::{Allocate, MoveToExtents, Placing};
use mds_state::command::open::{How, Open, Share, Target};
use mds_state::command::seal::MakeGroup;
use mds_state::{Command, Outcome, StateidValue};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use wire_nfs::control::admin::Ruling;
use wire_nfs::control::copies::{AskCopies, CopySet, Word};
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::groups::{AskGroup, GroupSlot};
use wire_nfs::control::heartbeat::{Heartbeat, JournalEnd, Renewed, Usage};
use wire_nfs::control::images::{
    Adopt, AskAtRest, AtRest, ImageWord, ImageWords, Promise, ShowImages, ShownImage, Standing, Thaw,
};
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::{ClusterKey, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_reply};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer};

use crate::driver::{MdsConfig, MetadataServer};
use crate::export::Export;
use crate::report::{DataServerLine, Status};
use crate::server::{Server, Settings};

mod data_server;

use data_server::{Asked, DataServer, toggle};

const KEY: [u8; 32] = [3; 32];
const CAPACITY_BYTES: u64 = 1 << 40;

/// The metadata server and its data servers.
pub(super) struct Fleet {
    metadata: MetadataServer,
    clients: Vec<RpcClient>,
    asked: Arc<Mutex<Asked>>,
    _services: Vec<env_transport::Server>,
    _directory: tempfile::TempDir,
}

/// A file that a client has open.
pub(super) struct Opened {
    pub(super) client: u64,
    pub(super) ino: u64,
    pub(super) stateid: StateidValue,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

pub(super) fn uuid(id: u32) -> [u8; 16] {
    [u8::try_from(id).unwrap(); 16]
}

/// A heartbeat of its first start.
pub(super) fn beat(id: u32, usage: Usage) -> Heartbeat {
    Heartbeat {
        server: id,
        uuid: uuid(id),
        usage,
        directory: 0,
        instance: 1,
        failure: String::new(),
        durable: JournalEnd::default(),
        keys: 1,
    }
}

impl Fleet {
    /// Starts and registers data servers 1 to `count`.
    pub(super) async fn start(count: u32, set: impl FnOnce(&mut Settings)) -> Self {
        let env = Env {
            clock: Arc::new(OsClock::new()),
            entropy: Arc::new(SeededEntropy::new(7)),
            disk: env::os::open_disk("test", env::os::Preference::Blocking).unwrap().0,
            net: Arc::new(MemoryNet::new()),
        };
        // One copy, so that no home fills backups and raises epochs.
        let mut settings = Settings { group_wait_ms: 300, hot_copies: 1, ..Settings::default() };
        set(&mut settings);
        let directory = tempfile::tempdir().unwrap();
        let config = MdsConfig {
            dir: directory.path().join("mds"),
            listen: address(2049),
            control: address(2050),
            exports: vec![Export::any_port()],
            settings,
            cluster_keys: ClusterKey::new(KEY).into(),
            node: 1,
            members: Vec::new(),
            join: Vec::new(),
            controls: Vec::new(),
            service: None,
        };
        let store = Arc::new(MemStore::new());
        let metadata = MetadataServer::start_on(env.clone(), vec![store], config, &mut Registry::default())
            .await
            .unwrap();
        let asked: Arc<Mutex<Asked>> = Arc::default();
        let mut fleet = Self { metadata, clients: vec![], asked, _services: vec![], _directory: directory };
        for id in 1..=count {
            fleet.add(&env, id).await;
        }
        fleet
    }

    async fn add(&mut self, env: &Env, id: u32) {
        let service = DataServer { id, asked: Arc::clone(&self.asked), gates: Mutex::default() };
        let (net, clock) = (env.net.clone(), env.clock.clone());
        let listening = serve(net, clock, address(0), Arc::new(service), Limits::default()).await.unwrap();
        let control = listening.local_addr().to_string();
        let [high, low] = listening.local_addr().port().to_be_bytes();
        self._services.push(listening);
        let hello = greeting(
            ClusterKey::new(KEY),
            PROGRAM,
            (NodeKind::Data, NodeKind::Metadata),
            env.entropy.clone(),
        );
        let to = self.metadata.control_address();
        let client =
            RpcClient::new(env.net.clone(), env.clock.clone(), to, Limits::default()).with_hello(hello);
        self.clients.push(client);
        let register = Register {
            uuid: uuid(id),
            instance: 1,
            addresses: vec![format!("192.0.2.1.{high}.{low}")],
            control,
            capacity_bytes: CAPACITY_BYTES,
            used_bytes: 0,
            zone: String::new(),
            rack: String::new(),
            host: format!("h{id}"),
            name: String::new(),
            found: JournalEnd::default(),
            is_loss_accepted: false,
        };
        let registered: Registered = self.call_control(id, Procedure::Register, &register).await.unwrap();
        assert_eq!(registered.server, id);
        self.beat(id);
    }

    /// Adds a data server.
    pub(super) async fn join(&mut self, id: u32) {
        let env = self.server().env.clone();
        self.add(&env, id).await;
    }

    /// Sets the usage that a data server reports from now on.
    pub(super) fn fills(&self, id: u32, capacity_bytes: u64, live_bytes: u64) {
        let usage = Usage { capacity_bytes, used_bytes: live_bytes, live_bytes, ..Usage::default() };
        self.asked.lock().usage.insert(id, usage);
    }

    /// Sets the sizes that homes report for extents from `from_index` on; those before are empty.
    pub(super) fn extents_hold(&self, from_index: u32, bytes: u32) {
        let mut asked = self.asked.lock();
        (asked.held_from, asked.held_bytes) = (from_index, bytes);
    }

    /// From now on no home reports the sizes of its extents.
    pub(super) fn sizes_cannot_be_told(&self) {
        self.asked.lock().sizes_unknown = true;
    }

    /// Renews a lease for as long as the data server is not silent.
    fn beat(&self, id: u32) {
        let server = Arc::clone(&self.metadata.server);
        let asked = Arc::clone(&self.asked);
        tokio::spawn(async move {
            let empty = Usage { capacity_bytes: CAPACITY_BYTES, ..Usage::default() };
            while !asked.lock().silent.contains(&id) {
                let usage = asked.lock().usage.get(&id).copied().unwrap_or(empty);
                // Of the latest registered start.
                let instance = server.data_servers.one(DataServerId(id)).map_or(1, |known| known.instance);
                let keys = asked.lock().keys.get(&id).copied().unwrap_or(1);
                let beat = Heartbeat { instance, keys, ..beat(id, usage) };
                server.data_servers.renew(&beat, server.now_ms());
                server.env.clock.sleep_ms(50).await;
            }
        });
    }

    pub(super) async fn call_control<R: Decode>(
        &self,
        id: u32,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Result<R, Refusal> {
        let mut w = Writer::new();
        args.encode(&mut w);
        let at = usize::try_from(id).unwrap() - 1;
        let anonymous = Credential::None;
        let mut reply =
            self.clients[at].call(PROGRAM, VERSION, procedure.number(), &anonymous, w, 20_000).await.unwrap();
        decode_reply(reply.rest()).unwrap()
    }

    pub(super) fn server(&self) -> &Server {
        &self.metadata.server
    }

    pub(super) fn status(&self) -> Status {
        self.metadata.status()
    }

    /// A file whose first extents have these homes, created through an export without a code.
    pub(super) async fn file(&self, homes: [u32; 2]) -> [ExtentId; 2] {
        let ino = self.opened("", &homes).await.ino;
        [0, 1].map(|index| ExtentId { ino, index })
    }

    /// The same, open for a client with this implementation name. Each is a client, and a file, of
    /// its own.
    pub(super) async fn opened(&self, implementation: &str, homes: &[u32]) -> Opened {
        let server = self.server();
        let (owner, principal) = ([b"owner ", implementation.as_bytes()].concat(), b"who".to_vec());
        let exchange = ExchangeId {
            owner: owner.clone(),
            verifier: [1; 8],
            principal: principal.clone(),
            update: false,
            implementation: implementation.to_owned(),
        };
        let Outcome::Client(known) = server.propose(Command::ExchangeId(exchange)).await.unwrap() else {
            panic!("no client")
        };
        let client = known.client;
        let confirm = ConfirmClient { client, sequence: known.sequence, principal };
        server.propose(Command::ConfirmClient(confirm)).await.unwrap();
        let open = Open {
            client,
            caller: Caller::default(),
            share: Share { access: 3, deny: 0 },
            target: Target::Create {
                directory: ROOT_INO,
                name: [b"file", implementation.as_bytes()].concat(),
                how: How::Unchecked,
                attributes: SetAttributes { mode: Some(0o644), ..SetAttributes::default() },
            },
            owner,
        };
        let Outcome::Opened(entry) = server.propose(Command::Open(open)).await.unwrap() else {
            panic!("no file")
        };
        let (ino, change) = (entry.inode.ino, entry.inode.change);
        server.propose(Command::MoveToExtents(MoveToExtents { ino, change })).await.unwrap();
        for (index, home) in (0..).zip(homes) {
            let extent = ExtentId { ino, index };
            self.allocate(extent, *home).await;
            self.promise(*home, extent).await.unwrap();
        }
        Opened { client, ino, stateid: entry.stateid }
    }

    /// An extent without promised bytes.
    pub(super) async fn allocate(&self, extent: ExtentId, home: u32) {
        let allocate = Allocate { extent, home: DataServerId(home), backups: vec![] };
        self.server().propose(Command::Allocate(allocate)).await.unwrap();
    }

    /// The homes of a file's extents, in order.
    pub(super) fn homes(&self, ino: u64) -> Vec<u32> {
        let view = self.server().view().unwrap();
        let records = extents(view.namespace(), ino, 0, 99).unwrap();
        records.iter().map(|record| record.home.0).collect()
    }

    /// Two more extents of a file whose last extent is this one, made through an export with a code
    /// of its own.
    pub(super) async fn more(&self, last: ExtentId, homes: [u32; 2], code: Profile) -> [ExtentId; 2] {
        let next = {
            let view = self.server().view().unwrap();
            let known = mds_namespace::op::extent::extents(view.namespace(), last.ino, 0, usize::MAX);
            u32::try_from(known.unwrap().len()).unwrap()
        };
        let extents = [0, 1].map(|more| ExtentId { index: next + more, ..last });
        for (extent, home) in extents.into_iter().zip(homes) {
            let allocate = Placing::Allocate(Allocate { extent, home: DataServerId(home), backups: vec![] });
            self.server().propose(allocate.under(Some(code))).await.unwrap();
            self.promise(home, extent).await.unwrap();
        }
        extents
    }

    pub(super) async fn words(&self, id: u32, images: Vec<ShownImage>) -> Result<Vec<ImageWord>, Refusal> {
        let shown = ShowImages { server: id, images };
        self.call_control::<ImageWords>(id, Procedure::Images, &shown).await.map(|answer| answer.words)
    }

    pub(super) async fn word(&self, id: u32, image: ShownImage) -> ImageWord {
        self.words(id, vec![image]).await.unwrap()[0]
    }

    pub(super) async fn group(&self, ask: AskGroup) -> Result<GroupSlot, Refusal> {
        self.call_control(1, Procedure::Group, &ask).await
    }

    /// A reader queries whether it may serve an extent.
    pub(super) async fn at_rest(&self, id: u32, extent: ExtentId, epoch: u64) -> Result<AtRest, Refusal> {
        let extent = ExtentName { ino: extent.ino, index: extent.index };
        self.call_control(id, Procedure::AtRest, &AskAtRest { extent, epoch }).await
    }

    pub(super) async fn seal_idle_ms(&self) -> u32 {
        let usage = Usage { capacity_bytes: CAPACITY_BYTES, ..Usage::default() };
        self.call_control::<Renewed>(1, Procedure::Heartbeat, &beat(1, usage)).await.unwrap().seal_idle_ms
    }

    /// Makes a group of one image, as another leader might have.
    pub(super) async fn make_alone(&self, image: u8, extent: ExtentId, sequence: u64) {
        let Outcome::Group(number) = self.server().propose(Command::TakeGroup).await.unwrap() else {
            panic!("no number")
        };
        let member = Member { image: ImageId([image; 16]), extent, bytes: 10, sum: ImageSum([1; 32]) };
        let draft = Draft {
            group: layout::ec::GroupId(number),
            profile: Profile::OneCopy,
            codec: CodecId::Copies,
            members: vec![Some(member)],
            parity: vec![],
        };
        let record = Group::new(draft.shape(&[]).unwrap(), vec![Some(DataServerId(1))]).unwrap().encode();
        let (epoch, content_bytes, root) = (Epoch(1), 9, [image; 32]);
        let sealed_as = vec![SealedAs { epoch, sequence, content_bytes, root, from: None }];
        self.server().propose(Command::MakeGroup(MakeGroup { record, sealed_as })).await.unwrap();
    }

    /// Makes a group of two images, on the homes of their extents, and its parity on a third
    /// server.
    pub(super) async fn make_three(&self, images: [(u8, ExtentId, u32); 2], parity: u32, bytes: u64) {
        let Outcome::Group(number) = self.server().propose(Command::TakeGroup).await.unwrap() else {
            panic!("no number")
        };
        let member = |(image, extent, _): (u8, ExtentId, u32)| {
            Some(Member { image: ImageId([image; 16]), extent, bytes, sum: ImageSum([1; 32]) })
        };
        let profile = Profile::TwoPlusOne;
        let draft = Draft {
            group: layout::ec::GroupId(number),
            profile,
            codec: profile.codec(),
            members: images.into_iter().map(member).collect(),
            parity: vec![ImageId([100 + images[0].0; 16])],
        };
        let homes = images.iter().map(|(_, _, home)| *home).chain([parity]).map(|id| Some(DataServerId(id)));
        let shape = draft.shape(&[ImageSum([2; 32])]).unwrap();
        let record = Group::new(shape, homes.collect()).unwrap().encode();
        let sealed_as = |(image, ..): &(u8, ExtentId, u32)| SealedAs {
            epoch: Epoch(1),
            sequence: 5,
            content_bytes: 900,
            root: [*image; 32],
            from: None,
        };
        let sealed_as = images.iter().map(sealed_as).collect();
        self.server().propose(Command::MakeGroup(MakeGroup { record, sealed_as })).await.unwrap();
        for (image, extent, home) in images {
            assert_eq!(self.word(home, used(shown(image, extent, 5))).await, ImageWord::Keep);
        }
    }

    pub(super) fn encoded(&self) -> usize {
        self.asked.lock().encoded
    }

    pub(super) fn last_parity(&self) -> [u8; 16] {
        self.asked.lock().last_parity
    }

    pub(super) fn rebuilt(&self) -> Vec<(u32, u32)> {
        self.asked.lock().rebuilt.clone()
    }

    pub(super) fn adopted(&self) -> Vec<(u32, Adopt)> {
        self.asked.lock().adopted.clone()
    }

    pub(super) async fn thaw(&self, id: u32, extent: ExtentId, sequence: u64) -> Result<(), Refusal> {
        let extent = ExtentName { ino: extent.ino, index: extent.index };
        self.call_control::<Nothing>(id, Procedure::Thaw, &Thaw { server: id, extent, sequence })
            .await
            .map(drop)
    }

    /// A home is about to promise bytes.
    pub(super) async fn promise(&self, id: u32, extent: ExtentId) -> Result<(), Refusal> {
        let extent = ExtentName { ino: extent.ino, index: extent.index };
        self.call_control::<Nothing>(id, Procedure::Promise, &Promise { server: id, extent }).await.map(drop)
    }

    /// Control calls to data servers about an extent: server, procedure, epoch.
    pub(super) fn told(&self, extent: ExtentId) -> Vec<(u32, Procedure, u64)> {
        let asked = self.asked.lock();
        let of = asked.told.iter().filter(|one| (one.2.ino, one.2.index) == (extent.ino, extent.index));
        of.map(|(id, procedure, _, epoch)| (*id, *procedure, *epoch)).collect()
    }

    /// Makes a data server unable to read what it is to serve, or able again.
    pub(super) fn cannot_read(&self, id: u32, so: bool) {
        toggle(&mut self.asked.lock().unreadable, id, so);
    }

    /// Makes a data server refuse DROP as busy, or stop that.
    pub(super) fn keep_busy(&self, id: u32, busy: bool) {
        toggle(&mut self.asked.lock().busy, id, busy);
    }

    /// A home reports that a backup holds everything, or queries the servers of an extent.
    pub(super) async fn say(
        &self,
        id: u32,
        extent: ExtentId,
        word: Word,
        (backup, since): (u32, u64),
    ) -> Result<CopySet, Refusal> {
        let extent = ExtentName { ino: extent.ino, index: extent.index };
        self.call_control(id, Procedure::Copies, &AskCopies { server: id, extent, word, backup, since }).await
    }

    /// An administrator's connection.
    pub(super) fn admin(&self) -> AdminControl {
        let env = &self.metadata.server.env;
        AdminControl::new(env, vec![self.metadata.control_address()], ClusterKey::new(KEY))
    }

    /// From now on a data server reports this version of the handle keys.
    pub(super) fn learn_keys(&self, id: u32, version: u64) {
        self.asked.lock().keys.insert(id, version);
    }

    /// Calls a procedure that data servers may not use.
    pub(super) async fn ask_as_data_server(
        &self,
        id: u32,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Result<(), Refusal> {
        self.call_control::<Ruling>(id, procedure, args).await.map(drop)
    }

    /// A data server registers again.
    pub(super) async fn register_again(&self, id: u32) -> Result<u32, Refusal> {
        let register = Register {
            uuid: uuid(id),
            instance: 2,
            addresses: vec!["192.0.2.1.8.1".to_owned()],
            control: "192.0.2.1:2049".to_owned(),
            capacity_bytes: CAPACITY_BYTES,
            used_bytes: 0,
            zone: String::new(),
            rack: String::new(),
            host: format!("h{id}"),
            name: String::new(),
            found: JournalEnd::default(),
            is_loss_accepted: false,
        };
        self.call_control::<Registered>(id, Procedure::Register, &register)
            .await
            .map(|registered| registered.server)
    }

    /// The registration of a data server that listens.
    pub(super) fn portrait(&self, id: u32) -> Register {
        let at = self._services[id as usize - 1].local_addr();
        let [high, low] = at.port().to_be_bytes();
        Register {
            uuid: uuid(id),
            instance: 2,
            addresses: vec![format!("192.0.2.1.{high}.{low}")],
            control: at.to_string(),
            capacity_bytes: CAPACITY_BYTES,
            used_bytes: 0,
            zone: String::new(),
            rack: String::new(),
            host: format!("h{id}"),
            name: String::new(),
            found: JournalEnd::default(),
            is_loss_accepted: false,
        }
    }

    /// A data server that was silent registers where it was, and continues.
    pub(super) async fn come_back(&self, id: u32) -> Result<(), Refusal> {
        let registered = self.call_control::<Registered>(id, Procedure::Register, &self.portrait(id)).await?;
        if registered.lease_ms == 0 {
            return Err(Refusal::Busy);
        }
        self.asked.lock().silent.remove(&id);
        self.beat(id);
        Ok(())
    }

    /// The data servers as `ds list` shows them.
    pub(super) fn listed(&self) -> Vec<DataServerLine> {
        self.metadata.data_servers()
    }

    /// Data servers fail ENCODE from the `from`th call on.
    pub(super) fn break_encoding_from(&self, from: usize) {
        self.asked.lock().encoding_fails_from = Some(from);
    }

    pub(super) fn break_encoding(&self, fails: bool) {
        let mut asked = self.asked.lock();
        (asked.fails, asked.encoding_fails_from) = (fails, None);
    }

    /// A data server loses an image, or cannot report any more.
    pub(super) fn lose_image(&self, id: u32, image: [u8; 16], cannot_tell: bool) {
        let mut asked = self.asked.lock();
        let (lost, tells) = asked.lost.entry(id).or_default();
        lost.insert(image);
        *tells = cannot_tell;
    }

    /// Triggers queries to all data servers for their images, and returns once this one got its
    /// own.
    pub(super) async fn count_images(&self, id: u32) {
        let counted = || self.asked.lock().counted.get(&id).copied().unwrap_or(0);
        let before = counted();
        for round in 0.. {
            // The scan may have been at its end.
            self.server().sealing.count.notify_one();
            self.server().env.clock.sleep_ms(50).await;
            if before < counted() {
                return;
            }
            assert!(round < 600, "no query came");
        }
    }

    /// Ends the heartbeats of a data server, so that its lease runs out.
    pub(super) fn silence(&self, id: u32) {
        self.asked.lock().silent.insert(id);
    }
}

/// An image of an extent, sealed at its first epoch, that the journal does not use.
pub(super) fn shown(image: u8, extent: ExtentId, sequence: u64) -> ShownImage {
    ShownImage {
        image: [image; 16],
        standing: Standing::Unused,
        extent: ExtentName { ino: extent.ino, index: extent.index },
        epoch: 1,
        sequence,
        content_bytes: 900,
        file_bytes: 1000,
        sum: [image; 32],
        root: [image; 32],
    }
}

/// The same image, in use, and nothing above it.
pub(super) fn used(shown: ShownImage) -> ShownImage {
    ShownImage { standing: Standing::Used, sequence: 0, ..shown }
}

/// A parity image.
pub(super) fn parity(image: [u8; 16]) -> ShownImage {
    let extent = ExtentName { ino: 0, index: 0 };
    ShownImage {
        image,
        standing: Standing::Parity,
        extent,
        epoch: 0,
        sequence: 0,
        content_bytes: 0,
        file_bytes: 1024,
        sum: [1; 32],
        root: [0; 32],
    }
}
