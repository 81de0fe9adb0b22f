//! Predict, run, explain.

use chatlab_kit::{
    LabError, LabResult,
    ids::UserId,
    lab::{Env, Experiment, Findings, VariantKind},
};
use redis::aio::MultiplexedConnection;

use crate::{Policy, build, variants::VARIANTS};

/// The lab's experiments.
pub(crate) const EXPERIMENTS: &[Experiment] = &[Experiment {
    name: "memory",
    question: "A user with 1, 4 or 16 devices: what does one session cost in each variant, in bytes of Redis memory?",
    explanation: "A key costs more than its value: its entry in the table of keys, an object header, and its name, which \
                  repeats the user's id each time. One HASH a user pays that once; for one device it loses, because two keys \
                  and a ZSET are there for a single session. Its JSON values are longer than 64 bytes, so it is a hash \
                  table and no listpack; many devices win that back. MEMORY USAGE leaves out the entry in the table of \
                  expiries, which each key with an expiry has once more.",
}];

/// The numbers of devices measured.
const DEVICES: [usize; 3] = [1, 4, 16];
/// Users measured each: the sizes of their keys differ little.
const USERS: usize = 20;

/// Bytes a session by variant: `MEMORY USAGE key SAMPLES 0` of every key of a user, over the number of sessions.
pub(crate) async fn memory(env: &Env) -> LabResult<Findings> {
    let mut findings = Findings::new("bytes a session", DEVICES.map(|count| format!("{count} devices")));
    for variant in VARIANTS {
        if !matches!(variant.kind, VariantKind::Reference | VariantKind::Alternative) {
            continue;
        }
        if let Some(needs) = variant.needs
            && !needs.met(&env.redis).await?
        {
            findings.note(format!("{}: not measured, this server lacks {needs}", variant.name));
            continue;
        }
        let mut row = Vec::with_capacity(DEVICES.len());
        for devices in DEVICES {
            row.push(bytes_a_session(env, variant.name, devices).await?);
        }
        findings.row(variant.name, row);
    }
    Ok(findings)
}

async fn bytes_a_session(env: &Env, variant: &str, devices: usize) -> LabResult<f64> {
    let sessions = build(variant, env.redis.clone(), Policy::default())
        .ok_or_else(|| LabError::Other(format!("no variant {variant}")))?;
    let mut users = Vec::with_capacity(USERS);
    for _ in 0..USERS {
        let user = UserId::new();
        for _ in 0..devices {
            sessions.create(&user, "Firefox on Linux").await?;
        }
        users.push(user);
    }
    let masters = env.redis.primaries().await?;
    let mut bytes = 0_u64;
    for (address, mut node) in env.redis.each_node().await? {
        if masters.contains(&address) {
            for user in &users {
                bytes += bytes_of(&mut node, user).await?;
            }
        }
    }
    for user in &users {
        sessions.revoke_all(user).await?;
    }
    // Far below 2^52: exact.
    Ok(bytes as f64 / (USERS * devices) as f64)
}

/// The memory of a user's keys on one node.
async fn bytes_of(node: &mut MultiplexedConnection, user: &UserId) -> LabResult<u64> {
    let mut bytes = 0;
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("*{user}*"))
            .arg("COUNT")
            .arg(10_000)
            .query_async(node)
            .await?;
        for key in keys {
            let size: Option<u64> =
                redis::cmd("MEMORY").arg("USAGE").arg(&key).arg("SAMPLES").arg(0).query_async(node).await?;
            bytes += size.unwrap_or(0);
        }
        cursor = next;
        if cursor == 0 {
            return Ok(bytes);
        }
    }
}
