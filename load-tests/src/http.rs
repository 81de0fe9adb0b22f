//! A small HTTP/1.1 client for JSON APIs on loopback: no TLS, no redirects, bounded bodies.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, body::Bytes, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Serialize, de::DeserializeOwned};

/// The longest response body that is read, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;
/// How long a request may take, from connecting to the last byte.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL, a header or the JSON to send is not valid.
    #[error("cannot build the request: {0}")]
    Request(String),
    /// No connection, or it broke.
    #[error("cannot reach {url}: {why}")]
    Transport {
        /// Where to.
        url: String,
        /// What the system said.
        why: String,
    },
    /// Nothing came within [`REQUEST_TIMEOUT`].
    #[error("no answer from {0} in time")]
    Timeout(String),
    /// A status outside 200–299.
    #[error("{url} answered {status}: {body}")]
    Status {
        /// Where to.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The body as text.
        body: String,
    },
    /// The body is not the JSON that was expected.
    #[error("{url}: {why}")]
    Json {
        /// Where to.
        url: String,
        /// What does not fit.
        why: String,
    },
}

/// A response, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers that are text.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with a pool of connections; cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient {
    base: String,
    inner: Client<HttpConnector, Full<Bytes>>,
}

impl HttpClient {
    /// A client for `base`, such as `http://127.0.0.1:8080`; paths are appended to it.
    pub fn new(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = Client::builder(TokioExecutor::new()).build(connector);
        Self { base: base.trim_end_matches('/').to_owned(), inner }
    }

    /// `GET`, with the bearer token where one is given; the body is parsed as JSON.
    ///
    /// # Errors
    /// [`HttpError::Status`] for a status outside 200–299, the others as named.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, bearer: Option<&str>) -> Result<T, HttpError> {
        let response = self.request(Method::GET, path, bearer, None).await?;
        self.parse(path, &response)
    }

    /// `POST` of a JSON body; the answer is parsed as JSON (`null` when it is empty).
    ///
    /// # Errors
    /// [`HttpError::Status`] for a status outside 200–299, the others as named.
    pub async fn post<B: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        bearer: Option<&str>,
        body: &B,
    ) -> Result<T, HttpError> {
        let body = serde_json::to_vec(body).map_err(|e| HttpError::Request(e.to_string()))?;
        let response = self.request(Method::POST, path, bearer, Some(body)).await?;
        self.parse(path, &response)
    }

    /// Any method, with the body's bytes as they are (declared as JSON); any status is a response.
    ///
    /// # Errors
    /// [`HttpError::Request`], [`HttpError::Transport`] or [`HttpError::Timeout`].
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Result<Response, HttpError> {
        self.request_with(method, path, bearer, body, &[]).await
    }

    /// The same with headers of its own.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_with(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Result<Response, HttpError> {
        let url = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|e| HttpError::Request(e.to_string()))?;
        let exchange = async {
            let transport = |why: String| HttpError::Transport { url: url.clone(), why };
            let response = self.inner.request(request).await.map_err(|e| transport(e.to_string()))?;
            let status = response.status().as_u16();
            let text = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
                Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            };
            let headers = response.headers().iter().filter_map(text).collect();
            let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES)
                .collect()
                .await
                .map_err(|e| transport(e.to_string()))?;
            Ok(Response { status, headers, body: body.to_bytes().to_vec() })
        };
        tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.map_err(|_| HttpError::Timeout(url.clone()))?
    }

    fn parse<T: DeserializeOwned>(&self, path: &str, response: &Response) -> Result<T, HttpError> {
        let url = format!("{}{path}", self.base);
        if !(200..300).contains(&response.status) {
            return Err(HttpError::Status { url, status: response.status, body: response.text() });
        }
        let body: &[u8] = if response.body.is_empty() { b"null" } else { &response.body };
        serde_json::from_slice(body).map_err(|e| HttpError::Json { url, why: e.to_string() })
    }
}
