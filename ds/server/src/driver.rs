//! Starts and stops a data server: store, ports, registrar.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ds_store::{ChangeError, OpenError, Store, StoreConfig};
use env::Env;
use env_transport::{Limits, Server, Service, serve};
use layout::DataServerId;
use layout::copies::Domain;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use wire_nfs::control::Keyring;
use wire_nfs::control::heartbeat::Usage;

use crate::clock::SteeredClock;
use crate::control::ControlService;
use crate::core::Core;
use crate::directory::Directory;
use crate::front::DataService;
use crate::images::content::Source;
use crate::images::{ImageMetrics, Images};
use crate::limits::{control_port, data_port};
use crate::metrics::Metrics;
use crate::registrar::{self, SelfPortrait};
use crate::scrub::{self, ScrubMetrics};
use crate::throttle::Throttle;
use crate::watch::DiskWatch;
use crate::{clock, holding, seal, universal_address};

/// How a data server is set up.
#[derive(Clone, Debug)]
pub struct DsConfig {
    /// Where its store lives.
    pub dir: PathBuf,
    /// Address of the data port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the control port; port 0 takes a free one.
    pub control: SocketAddr,
    /// Address that clients are told instead of `listen`; port 0 stands for the port of `listen`.
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
    /// How long a walk through all data, to compare them with their checksums, should take; 0:
    /// there is none.
    pub scrub_period_ms: u64,
    /// Bytes per second that it reads at most.
    pub scrub_bytes_per_s: u64,
    /// A disk that has not answered an operation for so long hangs: the server gives up its lease;
    /// 0: it waits for ever.
    pub hang_ms: u64,
    /// Opens a store although durable records of it are damaged.
    pub accept_damage: bool,
    /// What is lost together with it; copies of an extent are kept apart by it.
    pub domain: Domain,
    /// What people call it; may be empty.
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
        /// Whom it is for.
        holder: String,
        /// Who was to be started with it.
        name: String,
    },
    /// A port cannot be used.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// It listens on all addresses and was not told which one clients reach it at.
    #[error("listening on {address} says nothing about where clients find this server: advertise an address")]
    NoAddress {
        /// Where it was to listen.
        address: SocketAddr,
    },
}

/// A running data server.
pub struct DataServer {
    core: Arc<Core>,
    data: Server,
    control: Server,
    registrar: Option<registrar::Keeper>,
    tasks: [JoinHandle<()>; 5],
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
        let clock = Arc::new(SteeredClock::new(Arc::clone(&env.clock)));
        let watch = DiskWatch::new(config.hang_ms);
        let disk = watch.door(env.disk);
        let env = Env { clock: Arc::<SteeredClock>::clone(&clock), disk, ..env };
        let store_config = StoreConfig {
            accept_damage: config.accept_damage,
            ..StoreConfig::new(&config.dir, config.capacity_bytes)
        };
        let directory = Arc::new(Directory::new(config.cluster_keys.clone()));
        let counters = ImageMetrics::new(registry);
        let repair = Throttle::new(config.repair_bytes_per_s);
        let images = Images::open(&env, &config.dir, Arc::clone(&directory), counters, repair).await?;
        let store = Store::open(&env, &store_config, Arc::new(Source(Arc::clone(&images)))).await?;
        let (metrics, scrub) = (Metrics::new(registry), ScrubMetrics::new(registry));
        // Nothing was lost with these, and the segments they are in are emptied by now, or soon.
        scrub.found.inc_by(store.found_bad_at_start());
        scrub.repaired.inc_by(store.found_bad_at_start());
        let seal_pace = Throttle::new(config.seal_bytes_per_s.max(1));
        let core =
            Arc::new(Core::new((env.clone(), watch), store, metrics, directory, images, scrub, seal_pace));
        core.note_images();
        let data_service = Arc::new(DataService::new(Arc::clone(&core)));
        let data = listen(&env, config.listen, data_service, data_port()).await?;
        let control_service = ControlService::new(Arc::clone(&core), config.cluster_keys.clone());
        let control = listen(&env, config.control, Arc::new(control_service), control_port()).await?;
        let advertise = advertised_port(advertise, data.local_addr());
        let portrait = portrait(advertise, control.local_addr(), config.domain, config.name);
        tracing::info!(data = %advertise, control = %portrait.control, "data server listens");
        let watched = Arc::clone(&core);
        let registrar =
            registrar::run(Arc::clone(&core), config.metadata_servers, config.cluster_keys, portrait);
        let registrar = async move {
            tokio::join!(watched.watch_disk(), registrar);
        };
        let registrar = registrar::Keeper::start(registrar).map_err(StartError::Thread)?;
        let sealer = seal::run(Arc::clone(&core));
        let shows = seal::shown::run(Arc::clone(&core));
        let scrub =
            scrub::Settings { period_ms: config.scrub_period_ms, bytes_per_s_max: config.scrub_bytes_per_s };
        let scrubs = scrub::run(Arc::clone(&core), scrub, config.dir);
        let clocks = clock::run(Arc::clone(&core), clock);
        let asks = holding::ask::run(Arc::clone(&core));
        let tasks = [
            tokio::spawn(sealer),
            tokio::spawn(shows),
            tokio::spawn(scrubs),
            tokio::spawn(clocks),
            tokio::spawn(asks),
        ];
        Ok(Self { core, data, control, registrar: Some(registrar), tasks })
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
        self.core.store.uuid()
    }

    /// The id that metadata servers gave it, once one did.
    #[must_use]
    pub fn server(&self) -> Option<DataServerId> {
        self.core.server()
    }

    /// Whether it holds a lease.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.core.is_serving()
    }

    /// Images here of extents whose primary this is that wait for a group, or to be used.
    #[must_use]
    pub fn images_waiting(&self) -> usize {
        self.core.shown.images_waiting()
    }

    /// How full and how busy it is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.core.usage()
    }

    /// Stops: answers what is under way, makes everything durable.
    ///
    /// # Errors
    /// [`ChangeError::Failed`] if it is not certain that everything is durable.
    pub async fn stop(mut self) -> Result<(), ChangeError> {
        drop(self.registrar.take());
        self.tasks.iter().for_each(JoinHandle::abort);
        tokio::join!(self.data.shutdown(), self.control.shutdown());
        self.core.store.close().await
    }
}

impl Drop for DataServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
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
    advertise
}

/// A data server has the whole cluster key, or one that was made for it.
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

/// What to say about ourselves.
fn portrait(advertise: SocketAddr, control: SocketAddr, domain: Domain, name: String) -> SelfPortrait {
    let control_ip = if control.ip().is_unspecified() { advertise.ip() } else { control.ip() };
    SelfPortrait {
        addresses: vec![universal_address::of(advertise)],
        control: SocketAddr::new(control_ip, control.port()).to_string(),
        domain,
        name,
    }
}
