//! Plays a case against the server and judges what it answers.

use std::{net::SocketAddr, time::Duration};

use chatlab_kit::ids::RoomId;
use tokio::time::Instant;

use super::{
    Kind,
    case::{Case, Leave, Request, Step},
    corpus, frames,
    heard::{Dialect, FIRST_OWN, Heard},
    upgrade,
    wire::{Ending, Wire},
};

/// Within this the server must answer whoever asks it properly, whatever others do.
pub const ANSWER_BOUND: Duration = Duration::from_secs(5);
/// Within this the server must have let go of a connection that stays and says nothing: the longest of its own time limits, for
/// the head of a request, and its goodbye.
const STAY_BOUND: Duration = Duration::from_secs(25);
/// Silence of this length ends waiting for what may come or not.
const QUIET: Duration = Duration::from_millis(15);
/// How long an answer by polling is waited for: the server holds one back until there is something.
const POLL_WAIT: Duration = Duration::from_millis(150);
/// The mask of our own good frames. It hides nothing here.
const MASK: u32 = 0x1234_5678;

/// Whom and where a case is about.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub server: SocketAddr,
    pub kind: Kind,
    pub token: String,
    pub room: RoomId,
}

/// What became of a case.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// What was heard, by label, and how it ended.
    pub labels: Vec<String>,
    /// Bytes sent.
    pub sent: u64,
    /// What the server did that it must not do.
    pub wrong: Option<String>,
    /// The other side went by itself and without a close frame after an upgrade: so does one whose task is gone.
    pub abrupt: bool,
}

/// Plays a case from its first byte to its last.
pub(super) async fn play(case: &Case, place: &Place) -> Played {
    let dialect = match place.kind {
        Kind::Ws => Dialect::Native,
        Kind::Socketio => Dialect::Engine,
    };
    let wire = match Wire::open(place.server, dialect).await {
        Ok(wire) => wire,
        Err(error) => {
            return Played { wrong: Some(format!("no connection: {error}")), ..Played::default() };
        }
    };
    let mut player =
        Player { place, wire, sid: String::new(), fences: FIRST_OWN, left: false, others: Played::default() };
    let mut wrong = player.steps(&case.steps).await.err();
    if wrong.is_none() {
        wrong = player.leave(case.leave).await.err();
    }
    player.judged(wrong)
}

/// What is sent as a good client's first words.
fn hello() -> String {
    serde_json::to_string(&corpus::hello()).unwrap_or_default()
}

struct Player<'a> {
    place: &'a Place,
    wire: Wire,
    /// What Engine.IO called the session.
    sid: String,
    fences: u64,
    /// We have closed our half, or said that we go.
    left: bool,
    /// What was heard on connections for single requests.
    others: Played,
}

type Verdict = Result<(), String>;

