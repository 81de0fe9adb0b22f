//! Who is still shown after an instance was killed.

use std::time::Duration;

use chatlab_kit::{
    LabResult,
    check::server_ms,
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    lab::{Axis, Chart, Env, Findings, Point, Series, VariantKind},
};
use tokio::task::JoinSet;

use super::{instance, new_space};
use crate::{Policy, variants::VARIANTS};

/// The users of the instance that is killed.
const USERS: usize = 200;
/// The lease, in milliseconds: short, so that nobody waits long for the end of it.
const POLICY: Policy = Policy { lease_ms: 1_000, refresh_ms: 250 };
/// When is looked, in percent of a lease after the last sign of life.
const LOOKS: [u64; 5] = [50, 100, 150, 200, 300];

/// What one variant showed.
struct Shown {
    /// At each look: the time in leases, and how many users were shown.
    looks: Vec<(f64, f64)>,
    told: f64,
}

/// Counts who is shown at each look, by variant; all variants run at once, each with a survivor of its own.
pub(crate) async fn ghosts(env: &Env) -> LabResult<Findings> {
    let looks = LOOKS.map(|percent| format!("{:.1} leases", percent as f64 / 100.0));
    let unit = format!("of {USERS} users of a dead instance, those still shown online");
    let mut findings = Findings::new(unit, looks.into_iter().chain(["told offline".to_owned()]));
    let mut running = JoinSet::new();
    for (order, variant) in VARIANTS.iter().enumerate() {
        if variant.kind == VariantKind::Exercise {
            continue;
        }
        if let Some(needs) = variant.needs
            && !needs.met(&env.redis).await?
        {
            findings.note(format!("{}: not measured, this server lacks {needs}", variant.name));
            continue;
        }
        // What it does to the others is the subject of another lab.
        if variant.name == "keys_listing" {
            findings.note("keys_listing: left out, its KEYS would hold up all the others");
            continue;
        }
        let env = env.clone();
        running.spawn(async move { (order, variant.name, watch(&env, variant.name).await) });
    }
    let mut all = running.join_all().await;
    all.sort_by_key(|(order, ..)| *order);
    let mut series = Vec::new();
    for (_, name, shown) in all {
        let shown = shown?;
        let numbers: Vec<f64> = shown.looks.iter().map(|(_, users)| *users).chain([shown.told]).collect();
        let last = shown.looks.last().map_or(f64::NAN, |(_, users)| *users);
        findings.conclude(if last > 0.0 {
            format!("{name}: {last} ghosts after three leases, and {} offlines told.", shown.told)
        } else {
            let gone = shown.looks.iter().find(|(_, users)| *users == 0.0).map_or(f64::NAN, |(at, _)| *at);
            format!("{name}: no ghost any more at {gone:.1} leases, {} offlines told.", shown.told)
        });
        findings.row(name, numbers);
        let points = shown.looks.iter().map(|(x, y)| Point::at(*x, *y)).collect();
        series.push(Series { name: name.to_owned(), points });
    }
    findings.charts.push(Chart {
        title: "Ghosts after an instance was killed".to_owned(),
        x: Axis::linear("leases since its last sign of life"),
        y: Axis::linear("users still shown online"),
        series,
    });
    Ok(findings)
}

async fn watch(env: &Env, variant: &str) -> LabResult<Shown> {
    let (space, mut redis) = (new_space(), env.redis.clone());
    let clock = keys::leases(&space);
    let dying = instance(env, variant, &space, InstanceId::new(), POLICY)?;
    let survivor = instance(env, variant, &space, InstanceId::new(), POLICY)?;
    let mut users = Vec::with_capacity(USERS);
    for _ in 0..USERS {
        let user = UserId::new();
        dying.connect(&user, &ConnectionId::new()).await?;
        users.push(user);
        if users.len() % 50 == 0 {
            dying.refresh().await?;
        }
    }
    dying.refresh().await?;
    let died_ms = server_ms(&mut redis, &clock).await?;
    // From here on nobody calls `dying`: to Redis that is what a crash looks like.
    let mut shown = Shown { looks: Vec::with_capacity(LOOKS.len()), told: 0.0 };
    for percent in LOOKS {
        let look_ms = died_ms + POLICY.lease_ms * percent / 100;
        loop {
            survivor.refresh().await?;
            let gone = survivor.reap().await?;
            shown.told += gone.iter().filter(|user| users.contains(user)).count() as f64;
            let now_ms = server_ms(&mut redis, &clock).await?;
            if now_ms >= look_ms {
                break;
            }
            // The pace of refreshes and reaps, until `look_ms`.
            tokio::time::sleep(Duration::from_millis((look_ms - now_ms).min(POLICY.refresh_ms))).await;
        }
        let online = survivor.online(&users).await?;
        let at_ms = server_ms(&mut redis, &clock).await?.saturating_sub(died_ms);
        let count = online.iter().filter(|online| **online).count() as f64;
        shown.looks.push((at_ms as f64 / POLICY.lease_ms as f64, count));
    }
    Ok(shown)
}
