//! What a cluster refuses, command by command.

use chatlab_kit::{
    LabResult,
    lab::{Env, Findings},
    redis::Redis,
    servers::Topology,
    slots::slot,
};

use super::{Private, tag_in};

/// Commands over the keys A and B; a line of several commands is one pipeline over one connection.
const COMMANDS: [(&str, &[&str]); 9] = [
    ("MSET", &["MSET A 1 B 2"]),
    ("MGET", &["MGET A B"]),
    ("DEL", &["DEL A B"]),
    ("RENAME", &["RENAME A B"]),
    ("SUNIONSTORE", &["SUNIONSTORE A B"]),
    ("script, both declared", &["EVAL return(redis.call('SET',KEYS[1],redis.call('INCR',KEYS[2]))) 2 A B"]),
    ("script, B made up inside", &["EVAL return(redis.call('SET',KEYS[1],redis.call('INCR','B'))) 1 A"]),
    ("MULTI over both", &["MULTI", "SET A 1", "SET B 2", "EXEC"]),
    ("pipeline of both", &["SET A 1", "SET B 2"]),
];

/// Sends each command with one tag and with two.
pub(super) async fn run(env: &Env) -> LabResult<Findings> {
    let cluster = Private::start(env, Topology::Cluster, 2_000).await?;
    let single = Private::start(env, Topology::Single, 2_000).await?;
    let owners = cluster.redis.slot_owners().await?;
    let first = owners.primaries().remove(0);
    let here = |slot| owners.owner_of(slot) == Some(first.as_str());
    let a = tag_in("a", here)?;
    let b = tag_in("b", |other| here(other) && other != slot(a.as_bytes()))?;
    let elsewhere = tag_in("c", |slot| !here(slot))?;
    let on_one = single.redis.node(&single.managed.addrs()[0]).await?;
    let on_cluster = cluster.redis.node(&first).await?;

    let columns = ["one node", "one tag", "two slots", "two nodes"];
    let mut findings = Findings::new("1: taken, 0: refused", columns);
    for (name, lines) in COMMANDS {
        let mut row = Vec::new();
        let mut refusals = Vec::new();
        let far = elsewhere.as_str();
        for (mut redis, a, b) in [
            (on_one.clone(), a.as_str(), b.as_str()),
            (on_cluster.clone(), a.as_str(), a.as_str()),
            (on_cluster.clone(), a.as_str(), b.as_str()),
            (on_cluster.clone(), a.as_str(), far),
        ] {
            let refusal = send(&mut redis, lines, &format!("{{{a}}}:A"), &format!("{{{b}}}:B")).await?;
            row.push(if refusal.is_some() { 0.0 } else { 1.0 });
            refusals.push(refusal);
        }
        findings.row(name, row);
        let words = |refusal: &Option<String>| refusal.clone().unwrap_or_else(|| "taken".to_owned());
        findings.conclude(format!(
            "{name}: two slots: {}; two nodes: {}",
            words(&refusals[2]),
            words(&refusals[3])
        ));
    }
    findings.note(
        "one tag, two slots: both keys on the node that is asked; two nodes: B belongs to another master",
    );
    findings.note(
        "sent to one node over a plain connection: clients that split MGET or DEL by slot hide the refusal",
    );
    Ok(findings)
}

/// Sends the commands in one pipeline; the first refusal, cut.
async fn send(redis: &mut Redis, lines: &[&str], a: &str, b: &str) -> LabResult<Option<String>> {
    for key in [a, b] {
        // Each command finds an empty place; RENAME and SUNIONSTORE need a source.
        let _: Result<u64, _> = redis::cmd("DEL").arg(key).query_async(redis).await;
    }
    if lines[0].starts_with("RENAME") {
        let _: () = redis::cmd("SET").arg(a).arg(1).query_async(redis).await?;
    }
    let mut refusal = None;
    for line in lines {
        let mut words = line.split(' ').map(|word| match word {
            "A" => a.to_owned(),
            "B" => b.to_owned(),
            other => other.replace("'B'", &format!("'{b}'")),
        });
        let mut cmd = redis::cmd(&words.next().unwrap_or_default());
        for word in words {
            cmd.arg(word);
        }
        let answer: Result<redis::Value, redis::RedisError> = cmd.query_async(redis).await;
        if let Err(error) = answer
            && refusal.is_none()
        {
            refusal = Some(match error.code() {
                Some(code) => code.to_owned(),
                None => error.to_string().chars().take(60).collect(),
            });
        }
    }
    Ok(refusal)
}
