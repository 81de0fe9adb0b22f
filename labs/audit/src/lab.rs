//! The lab as the command line sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{CheckReport, Factory, Pace},
    keys,
    lab::{Env, Experiment, Findings, Lab, Variant, Workload, check_variant},
    lua::{Call, Script},
    redis::Redis,
    slots::Partition,
};

use crate::{
    build, checks, dedup_marks, experiments, outbox, stream_groups,
    variants::VARIANTS,
    workload::{AuditWorkload, LOAD_POLICY},
    zset_cursor,
};

/// The lab of the audit log.
#[derive(Debug, Clone, Copy)]
pub struct AuditLab;

/// The one instance.
pub static LAB: AuditLab = AuditLab;

#[async_trait]
impl Lab for AuditLab {
    fn id(&self) -> &'static str {
        "audit"
    }

    fn title(&self) -> &'static str {
        "Audit log"
    }

    fn summary(&self) -> &'static str {
        "An event log for several groups: each event worked once, none lost, memory bounded"
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
            &stream_groups::APPEND,
            &stream_groups::TAKE,
            &stream_groups::WORK,
            &stream_groups::LAG,
            &stream_groups::TRIM,
            &dedup_marks::MARKED_WORK,
            &zset_cursor::APPEND,
            &zset_cursor::TAKE,
            &zset_cursor::WORK,
            &zset_cursor::LAG,
            &zset_cursor::TRIM,
            &outbox::EMIT,
            &outbox::OUTBOX_TAKE,
            &outbox::OUTBOX_DONE,
            &outbox::OUTBOX_BURY,
            &outbox::OUTBOX_LAG,
        ]
    }

    fn sample_calls(&self) -> Vec<Call> {
        let (t, g) = ("topic", "group");
        let log = stream_groups::log_key(t);
        let totals = stream_groups::totals_key(t, g);
        let partition = Partition::FIRST;
        let events = keys::events(partition, t);
        let zset = |names: &[&str]| -> Vec<String> {
            let of = |name: &&str| match *name {
                "meta" | "log" => zset_cursor::key(t, name),
                _ => zset_cursor::group_key(t, name, g),
            };
            names.iter().map(of).collect()
        };
        let keys = [
            vec![log.clone()],
            vec![log.clone(), stream_groups::dead_key(t, g)],
            vec![log.clone(), totals.clone()],
            vec![log.clone()],
            vec![log],
            vec![dedup_marks::marks_key(t, g), totals],
            zset(&["meta", "log"]),
            zset(&["meta", "log", "due", "held", "tries", "dead"]),
            zset(&["meta", "due", "held", "tries", "totals"]),
            zset(&["meta", "log", "held"]),
            zset(&["meta", "log"]),
            vec![events.clone()],
            vec![events.clone()],
            vec![events.clone()],
            vec![events.clone(), keys::dead_events(partition, t, g)],
            vec![events],
        ];
        let calls = self.scripts().into_iter().zip(keys);
        calls.map(|(script, keys)| keys.into_iter().fold(script.call(), Call::key)).collect()
    }

    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport> {
        let name = self.variant(variant)?.name;
        let reference = build("stream_groups", env.redis.clone(), checks::policy(Pace(1)))?;
        build(name, env.redis.clone(), checks::policy(Pace(1)))?;
        let make: Factory<dyn crate::AuditLog> = Arc::new(move |redis, pace| {
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
            "trim" => Some(experiments::trim(env).await),
            "throughput" => Some(experiments::throughput(env).await),
            _ => None,
        }
    }

    fn reference_source(&self) -> &'static str {
        include_str!("stream_groups.rs")
    }

    fn workload(&self, variant: &str, redis: Redis) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(AuditWorkload::new(build(variant, redis, LOAD_POLICY)?)))
    }
}
