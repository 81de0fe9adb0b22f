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
};

use crate::{
    Fanout, build, checks, experiments, polling, stream_tail, variants::VARIANTS, workload::PubsubWorkload,
};

/// The lab of live fan-out.
#[derive(Debug, Clone, Copy)]
pub struct PubsubLab;

/// The one instance.
pub static LAB: PubsubLab = PubsubLab;

#[async_trait]
impl Lab for PubsubLab {
    fn id(&self) -> &'static str {
        "pubsub"
    }

    fn title(&self) -> &'static str {
        "Live fan-out"
    }

    fn summary(&self) -> &'static str {
        "Everybody hears at once, and whoever was cut off is told what was missed"
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
        vec![&stream_tail::APPEND, &polling::STORE]
    }

    fn sample_calls(&self) -> Vec<Call> {
        let room = RoomId::new();
        vec![
            stream_tail::APPEND.call().key(stream_tail::stream_key(&room)).key(stream_tail::count_key(&room)),
            polling::STORE.call().key(polling::log_key(&room)).key(polling::count_key(&room)),
        ]
    }

    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport> {
        let name = self.variant(variant)?.name;
        let reference = build("sharded", env.redis.clone())?;
        build(name, env.redis.clone())?;
        let make: Factory<dyn Fanout> =
            Arc::new(move |redis, _pace| build(name, redis).unwrap_or_else(|| reference.clone()));
        check_variant(self, name, env, &checks::checks(), make).await
    }

    fn experiments(&self) -> &'static [Experiment] {
        experiments::EXPERIMENTS
    }

    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>> {
        experiments::run(name, env).await
    }

    fn reference_source(&self) -> &'static str {
        include_str!("sharded.rs")
    }

    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(PubsubWorkload::new(build(variant, redis)?)))
    }

    fn seat(&self) -> Option<&'static str> {
        Some(
            "every server process listens through it to the rooms of its connections, and tells the others who came and who left",
        )
    }
}
