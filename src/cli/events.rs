//! `chatlab events`: what the server's outbox holds, how far its groups are, and what they gave up.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use chatlab_audit::{
    EventId, TAKE_MAX,
    outbox::{GroupLag, Outbox, OutboxPolicy, Streams, TopicLag},
};
use chatlab_kit::{redis::Redis, slots::Partition};
use comfy_table::{CellAlignment, Table, presets};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::{Global, place::RedisArgs};
use crate::service::{events::Topic, now_ms};

/// Partitions that are asked at once.
const AT_ONCE: usize = 32;
/// How often `tail` looks.
const LOOK: Duration = Duration::from_millis(250);
/// The most events that one `tail` or `replay` shows.
const MAX_SHOWN: usize = 1_000_000;

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chatlab events topics --redis-url redis://127.0.0.1:6379
  chatlab events lag                              with CHATLAB_REDIS_URL set
  chatlab events tail message.created             what comes from now on
  chatlab events replay audit.log --since-s 60    the last minute again
  chatlab events dead message.created             what could not be worked")]
pub struct Args {
    #[command(flatten)]
    redis: RedisArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The topics, what they hold and who reads them
    Topics,
    /// How far each group is behind
    Lag {
        /// Only this topic
        topic: Option<String>,
    },
    /// Show events as they come, as JSON lines, until Ctrl-C
    Tail {
        /// Which topic
        topic: String,
        /// End after so many
        #[arg(long, default_value_t = MAX_SHOWN, value_name = "N")]
        count: usize,
        /// Begin so many seconds ago
        #[arg(long, default_value_t = 0, value_name = "S")]
        since_s: u64,
    },
    /// Show the events that are still there, as JSON lines; no group is moved
    Replay {
        /// Which topic
        topic: String,
        /// Only those after this id, `MS-N`, in every partition
        #[arg(long, value_name = "ID", conflicts_with = "since_s")]
        after: Option<String>,
        /// Only those of the last seconds
        #[arg(long, value_name = "S")]
        since_s: Option<u64>,
        /// At most so many
        #[arg(long, default_value_t = MAX_SHOWN, value_name = "N")]
        count: usize,
    },
    /// What groups could not work, with the error, as JSON lines
    Dead {
        /// Which topic
        topic: String,
        /// Only this group [default: the server's own groups of the topic]
        #[arg(long)]
        group: Option<String>,
    },
}

