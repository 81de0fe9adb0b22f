//! What the tests of every lab prove on a server of their own. Problems come back as sentences, so that a test fails with all
//! of them; `look` is for what one lab asks more.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Env, Experiment, Findings, Lab, Variant, VariantKind, rehearse};
use crate::check::CheckReport;
use crate::prereq::find_server;
use crate::proxy::Proxy;
use crate::redis::{Redis, RedisConfig};
use crate::servers::{Managed, ServerOptions, Topology};
use crate::steps::{Typist, prove};

/// The fewest steps of a console track.
const STEPS_MIN: usize = 5;
/// The fewest of them that know a mistake.
const WITH_MISTAKES_MIN: usize = 3;

/// A private server or cluster, for as long as it is kept, and a connection to it.
///
/// # Errors
/// When none can be found or started.
pub async fn start(topology: Topology) -> Result<(Managed, Env), String> {
    let binary = find_server(None).map_err(|error| error.to_string())?;
    let servers = Managed::start_async(topology, &binary, &ServerOptions::steady()).await;
    let servers = servers.map_err(|error| error.to_string())?;
    let redis = Redis::connect(&RedisConfig::new(topology, servers.addrs())).await;
    let redis = redis.map_err(|error| error.to_string())?;
    Ok((servers, Env { redis, seed: 1, server: Some(binary) }))
}

/// So many seeds, or as many as `CHATLAB_SEEDS` says.
pub fn seeds(usual: u64) -> Vec<u64> {
    let wanted = std::env::var("CHATLAB_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    (0..wanted.unwrap_or(usual)).map(|n| n * 7_919 + 1).collect()
}

/// Checks every variant (or the one that `CHATLAB_VARIANT` names) with each seed, `at_once` of them at a time: what is not as
/// declared. The exercise is left out where it is not built. With `CHATLAB_SHOW` every report is printed.
pub async fn variants(
    lab: &dyn Lab,
    env: &Env,
    seeds: &[u64],
    at_once: usize,
    mut look: impl FnMut(&Variant, &CheckReport) -> Result<(), String>,
) -> Vec<String> {
    let (only, show) = (std::env::var("CHATLAB_VARIANT").ok(), std::env::var_os("CHATLAB_SHOW").is_some());
    let mut problems = Vec::new();
    for variant in lab.variants().iter().filter(|v| only.as_deref().is_none_or(|only| only == v.name)) {
        for seeds in seeds.chunks(at_once.max(1)) {
            let runs = seeds.iter().map(|seed| {
                let env = Env { seed: *seed, ..env.clone() };
                async move { lab.check(variant.name, &env).await }
            });
            for report in join_all(runs).await {
                let Some(report) = report else {
                    if variant.kind != VariantKind::Exercise {
                        problems.push(format!("{} cannot be built", variant.name));
                    }
                    continue;
                };
                if show {
                    println!("{report}");
                }
                if let Err(why) = variant.as_declared(&report).and_then(|()| look(variant, &report)) {
                    problems.push(format!("{}, seed {}: {why}\n{report}", variant.name, report.seed));
                }
            }
        }
    }
    problems
}

/// Runs every experiment and prints what it found: which failed, or found nothing that can be read.
pub async fn experiments(
    lab: &dyn Lab,
    env: &Env,
    mut look: impl FnMut(&Experiment, &Findings) -> Result<(), String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for experiment in lab.experiments() {
        let began = std::time::Instant::now();
        let found = match lab.experiment(experiment.name, env).await {
            None => Err("there is no such experiment".to_owned()),
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(findings)) => {
                let took = began.elapsed().as_millis();
                println!("{}: {} ({took} ms)\n{findings}", env.redis.topology(), experiment.name);
                for line in findings.conclusions.iter().chain(&findings.notes) {
                    println!("  {line}");
                }
                readable(&findings).and_then(|()| look(experiment, &findings))
            }
        };
        if let Err(why) = found {
            problems.push(format!("{}: {why}", experiment.name));
        }
    }
    problems
}

