//! The metrics port: counters for Prometheus, health, and what `shoal admin` shows. Reads only, no authentication.

mod metrics_text;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mds_server::MetadataServer;
use mds_server::report::ExportLine;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::output;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What there is to show.
#[derive(Clone)]
pub(crate) struct Pages {
    /// Counters of everything in this process.
    pub(crate) registry: Arc<Registry>,
    /// The metadata server, if this process has one.
    pub(crate) metadata: Option<Arc<MetadataServer>>,
}

/// An export and the command that mounts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountLine {
    /// The export.
    #[serde(flatten)]
    pub(crate) export: ExportLine,
    /// For a shell on a client.
    pub(crate) mount: String,
}

/// A listening metrics port.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Port {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes it. A request under way is cut off.
    pub(crate) fn close(&self) {
        self.task.abort();
    }
}

/// Begins to answer.
///
/// # Errors
/// If the address cannot be listened on.
pub(crate) async fn serve(address: SocketAddr, pages: Pages) -> anyhow::Result<Port> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("metrics: cannot listen on {address}; see --metrics-port, --metrics"))?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/status", get(status))
        .route("/exports", get(exports))
        .route("/ds", get(data_servers))
        .with_state(pages);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics port closed");
        }
    });
    Ok(Port { address, task })
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &pages.registry) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics_text::join_families(&text)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// 200 while the server can do its work, 503 with a reason while it cannot.
async fn health(State(pages): State<Pages>) -> Response {
    let Some(metadata) = &pages.metadata else { return "ok\n".into_response() };
    let status = metadata.status();
    if status.leader.is_none() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no metadata replica leads\n").into_response();
    }
    if status.data_servers_up < status.data_servers {
        let (up, all) = (status.data_servers_up, status.data_servers);
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{up} of {all} data servers are up\n"))
            .into_response();
    }
    "ok\n".into_response()
}

async fn status(State(pages): State<Pages>) -> Response {
    about(&pages, MetadataServer::status)
}

async fn exports(State(pages): State<Pages>) -> Response {
    about(&pages, |metadata| {
        let at = metadata.nfs_address();
        let line = |export: ExportLine| MountLine { mount: output::mount_command(at, &export.path), export };
        metadata.exports().into_iter().map(line).collect::<Vec<_>>()
    })
}

async fn data_servers(State(pages): State<Pages>) -> Response {
    about(&pages, MetadataServer::data_servers)
}

/// JSON of something only a metadata server knows.
fn about<T: Serialize>(pages: &Pages, read: impl FnOnce(&MetadataServer) -> T) -> Response {
    let Some(metadata) = &pages.metadata else {
        return (StatusCode::NOT_FOUND, "a data server knows this not; ask a metadata server\n")
            .into_response();
    };
    match serde_json::to_string(&read(metadata)) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
