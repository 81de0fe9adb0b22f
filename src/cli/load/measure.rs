//! One window: of the chat server over WebSockets, or of a lab's variant without it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::Context;
use chatlab_kit::{
    ids::{RoomId, SessionId, UserId},
    lab::Workload,
    prereq::ServerBinary,
    redis::{ClientKind, Redis, RedisConfig},
    servers::{Managed, Topology},
};
use chatlab_load::{
    bare::BarePlan,
    faults::Fault,
    http_load::{HttpPlan, HttpTarget},
    lab::{LabPlan, Place},
    plan::{Plan, Progress, Target},
    process::{self, Job},
    resp::{Client, RespPlan},
    result::RunResult,
    scenario::Scenario,
    sql::SqlPlan,
};

use super::{
    bare::Writer,
    crew::Crew,
    faults::{Chaos, Ends, Injector},
    window::Elsewhere,
};
use crate::{harness::Stack, labs, seats, service::tokens::Tokens};

/// What the generator's process is started with.
pub(super) const GENERATE: [&str; 2] = ["load", "generate"];

/// What a result says about the target, beside its figures.
pub fn labels(topology: Topology, client: ClientKind, redis: &ServerBinary) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("topology".to_owned(), topology.to_string()),
        ("client".to_owned(), client.to_string()),
        ("server".to_owned(), format!("{} {}", redis.flavour, redis.version)),
    ])
}

/// Loads a running stack with a scenario, from a generator process of its own, which records the run into a folder where one is
/// given.
///
/// # Errors
/// When users can't be provisioned or the generator gives no result.
pub async fn measure(
    stack: &Stack,
    scenario: &Scenario,
    labels: BTreeMap<String, String>,
    record: Option<&Path>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    measure_by((&Crew::default(), &[]), stack, scenario, labels, record, progress).await
}

/// The same by one or several generators, or while things break.
///
/// # Errors
/// As [`measure`]; a fault that could not be done is in the result.
pub(super) async fn measure_by(
    (crew, faults): (&Crew, &[Fault]),
    stack: &Stack,
    scenario: &Scenario,
    labels: BTreeMap<String, String>,
    record: Option<&Path>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let provisioned = stack.provision(scenario.users(), scenario.rooms).await?;
    let servers = 0..stack.servers();
    let chaos = Chaos::of(stack, &provisioned.rooms);
    let target = Target {
        ws_urls: servers.clone().map(|i| stack.ws_url(i)).collect(),
        tokens: provisioned.tokens,
        rooms: provisioned.rooms,
        server_pids: servers.map(|i| stack.server_pid(i)).collect(),
        redis_pids: stack.redis_pids(),
        redis_nodes: stack.managed().addrs(),
        labels,
    };
    let plan = Plan::new(scenario, target)?.with_faults(faults.to_vec())?;
    let plan = Plan { record: record.map(Path::to_owned), ..plan };
    let program = std::env::current_exe().context("finding the running binary")?;
    if faults.is_empty() {
        return Box::pin(crew.run(&program, plan, progress)).await;
    }
    let job = Job::Ws(Box::new(plan));
    let (injector, Ends { mut begin, injected }) = Injector::new(faults, scenario.secs * 1000, chaos);
    let mut progress = |seen: Progress| {
        if let Progress::Begins { monotonic_ns } = seen
            && let Some(begin) = begin.take()
        {
            // Nobody listens when the injector has failed, and then no fault is told of either.
            let _ = begin.send(monotonic_ns);
        }
        progress(seen);
    };
    let run = process::run_plan_with_faults(&program, &GENERATE, &job, &mut progress, Some(injected));
    let mut run = Box::pin(run);
    tokio::select! {
        // Such as a generator that could not connect: then no fault is begun any more.
        result = &mut run => result,
        () = injector.run() => run.await,
    }
}

/// Loads a variant of the scenario's lab on running Redis servers, in a process of `program`, which has that variant.
///
/// # Errors
/// When the generator gives no result.
pub(super) async fn measure_lab(
    managed: &Managed,
    client: ClientKind,
    (scenario, variant): (&Scenario, &str),
    program: &Path,
    labels: BTreeMap<String, String>,
    record: Option<&Path>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let place = Place {
        topology: managed.topology().to_string(),
        client: client.to_string(),
        nodes: managed.addrs(),
        redis_pids: (0..managed.nodes().len()).filter_map(|i| managed.pid(i)).collect(),
    };
    let mut plan = Box::new(LabPlan::new(scenario, variant, place, labels)?);
    plan.record = record.map(Path::to_owned);
    Box::pin(process::run_plan(program, &GENERATE, &Job::Lab(plan), progress)).await
}

/// Sends a scenario's commands to running Redis servers, in a process of `program`.
///
/// # Errors
/// When the generator gives no result.
pub(super) async fn measure_redis(
    managed: &Managed,
    (scenario, client): (&Scenario, Option<Client>),
    program: &Path,
    mut labels: BTreeMap<String, String>,
    record: Option<&Path>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let own = scenario.redis.as_ref().map(|commands| commands.client);
    let client = client.or(own).unwrap_or_default();
    labels.insert("client".to_owned(), client.to_string());
    let place = Place {
        topology: managed.topology().to_string(),
        client: client.to_string(),
        nodes: managed.addrs(),
        redis_pids: (0..managed.nodes().len()).filter_map(|i| managed.pid(i)).collect(),
    };
    let mut plan = Box::new(RespPlan::new(scenario, place, labels)?);
    plan.record = record.map(Path::to_owned);
    Box::pin(process::run_plan(program, &GENERATE, &Job::Redis(plan), progress)).await
}

