//! Each console step can be reached, is not reached by doing nothing, and recognises the mistakes that it names.

use std::sync::Arc;

use chatlab_kit::lab::{Lab, Manifest};
use chatlab_kit::proxy::Proxy;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_kit::steps;

use super::{LabVerdict, Options};

/// Instances of each step with different names and numbers.
const INSTANCES: u64 = 3;

pub(super) async fn prove(lab: &dyn Lab, options: &Options, verdict: &mut LabVerdict) -> anyhow::Result<()> {
    let manifest = match lab.manifest() {
        Ok(manifest) => manifest,
        Err(why) => {
            verdict.problem("steps", why);
            return Ok(());
        }
    };
    if manifest.steps.is_empty() {
        verdict.problem("steps", "there are no console steps");
    }
    for topology in Topology::ALL {
        let wanted: Vec<&str> = manifest
            .steps
            .iter()
            .filter(|step| step.cluster == (topology == Topology::Cluster))
            .map(|step| step.id.as_str())
            .collect();
        if !wanted.is_empty() {
            prove_on(topology, lab.id(), &manifest, &wanted, options, verdict).await?;
        }
    }
    Ok(())
}

async fn prove_on(
    topology: Topology,
    lab: &str,
    manifest: &Manifest,
    wanted: &[&str],
    options: &Options,
    verdict: &mut LabVerdict,
) -> anyhow::Result<()> {
    let managed = Managed::start_async(topology, &options.server, &ServerOptions::steady()).await?;
    let redis = Redis::connect(&RedisConfig::new(topology, managed.addrs())).await?;
    let proxy = Arc::new(Proxy::start(topology, &managed.addrs()).await?);
    for id in wanted {
        for seed in (0..INSTANCES).map(|i| options.seed.wrapping_add(i)) {
            match steps::prove(lab, manifest, id, seed, &redis, proxy.clone()).await {
                Ok(()) if seed == options.seed => {
                    verdict.steps += 1;
                    let step = manifest.steps.iter().find(|step| step.id == *id);
                    verdict.mistakes += step.map_or(0, |step| step.mistakes.len());
                }
                Ok(()) => {}
                Err(why) => verdict.problem("steps", format!("{id}, seed {seed}: {why}")),
            }
        }
    }
    drop(proxy);
    managed.stop();
    Ok(())
}
