//! One connection of a typist.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::resp::{Kind, Limits, Reply, Scanner, command};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What is kept of a reply.
const LIMITS: Limits = Limits { text: 1 << 20, values: 10_000 };
/// Taken from the socket at a time.
const READ_BYTES: usize = 16 * 1024;
/// The most replies that wait to be read.
const READY_MAX: usize = 10_000;

const KINDS: [&str; 6] =
    ["subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"];

#[derive(Debug)]
pub(super) struct Line {
    stream: Option<TcpStream>,
    scanner: Scanner,
    ready: VecDeque<Reply>,
    resp3: bool,
    silent: bool,
    lost: bool,
    /// Channels, patterns, shard channels.
    subscriptions: [HashSet<Vec<u8>>; 3],
    /// Replies to earlier commands that are still to come.
    owed: usize,
}

/// What a command waits for.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) blocks: bool,
    /// Of a command about subscriptions: its index in `KINDS` and how many channels it names.
    about: Option<(usize, usize)>,
    hello: Option<bool>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            stream: None,
            scanner: Scanner::new(LIMITS),
            ready: VecDeque::new(),
            resp3: false,
            silent: false,
            lost: false,
            subscriptions: Default::default(),
            owed: 0,
        }
    }
}

impl Line {
    /// A fresh connection in place of this one, speaking the same protocol.
    pub(super) async fn connect(&mut self, addr: &str) -> Result<(), String> {
        let refused = |why: String| format!("Could not connect to Redis at {addr}: {why}");
        let resp3 = self.resp3;
        *self = Self::default();
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await;
        let stream = connecting.map_err(|_| refused("timed out".to_owned()))?;
        let stream = stream.map_err(|error| refused(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| refused(error.to_string()))?;
        self.stream = Some(stream);
        if resp3 {
            self.write(&command(&["HELLO", "3"])).await.map_err(refused)?;
            self.next().await?;
            self.resp3 = true;
        }
        Ok(())
    }

    /// Sends commands at once, on a new connection where there is none, and says what each waits for.
    pub(super) async fn send(&mut self, addr: &str, commands: &[Vec<Vec<u8>>]) -> Result<Vec<Want>, String> {
        let bytes: Vec<u8> = commands.iter().flat_map(|words| command(words)).collect();
        let fresh = self.stream.is_none();
        if fresh {
            self.connect(addr).await?;
        }
        if let Err(error) = self.write(&bytes).await {
            if fresh {
                return Err(error);
            }
            // The old connection was gone, and nothing of this was sent.
            self.connect(addr).await?;
            self.write(&bytes).await?;
        }
        Ok(commands.iter().filter_map(|words| self.want(words)).collect())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(stream) = self.stream.as_mut() else { return Err("not connected".to_owned()) };
        stream.write_all(bytes).await.map_err(|error| format!("Error: {error}"))
    }

    /// None for a command that nothing answers.
    fn want(&mut self, words: &[Vec<u8>]) -> Option<Want> {
        let word = |index: usize| {
            words
                .get(index)
                .map(|word| String::from_utf8_lossy(word).to_ascii_uppercase())
                .unwrap_or_default()
        };
        let verb = word(0);
        if verb == "CLIENT" && word(1) == "REPLY" {
            self.silent = word(2) == "OFF";
            if matches!(word(2).as_str(), "OFF" | "SKIP") {
                return None;
            }
        }
        if self.silent {
            return None;
        }
        let about = KINDS.iter().position(|kind| kind.eq_ignore_ascii_case(&verb));
        Some(Want {
            blocks: blocks(&verb, words),
            about: about.map(|kind| (kind, words.len() - 1)),
            hello: (verb == "HELLO" && words.len() > 1).then(|| word(1) == "3"),
        })
    }

    /// How many replies a command gets, of which `so_far` have come.
    pub(super) fn expected(&self, want: &Want, so_far: usize) -> usize {
        match want.about {
            Some((kind @ 3.., 0)) => {
                so_far + self.subscriptions[kind - 3].len().max(usize::from(so_far == 0))
            }
            Some((_, names)) => names.max(1),
            None => 1,
        }
    }

    /// The reply to the last command did not come in time.
    pub(super) fn owe(&mut self, want: &Want) {
        // Late confirmations of subscriptions are known by what they say.
        self.owed += usize::from(want.about.is_none());
    }

    /// Whether a frame answers `want`, rather than being a message or the late answer to an earlier command.
    pub(super) fn is_reply(&mut self, reply: &Reply, want: Option<&Want>) -> bool {
        if let Some((kind, name)) = confirmation(reply) {
            let names = &mut self.subscriptions[kind % 3];
            if kind < 3 {
                names.insert(name);
            } else {
                names.remove(&name);
            }
            return want.is_some_and(|want| want.about.is_some_and(|(about, _)| about == kind));
        }
        let message = match reply {
            Reply::Items(Kind::Push, _) => true,
            Reply::Items(Kind::Array, items) => {
                let first = items.items.first().and_then(Reply::text);
                let is_message = matches!(first, Some(b"message" | b"pmessage" | b"smessage"));
                is_message && !self.resp3 && self.subscriptions.iter().any(|names| !names.is_empty())
            }
            _ => false,
        };
        if message {
            return false;
        }
        if self.owed > 0 {
            self.owed -= 1;
            return false;
        }
        if let Some(resp3) = want.and_then(|want| want.hello)
            && !reply.is_error()
        {
            self.resp3 = resp3;
        }
        true
    }

    /// Whether a frame is one of several that a command about subscriptions gets.
    pub(super) fn confirms(&self, reply: &Reply) -> bool {
        confirmation(reply).is_some()
    }

    /// The next frame, waiting for it.
    pub(super) async fn next(&mut self) -> Result<Reply, String> {
        loop {
            if let Some(reply) = self.ready.pop_front() {
                return Ok(reply);
            }
            let Some(stream) = self.stream.as_ref() else {
                self.lost = false;
                return Err("Error: Server closed the connection".to_owned());
            };
            if let Err(error) = stream.readable().await {
                return Err(format!("Error: {error}"));
            }
            self.take_in();
        }
    }

    /// A frame that nobody waits for.
    pub(super) fn unasked(&mut self) -> Option<Reply> {
        let reply = self.ready.pop_front()?;
        let _ = self.is_reply(&reply, None);
        Some(reply)
    }

    /// Reads what lies in the socket, without waiting.
    pub(super) fn take_in(&mut self) {
        let mut buffer = vec![0; READ_BYTES];
        while self.ready.len() < READY_MAX {
            let Some(stream) = self.stream.as_ref() else { return };
            match stream.try_read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(read @ 1..) if self.feed(&buffer[..read]) => {}
                _ => {
                    self.stream = None;
                    self.lost = true;
                    self.subscriptions = Default::default();
                    self.owed = 0;
                }
            }
        }
    }

