//! A slot moves under the eyes of its clients, with a real cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::prereq::find_server;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::reshard::{SlotMove, move_slot};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_kit::slots::slot;

const KEYS: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_moves_with_all_its_keys_and_asks_in_between() {
    let bin = find_server(None).unwrap();
    let managed = Managed::start_async(Topology::Cluster, &bin, &ServerOptions::steady()).await.unwrap();
    let addrs = managed.addrs();
    let mut redis = Redis::connect(&RedisConfig::new(Topology::Cluster, addrs.clone())).await.unwrap();
    let moving_slot = slot(b"{mv}");
    for n in 0..KEYS {
        let _: () =
            redis::cmd("SET").arg(format!("{{mv}}:{n}")).arg(n).query_async(&mut redis).await.unwrap();
    }
    let owners = redis.slot_owners().await.unwrap();
    let source = owners.owner_of(moving_slot).unwrap().to_owned();
    let target = owners.primaries().into_iter().find(|node| *node != source).unwrap();

    let mut moving = SlotMove::begin(&addrs, moving_slot, &target).await.unwrap();
    assert_eq!(moving.source(), source);
    let mut moved = moving.move_keys(100).await.unwrap();
    assert_eq!(moved, 100);
    let mut at_source = redis.node(&source).await.unwrap();
    let absent: Result<Option<u64>, _> =
        redis::cmd("GET").arg("{mv}:absent").query_async(&mut at_source).await;
    assert_eq!(absent.unwrap_err().code(), Some("ASK"));
    while moved < KEYS {
        moved += moving.move_keys(100).await.unwrap();
    }
    moving.finish().await.unwrap();

    assert_eq!(redis.slot_owners().await.unwrap().owner_of(moving_slot), Some(target.as_str()));
    let gone: Result<Option<u64>, _> = redis::cmd("GET").arg("{mv}:1").query_async(&mut at_source).await;
    assert_eq!(gone.unwrap_err().code(), Some("MOVED"));
    for n in 0..KEYS {
        let value: usize =
            redis::cmd("GET").arg(format!("{{mv}}:{n}")).query_async(&mut redis).await.unwrap();
        assert_eq!(value, n);
    }
    assert_eq!(move_slot(&addrs, moving_slot, &source).await.unwrap(), KEYS as u64);
    assert!(move_slot(&addrs, moving_slot, &source).await.is_err(), "it is there already");
}
