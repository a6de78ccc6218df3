//! Starts and stops a data server: builds its parts, and hands each the others that it needs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ds_store::{ChangeError, OpenError, Store, StoreConfig};
use env::{Clock, Env};
use env_transport::{Limits, Server, Service, serve};
use layout::DataServerId;
use layout::copies::Domain;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use wire_nfs::control::Keyring;
use wire_nfs::control::heartbeat::Usage;

use crate::access::{Gate, Permits};
use crate::clock::{SteeredClock, steer_clock};
use crate::control::{ControlCalls, ControlService};
use crate::copies::{CopyTable, Replication};
use crate::directory::Directory;
use crate::front::{DataPort, DataService};
use crate::holding::Holding;
use crate::images::Images;
use crate::images::content::StoreImages;
use crate::images::metrics::ImageMetrics;
use crate::images::receiving::Incoming;
use crate::images::serve::ImageService;
use crate::images::shelf::Shelf;
use crate::images::work::ImageWork;
use crate::judgement::StoreJudgement;
use crate::lease::Serving;
use crate::limits::{control_port, data_port};
use crate::metadata::MetadataQueries;
use crate::metrics::{ClientLoad, Metrics};
use crate::proc::Primary;
use crate::proc::read::Source;
use crate::registrar::{Keeper, Registrar, SelfPortrait};
use crate::replica::Replica;
use crate::restore::Restorer;
use crate::scrub::image::ImageScrub;
use crate::scrub::metrics::ScrubMetrics;
use crate::scrub::wanted::Wanted;
use crate::scrub::{Scrub, Settings};
use crate::seal::known::Shown;
use crate::seal::shown::Reporter;
use crate::seal::uses::Uses;
use crate::seal::{RestTime, Sealer};
use crate::space::Space;
use crate::thaw::Thaws;
use crate::throttle::Throttle;
use crate::universal_address::format_universal;
use crate::usage::UsageReport;
use crate::watch::DiskWatch;

/// How a data server is set up.
#[derive(Clone, Debug)]
pub struct DsConfig {
    /// The folder of its store.
    pub dir: PathBuf,
    /// Address of the data port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the control port; port 0 takes a free one.
    pub control: SocketAddr,
    /// Address that metadata servers tell clients instead of `listen`; port 0 stands for the port
    /// of `listen`.
    pub advertise: Option<SocketAddr>,
    /// Control addresses of the metadata servers.
    pub metadata_servers: Vec<SocketAddr>,
    /// Proves nodes to each other.
    pub cluster_keys: Keyring,
    /// Bytes that journal and images may take.
    pub capacity_bytes: u64,
    /// Bytes per second of extents that rest which are written as images, while no client waits.
    pub seal_bytes_per_s: u64,
    /// Bytes per second of images that are made again here; 0: as fast as it goes.
    pub repair_bytes_per_s: u64,
    /// How long a round of the scrub through all data should take; 0: nothing is scrubbed.
    pub scrub_period_ms: u64,
    /// Bytes per second that the scrub reads at most.
    pub scrub_bytes_per_s: u64,
    /// A disk that has not answered an operation for so long hangs: the server gives up its lease;
    /// 0: the server waits for ever.
    pub hang_ms: u64,
    /// Opens a store although durable records of it are damaged.
    pub accept_damage: bool,
    /// The failure domain that it is in: copies of an extent are in different ones.
    pub domain: Domain,
    /// The name that administrators gave it; may be empty.
    pub name: String,
}

