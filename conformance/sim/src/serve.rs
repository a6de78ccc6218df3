//! What runs in a process of a server: started, watched, and for others to look at.

use std::sync::Arc;

use ds_server::{DataServer, DsConfig};
use env::Env;
use mds_namespace::MetaStore;
use mds_server::{MdsConfig, MetadataServer};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use crate::planted::Planted;

/// What runs in a process.
pub(crate) enum Running<T> {
    Nothing,
    Starting,
    Up(T),
    Failed(String),
}

/// Where it is looked at.
pub(crate) type Slot<T> = Arc<Mutex<Running<T>>>;

/// How it is, in words.
pub(crate) fn state<T>(slot: &Slot<T>) -> String {
    match &*slot.lock() {
        Running::Nothing => "down".to_owned(),
        Running::Starting => "starting".to_owned(),
        Running::Up(_) => "up".to_owned(),
        Running::Failed(error) => error.clone(),
    }
}

/// Why it is not up, if it did not start or has ended by itself.
pub(crate) fn failure<T>(slot: &Slot<T>) -> Option<String> {
    match &*slot.lock() {
        Running::Failed(error) => Some(error.clone()),
        _ => None,
    }
}

/// Runs a metadata server, as `shoal mds` does: one of whose engines stops by itself is stopped,
/// and its process ends.
pub(crate) async fn serve_metadata(
    env: Env,
    stores: Vec<Arc<dyn MetaStore>>,
    config: MdsConfig,
    slot: Slot<Arc<MetadataServer>>,
    planted: Planted,
) {
    *slot.lock() = Running::Starting;
    // The machine takes a moment to start a program.
    env.clock.sleep_ms(20).await;
    let started = MetadataServer::start_on(env, stores, config, &mut Registry::default()).await;
    let server = match started {
        Ok(server) => Arc::new(server),
        Err(error) => return *slot.lock() = Running::Failed(error.to_string()),
    };
    *slot.lock() = Running::Up(Arc::clone(&server));
    if planted != Planted::LivesOn {
        let stopped = server.failed().await;
        server.stop().await;
        *slot.lock() = Running::Failed(stopped.to_string());
    }
}

/// Runs a data server.
pub(crate) async fn serve_data(env: Env, config: DsConfig, slot: Slot<DataServer>) {
    *slot.lock() = Running::Starting;
    env.clock.sleep_ms(20).await;
    let started = DataServer::start(env, config, &mut Registry::default()).await;
    *slot.lock() = match started {
        Ok(server) => Running::Up(server),
        Err(error) => Running::Failed(error.to_string()),
    };
}