/// Runs `chatlab events`.
///
/// # Errors
/// When no Redis was named or it does not answer, or there is no such topic.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = args.redis.config()?.context(
        "which Redis? Give --redis-url redis://HOST:PORT, or --redis-nodes HOST:PORT,… --topology cluster",
    )?;
    let redis =
        Redis::connect(&config).await.with_context(|| format!("Redis at {}", config.nodes.join(", ")))?;
    let outbox: Arc<dyn Outbox> = Arc::new(Streams::new(redis, OutboxPolicy::default()));
    match args.command {
        Command::Topics => topics(&*outbox, global.json).await?,
        Command::Lag { topic } => lag(&*outbox, topic.as_deref(), global.json).await?,
        Command::Tail { topic, count, since_s } => {
            tail(&*outbox, known(&topic)?, count, ago(since_s)).await?;
        }
        Command::Replay { topic, after, since_s, count } => {
            let after = match (after, since_s) {
                (Some(id), _) => id_of(&id)?,
                (None, Some(s)) => ago(s),
                (None, None) => EventId::default(),
            };
            replay(&*outbox, known(&topic)?, after, count).await?;
        }
        Command::Dead { topic, group } => dead(&*outbox, known(&topic)?, group.as_deref()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn known(name: &str) -> anyhow::Result<Topic> {
    Topic::of(name).with_context(|| {
        let names: Vec<_> = Topic::ALL.iter().map(|topic| topic.name()).collect();
        format!("there is no topic `{name}`; there are {}", names.join(", "))
    })
}

fn id_of(text: &str) -> anyhow::Result<EventId> {
    let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
    let id = ms.parse().ok().zip(seq.parse().ok()).map(|(ms, seq)| EventId(ms, seq));
    id.with_context(|| format!("`{text}` is no id: MS-N, such as 1795268238459-0"))
}

/// Ids begin with the time.
fn ago(s: u64) -> EventId {
    let now = u64::try_from(now_ms()).unwrap_or_default();
    EventId(now.saturating_sub(s.saturating_mul(1_000)), 0)
}

/// A topic in all partitions together.
async fn whole(outbox: &dyn Outbox, topic: Topic) -> anyhow::Result<TopicLag> {
    let asked = stream::iter(Partition::all()).map(|partition| outbox.lag(partition, topic.name()));
    let all: Vec<TopicLag> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    let mut groups: BTreeMap<String, GroupLag> = BTreeMap::new();
    let mut length = 0;
    for one in all {
        length += one.length;
        for group in one.groups {
            match groups.get_mut(&group.group) {
                Some(sum) => {
                    sum.undelivered += group.undelivered;
                    sum.pending += group.pending;
                    sum.oldest_ms = sum.oldest_ms.max(group.oldest_ms);
                }
                None => drop(groups.insert(group.group.clone(), group)),
            }
        }
    }
    Ok(TopicLag { length, groups: groups.into_values().collect() })
}

fn table(head: &[&str], rows: Vec<Vec<String>>, numbers_from: usize) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{}", table.trim_fmt());
}

async fn topics(outbox: &dyn Outbox, as_json: bool) -> anyhow::Result<()> {
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for topic in Topic::ALL {
        let seen = whole(outbox, topic).await?;
        let mut groups: Vec<String> = seen.groups.into_iter().map(|group| group.group).collect();
        for own in topic.groups() {
            if !groups.iter().any(|group| group == own) {
                groups.push((*own).to_owned());
            }
        }
        documents.push(json!({ "topic": topic.name(), "entries": seen.length, "groups": groups }));
        rows.push(vec![topic.name().to_owned(), groups.join(", "), seen.length.to_string()]);
    }
    if as_json {
        println!("{}", Value::from(documents));
    } else {
        table(&["TOPIC", "GROUPS", "ENTRIES"], rows, 2);
    }
    Ok(())
}

async fn lag(outbox: &dyn Outbox, only: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    let wanted = match only {
        Some(name) => vec![known(name)?],
        None => Topic::ALL.to_vec(),
    };
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for topic in wanted {
        for group in whole(outbox, topic).await?.groups {
            documents.push(json!({
                "topic": topic.name(), "group": group.group, "undelivered": group.undelivered,
                "pending": group.pending, "oldest_ms": group.oldest_ms,
            }));
            rows.push(vec![
                topic.name().to_owned(),
                group.group,
                group.undelivered.to_string(),
                group.pending.to_string(),
                format!("{:.1}", group.oldest_ms as f64 / 1e3),
            ]);
        }
    }
    if as_json {
        println!("{}", Value::from(documents));
    } else if rows.is_empty() {
        println!("no group has read anything yet");
    } else {
        table(&["TOPIC", "GROUP", "UNREAD", "IN HAND", "OLDEST, S"], rows, 2);
    }
    Ok(())
}

/// One line a event.
fn show(partition: Partition, id: EventId, payload: &[u8], error: Option<&str>) {
    let text = String::from_utf8_lossy(payload);
    let event = serde_json::from_str::<Value>(&text).unwrap_or_else(|_| Value::from(text.as_ref()));
    let mut line = json!({ "partition": partition.tag(), "id": id.to_string(), "event": event });
    if let Some(error) = error {
        line["error"] = error.into();
    }
    println!("{line}");
}

/// What came in each partition after a place in it, at most one page each, and the places after that.
async fn pages(
    outbox: &dyn Outbox,
    topic: Topic,
    after: &[(Partition, EventId)],
) -> anyhow::Result<Vec<(Partition, EventId, Vec<u8>)>> {
    let asked = stream::iter(after).map(|(partition, after)| async move {
        let page = outbox.replay(*partition, topic.name(), *after, TAKE_MAX).await?;
        anyhow::Ok(page.into_iter().map(|(id, payload)| (*partition, id, payload)).collect::<Vec<_>>())
    });
    let pages: Vec<Vec<_>> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    let mut all = pages.concat();
    all.sort_by_key(|(partition, id, _)| (*id, *partition));
    Ok(all)
}

/// Moves each partition's place to the last of what came.
fn move_on(after: &mut [(Partition, EventId)], came: &[(Partition, EventId, Vec<u8>)]) {
    for (partition, id, _) in came {
        after[usize::from(partition.index())].1 = *id;
    }
}

async fn tail(outbox: &dyn Outbox, topic: Topic, count: usize, from: EventId) -> anyhow::Result<()> {
    let mut after: Vec<_> = Partition::all().map(|partition| (partition, from)).collect();
    let mut left = count.min(MAX_SHOWN);
    let shown = async {
        while left > 0 {
            let came = pages(outbox, topic, &after).await?;
            for (partition, id, payload) in came.iter().take(left) {
                show(*partition, *id, payload, None);
            }
            left -= came.len().min(left);
            move_on(&mut after, &came);
            if came.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
        anyhow::Ok(())
    };
    tokio::select! {
        shown = shown => shown,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn replay(outbox: &dyn Outbox, topic: Topic, from: EventId, count: usize) -> anyhow::Result<()> {
    let mut after: Vec<_> = Partition::all().map(|partition| (partition, from)).collect();
    let mut left = count.min(MAX_SHOWN);
    while left > 0 {
        let came = pages(outbox, topic, &after).await?;
        if came.is_empty() {
            break;
        }
        for (partition, id, payload) in came.iter().take(left) {
            show(*partition, *id, payload, None);
        }
        left -= came.len().min(left);
        move_on(&mut after, &came);
    }
    Ok(())
}

async fn dead(outbox: &dyn Outbox, topic: Topic, group: Option<&str>) -> anyhow::Result<()> {
    let groups = group.map_or_else(|| topic.groups().to_vec(), |group| vec![group]);
    if groups.is_empty() {
        bail!("the server has no group of {}: name one with --group", topic.name());
    }
    for group in groups {
        let asked = stream::iter(Partition::all()).map(|partition| async move {
            Ok::<_, anyhow::Error>((partition, outbox.dead(partition, topic.name(), group).await?))
        });
        let all: Vec<_> = asked.buffered(AT_ONCE).try_collect().await?;
        for (partition, letters) in all {
            for letter in letters {
                show(partition, letter.id, &letter.payload, Some(&letter.error));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_a_time_and_a_number() {
        assert_eq!(id_of("17-3").unwrap(), EventId(17, 3));
        assert_eq!(id_of("17").unwrap(), EventId(17, 0));
        for wrong in ["", "x", "1-x", "-1"] {
            assert!(id_of(wrong).unwrap_err().to_string().contains("MS-N"), "{wrong}");
        }
    }
}
