//! Requests to the REST API.

use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// Longer than a server keeps a request waiting.
const ANSWER_BOUND: Duration = Duration::from_secs(30);

/// A client of one address.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

/// What to ask for.
#[derive(Default)]
pub struct Ask<'a> {
    pub token: Option<&'a str>,
    /// Repeated with the same one, a request is done once.
    pub key: Option<&'a str>,
    pub body: Option<Value>,
}

impl Http {
    pub fn new(base: impl Into<String>) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), base: base.into() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Asks once; status and document.
    pub async fn ask(&self, method: Method, path: &str, ask: Ask<'_>) -> anyhow::Result<(u16, Value)> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in [
            ("authorization", ask.token.map(|t| format!("Bearer {t}"))),
            ("idempotency-key", ask.key.map(str::to_owned)),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let body = match ask.body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                body.to_string()
            }
            None => String::new(),
        };
        let request = request.body(Full::from(body))?;
        let answered = async {
            let response = self.client.request(request).await?;
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
        };
        tokio::time::timeout(ANSWER_BOUND, answered).await.context("no answer")?
    }

    /// Asks for what must be given; its document.
    pub async fn must(&self, method: Method, path: &str, ask: Ask<'_>) -> anyhow::Result<Value> {
        let said = format!("{method} {}{path}", self.base);
        let (status, document) = self.ask(method, path, ask).await.with_context(|| said.clone())?;
        anyhow::ensure!((200..300).contains(&status), "{said}: {status} {document}");
        Ok(document)
    }
}
