//! The bench of any lab: each variant × client × topology, one operation of its workload at a time.
//!
//! The median is the latency of an operation, round trips included. What a variant needs and the server lacks is left out
//! with a line that says so. `-- --test` runs everything once. With the exercise built in (`chatlab bench LAB --exercise`)
//! it takes part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chatlab_kit::{
    lab::{Lab, Variant, VariantKind},
    prereq::{SERVER_SETTING, ServerBinary, find_server},
    redis::{ClientKind, Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};
use criterion::Criterion;
use tokio::runtime::Runtime;

type Failure = Box<dyn std::error::Error>;

/// Benches the lab of that id.
pub fn bench(id: &str) -> Result<(), Failure> {
    let lab = chatlab::labs::named(id)?;
    let setting = std::env::var_os(SERVER_SETTING).map(std::path::PathBuf::from);
    let server = find_server(setting.as_deref())?;
    println!("server: {} {}", server.flavour, server.version);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for topology in Topology::ALL {
        on(&mut criterion, &runtime, lab, &server, topology)?;
    }
    criterion.final_summary();
    Ok(())
}

fn on(
    criterion: &mut Criterion,
    runtime: &Runtime,
    lab: &dyn Lab,
    server: &ServerBinary,
    topology: Topology,
) -> Result<(), Failure> {
    let managed = Managed::start(topology, server, &ServerOptions::steady())?;
    for client in ClientKind::available() {
        let config = RedisConfig::new(topology, managed.addrs()).with_client(*client);
        let redis = runtime.block_on(Redis::connect(&config))?;
        for variant in lab.variants() {
            if matches!(variant.kind, VariantKind::Flawed { .. }) {
                continue;
            }
            if let Some(needs) = variant.needs
                && !runtime.block_on(needs.met(&redis))?
            {
                println!("{}: left out on {client}, {topology}: this server lacks {needs}", variant.name);
                continue;
            }
            one(criterion, runtime, lab, variant, &redis)?;
        }
    }
    managed.stop();
    Ok(())
}

fn one(
    criterion: &mut Criterion,
    runtime: &Runtime,
    lab: &dyn Lab,
    variant: &Variant,
    redis: &Redis,
) -> Result<(), Failure> {
    // In a build without it, the exercise has no workload.
    let Some(workload) = lab.workload(variant.name, redis.clone()) else { return Ok(()) };
    let name = format!("{}/{}/{}", variant.name, redis.client(), redis.topology());
    if let Err(why) = runtime.block_on(workload.prepare()) {
        return match variant.kind {
            VariantKind::Exercise => {
                println!("{name}: left out: {why}");
                Ok(())
            }
            _ => Err(format!("{name}: {why}").into()),
        };
    }
    for operation in workload.operations() {
        let n = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(AtomicU64::new(0));
        criterion.bench_function(&format!("{}/{name}", operation.name), |b| {
            b.to_async(runtime).iter(|| async {
                let run = workload.run(operation.name, n.fetch_add(1, Ordering::Relaxed)).await;
                failed.fetch_add(u64::from(run.is_err()), Ordering::Relaxed);
            });
        });
        // A bench of something that fails measures nothing.
        if failed.load(Ordering::Relaxed) > 0 {
            return Err(
                format!("{}/{name}: {} runs failed", operation.name, failed.load(Ordering::Relaxed)).into()
            );
        }
    }
    Ok(())
}