/// Why a data server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error("store: {0}")]
    Store(#[from] OpenError),
    /// The directory of images cannot be opened.
    #[error("images: {0}")]
    Images(#[from] ds_image::StoreError),
    /// The system gives no thread for the lease.
    #[error("no thread for the lease: {0}")]
    Thread(std::io::Error),
    /// The key is one for another role, or for another data server.
    #[error("this key is for {holder} only, and not for data server {name}")]
    Key {
        /// The node that the key is for.
        holder: String,
        /// The data server that was to be started with it.
        name: String,
    },
    /// A port cannot be used.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The server listens on all addresses, and the configuration does not say at which one clients
    /// reach it.
    #[error("listening on {address} says nothing about where clients find this server: advertise an address")]
    NoAddress {
        /// The address to listen on.
        address: SocketAddr,
    },
}

/// A running data server.
pub struct DataServer {
    store: Store,
    serving: Arc<Serving>,
    directory: Arc<Directory>,
    shown: Arc<Shown>,
    usage: Arc<UsageReport>,
    data: Server,
    control: Server,
    registrar: Option<Keeper>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the parts of a server share: the lowest of them, which know no other.
struct Base {
    env: Env,
    clock: Arc<SteeredClock>,
    store: Store,
    serving: Arc<Serving>,
    directory: Arc<Directory>,
    images: Arc<Images>,
    shelf: Arc<Shelf>,
    shown: Arc<Shown>,
    load: Arc<ClientLoad>,
    metrics: Arc<Metrics>,
    scrub: ScrubMetrics,
}

impl Base {
    async fn open(env: Env, config: &DsConfig, registry: &mut Registry) -> Result<Self, StartError> {
        let clock = Arc::new(SteeredClock::new(Arc::clone(&env.clock)));
        let watch = DiskWatch::new(config.hang_ms);
        let disk = watch.door(env.disk);
        let env = Env { clock: Arc::<SteeredClock>::clone(&clock), disk, ..env };
        let store_config = StoreConfig {
            accept_damage: config.accept_damage,
            ..StoreConfig::new(&config.dir, config.capacity_bytes)
        };
        let directory = Arc::new(Directory::new(&env, config.cluster_keys.clone()));
        let shelf = Arc::new(Shelf::open(&env.disk, &config.dir, ImageMetrics::new(registry)).await?);
        let images = Images::new(Arc::clone(&env.clock), Arc::clone(&shelf), Arc::clone(&directory));
        let images = Arc::new(images);
        let source = Arc::new(StoreImages(Arc::clone(&images)));
        let store = Store::open(&env, &store_config, source).await?;
        store.keep_reserve();
        let (metrics, scrub) = (Arc::new(Metrics::new(registry)), ScrubMetrics::new(registry));
        // Nothing was lost with these, and the segments they are in are emptied by now, or soon.
        scrub.found.inc_by(store.found_bad_at_start());
        scrub.repaired.inc_by(store.found_bad_at_start());
        let serving = Arc::new(Serving::new(Arc::clone(&env.clock), store.clone(), watch));
        let load = Arc::new(ClientLoad::new(Arc::clone(&env.clock)));
        let shown = Arc::new(Shown::default());
        Ok(Self { env, clock, store, serving, directory, images, shelf, shown, load, metrics, scrub })
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.env.clock)
    }
}

impl DataServer {
    /// Starts: opens or formats the store, listens, and begins to look for a metadata server.
    /// Nothing is served before one has given a lease.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(env: Env, config: DsConfig, registry: &mut Registry) -> Result<Self, StartError> {
        let advertise = advertised(&config)?;
        check_key(&config)?;
        let base = Base::open(env, &config, registry).await?;
        Parts::build(base, &config).start(advertise, config).await
    }

    /// The data port's address, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.data.local_addr()
    }

    /// The control port's address, with the port that was taken.
    #[must_use]
    pub fn control_address(&self) -> SocketAddr {
        self.control.local_addr()
    }

    /// The store's identity.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.store.uuid()
    }

    /// The id that metadata servers gave it, once one did.
    #[must_use]
    pub fn server(&self) -> Option<DataServerId> {
        self.directory.own()
    }

    /// Whether it holds a lease.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.is_serving()
    }

    /// Images here of extents whose primary this is that wait for a group, or to be used.
    #[must_use]
    pub fn images_waiting(&self) -> usize {
        self.shown.images_waiting()
    }

    /// How full and how busy it is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage.gather()
    }

    /// Stops: answers what is under way, makes everything durable.
    ///
    /// # Errors
    /// [`ChangeError::Failed`] if it is not certain that everything is durable.
    pub async fn stop(mut self) -> Result<(), ChangeError> {
        drop(self.registrar.take());
        self.tasks.iter().for_each(JoinHandle::abort);
        tokio::join!(self.data.shutdown(), self.control.shutdown());
        self.store.close().await
    }
}

impl Drop for DataServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The parts above the base, while a server starts.
struct Parts {
    base: Base,
    permits: Arc<Permits>,
    holding: Arc<Holding>,
    judgement: Arc<StoreJudgement>,
    replication: Arc<Replication>,
    wanted: Arc<Wanted>,
    space: Arc<Space>,
    work: Arc<ImageWork>,
    incoming: Arc<Incoming>,
    restorer: Arc<Restorer>,
    rest: Arc<RestTime>,
    usage: Arc<UsageReport>,
}

