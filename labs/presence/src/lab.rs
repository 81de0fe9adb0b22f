//! The lab as the command line sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{CheckReport, Factory},
    ids::{InstanceId, UserId},
    keys,
    lab::{Env, Experiment, Findings, Lab, Variant, Workload, check_variant},
    lua::{Call, Script},
    redis::Redis,
};

use crate::{
    Policy, build, checks, experiments, fleet::Fleet, heartbeat, variants::VARIANTS,
    workload::PresenceWorkload, zset_lease,
};

/// The lab of presence.
#[derive(Debug, Clone, Copy)]
pub struct PresenceLab;

/// The one instance.
pub static LAB: PresenceLab = PresenceLab;

#[async_trait]
impl Lab for PresenceLab {
    fn id(&self) -> &'static str {
        "presence"
    }

    fn title(&self) -> &'static str {
        "Presence"
    }

    fn summary(&self) -> &'static str {
        "Who is online, on how many devices, when servers crash, pause and come back"
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
        let mut scripts = vec![
            &zset_lease::RENEW,
            &zset_lease::INDEX,
            &zset_lease::ENTER,
            &zset_lease::LEAVE,
            &zset_lease::CLAIM,
            &zset_lease::TAKE,
        ];
        scripts.extend(heartbeat::SCRIPTS);
        scripts
    }

    fn sample_calls(&self) -> Vec<Call> {
        let (user, lease) = (UserId::new(), InstanceId::new());
        let mut calls = vec![
            zset_lease::RENEW.call().key(keys::leases("chat")),
            zset_lease::INDEX.call().key(keys::lease_connections(&lease)),
            zset_lease::ENTER.call().key(keys::presence(&user)),
            zset_lease::LEAVE.call().key(keys::presence(&user)),
            zset_lease::CLAIM.call().key(keys::leases("chat")).key(keys::dead_leases("chat")),
            zset_lease::TAKE.call().key(keys::presence(&user)),
        ];
        calls.extend(heartbeat::sample_calls());
        calls
    }

    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport> {
        let variant = self.variant(variant)?.name;
        build(variant, env.redis.clone(), InstanceId::new(), Policy::default())?;
        let make: Factory<Fleet> =
            Arc::new(move |redis, pace| Arc::new(Fleet { variant, redis, policy: checks::policy(pace) }));
        check_variant(self, variant, env, &checks::checks(), make).await
    }

    fn experiments(&self) -> &'static [Experiment] {
        experiments::EXPERIMENTS
    }

    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>> {
        match name {
            "ghosts" => Some(experiments::ghosts(env).await),
            "refresh-cost" => Some(experiments::refresh_cost(env).await),
            "memory" => Some(experiments::memory(env).await),
            _ => None,
        }
    }

    fn reference_source(&self) -> &'static str {
        include_str!("zset_lease.rs")
    }

    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(PresenceWorkload::new(build(variant, redis, InstanceId::new(), Policy::default())?)))
    }

    fn seat(&self) -> Option<&'static str> {
        Some("each WebSocket connects and disconnects a device, a timer refreshes and reaps")
    }
}
