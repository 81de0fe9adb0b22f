//! Bytes a message.

use std::collections::BTreeMap;

use chatlab_kit::{
    LabError, LabResult,
    ids::{MessageId, RoomId, UserId},
    keys::RoomKeys,
    lab::{Axis, Chart, Env, Findings, Point, Series, VariantKind},
    message::{Draft, MessageKind},
};
use redis::aio::MultiplexedConnection;

use crate::{Policy, build, stored::json_of, variants::VARIANTS};

/// The numbers of messages at which a room is measured.
const COUNTS: [usize; 4] = [10, 100, 1_000, 5_000];
/// What each message says.
const BODY: &str = "A message as people write them: a sentence or two, and then somebody answers.";
/// Keys that the scan returns at a time.
const SCAN_COUNT: usize = 10_000;

fn draft(room: RoomId, from: UserId) -> LabResult<Draft> {
    let id = MessageId::new();
    let cid = id.0.as_simple().to_string().parse().map_err(|e| LabError::Other(format!("client id: {e}")))?;
    Ok(Draft {
        room,
        id,
        from,
        cid,
        kind: MessageKind::Text,
        about: None,
        reply_to: None,
        forwarded_from: None,
        body: BODY.to_owned(),
    })
}

/// Bytes a message by variant: `MEMORY USAGE key SAMPLES 0` of every key of a room but the remembered client ids, which
/// expire, over the number of messages.
pub(crate) async fn memory(env: &Env) -> LabResult<Findings> {
    let heads = COUNTS.map(|count| format!("{count} messages"));
    let mut findings = Findings::new("bytes a message", heads);
    let mut series = Vec::new();
    for variant in VARIANTS {
        if !matches!(variant.kind, VariantKind::Reference | VariantKind::Alternative) {
            continue;
        }
        let measured = of_variant(env, variant.name).await?;
        let row: Vec<f64> =
            measured.iter().zip(COUNTS).map(|(keys, count)| total(keys) / count as f64).collect();
        if let (Some(keys), Some(count)) = (measured.last(), COUNTS.last()) {
            let parts: Vec<String> = keys
                .iter()
                .map(|(name, bytes)| format!("{name} {:.0}", *bytes as f64 / *count as f64))
                .collect();
            findings.conclude(format!("{} at {count} messages, by key: {}", variant.name, parts.join(", ")));
        }
        series.push(line(variant.name, &row));
        findings.row(variant.name, row);
    }
    let row = of_zset_json(env).await?;
    series.push(line("zset_json", &row));
    findings.row("zset_json (flawed)", row);
    conclude(&mut findings);
    findings.charts.push(Chart {
        title: "Bytes a message".into(),
        x: Axis::log("messages in the room"),
        y: Axis::linear("bytes a message"),
        series,
    });
    findings.note(
        "Left out: the remembered client ids (`sent`), one short string a message for ten minutes, the same in every variant; \
         and the entries in the table of keys, which MEMORY USAGE does not count.",
    );
    Ok(findings)
}

fn line(name: &str, row: &[f64]) -> Series {
    let points = COUNTS.iter().zip(row).map(|(count, bytes)| Point::at(*count as f64, *bytes)).collect();
    Series { name: name.to_owned(), points }
}

fn total(keys: &BTreeMap<String, u64>) -> f64 {
    keys.values().sum::<u64>() as f64
}

/// The smallest and the largest of those that can do everything.
fn conclude(findings: &mut Findings) {
    let last = |row: &(String, Vec<f64>)| row.1.last().copied().unwrap_or(f64::NAN);
    let sound = || findings.rows.iter().filter(|(name, _)| !name.contains("flawed"));
    let least = sound().min_by(|a, b| last(a).total_cmp(&last(b)));
    let most = sound().max_by(|a, b| last(a).total_cmp(&last(b)));
    if let (Some(least), Some(most)) = (least, most) {
        let sentence = format!(
            "In a long room {} needs {:.0} bytes a message, {} {:.0}: {:.0} % more.",
            least.0,
            last(least),
            most.0,
            last(most),
            (last(most) / last(least) - 1.0) * 100.0
        );
        findings.conclude(sentence);
    }
}

/// The bytes of each key of a room of the variant, at each count.
async fn of_variant(env: &Env, variant: &str) -> LabResult<Vec<BTreeMap<String, u64>>> {
    let history = build(variant, env.redis.clone(), Policy::default())
        .ok_or_else(|| LabError::Other(format!("no variant {variant}")))?;
    let (room, author) = (RoomId::new(), UserId::new());
    let mut measured = Vec::with_capacity(COUNTS.len());
    let mut sent = 0;
    for count in COUNTS {
        while sent < count {
            history.append(&draft(room, author)?).await?;
            sent += 1;
        }
        measured.push(bytes_of(env, &room).await?);
    }
    forget(env, &room).await?;
    Ok(measured)
}

/// The flawed ZSET of JSON, as it is met in the wild: the whole message is the member.
async fn of_zset_json(env: &Env) -> LabResult<Vec<f64>> {
    let (room, author) = (RoomId::new(), UserId::new());
    let key = RoomKeys::new(&room).lab("zset_json", "log");
    let mut row = Vec::with_capacity(COUNTS.len());
    let mut sent = 0;
    for count in COUNTS {
        let mut pipe = redis::pipe();
        while sent < count {
            sent += 1;
            let member = json_of(&draft(room, author)?)?;
            pipe.cmd("ZADD").arg(&key).arg(sent).arg(member).ignore();
        }
        let () = pipe.query_async(&mut env.redis.clone()).await?;
        row.push(total(&bytes_of(env, &room).await?) / count as f64);
    }
    forget(env, &room).await?;
    Ok(row)
}

/// The room's keys on one master.
async fn keys_of(node: &mut MultiplexedConnection, room: &RoomId) -> LabResult<Vec<String>> {
    let mut all = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("*{room}*"))
            .arg("COUNT")
            .arg(SCAN_COUNT)
            .query_async(node)
            .await?;
        all.extend(keys);
        cursor = next;
        if cursor == 0 {
            return Ok(all);
        }
    }
}

/// Bytes by the last part of the key's name.
async fn bytes_of(env: &Env, room: &RoomId) -> LabResult<BTreeMap<String, u64>> {
    let masters = env.redis.primaries().await?;
    let mut bytes = BTreeMap::new();
    for (address, mut node) in env.redis.each_node().await? {
        if !masters.contains(&address) {
            continue;
        }
        for key in keys_of(&mut node, room).await? {
            let name = key.rsplit(':').next().unwrap_or_default().to_owned();
            if key.contains(":sent:") {
                continue;
            }
            let size: Option<u64> = redis::cmd("MEMORY")
                .arg("USAGE")
                .arg(&key)
                .arg("SAMPLES")
                .arg(0)
                .query_async(&mut node)
                .await?;
            bytes.insert(name, size.unwrap_or(0));
        }
    }
    Ok(bytes)
}

/// Removes the room.
async fn forget(env: &Env, room: &RoomId) -> LabResult<()> {
    let masters = env.redis.primaries().await?;
    for (address, mut node) in env.redis.each_node().await? {
        if masters.contains(&address) {
            let mut pipe = redis::pipe();
            for key in keys_of(&mut node, room).await? {
                pipe.cmd("UNLINK").arg(key).ignore();
            }
            let () = pipe.query_async(&mut node).await?;
        }
    }
    Ok(())
}
