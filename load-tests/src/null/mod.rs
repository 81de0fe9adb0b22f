//! Responders that do nothing but answer: what the generator can do by itself.
//!
//! Before a run the same load goes for a moment to a responder in the asking process, which stores nothing and asks nobody.
//! What latency is left there is the generator's, the kernel's and the machine's, and the busiest thread says how much more
//! load it could offer. A run whose generator can't keep its schedule even there is `GENERATOR_BOUND`, whatever the server did.

mod resp;
mod ws;

use std::{io, net::SocketAddr, path::Path, sync::mpsc};

use anyhow::Context;
use chatlab_kit::ids::RoomId;
use serde::{Deserialize, Serialize};

use crate::{
    lab::Place,
    plan::{By, Plan, Progress, Receive, Target},
    process::{self, Job},
    resp::{Client, RespPlan},
    result::RunResult,
    scenario::{Driver, Scenario},
    schedule::{LoadKind, ScheduleKind},
    verdict::{Evidence, Kind, Limits},
};

/// How long the load goes to the responder, in seconds.
pub const SECS: u64 = 3;
/// Sending before that, in milliseconds.
const WARM_UP_MS: u64 = 500;
/// The name of the responders' threads.
const THREAD: &str = "null-responder";

/// What the generator does when nothing holds it up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Messages (driver `redis`: commands) a second that were offered.
    pub rate_per_s: f64,
    /// Its busiest thread's share of one core.
    pub busiest_thread: Option<f64>,
    /// How many times the load that thread could do.
    pub headroom: Option<f64>,
    /// 99th percentile of delivery from the intended instant, in microseconds: what no server can be below.
    pub p99_us: Option<u64>,
    /// Its rules that were broken there.
    pub broken: Vec<String>,
}

impl Calibration {
    fn of(result: &RunResult) -> Self {
        let busiest_thread = result.resources.generator_busiest_thread;
        let broken = result.verdict.broken().filter(|e| e.means == Kind::GeneratorBound);
        Self {
            rate_per_s: result.config.rate_per_s,
            busiest_thread,
            headroom: busiest_thread.filter(|share| *share > 0.0).map(|share| 1.0 / share),
            p99_us: result.latency.delivery.p99_us,
            broken: broken.map(|e| format!("{}: {} (limit {})", e.rule, e.seen, e.limit)).collect(),
        }
    }

    /// The rule that the generator has more in it than it is asked for.
    pub fn evidence(&self, limits: &Limits) -> Evidence {
        let enough = self.headroom.is_none_or(|headroom| headroom >= limits.headroom);
        let mut seen = self.headroom.map_or_else(|| "unknown".into(), |times| format!("{times:.1} ×"));
        if !self.broken.is_empty() {
            seen = format!("{seen}; broken there: {}", self.broken.join(", "));
        }
        Evidence {
            rule: "null_responder_headroom".into(),
            means: Kind::GeneratorBound,
            seen,
            limit: format!("{} × and on time", limits.headroom),
            kept: enough && self.broken.is_empty(),
        }
    }
}

impl RunResult {
    /// Adds what the generator did by itself, and judges it: a generator that was too slow there is what bounds the run.
    pub fn calibrate(&mut self, calibration: Calibration) {
        let evidence = calibration.evidence(&self.config.limits);
        if !evidence.kept {
            self.verdict.kind = Kind::GeneratorBound;
            self.headline = None;
        }
        self.verdict.add(evidence);
        self.calibration = Some(calibration);
    }
}

