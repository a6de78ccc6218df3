//! The metrics port: counters for Prometheus, health, and what `shoal admin` shows. Reads only, no
//! authentication.

mod limits;
mod listener;
mod metrics_text;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use env::os::OsClock;
use mds_server::MetadataServer;
use mds_server::report::{Health, Status};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use wire_nfs::control::report::Subject;

use listener::Bounded;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What there is to show.
#[derive(Clone)]
pub(crate) struct Pages {
    /// Counters of everything in this process.
    pub(crate) registry: Arc<Registry>,
    /// The metadata server, if this process has one.
    pub(crate) metadata: Option<Arc<MetadataServer>>,
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
        .route("/status/own", get(own_status))
        .route("/exports", get(exports))
        .route("/ds", get(data_servers))
        .with_state(pages);
    let task = tokio::spawn(async move {
        let bounded = Bounded::new(listener, Arc::new(OsClock::new()));
        if let Err(error) = axum::serve(bounded, router).await {
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

/// 200 while everything is kept as promised, 503 with a line for each thing that is not. A data
/// server's own: it runs.
async fn health(State(pages): State<Pages>) -> Response {
    let Some(metadata) = &pages.metadata else { return "ok\n".into_response() };
    let unavailable = |text: String| (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    let report = match metadata.report(Subject::Status).await {
        Ok(report) => report,
        Err(error) => return unavailable(format!("{error}\n")),
    };
    let Ok(status) = serde_json::from_str::<Status>(&report) else {
        return unavailable("the leader is of another version\n".to_owned());
    };
    match Health::of(&status) {
        health if health.ok => "ok\n".into_response(),
        health => unavailable(health.problems.iter().map(|problem| format!("{}\n", problem.text)).collect()),
    }
}

async fn status(State(pages): State<Pages>) -> Response {
    reported(&pages, Subject::Status).await
}

async fn exports(State(pages): State<Pages>) -> Response {
    reported(&pages, Subject::Exports).await
}

async fn data_servers(State(pages): State<Pages>) -> Response {
    reported(&pages, Subject::DataServers).await
}

/// What this metadata server knows by itself, whether it leads or not.
async fn own_status(State(pages): State<Pages>) -> Response {
    let Some(metadata) = &pages.metadata else { return unknown() };
    match serde_json::to_string(&metadata.status()) {
        Ok(text) => json(text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// What the leader reports, or 503 and where to ask.
async fn reported(pages: &Pages, subject: Subject) -> Response {
    let Some(metadata) = &pages.metadata else { return unknown() };
    match metadata.report(subject).await {
        Ok(text) => json(text),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "a data server does not know this; ask a metadata server\n").into_response()
}
