//! The lab as the command line sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{CheckReport, Factory},
    ids::{ClientMsgId, RoomId, UserId},
    lab::{Env, Experiment, Findings, Lab, Variant, Workload, check_variant},
    lua::{Call, Script},
    redis::Redis,
};

use crate::{
    History, Policy, build, checks, experiments, list, scripted::Structure, seq_hash, stream,
    variants::VARIANTS, workload::HistoryWorkload, zset_hash,
};

/// The lab of message history.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLab;

/// The one instance.
pub static LAB: HistoryLab = HistoryLab;

/// The variants made of scripts alone.
const STRUCTURES: [&Structure; 3] = [&list::STRUCTURE, &stream::STRUCTURE, &seq_hash::STRUCTURE];

#[async_trait]
impl Lab for HistoryLab {
    fn id(&self) -> &'static str {
        "history"
    }

    fn title(&self) -> &'static str {
        "Message history"
    }

    fn summary(&self) -> &'static str {
        "Ordered, each message once, paged by cursor, edited in place"
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
        let of_structures = STRUCTURES.iter().flat_map(|structure| structure.scripts());
        zset_hash::scripts().into_iter().chain(of_structures).chain([&experiments::FILL]).collect()
    }

    fn sample_calls(&self) -> Vec<Call> {
        let (room, user) = (RoomId::new(), UserId::new());
        let Ok(cid) = "c1".parse::<ClientMsgId>() else { return Vec::new() };
        let sent = Some((&user, &cid));
        let mut calls: Vec<Call> =
            zset_hash::scripts().iter().map(|script| zset_hash::call(script, &room, sent)).collect();
        for structure in STRUCTURES {
            calls.extend(structure.scripts().iter().map(|script| structure.call(script, &room, sent)));
        }
        calls.push(experiments::fill_call("sample", 1_000));
        calls
    }

    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport> {
        let name = self.variant(variant)?.name;
        let reference = build("zset_hash", env.redis.clone(), checks::POLICY)?;
        build(name, env.redis.clone(), checks::POLICY)?;
        let make: Factory<dyn History> =
            Arc::new(move |redis, _| build(name, redis, checks::POLICY).unwrap_or_else(|| reference.clone()));
        check_variant(self, name, env, &checks::checks(), make).await
    }

    fn experiments(&self) -> &'static [Experiment] {
        experiments::EXPERIMENTS
    }

    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>> {
        match name {
            "memory" => Some(experiments::memory(env).await),
            "growth" => Some(experiments::growth(env).await),
            _ => None,
        }
    }

    fn reference_source(&self) -> &'static str {
        include_str!("zset_hash.rs")
    }

    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(HistoryWorkload::new(build(variant, redis, Policy::default())?)))
    }

    fn seat(&self) -> Option<&'static str> {
        Some("each message sent is an append, each join a head and a since, each scroll a page")
    }
}
