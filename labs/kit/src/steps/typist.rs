//! Types lines as redis-cli does and shows the replies as it does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::line::{Line, Want};
use super::words_bytes;
use crate::resp::{Reply, as_redis_cli};
use crate::servers::Topology;

/// How long a reply may take before it is left to come later.
const REPLY_BOUND: Duration = Duration::from_secs(10);
/// The same for a command that blocks.
const BLOCKING_BOUND: Duration = Duration::from_secs(1);
/// The most redirects that one command follows.
const REDIRECTS_MAX: usize = 5;
/// The highest number of a connection.
const CONNECTIONS_MAX: usize = 16;
/// The most that is kept of what came without being asked for.
const ARRIVED_MAX: usize = 1_000;
/// The word between the commands of a pipeline.
const PIPE: &[u8] = b";;";

/// What a typed line gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// As redis-cli shows it; without a line end.
    pub text: String,
    /// Whether it is an error.
    pub error: bool,
}

impl Typed {
    fn error(text: impl Into<String>) -> Self {
        Self { text: text.into(), error: true }
    }
}

/// Types redis-cli lines into numbered connections: `GET k` into the first, `@2 GET k` into the second.
#[derive(Debug)]
pub struct Typist {
    topology: Topology,
    addrs: Vec<String>,
    lines: BTreeMap<usize, Line>,
    arrived: VecDeque<(usize, String)>,
}

impl Typist {
    /// A typist that connects when it first types. On a cluster it follows redirects as `redis-cli -c` does: the connection
    /// then stays with the node that it was sent to.
    pub fn new(topology: Topology, addrs: Vec<String>) -> Self {
        Self { topology, addrs, lines: BTreeMap::new(), arrived: VecDeque::new() }
    }

    /// Types one line and waits for its reply. Commands separated by the word `;;` are sent at once, as a pipeline; of these
    /// no redirect is followed.
    ///
    /// A blocking command that is not answered within a second is left waiting, any other after ten; the reply then comes
    /// with [`Typist::arrived`].
    pub async fn line(&mut self, line: &str) -> Typed {
        let (number, line) = match numbered(line) {
            Ok(found) => found,
            Err(error) => return Typed::error(error),
        };
        let words = match words_bytes(line) {
            Ok(words) => words,
            Err(error) => return Typed::error(format!("Invalid argument(s): {error}")),
        };
        let commands: Vec<Vec<Vec<u8>>> =
            words.split(|word| word == PIPE).filter(|words| !words.is_empty()).map(<[_]>::to_vec).collect();
        match commands.as_slice() {
            [] => Typed { text: String::new(), error: false },
            [command] => self.one(number, command).await,
            many => self.exchange(number, many).await.unwrap_or_else(Typed::error),
        }
    }

    /// What came without being asked for (messages of subscriptions, late replies of blocking commands), waiting up to
    /// `wait` for the first; with the number of the connection.
    pub async fn arrived(&mut self, wait: Duration) -> Vec<(usize, String)> {
        let end = Instant::now() + wait;
        loop {
            for (number, line) in &mut self.lines {
                line.take_in();
                while let Some(reply) = line.unasked() {
                    keep(&mut self.arrived, *number, as_redis_cli(&reply));
                }
                if line.lost() {
                    keep(&mut self.arrived, *number, "Error: Server closed the connection".to_owned());
                }
            }
            if !self.arrived.is_empty() || Instant::now() >= end {
                return self.arrived.drain(..).collect();
            }
            let open: Vec<_> = self.lines.values().filter_map(Line::readable).map(Box::pin).collect();
            if open.is_empty() {
                return Vec::new();
            }
            let _ = tokio::time::timeout_at(end, futures_util::future::select_all(open)).await;
        }
    }

