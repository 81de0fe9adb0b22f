//! The lab as the command line sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{CheckReport, Factory},
    ids::RoomId,
    lab::{Env, Experiment, Findings, Lab, Variant, Workload, check_variant},
    lua::{Call, Script},
    redis::Redis,
    servers::Topology,
};

use crate::{
    Rooms, build, checks, computed_keys, experiments, one_key, partitions, variants::VARIANTS,
    workload::ClusterWorkload,
};

/// The lab of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct ClusterLab;

/// The one instance.
pub static LAB: ClusterLab = ClusterLab;

#[async_trait]
impl Lab for ClusterLab {
    fn id(&self) -> &'static str {
        "cluster"
    }

    fn title(&self) -> &'static str {
        "Rooms on six nodes"
    }

    fn summary(&self) -> &'static str {
        "What belongs together in one slot, the rest far apart, and what an acknowledgement is worth"
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
        vec![
            &partitions::APPEND,
            &partitions::READ,
            &partitions::ADOPT,
            &one_key::APPEND,
            &one_key::READ,
            &one_key::ADOPT,
            &computed_keys::COMPUTED_APPEND,
        ]
    }

    fn sample_calls(&self) -> Vec<Call> {
        let (room, other) = (RoomId::new(), RoomId::new());
        let key = |name: &str| partitions::by_partition(&room, name);
        let both = |script: &'static Script| script.call().key(key("seq")).key(key("log"));
        let mut calls = vec![both(&partitions::APPEND), both(&partitions::READ)];
        calls.push(both(&partitions::ADOPT).key(key(&format!("moved:{other}:1"))));
        for script in [&one_key::APPEND, &one_key::READ, &one_key::ADOPT] {
            calls.push(script.call().key(one_key::room_key(&room)));
        }
        calls.push(both(&computed_keys::COMPUTED_APPEND));
        calls
    }

    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport> {
        let name = self.variant(variant)?.name;
        let reference = build("partitions", env.redis.clone())?;
        build(name, env.redis.clone())?;
        let make: Factory<dyn Rooms> =
            Arc::new(move |redis, _| build(name, redis).unwrap_or_else(|| reference.clone()));
        check_variant(self, name, env, &checks::checks(), make).await
    }

    fn experiments(&self) -> &'static [Experiment] {
        experiments::EXPERIMENTS
    }

    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>> {
        experiments::run(name, env).await
    }

    fn reference_source(&self) -> &'static str {
        include_str!("partitions.rs")
    }

    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>> {
        let replicas = u32::from(redis.topology() == Topology::Cluster);
        Some(Arc::new(ClusterWorkload::new(build(variant, redis)?, replicas)))
    }
}
