//! From a recorded folder to what the charts need.

use std::collections::BTreeMap;

use super::timeline::{Fault, Second, Timeline};
use crate::{
    faults::show,
    recorder::Latency,
    recording::{RecordedRun, RecordingError, TAGS},
    result::RunResult,
};

/// What happened over time. An interval that the log lacks, because nothing was answered in it, is there without samples.
///
/// # Errors
/// [`RecordingError`] with the file and the interval.
pub(super) fn timeline(run: &RecordedRun) -> Result<Timeline, RecordingError> {
    let [ack, delivery] = TAGS;
    let operations = run.result.config.is_operations();
    let tag = if operations { ack } else { delivery };
    let mut response: BTreeMap<u64, Latency> = BTreeMap::new();
    for interval in run.response.intervals() {
        let interval = interval?;
        if interval.tag == tag {
            // An interval that the writer made longer counts where it began.
            let second = interval.start_s.max(0.0).round() as u64;
            match response.get_mut(&second) {
                Some(all) => all.merge(&interval.latency),
                None => drop(response.insert(second, interval.latency)),
            }
        }
    }
    let seconds = run.timeline.iter().map(|row| {
        let second = Second {
            at_s: row.second as f64,
            long_s: 1.0,
            response: response.remove(&row.second),
            errors: Some(row.errors),
            ..Second::default()
        };
        // After the window only what was still under way came: its rates would look like a fall.
        match second.at_s < run.result.config.secs {
            false => second,
            true => Second {
                due: row.due,
                done: Some(row.acked),
                server_cores: row.server_cores,
                redis_cores: row.redis_cores,
                generator_cores: row.generator_cores,
                ..second
            },
        }
    });
    Ok(Timeline { seconds: seconds.collect(), faults: faults(&run.result) })
}

/// What was broken on purpose, as the charts and the page show it.
pub(super) fn faults(result: &RunResult) -> Vec<Fault> {
    let one = |fault: &crate::faults::FaultResult| Fault {
        what: fault.fault.clone(),
        at_s: fault.at_ms / 1000.0,
        whole_s: fault.recovered_ms.map(|ms| (fault.at_ms + ms) / 1000.0),
        found: show::found(fault),
    };
    result.faults.iter().map(one).collect()
}
