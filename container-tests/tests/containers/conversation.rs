//! People who talk while something is broken, and what must be true of it afterwards.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    http::{Ask, Http},
    talker::PASSWORD,
};

/// Between two messages of a speaker: four a second are far below every limit of rate.
const PACE: Duration = Duration::from_millis(250);
/// Between two tries of one message.
const AGAIN: Duration = Duration::from_millis(300);
/// The longest that one message may take, with all its tries.
const SAID_BOUND: Duration = Duration::from_secs(90);
/// Messages of a page; the server gives no more.
const PAGE: usize = 200;

/// Users with a room.
pub struct Party {
    pub names: Vec<String>,
    pub tokens: Vec<String>,
    pub room: String,
}

impl Party {
    /// Registers so many users, of whom the first makes the room and the others come in.
    pub async fn gather(http: &Http, count: usize) -> anyhow::Result<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let names: Vec<String> = (0..count).map(|i| format!("u{i}x{}", &id[..8])).collect();
        let mut tokens = Vec::new();
        for name in &names {
            tokens.push(token(http, "/v1/register", name).await?);
        }
        let room = room(http, &tokens[0], "Tea").await?;
        for token in &tokens[1..] {
            let ask = Ask { token: Some(token), ..Ask::default() };
            http.must(Method::POST, &format!("/v1/rooms/{room}/join"), ask).await?;
        }
        Ok(Self { names, tokens, room })
    }
}

/// Registers or logs in.
pub async fn token(http: &Http, path: &str, name: &str) -> anyhow::Result<String> {
    let body = Some(json!({ "name": name, "password": PASSWORD }));
    let given = http.must(Method::POST, path, Ask { body, ..Ask::default() }).await?;
    given["token"].as_str().map(str::to_owned).context("no token")
}

/// Makes a room.
pub async fn room(http: &Http, token: &str, name: &str) -> anyhow::Result<String> {
    let ask = Ask { token: Some(token), body: Some(json!({ "name": name })), ..Ask::default() };
    let made = http.must(Method::POST, "/v1/rooms", ask).await?;
    made["room"].as_str().map(str::to_owned).context("no room")
}

/// Somebody who says one thing after the other, each until it is acknowledged.
pub struct Speaker {
    /// The servers, asked in turn.
    pub servers: Vec<Http>,
    pub token: String,
    pub room: String,
    /// How safe each is to be before it is acknowledged.
    pub level: &'static str,
    /// What every text begins with.
    pub prefix: String,
}

/// What was acknowledged.
#[derive(Default)]
pub struct Said {
    pub texts: Vec<String>,
    /// How many were acknowledged at which level.
    pub levels: BTreeMap<String, usize>,
    /// Of each, when it was tried first, and how long from then to its acknowledgement.
    pub took: Vec<(Instant, Duration)>,
    /// Answers that were none, by status and code.
    pub refused: BTreeMap<String, usize>,
}

impl Speaker {
    /// Speaks until it is told to stop; the last one is finished.
    pub async fn speak(self, mut stop: watch::Receiver<bool>) -> anyhow::Result<Said> {
        let mut said = Said::default();
        for i in 0.. {
            let text = format!("{}-{i}", self.prefix);
            self.say(&text, i, &mut said).await?;
            said.texts.push(text);
            let stopped = tokio::time::timeout(PACE, stop.wait_for(|stop| *stop)).await;
            if stopped.is_ok() {
                break;
            }
        }
        Ok(said)
    }

    async fn say(&self, text: &str, first: usize, said: &mut Said) -> anyhow::Result<()> {
        let began = Instant::now();
        let path = format!("/v1/rooms/{}/messages", self.room);
        for attempt in first.. {
            let server = &self.servers[attempt % self.servers.len()];
            let body = Some(json!({ "body": text, "level": self.level }));
            let ask = Ask { token: Some(&self.token), key: Some(text), body };
            let refusal = match server.ask(Method::POST, &path, ask).await {
                Ok((200 | 201, stored)) => {
                    let level = stored["level"].as_str().unwrap_or_default().to_owned();
                    *said.levels.entry(level).or_default() += 1;
                    said.took.push((began, began.elapsed()));
                    return Ok(());
                }
                Ok((status, problem)) => format!("{status} {}", problem["code"].as_str().unwrap_or_default()),
                Err(_) => "no answer".to_owned(),
            };
            *said.refused.entry(refusal).or_default() += 1;
            ensure!(began.elapsed() < SAID_BOUND, "{text} was not taken: {:?}", said.refused);
            // Not a wait for anything: a client that is refused does not ask again at once.
            tokio::time::sleep(AGAIN).await;
        }
        bail!("not reached")
    }
}

impl Said {
    /// As a line.
    pub fn told(&self) -> String {
        format!(
            "{} acknowledged, {:?}; the longest {:.1} s; refused {:?}",
            self.texts.len(),
            self.levels,
            self.longest(|_| true).as_secs_f64(),
            self.refused
        )
    }

    /// The longest of those that were tried first at these times.
    pub fn longest(&self, at: impl Fn(Instant) -> bool) -> Duration {
        self.took.iter().filter(|(began, _)| at(*began)).map(|(_, took)| *took).max().unwrap_or_default()
    }
}

/// All of a room's messages, oldest first.
pub async fn history(http: &Http, token: &str, room: &str) -> anyhow::Result<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let before = all.first().and_then(|message| message["seq"].as_u64());
        let before = before.map_or_else(String::new, |seq| format!("&before={seq}"));
        let path = format!("/v1/rooms/{room}/messages?limit={PAGE}{before}");
        let page = http.must(Method::GET, &path, Ask { token: Some(token), ..Ask::default() }).await?;
        let Some(Value::Array(mut messages)) = page.get("messages").cloned() else {
            bail!("no page: {page}")
        };
        if messages.is_empty() {
            return Ok(all);
        }
        messages.append(&mut all);
        all = messages;
    }
}

/// Each text is among these, once.
pub fn each_once<'a>(
    what: &str,
    texts: &[String],
    among: impl Iterator<Item = &'a str>,
) -> anyhow::Result<()> {
    let mut count: HashMap<&str, usize> = HashMap::new();
    for text in among {
        *count.entry(text).or_default() += 1;
    }
    let lost: Vec<_> = texts.iter().filter(|text| !count.contains_key(text.as_str())).collect();
    let twice: Vec<_> =
        texts.iter().filter(|text| count.get(text.as_str()).is_some_and(|n| *n > 1)).collect();
    ensure!(lost.is_empty() && twice.is_empty(), "{what}: of {} lost {lost:?}, twice {twice:?}", texts.len());
    Ok(())
}

/// The texts of messages.
pub fn bodies(messages: &[Value]) -> impl Iterator<Item = &str> {
    messages.iter().filter_map(|message| message["body"].as_str())
}