impl Player<'_> {
    /// Fills in what a case only names.
    fn filled(&self, text: &str) -> String {
        text.replace(corpus::TOKEN, &self.place.token)
            .replace(corpus::ROOM, &self.place.room.to_string())
            .replace(corpus::SID, &self.sid)
    }

    /// Ends early when the other side is gone: the rest would reach nobody.
    async fn steps(&mut self, steps: &[Step]) -> Verdict {
        for step in steps {
            if self.wire.ending.is_some() {
                return Ok(());
            }
            if !self.step(step).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// False when nothing more can be said.
    async fn step(&mut self, step: &Step) -> Result<bool, String> {
        match step {
            Step::Open(path) => self.open(path).await,
            Step::Hello => {
                self.wire.put(&frames::text(&self.filled(&hello()), MASK)).await;
                match self.wait("welcome", |heard| is_text(heard, "welcome")).await? {
                    true => Ok(true),
                    false => Err(format!("a good hello was not welcomed: {:?}", self.wire.heard.last())),
                }
            }
            Step::Text(text) => Ok(self.wire.put(&frames::text(&self.filled(text), MASK)).await),
            Step::Binary(bytes) => Ok(self.wire.put(&frames::frame(0x82, bytes, MASK)).await),
            Step::Bytes(bytes) => Ok(self.wire.put(bytes).await),
            Step::Drip(bytes) => self.drip(bytes).await,
            Step::Flood { bytes, times } => {
                let before = self.wire.sent;
                self.wire.flood(bytes, *times).await;
                Ok(self.wire.sent - before == bytes.len() as u64 * u64::from(*times))
            }
            Step::Fence => self.fence().await,
            Step::LowFence => self.low_fence().await,
            Step::Closed(codes) => self.closed(codes).await,
            Step::Answered => self.wait("a response", |heard| matches!(heard, Heard::Status { .. })).await,
            Step::Packet(kind) => {
                let wanted = format!("packet {kind}");
                // Being refused is an answer too.
                let refused =
                    |heard: &Heard| matches!(heard, Heard::Text { name, .. } if name.starts_with("refused"));
                self.wait(&wanted, |heard| is_text(heard, &wanted) || refused(heard)).await?;
                Ok(self.wire.heard.iter().any(|heard| is_text(heard, &wanted)))
            }
            Step::Quiet => {
                self.wire.listen(QUIET).await;
                Ok(true)
            }
            Step::Requests(requests) => self.requests(requests).await,
        }
    }

    /// Something must come, or the end. Whether it came.
    async fn wait(&mut self, what: &str, is: impl Fn(&Heard) -> bool) -> Result<bool, String> {
        let deadline = Instant::now() + ANSWER_BOUND;
        let came = self.wire.hear(deadline, |heard| heard.iter().any(|one| is(one) || is_end(one))).await;
        if !came && self.wire.ending.is_none() {
            return Err(format!("{what} did not come within {ANSWER_BOUND:?}"));
        }
        Ok(self.wire.heard.iter().any(is))
    }

    async fn open(&mut self, path: &str) -> Result<bool, String> {
        let path = self.filled(path);
        self.wire.put(&upgrade::good(&path)).await;
        let upgraded = |heard: &Heard| matches!(heard, Heard::Status { status: 101, .. });
        let opened =
            self.wait("the answer to an upgrade", |heard| matches!(heard, Heard::Status { .. })).await?;
        // Of a session that polls, the server decides.
        if self.place.kind == Kind::Ws && !(opened && self.wire.heard.iter().any(upgraded)) {
            return Err(format!("a good upgrade was not taken: {:?}", self.wire.heard.first()));
        }
        Ok(self.wire.heard.iter().any(upgraded))
    }

    async fn drip(&mut self, bytes: &[u8]) -> Result<bool, String> {
        for byte in bytes {
            if !self.wire.put(&[*byte]).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn fence(&mut self) -> Result<bool, String> {
        let id = self.fences;
        self.fences += 1;
        let text = match self.place.kind {
            Kind::Ws => format!(r#"{{"t":"ping","id":{id}}}"#),
            // A good request that can only be refused.
            Kind::Socketio => format!(r#"42{id}["chat:leave",{{"room":"{}"}}]"#, RoomId(uuid::Uuid::nil())),
        };
        self.wire.put(&frames::text(&text, MASK)).await;
        self.wait("the answer to a request", move |heard| *heard == Heard::Answer(id)).await
    }

    async fn low_fence(&mut self) -> Result<bool, String> {
        let payload = self.fences.to_be_bytes().to_vec();
        self.fences += 1;
        self.wire.put(&frames::ping(&payload, MASK)).await;
        self.wait("a pong", move |heard| matches!(heard, Heard::Pong(got) if *got == payload)).await
    }

    async fn closed(&mut self, codes: &[u16]) -> Result<bool, String> {
        let deadline = Instant::now() + ANSWER_BOUND;
        self.wire.hear(deadline, |heard| heard.iter().any(is_end)).await;
        let code = self.wire.heard.iter().find_map(|heard| match heard {
            Heard::Close(code) => Some(*code),
            _ => None,
        });
        match code {
            Some(Some(code)) if codes.contains(&code) => Ok(true),
            Some(code) => Err(format!("closed with {code:?}, must be one of {codes:?}")),
            None => Err(format!("not closed with one of {codes:?} ({:?})", self.wire.ending)),
        }
    }

    /// Requests by themselves, all at once; answers may be held back.
    async fn requests(&mut self, requests: &[Request]) -> Result<bool, String> {
        let texts = requests.iter().map(|request| {
            let body = self.filled(&request.body);
            let length = match request.head.starts_with("GET") && body.is_empty() {
                true => String::new(),
                false => format!("Content-Length: {}\r\n", body.len()),
            };
            format!("{}Connection: close\r\n{length}\r\n{body}", self.filled(&request.head))
        });
        let texts: Vec<_> = texts.collect();
        let server = self.place.server;
        let exchanges = texts.iter().map(|text| exchange(server, text));
        for wire in futures_util::future::join_all(exchanges).await {
            let wire = wire.map_err(|error| format!("no connection for a request: {error}"))?;
            if let Some(sid) = wire.heard.iter().find_map(sid) {
                self.sid = sid;
            }
            self.others.sent += wire.sent;
            self.others.labels.extend(wire.heard.iter().filter_map(Heard::label));
            if self.others.wrong.is_none() {
                self.others.wrong = wire.heard.iter().find_map(fault_of);
            }
        }
        Ok(true)
    }

    async fn leave(&mut self, how: Leave) -> Verdict {
        if self.wire.ending.is_some() {
            return Ok(());
        }
        match how {
            Leave::Drop => Ok(()),
            Leave::Reset => {
                self.wire.to_be_reset();
                Ok(())
            }
            Leave::Close => {
                let upgraded =
                    self.wire.heard.iter().any(|one| matches!(one, Heard::Status { status: 101, .. }));
                if !upgraded {
                    return Ok(());
                }
                self.wire.put(&frames::close(1000, MASK)).await;
                self.wait("the answer to a close", |heard| matches!(heard, Heard::Close(_))).await.map(drop)
            }
            Leave::HalfClose => {
                self.left = true;
                self.wire.half_close().await;
                self.ended("a connection whose client has closed its half", ANSWER_BOUND).await
            }
            Leave::Stay => self.ended("a connection that says nothing more", STAY_BOUND).await,
        }
    }

    async fn ended(&mut self, what: &str, bound: Duration) -> Verdict {
        self.wire.hear(Instant::now() + bound, |_| false).await;
        match self.wire.ending {
            Some(_) => Ok(()),
            None => Err(format!("{what} is still open after {bound:?}")),
        }
    }

    fn judged(self, wrong: Option<String>) -> Played {
        let Self { wire, others, left, .. } = self;
        let closed = wire.heard.iter().any(|one| matches!(one, Heard::Close(_)));
        let upgraded = wire.heard.iter().any(|one| matches!(one, Heard::Status { status: 101, .. }));
        let abrupt = upgraded && !closed && !left && wire.ending.is_some();
        let mut labels: Vec<_> = wire.heard.iter().filter_map(Heard::label).collect();
        labels.extend(others.labels);
        if !closed {
            labels.push(
                match wire.ending {
                    Some(Ending::Eof) if abrupt => "ended without a close",
                    Some(Ending::Eof) => "ended",
                    Some(Ending::Reset) => "broken off",
                    None => "left open",
                }
                .to_owned(),
            );
        }
        let fault = wire.heard.iter().find_map(fault_of);
        Played { labels, sent: wire.sent + others.sent, wrong: fault.or(others.wrong).or(wrong), abrupt }
    }
}

/// One request, and what comes soon.
async fn exchange(server: SocketAddr, text: &str) -> std::io::Result<Wire> {
    let mut wire = Wire::open(server, Dialect::Engine).await?;
    wire.put(text.as_bytes()).await;
    wire.hear(Instant::now() + POLL_WAIT, |heard| !heard.is_empty()).await;
    Ok(wire)
}

fn is_text(heard: &Heard, wanted: &str) -> bool {
    matches!(heard, Heard::Text { name, .. } if name == wanted)
}

fn is_end(heard: &Heard) -> bool {
    matches!(heard, Heard::Close(_) | Heard::Nonsense(_))
}

/// What the server must not say, whatever it was sent.
fn fault_of(heard: &Heard) -> Option<String> {
    match heard {
        Heard::Nonsense(why) => Some(format!("the server said what it must not: {why}")),
        Heard::Text { name, own_fault: true } => Some(format!("the server blames itself: {name}")),
        Heard::Status { status: status @ 500..=599, code, .. } => {
            Some(format!("the server blames itself: {status} {}", code.as_deref().unwrap_or_default()))
        }
        _ => None,
    }
}

fn sid(heard: &Heard) -> Option<String> {
    let Heard::Status { body, .. } = heard else { return None };
    let (_, rest) = body.split_once(r#""sid":""#)?;
    Some(rest.split_once('"')?.0.to_owned())
}