fn readable(findings: &Findings) -> Result<(), String> {
    if findings.rows.is_empty() || findings.conclusions.is_empty() {
        return Err("no rows, or no conclusions".to_owned());
    }
    match findings.rows.iter().find(|(_, numbers)| numbers.iter().any(|number| !number.is_finite())) {
        Some((name, _)) => Err(format!("a number of {name} is not finite")),
        None => Ok(()),
    }
}

/// Whether every variant but the exercise can be rehearsed, `operations` of them each.
pub async fn workloads(lab: &dyn Lab, env: &Env, operations: usize) -> Vec<String> {
    let mut problems = Vec::new();
    for variant in lab.variants().iter().filter(|variant| variant.kind != VariantKind::Exercise) {
        match rehearse(lab, variant.name, &env.redis).await {
            Ok(costs) if costs.len() == operations => {}
            Ok(costs) => problems.push(format!("{}: {} operations", variant.name, costs.len())),
            Err(error) => problems.push(format!("{}: {error}", variant.name)),
        }
    }
    problems
}

/// Whether the console track has enough steps and mistakes, every step says what was learnt, and every predicate has a hint.
/// What is typed is looked at by [`super::Manifest::parse`].
///
/// # Errors
/// What is missing first.
pub fn console_track(lab: &dyn Lab) -> Result<(), String> {
    let manifest = lab.manifest()?;
    let with_mistakes = manifest.steps.iter().filter(|step| !step.mistakes.is_empty()).count();
    if manifest.steps.len() < STEPS_MIN || with_mistakes < WITH_MISTAKES_MIN {
        return Err(format!("{} steps, {with_mistakes} of them with a mistake", manifest.steps.len()));
    }
    if let Some(step) = manifest.steps.iter().find(|step| step.learnt.is_empty()) {
        return Err(format!("the step {} does not say what was learnt", step.id));
    }
    let hinted = |predicate: &str| manifest.hints.iter().any(|hint| hint.when_fails == predicate);
    match lab.predicates().into_iter().find(|(predicate, _)| !hinted(predicate)) {
        Some((predicate, _)) => Err(format!("no hint for {predicate}")),
        None => Ok(()),
    }
}

/// Whether every console step for this kind of server is passed by its solution, not by doing nothing, and recognises its
/// mistakes. Removes every key of the server.
pub async fn console_steps(lab: &dyn Lab, servers: &Managed, env: &Env, seeds: &[u64]) -> Vec<String> {
    let topology = env.redis.topology();
    let (manifest, proxy) = match (lab.manifest(), Proxy::start(topology, &servers.addrs()).await) {
        (Ok(manifest), Ok(proxy)) => (manifest, Arc::new(proxy)),
        (Err(why), _) => return vec![why],
        (_, Err(error)) => return vec![error.to_string()],
    };
    let mut problems = Vec::new();
    for step in manifest.steps.iter().filter(|step| step.cluster == (topology == Topology::Cluster)) {
        for seed in seeds {
            let proved = prove(lab.id(), &manifest, &step.id, *seed, &env.redis, proxy.clone()).await;
            problems.extend(proved.err());
        }
    }
    problems
}

/// Types the lesson's commands, those in fences without a name, in order into a fresh server: which are answered with an error.
pub async fn lesson(lab: &dyn Lab, servers: &Managed) -> Vec<String> {
    let mut typist = Typist::new(Topology::Single, servers.addrs());
    let (mut fence, mut problems) = (None, Vec::new());
    for line in lab.lesson().lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(_), Some(_)) => fence = None,
            (Some(kind), None) => fence = Some(kind),
            (None, Some("")) => {
                let typed = typist.line(line).await;
                println!("> {line}\n{}", typed.text);
                if typed.error {
                    problems.push(format!("{line}: {}", typed.text));
                }
            }
            (None, _) => {}
        }
    }
    problems
}
