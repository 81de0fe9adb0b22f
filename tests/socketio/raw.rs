//! The endpoint packet by packet, for what no official client would do.

use chatlab::harness::Stack;
use chatlab_load::http::HttpClient;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use crate::common::SOON;

const SEPARATOR: char = '\u{1e}';
/// The packet that asks for a sign of life.
pub const PING: &str = "2";

/// A WebSocket to the endpoint.
pub struct Raw(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Raw {
    pub async fn dial(stack: &Stack, query: &str, origin: Option<&str>) -> Result<Self, tungstenite::Error> {
        let url = format!("ws://{}/socket.io/?{query}", stack.addr(0));
        let mut request = url.into_client_request()?;
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    /// Opened, and nothing said yet.
    pub async fn open(stack: &Stack) -> Self {
        let mut raw = Self::dial(stack, "EIO=4&transport=websocket", None).await.unwrap();
        let open = raw.next().await.unwrap();
        assert!(open.starts_with("0{"), "{open}");
        raw
    }

    /// Let in.
    pub async fn connect(stack: &Stack, token: &str) -> Self {
        let mut raw = Self::open(stack).await;
        raw.send(&format!("40{}", json!({ "token": token }))).await;
        let connected = raw.next().await.unwrap();
        assert!(connected.starts_with(r#"40{"sid":""#), "{connected}");
        raw.event("welcome").await;
        raw
    }

    pub async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next packet that is no ping, or the close code and reason: the first ping comes at any moment.
    pub async fn next(&mut self) -> Result<String, Option<(u16, String)>> {
        loop {
            let packet = self.next_or_ping().await?;
            if packet != PING {
                return Ok(packet);
            }
        }
    }

    /// The next packet, or the close code and reason.
    pub async fn next_or_ping(&mut self) -> Result<String, Option<(u16, String)>> {
        loop {
            match timeout(SOON, self.0.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|f| (f.code.into(), f.reason.to_string())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The next packet that is not about who is online: that may be told at any moment, to its own user too.
    pub async fn next_but_status(&mut self) -> String {
        loop {
            let packet = self.next().await.unwrap();
            if !packet.starts_with(r#"42["user:status","#) {
                return packet;
            }
        }
    }

    /// The data of the next event of that name.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            let packet = self.next().await.unwrap();
            if let Some(json) = packet.strip_prefix("42")
                && let Ok(Value::Array(mut event)) = serde_json::from_str(json)
                && event[0] == name
            {
                return event.pop().unwrap();
            }
        }
    }
}

/// The packets of an answer to a request, or its status and code.
pub async fn http(stack: &Stack, query: &str, body: Option<Vec<u8>>) -> Result<Vec<String>, (u16, String)> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let path = format!("/socket.io/?{query}");
    let http = HttpClient::new(&stack.http_url(0));
    let answer = http.request(method.parse().unwrap(), &path, None, body).await.unwrap();
    if answer.status != 200 {
        let error: Value = serde_json::from_slice(&answer.body).unwrap();
        return Err((answer.status, error["code"].as_str().unwrap().to_owned()));
    }
    Ok(answer.text().split(SEPARATOR).map(str::to_owned).collect())
}

/// A session that polls.
pub struct Polled<'a> {
    stack: &'a Stack,
    /// Names the session.
    pub query: String,
}

impl<'a> Polled<'a> {
    pub async fn open(stack: &'a Stack) -> Self {
        let open = http(stack, "EIO=4&transport=polling", None).await.unwrap();
        let open: Value = serde_json::from_str(open[0].strip_prefix('0').unwrap()).unwrap();
        assert_eq!(open["upgrades"], json!(["websocket"]));
        Self { stack, query: format!("EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap()) }
    }

    pub async fn connect(stack: &'a Stack, token: &str) -> Self {
        let session = Self::open(stack).await;
        session.post(&[&format!("40{}", json!({ "token": token }))]).await.unwrap();
        let mut packets = session.poll().await.unwrap();
        assert!(packets[0].starts_with(r#"40{"sid":""#), "{packets:?}");
        while !packets.iter().any(|packet| packet.starts_with("42[\"welcome\"")) {
            packets = session.poll().await.unwrap();
        }
        session
    }

    pub async fn post(&self, packets: &[&str]) -> Result<(), (u16, String)> {
        let body = packets.join(&SEPARATOR.to_string()).into_bytes();
        http(self.stack, &self.query, Some(body)).await.map(|answer| assert_eq!(answer, ["ok"]))
    }

    pub async fn poll(&self) -> Result<Vec<String>, (u16, String)> {
        http(self.stack, &self.query, None).await
    }

    /// Polls until there were so many messages.
    pub async fn messages(&self, n: u64) -> Vec<Value> {
        let mut messages = Vec::new();
        while (messages.len() as u64) < n {
            for packet in self.poll().await.unwrap() {
                if let Some(event) = packet.strip_prefix("42[\"message\",") {
                    messages.push(serde_json::from_str(event.strip_suffix(']').unwrap()).unwrap());
                }
            }
        }
        messages
    }

    /// Polls until a packet begins so; what comes after the beginning.
    pub async fn until(&self, prefix: &str) -> String {
        loop {
            for packet in self.poll().await.unwrap() {
                if let Some(rest) = packet.strip_prefix(prefix) {
                    return rest.to_owned();
                }
            }
        }
    }
}

/// An error of [`http`].
pub fn refusal<T>(status: u16, code: &str) -> Result<T, (u16, String)> {
    Err((status, code.to_owned()))
}
