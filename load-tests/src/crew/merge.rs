//! The parts of several generators become one result.
//!
//! Histograms are added sample by sample, counts summed, and the ledgers closed together: what one generator acknowledged must have
//! reached the subscribers of all. The verdict rests on the whole, and on each generator by itself.

use serde::{Deserialize, Serialize};

use crate::{
    crew::{Part, clock::Offset},
    gather::observe,
    ledger::Totals,
    recorder::{Latency, RecorderError, Summary},
    result::{Counts, Headline, Latencies, Resources, RunResult, Usage},
    steady::WarmUp,
    verdict::{Evidence, Kind, judge},
    ws::LoadError,
};

/// The clocks of two machines may be uncertain by this share of the median delivery, at most.
const MAX_UNCERTAIN_SHARE: f64 = 0.1;

/// One generator of several, in the result of the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Where it ran: this machine, or the name that a worker gave itself.
    pub place: String,
    /// Its own verdict, of its own connections.
    pub verdict: Kind,
    /// The rules that it broke.
    pub broken: Vec<String>,
    /// Messages of the window that its connections sent.
    pub sent: u64,
    /// Of them, acknowledged.
    pub acked: u64,
    /// Deliveries to its connections.
    pub delivered: u64,
    /// Its process' share of one core.
    pub cores: Option<f64>,
    /// Its busiest thread's share of one core.
    pub busiest_thread: Option<f64>,
    /// The 99th percentile of its pacing error, in microseconds.
    pub pacing_p99_us: Option<u64>,
    /// How sure its clock is, in nanoseconds; none for processes of one machine, which have one clock.
    #[serde(default)]
    pub clock_uncertain_ns: Option<u64>,
    /// The common clock minus its own, before and after the run.
    #[serde(default)]
    pub clock: Option<(Offset, Offset)>,
}

/// Where a part comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// This machine, or the name that a worker gave itself.
    pub place: String,
    /// The common clock minus its own, before and after the run; none on the machine that asks for the run.
    pub clock: Option<(Offset, Offset)>,
}

/// Makes one result of all parts, in the order of the shares.
///
/// # Errors
/// [`LoadError`] when there is none, or a histogram can't be read.
pub fn merge(parts: Vec<Part>, origins: &[Origin]) -> Result<RunResult, LoadError> {
    let generators: Vec<Generator> =
        parts.iter().zip(origins).map(|(part, at)| generator(&part.result, at)).collect();
    let results: Vec<&RunResult> = parts.iter().map(|part| &part.result).collect();
    let first = *results.first().ok_or_else(|| LoadError::Thread("there was no generator".into()))?;
    let counts = counts(&results);
    let latency = latencies(&parts)?;
    let (acked_per_s, delivered_per_s) =
        (results.iter().map(|r| r.acked_per_s).sum(), results.iter().map(|r| r.delivered_per_s).sum());
    let resources = resources(&results, delivered_per_s);
    let mut whole = RunResult {
        counts,
        latency,
        resources,
        acked_per_s,
        delivered_per_s,
        generators,
        ledger: Totals::default(),
        ..first.clone()
    };
    whole.ledger = settle(parts)?;
    let warm_up = whole.warm_up.clone().unwrap_or_else(|| WarmUp::fixed(0));
    let seen = observe(&whole.counts, &whole.ledger, &whole.latency, &whole.resources, &warm_up);
    whole.verdict = judge(&seen, &whole.config.limits);
    for evidence in each(&whole.generators).into_iter().chain(clocks(&whole)) {
        whole.verdict.add(evidence);
    }
    whole.headline = whole.verdict.is_valid().then_some(Headline {
        messages_per_s: whole.acked_per_s,
        deliveries_per_s: whole.delivered_per_s,
        delivery_p99_us: whole.latency.delivery.p99_us,
    });
    Ok(whole)
}

fn settle(parts: Vec<Part>) -> Result<Totals, LoadError> {
    let mut ledgers = parts.into_iter().map(|part| part.ledger);
    let mut whole = ledgers.next().ok_or_else(|| LoadError::Thread("there was no ledger".into()))?;
    ledgers.for_each(|ledger| whole.merge(ledger));
    Ok(whole.settle())
}

fn generator(result: &RunResult, at: &Origin) -> Generator {
    Generator {
        place: at.place.clone(),
        verdict: result.verdict.kind,
        broken: result.verdict.broken().map(|evidence| evidence.rule.clone()).collect(),
        sent: result.counts.sent,
        acked: result.counts.acked,
        delivered: result.counts.delivered,
        cores: result.resources.generator.map(|usage| usage.cores),
        busiest_thread: result.resources.generator_busiest_thread,
        pacing_p99_us: result.latency.pacing.p99_us,
        clock_uncertain_ns: at.clock.map(|(before, after)| before.uncertain_until(after)),
        clock: at.clock,
    }
}

