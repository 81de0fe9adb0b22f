//! `cargo bench --bench handle`: what kit's Redis handle costs over the bare client, single and cluster.
//!
//! `-- --test` runs some batches only, which is too few to say anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatlab_kit::{
    prereq::{SERVER_SETTING, find_server},
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};
use futures_util::future::try_join_all;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, IntoConnectionInfo};

/// Commands on their way at once while the handle's cost is measured: enough to keep the client busy.
const CONCURRENT: usize = 64;
/// Commands that each of them sends in a batch.
const ROUNDS: usize = 20;
/// Batches of each kind, interleaved.
const BATCHES: usize = 300;
/// The most that the handle may cost over the bare client.
const OVERHEAD_LIMIT: f64 = 1.03;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let setting = std::env::var_os(SERVER_SETTING).map(std::path::PathBuf::from);
    let server = find_server(setting.as_deref())?;
    println!("server: {} {}", server.flavour, server.version);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let smoke = std::env::args().any(|arg| arg == "--test");
    for topology in Topology::ALL {
        let managed = Managed::start(topology, &server, &ServerOptions::steady())?;
        runtime.block_on(overhead(&managed, topology, if smoke { 3 } else { BATCHES }))?;
        managed.stop();
    }
    Ok(())
}

/// Compares `GET` through kit's handle with the bare client, each on a connection of its own, and twice the bare client for
/// the noise floor. Batches alternate; the ratio of each pair is taken, and of those the median.
async fn overhead(managed: &Managed, topology: Topology, batches: usize) -> Result<(), Failure> {
    let config = RedisConfig::new(topology, managed.addrs());
    let handle = Redis::connect(&config).await?;
    match topology {
        Topology::Single => {
            compare(topology, batches, handle, bare_single(managed).await?, bare_single(managed).await?).await
        }
        Topology::Cluster => {
            compare(topology, batches, handle, bare_cluster(managed).await?, bare_cluster(managed).await?)
                .await
        }
    }
}

async fn bare_single(managed: &Managed) -> Result<ConnectionManager, Failure> {
    let node = &managed.nodes()[0];
    let info = ConnectionAddr::Tcp(node.host.to_string(), node.port)
        .into_connection_info()?
        .set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(Duration::from_secs(5)))
        .set_pipeline_buffer_size(1_024);
    Ok(ConnectionManager::new_with_config(redis::Client::open(info)?, config).await?)
}

async fn bare_cluster(managed: &Managed) -> Result<redis::cluster_async::ClusterConnection, Failure> {
    let nodes: Vec<String> = managed.addrs().iter().map(|addr| format!("redis://{addr}")).collect();
    let client = redis::cluster::ClusterClient::builder(nodes)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
        .response_timeout(Duration::from_secs(5))
        .build()?;
    Ok(client.get_async_connection().await?)
}

async fn compare<C: ConnectionLike + Clone + Send + Sync + 'static>(
    topology: Topology,
    batches: usize,
    handle: Redis,
    bare: C,
    bare_again: C,
) -> Result<(), Failure> {
    let keys: Arc<Vec<String>> = Arc::new((0..CONCURRENT).map(|i| format!("overhead:{i}")).collect());
    for key in keys.iter() {
        let () = redis::cmd("SET").arg(key).arg("x".repeat(64)).query_async(&mut handle.clone()).await?;
    }
    let (mut over, mut noise) = (Vec::with_capacity(batches), Vec::with_capacity(batches));
    for i in 0..batches {
        // Who comes first takes turns: a drift of the machine must not favour one.
        let (h, b, a) = if i % 2 == 0 {
            let h = batch(&handle, &keys).await?;
            let b = batch(&bare, &keys).await?;
            (h, b, batch(&bare_again, &keys).await?)
        } else {
            let a = batch(&bare_again, &keys).await?;
            let b = batch(&bare, &keys).await?;
            (batch(&handle, &keys).await?, b, a)
        };
        over.push(h / b);
        noise.push(a / b);
    }
    let (over, noise) = (quartiles(over), quartiles(noise));
    let verdict = match over.1 {
        _ if batches < BATCHES => "too few batches to say",
        ratio if ratio <= OVERHEAD_LIMIT => "within 3 %",
        _ => "OVER 3 %",
    };
    println!(
        "handle over bare client, {topology}: median {:.3} (quartiles {:.3} to {:.3}), {verdict}; \
         bare over bare: {:.3} ({:.3} to {:.3}); {batches} interleaved batches of {} GETs",
        over.1,
        over.0,
        over.2,
        noise.1,
        noise.0,
        noise.2,
        CONCURRENT * ROUNDS
    );
    if batches >= BATCHES && over.0 > OVERHEAD_LIMIT {
        return Err(format!("on {topology} even the lower quartile of the handle's cost is over 3 %").into());
    }
    Ok(())
}

/// Seconds for one batch.
async fn batch<C: ConnectionLike + Clone>(connection: &C, keys: &[String]) -> Result<f64, Failure> {
    let began = Instant::now();
    try_join_all(keys.iter().map(|key| {
        let mut connection = connection.clone();
        async move {
            for _ in 0..ROUNDS {
                let _: Vec<u8> = redis::cmd("GET").arg(key).query_async(&mut connection).await?;
            }
            Ok::<_, redis::RedisError>(())
        }
    }))
    .await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Lower quartile, median, upper quartile.
fn quartiles(mut ratios: Vec<f64>) -> (f64, f64, f64) {
    ratios.sort_by(f64::total_cmp);
    let at = |share: usize| ratios[(ratios.len() - 1) * share / 4];
    (at(1), at(2), at(3))
}
