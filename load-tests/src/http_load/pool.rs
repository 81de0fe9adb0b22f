//! Connections that stay open, each with one request at a time.

use std::{
    collections::VecDeque,
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Uri,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use crate::http::{MAX_RESPONSE_BYTES, REQUEST_TIMEOUT};

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    address: SocketAddr,
    /// For the header `host`.
    pub authority: String,
}

impl Server {
    /// From `http://HOST:PORT`. Looks the host up.
    pub fn of(url: &str) -> Result<Self, String> {
        let fail = |why: String| format!("cannot use {url}: {why}");
        let uri: Uri = url.parse().map_err(|e| fail(format!("{e}")))?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(fail("give http://HOST:PORT".into()));
        };
        let host = authority.host().trim_matches(['[', ']']);
        let found = (host, authority.port_u16().unwrap_or(80)).to_socket_addrs();
        let address = found.map_err(|e| fail(e.to_string()))?.next();
        Ok(Self {
            address: address.ok_or_else(|| fail("no address".into()))?,
            authority: authority.to_string(),
        })
    }
}

struct Conn {
    server: usize,
    /// None before it is opened, and after it broke.
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// All connections: whoever wants one waits in a queue, and takes the one that has rested longest.
pub(super) struct Pool {
    servers: Vec<Server>,
    idle: Mutex<VecDeque<Conn>>,
    free: Semaphore,
    opened: AtomicU64,
}

impl Pool {
    pub fn new(servers: Vec<Server>, conns: usize) -> Self {
        let idle = (0..conns).map(|nth| Conn { server: nth % servers.len().max(1), sender: None });
        Self {
            idle: Mutex::new(idle.collect()),
            servers,
            free: Semaphore::new(conns),
            opened: AtomicU64::new(0),
        }
    }

    /// How often a connection was opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// Opens all.
    pub async fn open_all(&self) -> Result<(), String> {
        let conns = std::mem::take(&mut *self.idle());
        for mut conn in conns {
            self.open(&mut conn).await?;
            self.idle().push_back(conn);
        }
        Ok(())
    }

    /// Sends a request on the next free connection, reads the answer to its end, and returns its status. `make` is told whom it
    /// is for.
    pub async fn send(
        &self,
        make: impl FnOnce(&Server) -> Result<Request<Full<Bytes>>, String>,
    ) -> Result<u16, String> {
        let _turn = self.free.acquire().await.map_err(|e| e.to_string())?;
        let Some(mut conn) = self.idle().pop_front() else { return Err("no connection".into()) };
        let answer = match make(&self.servers[conn.server]) {
            Ok(request) => timeout(REQUEST_TIMEOUT, self.exchange(&mut conn, request)).await,
            Err(why) => Ok(Err(why)),
        };
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
        if answer.is_err() {
            conn.sender = None;
        }
        self.idle().push_back(conn);
        answer
    }

    async fn exchange(&self, conn: &mut Conn, request: Request<Full<Bytes>>) -> Result<u16, String> {
        // A server may close what has rested for long: that is opened again, at the request's expense.
        let usable = match &mut conn.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.open(conn).await?;
        }
        let Some(sender) = &mut conn.sender else { return Err("no connection".into()) };
        let response = sender.send_request(request).await.map_err(|e| format!("request: {e}"))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
        body.map_err(|e| format!("answer: {e}"))?;
        Ok(status)
    }

    async fn open(&self, conn: &mut Conn) -> Result<(), String> {
        let opening = async {
            let stream = TcpStream::connect(self.servers[conn.server].address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = timeout(CONNECT_TIMEOUT, opening)
            .await
            .map_err(|_| "connect: timeout".to_owned())?
            .map_err(|e| format!("connect: {}", e.kind()))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|e| format!("handshake: {e}"))?;
        // Ends with its sender, or with the socket; the request that it had then fails by itself.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        self.opened.fetch_add(1, Relaxed);
        conn.sender = Some(sender);
        Ok(())
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<Conn>> {
        // Consistent after every statement, whoever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