fn counts(results: &[&RunResult]) -> Counts {
    let mut sum = Counts::default();
    for Counts {
        intended,
        sent,
        acked,
        delivered,
        cap_hits,
        unsent,
        connect_failures,
        disconnects,
        error_frames,
        reopened,
        reopen_failures,
        presence_frames,
        polls,
        empty_polls,
        errors,
    } in results.iter().map(|result| &result.counts)
    {
        sum.intended += intended;
        sum.sent += sent;
        sum.acked += acked;
        sum.delivered += delivered;
        sum.cap_hits += cap_hits;
        sum.unsent += unsent;
        sum.connect_failures += connect_failures;
        sum.disconnects += disconnects;
        sum.error_frames += error_frames;
        sum.reopened += reopened;
        sum.reopen_failures += reopen_failures;
        sum.presence_frames += presence_frames;
        sum.polls += polls;
        sum.empty_polls += empty_polls;
        for (kind, n) in errors {
            *sum.errors.entry(kind.clone()).or_default() += n;
        }
    }
    sum
}

fn latencies(parts: &[Part]) -> Result<Latencies, RecorderError> {
    let all = |of: fn(&Latencies) -> &Summary| {
        let summaries = parts.iter().map(|part| of(&part.result.latency).hdr_v2.as_str());
        added(summaries)?.summary()
    };
    let third = |third: usize| {
        Ok::<_, RecorderError>(added(parts.iter().map(|part| part.thirds[third].as_str()))?.quantile_us(0.5))
    };
    Ok(Latencies {
        ack: all(|latency| &latency.ack)?,
        ack_service: all(|latency| &latency.ack_service)?,
        ack_tick: all(|latency| &latency.ack_tick)?,
        pacing: all(|latency| &latency.pacing)?,
        runtime_lag: all(|latency| &latency.runtime_lag)?,
        delivery: all(|latency| &latency.delivery)?,
        delivery_service: all(|latency| &latency.delivery_service)?,
        first_subscriber: all(|latency| &latency.first_subscriber)?,
        median_subscriber: all(|latency| &latency.median_subscriber)?,
        last_subscriber: all(|latency| &latency.last_subscriber)?,
        reopen: all(|latency| &latency.reopen)?,
        delivery_p50_us_by_third: [third(0)?, third(1)?, third(2)?],
    })
}

fn added<'a>(histograms: impl Iterator<Item = &'a str>) -> Result<Latency, RecorderError> {
    let mut sum = Latency::new()?;
    for histogram in histograms {
        sum.merge(&Latency::decode(histogram)?);
    }
    Ok(sum)
}

fn resources(results: &[&RunResult], delivered_per_s: f64) -> Resources {
    let a_delivery = |cores: f64| (delivered_per_s > 0.0).then(|| cores * 1e6 / delivered_per_s);
    let each = || results.iter().map(|result| &result.resources);
    // Those who observe the servers all observe the same ones.
    let observed = |of: fn(&Resources) -> Option<Usage>| {
        let usage = each().find_map(of)?;
        Some(Usage { us_per_delivery: a_delivery(usage.cores), ..usage })
    };
    let generator = each().map(|resources| resources.generator).reduce(|a, b| {
        let (a, b) = (a?, b?);
        let sockets = a.sockets.zip(b.sockets).map(|(mut a, b)| {
            a += b;
            a
        });
        let private_bytes = a.private_bytes.zip(b.private_bytes).map(|(a, b)| a + b);
        let (cores, rss_bytes) = (a.cores + b.cores, a.rss_bytes + b.rss_bytes);
        Some(Usage { cores, us_per_delivery: None, rss_bytes, private_bytes, sockets })
    });
    Resources {
        generator: generator
            .flatten()
            .map(|usage| Usage { us_per_delivery: a_delivery(usage.cores), ..usage }),
        generator_busiest_thread: each().filter_map(|r| r.generator_busiest_thread).reduce(f64::max),
        server: observed(|resources| resources.server),
        redis: observed(|resources| resources.redis),
    }
}

