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

/// Counts what must never happen; there from the start, so that 0 can be told from not looked.
pub const PANICS: &str = "chatlab_panics_total";

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

/// Counts every panic in [`PANICS`] and logs where it was as `server.panicked`, whatever then becomes of it: a connection's task
/// that panics ends only that connection, and nobody else would notice. For the start of a process: each call adds a hook.
pub fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        metrics::counter!("chatlab_panics_total").increment(1);
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "server.panicked");
        usual(panic);
    }));
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
        .set_buckets_for_metric(Matcher::Full("chatlab_level_seconds".into()), SEND_BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    metrics::counter!("chatlab_panics_total").increment(0);
    *installed = Some(handle.clone());
    Ok(handle)
}

fn describe() {
    use metrics::{Unit, describe_counter as counter, describe_gauge as gauge, describe_histogram};
    gauge!("chatlab_connections", Unit::Count, "Open WebSocket and Socket.IO connections");
    gauge!("chatlab_sockets", Unit::Count, "Sockets from their upgrade to the end of their goodbye");
    gauge!("chatlab_rooms", Unit::Count, "Rooms with a listener on this instance");
    counter!("chatlab_messages_in_total", Unit::Count, "Messages stored, retries included");
    counter!("chatlab_deliveries_total", Unit::Count, "Messages offered to connections");
    counter!("chatlab_socket_writes_total", Unit::Count, "System calls that wrote to native WebSockets");
    counter!("chatlab_socket_written_bytes_total", Unit::Bytes, "What they wrote");
    describe_histogram!("chatlab_send_seconds", Unit::Seconds, "The append's round trip");
    describe_histogram!(
        "chatlab_level_seconds",
        Unit::Seconds,
        "From the append's answer to a level that was reached, by level"
    );
    counter!(
        "chatlab_level_missed_total",
        Unit::Count,
        "Levels that were asked for and not reached, by level and reason"
    );
    counter!("chatlab_errors_total", Unit::Count, "Errors told to clients, by code");
    counter!("chatlab_slow_consumers_total", Unit::Count, "Connections closed over a full queue");
    counter!("chatlab_gaps_total", Unit::Count, "Interrupted subscriptions");
    counter!("chatlab_catch_ups_total", Unit::Count, "Times a room read what it missed");
    counter!("chatlab_texts_unopened_total", Unit::Count, "Sealed texts that no key opened");
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
    counter!("chatlab_presence_notices_total", Unit::Count, "Comings and goings told to rooms");
    counter!("chatlab_presence_untold_total", Unit::Count, "Comings and goings that could not be told");
    counter!("chatlab_presence_errors_total", Unit::Count, "Failed tries to note a coming or going");
    counter!("chatlab_typing_notices_total", Unit::Count, "Changes of who is writing told to rooms");
    counter!("chatlab_typing_untold_total", Unit::Count, "Changes of who is writing that could not be told");
    counter!("chatlab_receipts_notices_total", Unit::Count, "Receipts told to rooms");
    counter!("chatlab_receipts_untold_total", Unit::Count, "Receipts that could not be told");
    counter!(
        "chatlab_fences_total",
        Unit::Count,
        "Rooms whose sequence began anew because Redis had lost its end"
    );
    counter!("chatlab_panics_total", Unit::Count, "Panics of any task or thread");
    gauge!("chatlab_queued_bytes", Unit::Bytes, "What waits to be written, for all connections together");
    gauge!("chatlab_queued_bytes_highest", Unit::Bytes, "The same for the connection with the most");
    gauge!("process_resident_memory_bytes", Unit::Bytes, "Resident memory");
}

/// This process's resident memory, in bytes; none where `/proc` is not there.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_and_none_is_a_zero() {
        let count = |handle: &PrometheusHandle| {
            let text = handle.render();
            let line = text.lines().find_map(|line| line.strip_prefix(PANICS)?.strip_prefix(' '));
            line.map(|count| count.parse::<u64>().unwrap())
        };
        let recorder = recorder().unwrap();
        let before = count(&recorder).expect("shown before there was one");
        count_panics();
        assert!(std::thread::spawn(|| panic!("on purpose")).join().is_err());
        assert!(count(&recorder).unwrap() > before);
    }
}
