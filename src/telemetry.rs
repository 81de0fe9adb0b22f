//! Logs to standard error, and the Prometheus recorder.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// How often histograms are drained, whether or not somebody scrapes.
pub const UPKEEP: Duration = Duration::from_secs(5);
/// Bounds of the send latency's buckets, in seconds.
const SEND_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 5.0];

static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Starts logging, once a process; `filter` as in `RUST_LOG`. Later calls change nothing.
///
/// # Errors
/// When the filter is not valid.
pub fn init_logs(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)?;
    let ansi = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(std::io::stderr)
        .try_init();
    Ok(())
}

/// The process's recorder, installed by the first caller.
///
/// # Errors
/// When another recorder was installed by someone else.
pub fn recorder() -> anyhow::Result<PrometheusHandle> {
    let mut installed = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("chatlab_send_seconds".into()), SEND_BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    *installed = Some(handle.clone());
    Ok(handle)
}

fn describe() {
    use metrics::{Unit, describe_counter as counter, describe_gauge as gauge, describe_histogram};
    gauge!("chatlab_connections", Unit::Count, "Open WebSocket connections");
    gauge!("chatlab_rooms", Unit::Count, "Rooms with a listener on this instance");
    counter!("chatlab_messages_in_total", Unit::Count, "Messages stored, retries included");
    counter!("chatlab_deliveries_total", Unit::Count, "Messages offered to connections");
    describe_histogram!("chatlab_send_seconds", Unit::Seconds, "The append's round trip");
    counter!("chatlab_errors_total", Unit::Count, "Errors told to clients, by code");
    counter!("chatlab_slow_consumers_total", Unit::Count, "Connections closed over a full queue");
    counter!("chatlab_gaps_total", Unit::Count, "Interrupted subscriptions");
    counter!("chatlab_catch_ups_total", Unit::Count, "Times a room read what it missed");
    counter!("chatlab_resyncs_total", Unit::Count, "Times clients were told to start over");
    counter!("chatlab_events_done_total", Unit::Count, "Events worked, by group");
    counter!("chatlab_events_dead_total", Unit::Count, "Events that became dead letters, by group");
    counter!("chatlab_events_failures_total", Unit::Count, "Failed tries to read or work events, by group");
    counter!("chatlab_events_lost_total", Unit::Count, "Events that could not be written, by topic");
    describe_histogram!(
        "chatlab_events_delay_seconds",
        Unit::Seconds,
        "From an event to the end of its work, of the oldest in a batch, by group"
    );
    counter!(
        "chatlab_fences_total",
        Unit::Count,
        "Rooms whose sequence began anew because Redis had lost its end"
    );
    gauge!("process_resident_memory_bytes", Unit::Bytes, "Resident memory");
}

/// This process's resident memory, in bytes; none where `/proc` is not there.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
