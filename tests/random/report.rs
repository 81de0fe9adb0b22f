//! What is printed of a seed.

use std::time::{Duration, Instant};

use super::{World, faults::Incident, verdict::Report};

/// Prints what there was to judge, and each fault with what it cost.
pub fn print(seed: &str, world: &World, report: &Report, incidents: &[Incident], took: Duration) {
    let counts = report.counts.iter().map(|(what, count)| match count.failed {
        0 => format!("{what} {}", count.done),
        failed => format!("{what} {} (and {failed} failed)", count.done),
    });
    println!("{seed}: {}", counts.collect::<Vec<_>>().join(", "));
    for incident in incidents {
        println!("{seed}: {}", line(world, report, incident));
    }
    println!(
        "{seed}: said {}, heard {}, told of {} who write, lost {}, heard and lost and told {}, resyncs {}, too slow {}; {:.1} s",
        report.said,
        report.heard,
        report.typing,
        report.lost.len(),
        report.told,
        report.resyncs.len(),
        report.slow,
        took.as_secs_f64()
    );
}

fn line(world: &World, report: &Report, incident: &Incident) -> String {
    let seconds = |from: Instant, to: Instant| (to - from).as_secs_f64();
    let resyncs = report.resyncs.iter().filter(|when| (incident.began..incident.ended).contains(*when));
    let why = if incident.why.is_empty() { String::new() } else { format!(" ({})", incident.why.join(", ")) };
    let lost = match incident.fault {
        super::faults::Fault::KillMaster => {
            let windows = world.deaths.0.lock().unwrap();
            format!(", lost {} of {} master's death", report.lost.len(), windows.len())
        }
        _ => String::new(),
    };
    format!(
        "{:?} ({}): mended after {:.1} s; then everywhere acknowledged after {:.2} s, all ready after {:.1} s; \
         red {:.1} s{why}; resyncs {}{lost}",
        incident.fault,
        incident.how,
        seconds(incident.began, incident.mended),
        seconds(incident.mended, incident.recovered),
        seconds(incident.mended, incident.green),
        incident.red.as_secs_f64(),
        resyncs.count(),
    )
}
