//! The bench of any lab: each variant × client × topology, one operation of its workload at a time, at each size of it.
//!
//! The median is the latency of a call, round trips included: a closed loop of one caller, no capacity. What a variant needs and
//! the server lacks is left out with a line that says so. `-- --test` runs everything once. With the exercise built in
//! (`chatlab bench LAB --exercise`) it takes part. The servers are started once a program, and its table ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use chatlab_kit::{
    lab::{Lab, Operation, Variant, VariantKind, Workload},
    prereq::{SERVER_SETTING, ServerBinary, find_server},
    redis::{ClientKind, Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use tokio::runtime::Runtime;

/// Samples a bench. Each is the mean of about a thousand calls.
const SAMPLES: usize = 20;
/// Before the first sample.
const WARM_UP: Duration = Duration::from_millis(100);
/// All samples of a bench together. With some six hundred benches the whole stays within a quarter of an hour.
const MEASUREMENT: Duration = Duration::from_millis(400);
/// How often the samples are drawn again to find the median's interval: 20 samples hold no more.
const RESAMPLES: usize = 10_000;

type Failure = Box<dyn std::error::Error>;

/// Criterion as every bench here uses it.
pub fn criterion() -> Result<Criterion, Failure> {
    Ok(Criterion::default()
        .output_directory(&chatlab::benches::folder()?)
        .sample_size(SAMPLES)
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .nresamples(RESAMPLES)
        .configure_from_args())
}

/// Benches the lab of that id.
#[allow(dead_code, reason = "the bench of the processor benches no lab")]
pub fn bench(id: &str) -> Result<(), Failure> {
    let began = SystemTime::now();
    let lab = chatlab::labs::named(id)?;
    let setting = std::env::var_os(SERVER_SETTING).map(std::path::PathBuf::from);
    let server = find_server(setting.as_deref())?;
    println!("server: {} {}", server.flavour, server.version);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut criterion = criterion()?;
    for topology in Topology::ALL {
        on(&mut criterion, &runtime, lab, &server, topology)?;
    }
    criterion.final_summary();
    let figures = chatlab::benches::read(&chatlab::benches::folder()?, id, Some(began))?;
    print!("\n{}", chatlab::benches::lab_table(lab, &figures));
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
    if let Err(why) = runtime.block_on(workload.prepare()) {
        let place = format!("{}/{}/{}", variant.name, redis.client(), redis.topology());
        return match variant.kind {
            VariantKind::Exercise => {
                println!("{place}: left out: {why}");
                Ok(())
            }
            _ => Err(format!("{place}: {why}").into()),
        };
    }
    let place = format!("{}/{}", redis.client(), redis.topology());
    for operation in workload.operations() {
        match workload.scale(operation.name) {
            None => {
                let id = BenchmarkId::new(format!("{}/{}", operation.name, variant.name), &place);
                measure(criterion, runtime, lab.id(), id, (&workload, operation, None))?;
            }
            Some(scale) => {
                for size in scale.sizes {
                    let what = format!("{} {size} {}/{}", operation.name, scale.unit, variant.name);
                    let id = BenchmarkId::new(what, &place);
                    measure(criterion, runtime, lab.id(), id, (&workload, operation, Some(*size)))?;
                }
            }
        }
    }
    Ok(())
}

fn measure(
    criterion: &mut Criterion,
    runtime: &Runtime,
    group: &str,
    id: BenchmarkId,
    (workload, operation, size): (&Arc<dyn Workload>, &Operation, Option<usize>),
) -> Result<(), Failure> {
    let (n, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut group = criterion.benchmark_group(group);
    group.sampling_mode(SamplingMode::Flat).bench_with_input(id, &size, |b, size| {
        b.to_async(runtime).iter(|| async {
            let n = n.fetch_add(1, Ordering::Relaxed);
            let run = match size {
                Some(size) => workload.run_sized(operation.name, n, *size).await,
                None => workload.run(operation.name, n).await,
            };
            failed.fetch_add(u64::from(run.is_err()), Ordering::Relaxed);
        });
    });
    group.finish();
    // A bench of something that fails measures nothing.
    match failed.load(Ordering::Relaxed) {
        0 => Ok(()),
        runs => Err(format!("{}, {size:?}: {runs} runs failed", operation.name).into()),
    }
}
