//! Every variant is as declared, on one node and on the cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use chatlab_kit::lab::{Env, Lab, VariantKind};
use chatlab_kit::prereq::{SERVER_SETTING, find_server};
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_sessions::LAB;

/// The author's gate runs more of them.
const SEEDS: u64 = 2;

async fn as_declared(topology: Topology) {
    let server = find_server(std::env::var_os(SERVER_SETTING).map(PathBuf::from).as_deref()).unwrap();
    let managed = Managed::start_async(topology, &server, &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(topology, managed.addrs())).await.unwrap();
    for seed in 0..SEEDS {
        for variant in LAB.variants().iter().filter(|v| v.kind != VariantKind::Exercise) {
            let env = Env { redis: redis.clone(), seed, server: None };
            let report = LAB.check(variant.name, &env).await.unwrap();
            if let Err(why) = variant.as_declared(&report) {
                panic!("{}: {why}\n{report}", variant.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_one_node() {
    as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_the_cluster() {
    as_declared(Topology::Cluster).await;
}
