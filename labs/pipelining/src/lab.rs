//! The lab as the command line sees it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{CheckReport, Factory, explore},
    ids::{RoomId, UserId},
    lab::{Env, Experiment, Findings, Lab, Orders, Race, RaceReport, Variant, Workload, check_variant},
    lua::{Call, Script},
    redis::Redis,
};

use crate::{
    Draft, build, checks, experiments,
    races::{Senders, cid},
    script,
    variants::VARIANTS,
    workload::PipeliningWorkload,
};

/// The lab of the send path.
#[derive(Debug, Clone, Copy)]
pub struct PipeliningLab;

/// The one instance.
pub static LAB: PipeliningLab = PipeliningLab;

const RACES: &[Race] = &[
    Race {
        name: "same-retry-twice",
        about: "a sender lost patience and the same message is sent twice at the same moment: it must be stored once",
    },
    Race {
        name: "two-senders",
        about: "two messages for one room at the same moment: both must be stored, as 1 and 2, and nobody gets an error",
    },
];

#[async_trait]
impl Lab for PipeliningLab {
    fn id(&self) -> &'static str {
        "pipelining"
    }

    fn title(&self) -> &'static str {
        "Pipelines, transactions, scripts"
    }

    fn summary(&self) -> &'static str {
        "A message sent in one round trip, all or nothing, and a thousand in one more"
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
        checks::checks().iter().map(|check| (check.name(), check.states())).collect()
    }

    fn scripts(&self) -> Vec<&'static Script> {
        vec![&script::SEND]
    }

    fn sample_calls(&self) -> Vec<Call> {
        let draft = cid("sample").map(|cid| Draft {
            room: RoomId::new(),
            from: UserId::new(),
            cid,
            body: "hello".to_owned(),
        });
        draft.iter().map(|draft| crate::Script::call("script", draft)).collect()
    }

    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport> {
        let name = self.variant(variant)?.name;
        let reference = build(name, env.redis.clone())?;
        let make: Factory<dyn crate::SendPath> =
            Arc::new(move |redis, _| build(name, redis).unwrap_or_else(|| reference.clone()));
        check_variant(self, name, env, &checks::checks(), make).await
    }

    fn experiments(&self) -> &'static [Experiment] {
        experiments::EXPERIMENTS
    }

    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>> {
        match name {
            "round-trips" => Some(experiments::round_trips(env).await),
            "batch" => Some(experiments::batch(env).await),
            _ => None,
        }
    }

    fn reference_source(&self) -> &'static str {
        include_str!("script.rs")
    }

    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(PipeliningWorkload::new(build(variant, redis)?)))
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
        let reference = build(variant, env.redis.clone())?;
        let make = |redis: Redis| build(variant, redis).unwrap_or_else(|| reference.clone());
        let racers = Senders {
            make: &make,
            same: race.name == "same-retry-twice",
            unseen: env.redis.clone(),
            places: Mutex::default(),
        };
        let report = explore(&racers, &env.redis, &self.scripts(), orders).await;
        Some(report.map(|report| report.named(race.name, variant)))
    }
}