/// A generator that was not valid by itself makes the whole what it was.
fn each(generators: &[Generator]) -> Vec<Evidence> {
    let one = |(number, one): (usize, &Generator)| Evidence {
        rule: format!("generator_{}", number + 1),
        means: if one.verdict == Kind::Valid { Kind::GeneratorBound } else { one.verdict },
        seen: match one.verdict {
            Kind::Valid => one.verdict.to_string(),
            kind => format!("{kind}: {}", one.broken.join(", ")),
        },
        limit: Kind::Valid.to_string(),
        kept: one.verdict == Kind::Valid,
    };
    generators.iter().enumerate().map(one).collect()
}

/// The clocks of several machines must be surer than what is told by them.
fn clocks(whole: &RunResult) -> Option<Evidence> {
    let uncertain_ns = whole.generators.iter().filter_map(|one| one.clock_uncertain_ns).max()?;
    let median_us = whole.latency.delivery.p50_us.unwrap_or(0);
    let limit_ns = (median_us as f64 * 1e3 * MAX_UNCERTAIN_SHARE) as u64;
    let us = |ns: u64| format!("{:.1} µs", ns as f64 / 1e3);
    Some(Evidence {
        rule: "clock_uncertainty".to_owned(),
        means: Kind::Unstable,
        seen: us(uncertain_ns),
        limit: format!("{}: a tenth of the median", us(limit_ns)),
        kept: uncertain_ns <= limit_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::Ledger,
        testing::{latency, run},
    };

    fn here() -> Origin {
        Origin { place: "here".into(), clock: None }
    }

    /// Room 0 has a subscriber in each part; the first part sent sequences 1 to 10.
    fn parts(missing: Option<u64>) -> Vec<Part> {
        let third = latency(1.0, 3_000).summary().unwrap().hdr_v2;
        let one = |index: usize| {
            let mut ledger = Ledger::new(1);
            let sub = ledger.subscribe(0, Some("e"), 0);
            for seq in 1..=10 {
                if index == 0 {
                    ledger.acknowledge(0, "e", seq);
                }
                if index == 0 || Some(seq) != missing {
                    ledger.deliver(sub, "e", seq);
                }
            }
            let mut result = run(1.0 + index as f64);
            let empty = Latency::new().unwrap().summary().unwrap();
            (result.latency.ack_tick, result.latency.reopen) = (empty.clone(), empty.clone());
            result.latency.runtime_lag = empty;
            Part { result, ledger, thirds: [third.clone(), third.clone(), third.clone()] }
        };
        // As they come: through JSON.
        let json = serde_json::to_string(&vec![one(0), one(1)]).unwrap();
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_merged_histogram_is_that_of_all_samples() {
        let whole = merge(parts(None), &[here(), here()]).unwrap();
        let mut all = latency(2.0, 20_000);
        all.merge(&latency(4.0, 20_000));
        assert_eq!(whole.latency.delivery, all.summary().unwrap());
        assert_eq!(Latency::from_summary(&whole.latency.delivery).unwrap(), all);
        assert_eq!((whole.counts.sent, whole.counts.delivered), (2_000, 40_000));
        assert_eq!(whole.latency.delivery_p50_us_by_third[0], latency(1.0, 6_000).quantile_us(0.5));
        assert_eq!((whole.acked_per_s, whole.resources.generator.unwrap().cores), (200.0, 0.6));
        assert_eq!(whole.generators.len(), 2);
        assert_eq!(whole.verdict.kind, Kind::Valid, "{:?}", whole.verdict.broken().collect::<Vec<_>>());
    }

    #[test]
    fn what_one_acknowledged_must_have_reached_the_subscribers_of_the_other() {
        assert_eq!(merge(parts(None), &[here(), here()]).unwrap().ledger.lost, 0);
        let whole = merge(parts(Some(10)), &[here(), here()]).unwrap();
        assert_eq!((whole.ledger.lost, whole.verdict.kind), (1, Kind::Unstable));
        assert!(whole.headline.is_none());
    }

    #[test]
    fn one_generator_at_its_limit_or_with_a_bad_clock_spoils_the_whole() {
        let mut late = parts(None);
        late[1].result.verdict.kind = Kind::GeneratorBound;
        let whole = merge(late, &[here(), here()]).unwrap();
        assert_eq!(whole.verdict.kind, Kind::GeneratorBound);
        assert!(whole.verdict.broken().any(|evidence| evidence.rule == "generator_2"));
        for (uncertain_ns, kind) in [(50_000, Kind::Valid), (2_000_000, Kind::Unstable)] {
            let offset = Offset { ns: 7, uncertain_ns };
            let there = Origin { place: "there".into(), clock: Some((offset, offset)) };
            assert_eq!(merge(parts(None), &[here(), there]).unwrap().verdict.kind, kind);
        }
    }
}