impl Parts {
    fn build(base: Base, config: &DsConfig) -> Self {
        let holding = Holding::new(
            (base.clock(), &*base.env.entropy),
            Arc::clone(&base.serving),
            Arc::clone(&base.directory),
            Arc::clone(&base.metrics),
        );
        let wanted = Arc::new(Wanted::default());
        let replication = Arc::new(Replication {
            table: Arc::new(CopyTable::default()),
            clock: base.clock(),
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            directory: Arc::clone(&base.directory),
            metrics: Arc::clone(&base.metrics),
            wanted: Arc::clone(&wanted),
        });
        let space = Arc::new(Space {
            clock: base.clock(),
            store: base.store.clone(),
            shelf: Arc::clone(&base.shelf),
            shown: Arc::clone(&base.shown),
            load: Arc::clone(&base.load),
            pace: Throttle::new(config.seal_bytes_per_s.max(1)),
        });
        let repair = Throttle::new(config.repair_bytes_per_s);
        let work = ImageWork::new(base.clock(), Arc::clone(&base.images), Arc::clone(&space), repair);
        let restorer = Restorer::new(
            base.store.clone(),
            Arc::clone(&base.serving),
            Arc::clone(&base.directory),
            Arc::clone(&replication),
            base.scrub.clone(),
        );
        let usage = UsageReport {
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            metrics: Arc::clone(&base.metrics),
            scrub: base.scrub.clone(),
        };
        Self {
            permits: Arc::new(Permits::default()),
            holding: Arc::new(holding),
            judgement: Arc::new(StoreJudgement::new(base.store.dir().to_path_buf())),
            replication,
            wanted,
            space,
            work: Arc::new(work),
            incoming: Arc::new(Incoming::new(base.clock(), Arc::clone(&base.shelf))),
            restorer: Arc::new(restorer),
            rest: Arc::new(RestTime::default()),
            usage: Arc::new(usage),
            base,
        }
    }

    async fn start(self, advertise: SocketAddr, config: DsConfig) -> Result<DataServer, StartError> {
        let env = &self.base.env;
        self.space.note_images();
        let data_service = Arc::new(DataService::new(self.data_port()));
        let data = listen(env, config.listen, data_service, data_port()).await?;
        let keys = config.cluster_keys.clone();
        let control_service = ControlService::new(self.control_calls(), Arc::clone(&env.entropy), keys);
        let control = listen(env, config.control, Arc::new(control_service), control_port()).await?;
        let advertise = advertised_port(advertise, data.local_addr());
        let portrait = portrait(advertise, control.local_addr(), config.domain, config.name);
        tracing::info!(data = %advertise, control = %portrait.control, "data server listens");
        let (watched, registrar) = (Arc::clone(&self.base.serving), self.registrar(portrait));
        let registrar = registrar.keep_registered(config.metadata_servers, config.cluster_keys);
        let registrar = Keeper::start(async move {
            tokio::join!(watched.watch_disk(), registrar);
        });
        let registrar = registrar.map_err(StartError::Thread)?;
        let settings =
            Settings { period_ms: config.scrub_period_ms, bytes_per_s_max: config.scrub_bytes_per_s };
        let holding = Arc::clone(&self.holding);
        let clock = steer_clock(Arc::clone(&self.base.clock), Arc::clone(&self.base.directory));
        let tasks = vec![
            tokio::spawn(self.sealer().seal_extents()),
            tokio::spawn(self.reporter().show_images()),
            tokio::spawn(self.scrub().run_rounds(settings, config.dir)),
            tokio::spawn(clock),
            tokio::spawn(async move { holding.ask_questions().await }),
        ];
        let Self { base: Base { store, serving, directory, shown, .. }, usage, .. } = self;
        let registrar = Some(registrar);
        Ok(DataServer { store, serving, directory, shown, usage, data, control, registrar, tasks })
    }

    fn data_port(&self) -> DataPort {
        let base = &self.base;
        let gate = Arc::new(Gate {
            clock: base.clock(),
            serving: Arc::clone(&base.serving),
            permits: Arc::clone(&self.permits),
            holding: Arc::clone(&self.holding),
            metrics: Arc::clone(&base.metrics),
        });
        let thawed = base.shelf.metrics.thawed.clone();
        let (directory, replication) = (Arc::clone(&base.directory), Arc::clone(&self.replication));
        let thaws = Thaws::new(base.store.clone(), directory, replication, thawed);
        let (directory, metrics) = (Arc::clone(&base.directory), Arc::clone(&base.metrics));
        let source = Source {
            clock: base.clock(),
            gate: Arc::clone(&gate),
            store: base.store.clone(),
            images: Arc::clone(&base.images),
            queries: MetadataQueries::new(base.clock(), directory, metrics),
            restorer: Arc::clone(&self.restorer),
            wanted: Arc::clone(&self.wanted),
        };
        let primary = Primary {
            clock: base.clock(),
            gate,
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            replication: Arc::clone(&self.replication),
            thaws: Arc::new(thaws),
        };
        DataPort {
            clock: base.clock(),
            serving: Arc::clone(&base.serving),
            load: Arc::clone(&base.load),
            metrics: Arc::clone(&base.metrics),
            source,
            primary,
        }
    }

