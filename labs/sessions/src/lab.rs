//! The lab as the command line sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{CheckReport, Factory, explore},
    ids::{SessionId, UserId},
    keys,
    lab::{Env, Experiment, Findings, Lab, Orders, Race, RaceReport, Variant, Workload, check_variant},
    lua::{Call, Script},
    redis::Redis,
};

use crate::{
    Policy, Sessions, build, checks, experiments, hash_field_ttl, hash_index,
    races::{RACES, RevokeWhileTouching},
    string_index, user_hash,
    variants::VARIANTS,
    workload::SessionsWorkload,
};

const HASH_INDEX: [&Script; 6] = [
    &hash_index::CREATE,
    &hash_index::TOUCH,
    &hash_index::ROTATE,
    &hash_index::LIST,
    &hash_index::REVOKE,
    &hash_index::REVOKE_ALL,
];
/// It shares the reference's LIST, REVOKE and REVOKE_ALL.
const STRING_INDEX: [&Script; 3] = [&string_index::CREATE, &string_index::TOUCH, &string_index::ROTATE];
const USER_HASH: [&Script; 6] = [
    &user_hash::CREATE,
    &user_hash::TOUCH,
    &user_hash::ROTATE,
    &user_hash::LIST,
    &user_hash::REVOKE,
    &user_hash::REVOKE_ALL,
];
const HASH_FIELD_TTL: [&Script; 6] = [
    &hash_field_ttl::CREATE,
    &hash_field_ttl::TOUCH,
    &hash_field_ttl::ROTATE,
    &hash_field_ttl::LIST,
    &hash_field_ttl::REVOKE,
    &hash_field_ttl::REVOKE_ALL,
];

/// The lab of login sessions.
#[derive(Debug, Clone, Copy)]
pub struct SessionsLab;

/// The one instance.
pub static LAB: SessionsLab = SessionsLab;

#[async_trait]
impl Lab for SessionsLab {
    fn id(&self) -> &'static str {
        "sessions"
    }

    fn title(&self) -> &'static str {
        "Login sessions"
    }

    fn summary(&self) -> &'static str {
        "Many devices, two clocks, and a way to throw a thief out"
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
        let mut all = Vec::new();
        all.extend(HASH_INDEX);
        all.extend(STRING_INDEX);
        all.extend(USER_HASH);
        all.extend(HASH_FIELD_TTL);
        all
    }

    fn sample_calls(&self) -> Vec<Call> {
        let user = UserId::new();
        let id = SessionId::new(user);
        let mut calls = Vec::new();
        for script in HASH_INDEX {
            let call =
                if script.keys.len() == 2 { script.call().key(keys::session(&id)) } else { script.call() };
            calls.push(call.key(keys::user_sessions(&user)));
        }
        for script in STRING_INDEX {
            calls.push(script.call().key(string_index::session_key(&id)).key(string_index::index_key(&user)));
        }
        calls.extend(USER_HASH.map(|script| user_hash::call(script, &user)));
        calls.extend(HASH_FIELD_TTL.map(|script| hash_field_ttl::call(script, &user)));
        calls
    }

    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport> {
        let name = self.variant(variant)?.name;
        let reference = build("hash_index", env.redis.clone(), Policy::default())?;
        build(name, env.redis.clone(), Policy::default())?;
        let make: Factory<dyn Sessions> = Arc::new(move |redis, pace| {
            build(name, redis, checks::policy(pace)).unwrap_or_else(|| reference.clone())
        });
        check_variant(self, name, env, &checks::checks(), make).await
    }

    fn experiments(&self) -> &'static [Experiment] {
        experiments::EXPERIMENTS
    }

    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>> {
        match name {
            "memory" => Some(experiments::memory(env).await),
            "touch-cost" => Some(experiments::touch_cost(env).await),
            _ => None,
        }
    }

    fn reference_source(&self) -> &'static str {
        include_str!("hash_index.rs")
    }

    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(SessionsWorkload::new(build(variant, redis, Policy::default())?)))
    }

    fn seat(&self) -> Option<&'static str> {
        Some("a login creates a session, every request and every WebSocket handshake touches it")
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
        let variant = self.variant(variant)?;
        let racers = RevokeWhileTouching::new(variant.name, &env.redis)?;
        let report = explore(&racers, &env.redis, &self.scripts(), orders).await;
        Some(report.map(|report| report.named(race.name, variant.name)))
    }
}