/// Offers a scenario's load to a responder that does nothing, from a generator process as the run's; none where there is no
/// responder for what the scenario drives. A load that changes is offered at its mean.
///
/// # Errors
/// When the responder can't be started or the generator gives no result.
pub async fn calibrate(
    scenario: &Scenario,
    client: Option<Client>,
    (program, args): (&Path, &[&str]),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<Option<Calibration>> {
    let Some(job) = job(scenario, client)? else { return Ok(None) };
    let result = Box::pin(process::run_plan(program, args, &job, progress)).await;
    Ok(Some(Calibration::of(&result.context("offering the load to a responder that does nothing")?)))
}

/// The responder, and what loads it.
fn job(scenario: &Scenario, client: Option<Client>) -> anyhow::Result<Option<Job>> {
    let LoadKind::Open(kind) = &scenario.schedule else { return Ok(None) };
    let mean = scenario.open_load(scenario.senders().max(1) as u32).map_err(anyhow::Error::msg)?.rate_per_s;
    let steady = matches!(kind, ScheduleKind::Constant | ScheduleKind::Poisson);
    let schedule = if steady { kind.clone() } else { ScheduleKind::Poisson };
    let scenario = Scenario {
        schedule: LoadKind::Open(schedule),
        rate: mean,
        secs: SECS,
        warm_up_ms: WARM_UP_MS,
        settle_ms: 0,
        churn_conns: 0,
        churn_per_s: 0.0,
        storm: None,
        slow: None,
        receive: scenario.receive.map(|receive| Receive { by: By::Push, ..receive }),
        ..scenario.clone()
    };
    match scenario.driver {
        Driver::Ws => {
            let responder = start(ws::serve)?;
            let target = Target {
                ws_urls: vec![format!("ws://{responder}/")],
                tokens: vec!["any".into(); scenario.users()],
                rooms: (0..scenario.rooms).map(|_| RoomId::new()).collect(),
                ..Target::default()
            };
            Ok(Some(Job::Ws(Box::new(Plan::new(&scenario, target)?))))
        }
        Driver::Redis => {
            let client =
                client.or(scenario.redis.as_ref().map(|commands| commands.client)).unwrap_or_default();
            let listens = scenario.redis.as_ref().is_some_and(|commands| commands.listeners > 0);
            if client != Client::Lean || listens {
                return Ok(None);
            }
            let bytes = scenario.body_bytes;
            let responder = start(move |listener| resp::serve(listener, bytes))?;
            let place = Place {
                topology: "single".into(),
                client: client.to_string(),
                nodes: vec![responder.to_string()],
                redis_pids: Vec::new(),
            };
            Ok(Some(Job::Redis(Box::new(RespPlan::new(&scenario, place, Default::default())?))))
        }
        Driver::Lab | Driver::Sql | Driver::Http | Driver::Bare => Ok(None),
    }
}

/// Serves on a thread of its own, as long as this process lives.
fn start<Fut: Future<Output = io::Result<()>>>(
    serve: impl FnOnce(tokio::net::TcpListener) -> Fut + Send + 'static,
) -> anyhow::Result<SocketAddr> {
    let (tell, told) = mpsc::channel();
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
            let _ = tell.send(listener.local_addr());
            serve(listener).await
        })
    };
    std::thread::Builder::new().name(THREAD.into()).spawn(body)?;
    Ok(told.recv().context("the responder could not be started")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibrated(scenario: &Scenario) -> RunResult {
        match job(scenario, None).unwrap().unwrap() {
            Job::Ws(plan) => crate::ws::generate(*plan, &mut |_| {}).unwrap(),
            Job::Redis(plan) => crate::resp::generate(*plan, &mut |_| {}).unwrap(),
            _ => unreachable!("there is no responder for it"),
        }
    }

    #[test]
    fn what_is_offered_comes_back_whole() {
        let chat = Scenario { conns: 20, rooms: 4, rate: 100.0, ..Scenario::find("chat-steady").unwrap() };
        let result = calibrated(&chat);
        let counts = &result.counts;
        assert_eq!((counts.acked, counts.error_frames, counts.disconnects), (counts.intended, 0, 0));
        assert_eq!(
            (counts.delivered, result.ledger.faults()),
            (counts.intended * 5, 0),
            "{:?}",
            result.ledger
        );
        let burst = r#"schedule = { kind = "burst", size = 100, period_ms = 100 }"#;
        let text = include_str!("../../scenarios/redis-50k.toml").replace("schedule = \"poisson\"", burst);
        let text = text.lines().filter(|line| !line.starts_with("rate")).collect::<Vec<_>>().join("\n");
        let commands = Scenario::parse("redis", &text).unwrap();
        let result = calibrated(&Scenario { conns: 4, ..commands });
        let counts = &result.counts;
        assert_eq!((counts.acked, counts.error_frames), (counts.intended, 0));
        // A burst is offered at its mean.
        assert!((result.config.rate_per_s - 1_000.0).abs() < 1.0, "{}", result.config.rate_per_s);
        assert_eq!(job(&Scenario::find("history").unwrap(), None).unwrap(), None);
    }

    #[test]
    fn a_generator_that_is_too_slow_by_itself_bounds_the_run() {
        let limits = Limits::default();
        let free = Calibration {
            rate_per_s: 100.0,
            busiest_thread: Some(0.4),
            headroom: Some(2.5),
            p99_us: Some(900),
            broken: Vec::new(),
        };
        let evidence = free.evidence(&limits);
        assert!(evidence.kept && evidence.seen == "2.5 ×", "{evidence:?}");
        let unknown = Calibration { headroom: None, busiest_thread: None, ..free.clone() };
        assert!(unknown.evidence(&limits).kept);
        let slow = Calibration { headroom: Some(1.1), ..free.clone() };
        assert!(!slow.evidence(&limits).kept);
        let late = Calibration { broken: vec!["pacing_error_p99: 11 ms (limit 10 ms)".into()], ..free };
        assert!(!late.evidence(&limits).kept && late.evidence(&limits).seen.contains("pacing"));
    }
}
