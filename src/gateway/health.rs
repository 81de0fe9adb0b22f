//! Whether it lives, whether it can serve, and what it counts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use chatlab_pubsub::Fanout;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use super::Gateway;
use crate::{
    service::{consume::Status, ports::Archive},
    telemetry,
};

/// How long one component may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks a component whether it is there.
#[async_trait]
pub trait Ping: Send + Sync {
    /// An error says why not.
    async fn ping(&self) -> Result<(), String>;
}

/// What readiness asks, and what `/metrics` shows.
pub struct Probes {
    /// Commands get answers.
    pub redis: Arc<dyn Ping>,
    /// Messages arrive.
    pub fanout: Arc<dyn Fanout>,
    /// Statements get answers.
    pub archive: Arc<dyn Archive>,
    /// What is told on topics is worked.
    pub consumers: Vec<Arc<Status>>,
    /// The recorder.
    pub recorder: PrometheusHandle,
    /// When the server started.
    pub started: Instant,
}

impl Probes {
    async fn components(&self) -> (bool, Value) {
        let redis = async { within(self.redis.ping()).await };
        let sql = async { within(async { self.archive.ping().await.map_err(|e| e.to_string()) }).await };
        let (redis, sql) = tokio::join!(redis, sql);
        let pubsub = self.fanout.health();
        let behind: Vec<_> =
            self.consumers.iter().filter_map(|status| Some((status.group, status.red()?))).collect();
        let ok = redis.is_ok() && sql.is_ok() && pubsub.healthy && behind.is_empty();
        for (group, why) in &behind {
            tracing::warn!(component = "events", group, why, "health.red");
        }
        let view = |answer: &Result<(), String>| json!({ "ok": answer.is_ok() });
        for (component, answer) in [("redis", &redis), ("sql", &sql)] {
            if let Err(why) = answer {
                tracing::warn!(component, why, "health.red");
            }
        }
        if !pubsub.healthy {
            tracing::warn!(component = "pubsub", why = pubsub.why, "health.red");
        }
        let pubsub = json!({
            "ok": pubsub.healthy,
            "channels": pubsub.channels,
            "confirmed": pubsub.confirmed,
            "last_probe_ms_ago": pubsub.last_probe_ms_ago,
        });
        let done: serde_json::Map<_, _> =
            self.consumers.iter().map(|status| (status.group.to_owned(), status.done().into())).collect();
        let events = json!({ "ok": behind.is_empty(), "done": done });
        (ok, json!({ "redis": view(&redis), "sql": view(&sql), "pubsub": pubsub, "events": events }))
    }
}

async fn within(probe: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PROBE_TIMEOUT, probe).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// `GET /health`: all components, always 200.
pub async fn summary(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let (ok, components) = gateway.probes.components().await;
    let stopping = gateway.stopping.is_cancelled();
    Json(json!({
        "status": if stopping { "stopping" } else if ok { "ok" } else { "degraded" },
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": gateway.probes.started.elapsed().as_secs(),
        "connections": gateway.hub.connections(),
        "rooms": gateway.hub.rooms(),
        "components": components,
    }))
}

/// `GET /health/liveness`: the process answers.
pub async fn liveness() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

/// `GET /health/readiness`: 200 when it can serve, else 503.
pub async fn readiness(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let (ok, components) = gateway.probes.components().await;
    let (status, text) = match (gateway.stopping.is_cancelled(), ok) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
        (false, true) => (StatusCode::OK, "ok"),
    };
    (status, Json(json!({ "status": text, "components": components })))
}

/// `GET /metrics` in Prometheus' text format.
pub async fn metrics(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    #[expect(clippy::cast_precision_loss, reason = "the gauge's type; exact up to 2^52")]
    let set = |name: &'static str, value: u64| ::metrics::gauge!(name).set(value as f64);
    set("chatlab_connections", gateway.hub.connections() as u64);
    set("chatlab_sockets", gateway.sockets.len() as u64);
    set("chatlab_rooms", gateway.hub.rooms() as u64);
    let (queued, highest) = gateway.hub.queued_bytes();
    set("chatlab_queued_bytes", queued as u64);
    set("chatlab_queued_bytes_highest", highest as u64);
    if let Some(bytes) = telemetry::resident_bytes() {
        set("process_resident_memory_bytes", bytes);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], gateway.probes.recorder.render())
}