    /// One command, which follows redirects on a cluster.
    async fn one(&mut self, number: usize, command: &[Vec<u8>]) -> Typed {
        let mut told = String::new();
        let mut asking = false;
        for _ in 0..=REDIRECTS_MAX {
            if std::mem::take(&mut asking) {
                let _ = self.exchange(number, &[vec![b"ASKING".to_vec()]]).await;
            }
            let typed = match self.exchange(number, std::slice::from_ref(&command.to_vec())).await {
                Ok(typed) => typed,
                Err(error) => return Typed::error(told + &error),
            };
            let redirect = redirect(&typed).filter(|_| self.topology == Topology::Cluster);
            let Some((ask, slot, addr)) = redirect else {
                return Typed { text: told + &typed.text, error: typed.error };
            };
            told.push_str(&format!("-> Redirected to slot [{slot}] located at {addr}\n"));
            asking = ask;
            if let Some(line) = self.lines.get_mut(&number)
                && let Err(error) = line.connect(&addr).await
            {
                return Typed::error(told + &error);
            }
        }
        Typed::error(told + "(error) too many redirects")
    }

    /// Sends commands at once and reads their replies.
    async fn exchange(&mut self, number: usize, commands: &[Vec<Vec<u8>>]) -> Result<Typed, String> {
        let addr = self.addrs.first().cloned().unwrap_or_default();
        let line = self.lines.entry(number).or_default();
        line.take_in();
        if line.lost() {
            keep(&mut self.arrived, number, "Error: Server closed the connection".to_owned());
        }
        let wants = line.send(&addr, commands).await?;
        let mut texts = Vec::new();
        let mut error = false;
        for want in wants {
            let bound = if want.blocks { BLOCKING_BOUND } else { REPLY_BOUND };
            match tokio::time::timeout(bound, read(line, number, &mut self.arrived, &want)).await {
                Ok(Ok(replies)) => {
                    error |= replies.iter().any(Reply::is_error);
                    texts.extend(replies.iter().map(as_redis_cli));
                }
                Ok(Err(closed)) => {
                    texts.push(closed);
                    error = true;
                    break;
                }
                Err(_) => {
                    line.owe(&want);
                    texts.push("(waiting: the reply is shown when it comes)".to_owned());
                }
            }
        }
        Ok(Typed { text: texts.join("\n"), error })
    }
}

/// The replies to one command; what comes in between without being asked for is kept.
async fn read(
    line: &mut Line,
    number: usize,
    arrived: &mut VecDeque<(usize, String)>,
    want: &Want,
) -> Result<Vec<Reply>, String> {
    let mut replies = Vec::new();
    while replies.len() < line.expected(want, replies.len()) {
        let reply = line.next().await?;
        if line.is_reply(&reply, Some(want)) {
            let only = !line.confirms(&reply);
            replies.push(reply);
            if only {
                break;
            }
        } else {
            keep(arrived, number, as_redis_cli(&reply));
        }
    }
    Ok(replies)
}

fn keep(arrived: &mut VecDeque<(usize, String)>, number: usize, text: String) {
    if arrived.len() == ARRIVED_MAX {
        arrived.pop_front();
    }
    arrived.push_back((number, text));
}

/// `@2 GET k` is for the second connection.
fn numbered(line: &str) -> Result<(usize, &str), String> {
    let line = line.trim();
    let Some(rest) = line.strip_prefix('@') else { return Ok((1, line)) };
    let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    match number.parse() {
        Ok(number) if (1..=CONNECTIONS_MAX).contains(&number) => Ok((number, rest)),
        _ => Err(format!("`@{number}` is no connection: use @1 to @{CONNECTIONS_MAX}")),
    }
}

/// Whether it is by ASK, the slot, the address.
fn redirect(typed: &Typed) -> Option<(bool, String, String)> {
    let text = typed.text.strip_prefix("(error) ").filter(|_| typed.error)?;
    let mut words = text.split(' ');
    let ask = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    Some((ask, words.next()?.to_owned(), words.next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_their_connection() {
        assert_eq!(numbered(" GET k ").unwrap(), (1, "GET k"));
        assert_eq!(numbered("@3 GET k").unwrap(), (3, "GET k"));
        for wrong in ["@0 GET k", "@17 GET k", "@x GET k"] {
            assert!(numbered(wrong).is_err(), "{wrong}");
        }
    }
}