/// Sends a scenario's requests to a running stack, or to a server elsewhere.
///
/// # Errors
/// When users can't be provisioned or the generator gives no result.
pub(super) async fn measure_http(
    servers: Result<&Stack, &Elsewhere>,
    scenario: &Scenario,
    labels: BTreeMap<String, String>,
    record: Option<&Path>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let mut target = HttpTarget { labels, ..HttpTarget::default() };
    match servers {
        Ok(stack) => {
            let users = scenario.http.as_ref().map_or(0, |http| http.users);
            if users > 0 {
                target.tokens = stack.provision(users, 0).await?.tokens;
            }
            target.urls = (0..stack.servers()).map(|i| stack.http_url(i)).collect();
            target.server_pids = (0..stack.servers()).map(|i| stack.server_pid(i)).collect();
            target.redis_pids = stack.redis_pids();
        }
        Err(elsewhere) => {
            target.urls = vec![elsewhere.url.clone()];
            target.server_pids = elsewhere.pids.clone();
        }
    }
    let mut plan = Box::new(HttpPlan::new(scenario, target)?);
    plan.run.record = record.map(Path::to_owned);
    generate(Job::Http(plan), progress).await
}

/// How long tokens for a server elsewhere live, in seconds: longer than any run.
const FOREIGN_TOKEN_TTL_S: u64 = 2 * 86_400;

/// Tokens as ours have them, of users that nobody knows: a signature is all that can be verified elsewhere.
fn foreign_tokens(secret: Option<&str>, users: usize) -> anyhow::Result<Vec<String>> {
    let Some(secret) = secret else { return Ok(vec![String::new(); users]) };
    let tokens = Tokens::new(secret.as_bytes(), FOREIGN_TOKEN_TTL_S, 0).context("--target-secret")?;
    (0..users).map(|_| Ok(tokens.mint(&SessionId::new(UserId::new()))?)).collect()
}

/// Loads a WebSocket server elsewhere by its dialect. Its rooms are r0, r1, …, its users u0, u1, …: nobody has to be made.
///
/// # Errors
/// When the generator gives no result.
pub(super) async fn measure_foreign(
    elsewhere: &Elsewhere,
    scenario: &Scenario,
    labels: BTreeMap<String, String>,
    record: Option<&Path>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let target = Target {
        ws_urls: vec![elsewhere.url.clone()],
        tokens: foreign_tokens(elsewhere.secret.as_deref(), scenario.users())?,
        rooms: (0..scenario.rooms).map(|_| RoomId::new()).collect(),
        server_pids: elsewhere.pids.clone(),
        redis_pids: elsewhere.redis_pids.clone(),
        redis_nodes: elsewhere.redis_nodes.clone(),
        labels,
    };
    let mut plan = Box::new(Plan::new(scenario, target)?);
    plan.dialect = elsewhere.dialect.clone().map(Box::new);
    plan.record = record.map(Path::to_owned);
    plan.check()?;
    generate(Job::Ws(plan), progress).await
}

/// Reads what a bare loop writes, as a scenario says.
///
/// # Errors
/// When the generator gives no result.
pub(super) async fn measure_bare(
    writer: &Writer,
    scenario: &Scenario,
    record: Option<&Path>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let labels = BTreeMap::from([("loop".to_owned(), "one process, one call a write".to_owned())]);
    let mut plan = Box::new(BarePlan::new(scenario, (writer.addr.clone(), writer.pid), labels)?);
    plan.record = record.map(Path::to_owned);
    generate(Job::Bare(plan), progress).await
}

/// Sends a scenario's statements to a database.
///
/// # Errors
/// When the generator gives no result.
pub(super) async fn measure_sql(
    (url, pids): (&str, &[u32]),
    scenario: &Scenario,
    record: Option<&Path>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let mut plan = Box::new(SqlPlan::new(scenario, url, pids.to_vec(), BTreeMap::new())?);
    plan.run.record = record.map(Path::to_owned);
    generate(Job::Sql(plan), progress).await
}

/// Carries out a job in a process of this program.
async fn generate(job: Job, progress: &mut (dyn FnMut(Progress) + Send)) -> anyhow::Result<RunResult> {
    let program = std::env::current_exe().context("finding the running binary")?;
    Box::pin(process::run_plan(&program, &GENERATE, &job, progress)).await
}

/// In the generator's process: what a plan is to drive.
///
/// # Errors
/// When there is no such variant here, the server lacks what it needs, or Redis is out of reach.
pub(super) async fn workload(plan: LabPlan) -> anyhow::Result<Arc<dyn Workload>> {
    let lab = labs::named(&plan.lab)?;
    let variant = seats::variant_of(lab, &plan.variant)?;
    let config = RedisConfig::new(plan.topology.parse()?, plan.nodes).with_client(plan.client.parse()?);
    let redis = Redis::connect(&config).await?;
    if let Some(needs) = variant.needs {
        anyhow::ensure!(needs.met(&redis).await?, "{} needs {needs}, which this server lacks", variant.name);
    }
    lab.workload(variant.name, redis)
        .with_context(|| format!("this program has no workload of {}={}", lab.id(), variant.name))
}
