//! The same request by each of the three interfaces: said as a frame of the WebSocket protocol, put into the words of the others.

mod day;
pub mod rest;

use chatlab::harness::Stack;
use chatlab_load::http::HttpClient;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message as WsMessage};

use crate::{common::SOON, socketio::raw::Raw};

/// Which interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    Native,
    SocketIo,
    Rest,
}

/// All of them.
pub const ALL: [Interface; 3] = [Interface::Native, Interface::SocketIo, Interface::Rest];

/// Each request's name in Socket.IO, and the type of its answer.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("create", "chat:create", "ok"),
    ("join", "chat:join", "ok"),
    ("leave", "chat:leave", "ok"),
    ("send", "message", "ack"),
    ("forward", "message:forward", "ack"),
    ("edit", "message:update", "ack"),
    ("delete", "message:delete", "ack"),
    ("pin", "message:pin", "ack"),
    ("react", "message:react", "ack"),
    ("pins", "chat:pins", "pins"),
    ("mark", "message:read", "marks"),
    ("history", "chat:history", "page"),
    ("search", "chat:search", "found"),
    ("thread", "chat:thread", "found"),
    ("who", "user:get-online", "who"),
    ("members", "chat:members", "members"),
    ("role", "chat:role", "ok"),
    ("remove", "chat:remove", "ok"),
    ("unban", "chat:unban", "ok"),
    ("add", "chat:add", "ok"),
    ("settings", "chat:settings", "ok"),
    ("direct", "chat:direct", "ok"),
    ("end", "chat:end", "ok"),
    ("rooms", "chat:list", "rooms"),
    ("block", "user:block", "blocks"),
    ("blocks", "user:blocks", "blocks"),
    ("profile", "user:profile", "profile"),
    ("set_profile", "user:status", "profile"),
    ("friend", "user:friend", "friends"),
    ("friends", "user:friends", "friends"),
    ("leaders", "chat:leaders", "leaders"),
    ("typing", "message:typing", "ok"),
];

/// Whether all interfaces have a request.
pub fn is_everywhere(t: &str) -> bool {
    REQUESTS.iter().any(|(of, ..)| *of == t)
}

fn names_of(t: &str) -> (&'static str, &'static str) {
    let (_, event, answer) = REQUESTS.iter().find(|(of, ..)| *of == t).unwrap_or_else(|| panic!("{t}"));
    (event, answer)
}

/// Somebody who asks, by frames as they are.
pub struct Frames {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    /// The messages that came meanwhile, if they are wanted.
    pub heard: Vec<Value>,
}

impl Frames {
    pub async fn connect(stack: &Stack, server: usize, token: Option<&str>) -> Self {
        let (socket, _) = connect_async(stack.ws_url(server)).await.unwrap();
        let mut frames = Self { socket, next: 1, heard: Vec::new() };
        if let Some(token) = token {
            frames.say(&json!({ "t": "hello", "v": 1, "token": token })).await;
            frames.hears(|frame| frame["t"] == "welcome").await;
        }
        frames
    }

    async fn say(&mut self, frame: &Value) {
        self.socket.send(WsMessage::text(frame.to_string())).await.unwrap();
    }

    pub async fn hears(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let next = tokio::time::timeout(SOON, self.socket.next()).await.expect("an answer");
            if let Some(Ok(WsMessage::Text(text))) = next {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["t"] == "message" {
                    self.heard.push(frame.clone());
                }
                if wanted(&frame) {
                    return frame;
                }
            } else if !matches!(next, Some(Ok(WsMessage::Ping(_)))) {
                panic!("{next:?}");
            }
        }
    }

    /// The answer, also the last one.
    pub async fn ask(&mut self, mut frame: Value) -> Value {
        let id = self.next;
        self.next += 1;
        frame["id"] = id.into();
        self.say(&frame).await;
        self.hears(|frame| frame["id"] == id || frame["t"] == "bye").await
    }
}

/// Somebody who asks by one of the interfaces.
pub enum Asker {
    Native(Box<Frames>),
    SocketIo(Box<Raw>, u64),
    Rest(HttpClient, Option<String>),
}

impl Asker {
    pub async fn connect(interface: Interface, stack: &Stack, server: usize, token: Option<&str>) -> Self {
        match interface {
            Interface::Native => Self::Native(Box::new(Frames::connect(stack, server, token).await)),
            Interface::SocketIo => Self::SocketIo(
                Box::new(Raw::connect(stack, token.expect("it says who it is at once")).await),
                1,
            ),
            Interface::Rest => Self::Rest(HttpClient::new(&stack.http_url(server)), token.map(str::to_owned)),
        }
    }

    /// The answer in the words of the WebSocket protocol: its type in `t`, or `error` with the `code`.
    pub async fn ask(&mut self, frame: Value) -> Value {
        let t = frame["t"].as_str().unwrap().to_owned();
        match self {
            Self::Native(frames) => frames.ask(frame).await,
            Self::SocketIo(raw, next) => {
                let (event, answer) = names_of(&t);
                let nth = *next;
                *next += 1;
                let mut data = frame;
                data.as_object_mut().unwrap().remove("t");
                raw.send(&format!("42{nth}{}", json!([event, data]))).await;
                let prefix = format!("43{nth}");
                let said: Value = loop {
                    if let Some(said) = raw.next().await.unwrap().strip_prefix(&prefix) {
                        break serde_json::from_str(said).unwrap();
                    }
                };
                worded(said[0].clone(), answer)
            }
            Self::Rest(http, token) => rest::ask(http, token.as_deref(), &frame, names_of(&t).1).await,
        }
    }

    /// Waits until a connection has heard that its user is no longer in a room: until then it writes there. A request asks anew.
    pub async fn hears_left(&mut self, user: &str) {
        match self {
            Self::Native(frames) => {
                frames.hears(|frame| frame["t"] == "left" && frame["user"] == user).await;
            }
            Self::SocketIo(raw, _) => while raw.event("left").await["user"] != user {},
            Self::Rest(..) => {}
        }
    }

    /// The type of the answer, or the code of its error.
    pub async fn outcome(&mut self, frame: Value) -> String {
        let answer = self.ask(frame).await;
        answer.get("code").unwrap_or(&answer["t"]).as_str().unwrap().to_owned()
    }
}

/// An answer with its type, or the error in it.
fn worded(data: Value, t: &str) -> Value {
    let error = data.get("error").cloned();
    let t = if error.is_some() { "error" } else { t };
    let mut answer: Map<String, Value> = error.unwrap_or(data).as_object().cloned().unwrap_or_default();
    answer.insert("t".into(), t.into());
    Value::Object(answer)
}