    fn control_calls(&self) -> ControlCalls {
        let base = &self.base;
        let replica = Replica::new(
            base.store.clone(),
            Arc::clone(&base.serving),
            Arc::clone(&base.directory),
            Arc::clone(&self.replication),
            (Arc::clone(&base.load), Arc::clone(&base.metrics)),
        );
        let (shelf, incoming) = (Arc::clone(&base.shelf), Arc::clone(&self.incoming));
        ControlCalls {
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            directory: Arc::clone(&base.directory),
            judgement: Arc::clone(&self.judgement),
            replication: Arc::clone(&self.replication),
            replica,
            work: Arc::clone(&self.work),
            images: ImageService::new(shelf, incoming, Arc::clone(&self.space)),
            shown: Arc::clone(&base.shown),
            usage: Arc::clone(&self.usage),
            started_unix_ns: base.env.clock.wall_ns(),
        }
    }

    fn registrar(&self, portrait: SelfPortrait) -> Registrar {
        let base = &self.base;
        Registrar {
            env: base.env.clone(),
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            permits: Arc::clone(&self.permits),
            directory: Arc::clone(&base.directory),
            judgement: Arc::clone(&self.judgement),
            rest: Arc::clone(&self.rest),
            usage: Arc::clone(&self.usage),
            portrait,
        }
    }

    fn sealer(&self) -> Sealer {
        let base = &self.base;
        Sealer {
            env: base.env.clone(),
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            replication: Arc::clone(&self.replication),
            shelf: Arc::clone(&base.shelf),
            incoming: Arc::clone(&self.incoming),
            shown: Arc::clone(&base.shown),
            space: Arc::clone(&self.space),
            rest: Arc::clone(&self.rest),
        }
    }

    fn reporter(&self) -> Reporter {
        let base = &self.base;
        let uses = Uses {
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            replication: Arc::clone(&self.replication),
            used: base.shelf.metrics.used.clone(),
        };
        Reporter {
            clock: base.clock(),
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            directory: Arc::clone(&base.directory),
            table: Arc::clone(&self.replication.table),
            shelf: Arc::clone(&base.shelf),
            shown: Arc::clone(&base.shown),
            space: Arc::clone(&self.space),
            uses,
        }
    }

    fn scrub(&self) -> Scrub {
        let base = &self.base;
        let images = ImageScrub {
            store: base.store.clone(),
            shelf: Arc::clone(&base.shelf),
            images: Arc::clone(&base.images),
            work: Arc::clone(&self.work),
            shown: Arc::clone(&base.shown),
            space: Arc::clone(&self.space),
        };
        Scrub {
            env: base.env.clone(),
            store: base.store.clone(),
            serving: Arc::clone(&base.serving),
            load: Arc::clone(&base.load),
            metrics: base.scrub.clone(),
            wanted: Arc::clone(&self.wanted),
            restorer: Arc::clone(&self.restorer),
            images,
        }
    }
}

async fn listen(
    env: &Env,
    address: SocketAddr,
    service: Arc<dyn Service>,
    limits: Limits,
) -> Result<Server, StartError> {
    let served = serve(Arc::clone(&env.net), Arc::clone(&env.clock), address, service, limits).await;
    served.map_err(|error| StartError::Listen { address, error })
}

fn advertised(config: &DsConfig) -> Result<SocketAddr, StartError> {
    let address = config.advertise.unwrap_or(config.listen);
    if address.ip().is_unspecified() { Err(StartError::NoAddress { address }) } else { Ok(address) }
}

/// Where clients reach the data port, with the port that was taken.
fn advertised_port(mut advertise: SocketAddr, data: SocketAddr) -> SocketAddr {
    if advertise.port() == 0 {
        advertise.set_port(data.port());
    }
    assert_ne!(advertise.port(), 0, "clients are told a port");
    advertise
}

/// Checks that the key is the whole cluster key, or one that was made for this data server.
fn check_key(config: &DsConfig) -> Result<(), StartError> {
    let DsConfig { cluster_keys, name, .. } = config;
    let held = cluster_keys.held();
    let key = held.active();
    let own = key.only_data_server().is_some_and(|own| own.name == *name);
    if own || key.whole().is_some() {
        return Ok(());
    }
    Err(StartError::Key { holder: key.role(), name: name.clone() })
}

/// What this server says about itself.
fn portrait(advertise: SocketAddr, control: SocketAddr, domain: Domain, name: String) -> SelfPortrait {
    let control_ip = if control.ip().is_unspecified() { advertise.ip() } else { control.ip() };
    assert!(!control_ip.is_unspecified(), "other nodes are told an address");
    SelfPortrait {
        addresses: vec![format_universal(advertise)],
        control: SocketAddr::new(control_ip, control.port()).to_string(),
        domain,
        name,
    }
}
