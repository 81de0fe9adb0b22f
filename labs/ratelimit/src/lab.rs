//! The lab as the command line sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{CheckReport, Factory, Pace, explore},
    ids::UserId,
    keys,
    lab::{Env, Experiment, Findings, Lab, Orders, Race, RaceReport, Variant, Workload, check_variant},
    lua::{Call, Script},
    redis::Redis,
};

use crate::{
    Limit, build, checks, experiments, fixed_window, gcra,
    last_permit::{LastPermit, capacity},
    sliding_counter, sliding_log, token_bucket,
    variants::VARIANTS,
    weighted_counter,
    workload::{LOAD_LIMIT, RateLimitWorkload},
};

/// The lab of rate limiting.
#[derive(Debug, Clone, Copy)]
pub struct RateLimitLab;

/// The one instance.
pub static LAB: RateLimitLab = RateLimitLab;

/// The limit of a race: a window so long that no permit comes back while it is driven by hand.
const RACE_LIMIT: Limit = Limit::new(4, 600_000);

const RACES: &[Race] = &[
    Race {
        name: "last-permit",
        about: "one permit is left and two clients take at the same moment: exactly one may be allowed",
    },
    Race { name: "last-permit-three", about: "the same with three clients" },
];

#[async_trait]
impl Lab for RateLimitLab {
    fn id(&self) -> &'static str {
        "ratelimit"
    }

    fn title(&self) -> &'static str {
        "Rate limiting"
    }

    fn summary(&self) -> &'static str {
        "So many in any window of time, never one more, in one round trip"
    }

    fn lesson(&self) -> &'static str {
        include_str!("../README.md")
    }

    fn manifest_text(&self) -> &'static str {
        include_str!("../lab.toml")
    }

    fn variants(&self) -> &'static [Variant] {
        VARIANTS
    }

    fn predicates(&self) -> Vec<(&'static str, &'static str)> {
        checks::checks(0).iter().map(|check| (check.name(), check.states())).collect()
    }

    fn scripts(&self) -> Vec<&'static Script> {
        vec![
            &gcra::GCRA,
            &sliding_log::SLIDING_LOG,
            &sliding_counter::SLIDING_COUNTER,
            &token_bucket::TOKEN_BUCKET,
            &fixed_window::FIXED_WINDOW,
            &weighted_counter::WEIGHTED_COUNTER,
        ]
    }

    fn sample_calls(&self) -> Vec<Call> {
        let subject = "send:someone";
        let keys = [
            keys::rate(subject),
            sliding_log::key(subject),
            sliding_counter::key(subject),
            token_bucket::key(subject),
            fixed_window::key(subject),
            weighted_counter::key(subject),
        ];
        self.scripts().into_iter().zip(keys).map(|(script, key)| script.call().key(key)).collect()
    }

    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport> {
        let name = self.variant(variant)?.name;
        let seed = env.seed;
        let reference = build("gcra", env.redis.clone(), checks::limit(seed, Pace(1)))?;
        build(name, env.redis.clone(), checks::limit(seed, Pace(1)))?;
        let make: Factory<dyn crate::RateLimiter> = Arc::new(move |redis, pace| {
            build(name, redis, checks::limit(seed, pace)).unwrap_or_else(|| reference.clone())
        });
        check_variant(self, name, env, &checks::checks(seed), make).await
    }

    fn experiments(&self) -> &'static [Experiment] {
        experiments::EXPERIMENTS
    }

    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>> {
        match name {
            "edge-burst" => Some(experiments::edge_burst(env).await),
            "cost" => Some(experiments::cost(env).await),
            _ => None,
        }
    }

    fn reference_source(&self) -> &'static str {
        include_str!("gcra.rs")
    }

    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(RateLimitWorkload::new(build(variant, redis, LOAD_LIMIT)?)))
    }

    fn seat(&self) -> Option<&'static str> {
        Some(
            "a log-in or a registration takes a permit of the name and one of the address first; who gets none is \
             told when to come back",
        )
    }

    fn races(&self) -> &'static [Race] {
        RACES
    }

    async fn race(
        &self,
        name: &str,
        variant: &str,
        env: &Env,
        orders: &Orders,
    ) -> Option<LabResult<RaceReport>> {
        let race = RACES.iter().find(|race| race.name == name)?;
        let variant = self.variant(variant)?.name;
        let reference = build(variant, env.redis.clone(), RACE_LIMIT)?;
        let make = |redis: Redis| build(variant, redis, RACE_LIMIT).unwrap_or_else(|| reference.clone());
        let base = format!("race:{}", UserId::new());
        let capacity = match capacity(&*reference, &base, &RACE_LIMIT).await {
            Ok(capacity) => capacity,
            Err(error) => return Some(Err(error)),
        };
        let racers = LastPermit {
            make: &make,
            limit: RACE_LIMIT,
            clients: if race.name == "last-permit" { 2 } else { 3 },
            capacity,
            base,
            places: 0.into(),
            unseen: env.redis.clone(),
        };
        let report = explore(&racers, &env.redis, &self.scripts(), orders).await;
        Some(report.map(|report| report.named(race.name, variant)))
    }
}
