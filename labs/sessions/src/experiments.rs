//! Predict, run, explain.

use chatlab_kit::{
    LabError, LabResult,
    ids::UserId,
    lab::{Axis, Chart, Env, Experiment, Findings, Point, Series, VariantKind},
};
use redis::aio::MultiplexedConnection;

use crate::{Policy, build, variants::VARIANTS};

/// The lab's experiments.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "memory",
        question: "A user with 1, 4 or 16 devices: what does one session cost in each variant, in bytes of Redis memory?",
        explanation: "A key costs more than its value: its entry in the table of keys, an object header, and its name, which \
                  repeats the user's id each time. One HASH a user pays that once; for one device it loses, because two keys \
                  and a ZSET are there for a single session. Its JSON values are longer than 64 bytes, so it is a hash \
                  table and no listpack; many devices win that back. MEMORY USAGE leaves out the entry in the table of \
                  expiries, which each key with an expiry has once more.",
    },
    Experiment {
        name: "touch-cost",
        question: "A user logs in on 1, 4, 16 or 32 devices. Does it cost the server more to touch one of the sessions?",
        explanation: "A touch is one script: a look into the ZSET, O(log n), and three changes of a score or an expiry. Up to 128 \
                  short members a ZSET is a listpack, which is searched from one end: with 32 devices that is some 100 \
                  bytes, and hard to see beside what it costs to enter Lua at all. So the index is as good as free; the \
                  round trip is not. Server time is the growth of usec in INFO commandstats over the number of calls.",
    },
];

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

/// Touches measured for one number.
const TOUCHES: usize = 2_000;
/// Rounds over all variants, so that a slow moment of the machine hits each.
const ROUNDS: usize = 5;
/// The numbers of devices in `touch-cost`.
const TOUCHED_DEVICES: [usize; 4] = [1, 4, 16, 32];

/// Server microseconds a touch by variant and number of devices: the median over interleaved rounds.
pub(crate) async fn touch_cost(env: &Env) -> LabResult<Findings> {
    let mut findings =
        Findings::new("server µs a touch", TOUCHED_DEVICES.map(|count| format!("{count} devices")));
    let mut lines = Vec::new();
    for variant in VARIANTS {
        if !matches!(variant.kind, VariantKind::Reference | VariantKind::Alternative) {
            continue;
        }
        match variant.needs {
            Some(needs) if !needs.met(&env.redis).await? => {
                findings.note(format!("{}: not measured, this server lacks {needs}", variant.name));
            }
            _ => lines.push((
                variant.name,
                prepared(env, variant.name).await?,
                vec![Vec::new(); TOUCHED_DEVICES.len()],
            )),
        }
    }
    for _ in 0..ROUNDS {
        for (_, users, samples) in &mut lines {
            for ((sessions, id), samples) in users.iter().zip(samples) {
                samples.push(touch_us(env, &**sessions, id).await?);
            }
        }
    }
    let mut series = Vec::new();
    for (name, _, samples) in lines {
        let medians: Vec<f64> = samples.into_iter().map(median).collect();
        let points = TOUCHED_DEVICES.iter().zip(&medians).map(|(x, y)| Point::at(*x as f64, *y)).collect();
        series.push(Series { name: name.to_owned(), points });
        if let (Some(few), Some(many)) = (medians.first(), medians.last()) {
            findings
                .conclude(format!("{name}: 32 devices cost {:.2} times what one device does.", many / few));
        }
        findings.row(name, medians);
    }
    findings.charts.push(Chart {
        title: "What a touch costs the server".into(),
        x: Axis::linear("devices of the user"),
        y: Axis::linear("server µs a touch"),
        series,
    });
    Ok(findings)
}

type Prepared = Vec<(std::sync::Arc<dyn crate::Sessions>, chatlab_kit::ids::SessionId)>;

/// For each number of devices a user with so many, and one of the sessions.
async fn prepared(env: &Env, variant: &str) -> LabResult<Prepared> {
    let sessions = build(variant, env.redis.clone(), Policy::default())
        .ok_or_else(|| LabError::Other(format!("no variant {variant}")))?;
    let mut users = Vec::with_capacity(TOUCHED_DEVICES.len());
    for devices in TOUCHED_DEVICES {
        let user = UserId::new();
        let mut last = sessions.create(&user, "Firefox on Linux").await?;
        for _ in 1..devices {
            last = sessions.create(&user, "Firefox on Linux").await?;
        }
        users.push((sessions.clone(), last.id));
    }
    Ok(users)
}

async fn touch_us(
    env: &Env,
    sessions: &dyn crate::Sessions,
    id: &chatlab_kit::ids::SessionId,
) -> LabResult<f64> {
    let before = script_usec(env).await?;
    for _ in 0..TOUCHES {
        sessions.touch(id).await?;
    }
    let after = script_usec(env).await?;
    Ok(after.saturating_sub(before) as f64 / TOUCHES as f64)
}

/// The microseconds that all nodes have spent in scripts. What a script calls is counted in its own time too.
async fn script_usec(env: &Env) -> LabResult<u64> {
    let mut usec = 0;
    for (_, mut node) in env.redis.each_node().await? {
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut node).await?;
        for line in info.lines().filter(|line| line.starts_with("cmdstat_evalsha:")) {
            let field = line.split(',').find_map(|part| part.strip_prefix("usec="));
            usec += field.and_then(|usec| usec.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(usec)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
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
