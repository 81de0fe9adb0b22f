//! The races of the lab, in every order, on one node and on a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::{
    lab::{Lab as _, Orders, VariantKind, proving},
    servers::Topology,
};
use chatlab_sessions::LAB;

async fn revoke_while_touching(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let (race, all) = (LAB.races()[0].name, Orders::All { max: 100 });
    for variant in LAB.variants().iter().filter(|variant| variant.needs.is_none()) {
        let Some(report) = LAB.race(race, variant.name, &env, &all).await else { continue };
        let report = report.unwrap();
        assert_eq!(report.undriven, 0, "{report:?}");
        match (variant.kind, &report.broken) {
            (VariantKind::Reference | VariantKind::Alternative, broken) => {
                assert!(broken.is_none() && report.exhausted, "{report:?}");
            }
            (_, Some(broken)) => {
                let only = Orders::Only(broken.order.clone());
                let again = LAB.race(race, variant.name, &env, &only).await.unwrap().unwrap();
                assert_eq!(again.broken.map(|again| again.order).as_ref(), Some(&broken.order));
            }
            (_, None) => assert_ne!(variant.name, "read_then_write", "{report:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_stays_so_in_every_order_but_where_it_is_read_and_then_written() {
    revoke_while_touching(Topology::Single).await;
    revoke_while_touching(Topology::Cluster).await;
}