    fn feed(&mut self, mut input: &[u8]) -> bool {
        while !input.is_empty() {
            let Ok((taken, reply)) = self.scanner.feed(input) else { return false };
            self.ready.extend(reply);
            input = &input[taken..];
        }
        true
    }

    /// Whether the connection was lost since this was last asked.
    pub(super) fn lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Ends when there is something to read; none when there is no connection.
    pub(super) fn readable(&self) -> Option<impl Future<Output = std::io::Result<()>>> {
        self.stream.as_ref().map(TcpStream::readable)
    }
}

/// The index in `KINDS` and the name of what begins or ends.
fn confirmation(reply: &Reply) -> Option<(usize, Vec<u8>)> {
    let [what, name, Reply::Int(_)] = reply.list()? else { return None };
    let what = what.text()?;
    let kind = KINDS.iter().position(|kind| kind.as_bytes() == what)?;
    Some((kind, name.text().unwrap_or_default().to_vec()))
}

/// Whether a command may wait for others on the server.
pub(super) fn blocks(verb: &str, words: &[impl AsRef<[u8]>]) -> bool {
    let blocking = |word: &[u8]| word.eq_ignore_ascii_case(b"BLOCK");
    match verb {
        "BLPOP" | "BRPOP" | "BLMOVE" | "BRPOPLPUSH" | "BLMPOP" | "BZPOPMIN" | "BZPOPMAX" | "BZMPOP"
        | "WAIT" | "WAITAOF" => true,
        "XREAD" | "XREADGROUP" => words.iter().any(|word| blocking(word.as_ref())),
        _ => false,
    }
}
