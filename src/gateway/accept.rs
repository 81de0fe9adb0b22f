//! Takes TCP connections in, so that none of them costs anything for ever: their number is bounded,
//! and so is the time that one may take to say what it wants.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a connection may take for the head of its first or next request.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// TCP connections besides the WebSockets: plain HTTP, and those that are to be refused.
const SPARE_CONNECTIONS: usize = 1024;
/// The most that the kernel takes for a connection and has not sent yet, in bytes: what is written at once, twice. What a client
/// does not read waits in our own queue then, which has a bound; without this, the kernel takes megabytes more for each.
const UNSENT_BYTES: u32 = 128 * 1024;
/// The pause after a failure that is not one connection's own, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    connections: usize,
    header_read: Duration,
}

impl Bounds {
    /// For a server with at most this many WebSockets.
    pub fn new(max_connections: usize) -> Self {
        Self {
            connections: max_connections.saturating_add(SPARE_CONNECTIONS).min(Semaphore::MAX_PERMITS),
            header_read: HEADER_READ_TIMEOUT,
        }
    }
}

/// Serves until `stop` is cancelled, and returns when the last HTTP request was answered. Upgraded
/// connections live on by themselves.
pub async fn run(listener: TcpListener, router: Router, bounds: Bounds, stop: CancellationToken) {
    bound_unsent(&listener);
    let permits = Arc::new(Semaphore::new(bounds.connections));
    let connections = TaskTracker::new();
    while let Some(socket) = stop.run_until_cancelled(next(&listener, &permits)).await {
        connections.spawn(serve(socket, router.clone(), bounds, stop.clone()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Holds for every connection: they inherit it from their listener.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound_unsent(listener: &TcpListener) {
    if let Err(error) = socket2::SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::warn!(%error, "server.unsent_not_bounded");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound_unsent(_: &TcpListener) {}

/// The next connection, when there may be one more.
async fn next(listener: &TcpListener, permits: &Arc<Semaphore>) -> Socket {
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "server.nodelay");
                }
                return Socket { stream, peer: Peer(peer.ip()), permit };
            }
            Err(error) if is_of_one_connection(&error) => tracing::debug!(%error, "server.accept"),
            Err(error) => {
                tracing::error!(%error, "server.accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve(socket: Socket, router: Router, bounds: Bounds, stop: CancellationToken) {
    let (peer, router) = (socket.peer, TowerToHyperService::new(router));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    // Not hyper-util's `auto`: it waits for the first bytes without a timeout.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_read)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "server.connection");
    }
}

/// Where a connection comes from, for its requests: the address of the client or of the proxy in front of us.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// A TCP connection that counts until it is closed, also after its upgrade.
pub(super) struct Socket {
    stream: TcpStream,
    peer: Peer,
    permit: OwnedSemaphorePermit,
}

impl Socket {
    /// The stream by itself, and what is to be kept until it is closed.
    pub(super) fn into_parts(self) -> (TcpStream, OwnedSemaphorePermit) {
        (self.stream, self.permit)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    const SOON: Duration = Duration::from_secs(20);

    async fn start(bounds: Bounds) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let running = tokio::spawn(run(listener, Router::new(), bounds, stop.clone()));
        (address, stop, running)
    }

    #[tokio::test]
    async fn who_asks_for_nothing_more_is_let_go() {
        let bounds = Bounds { connections: 8, header_read: Duration::from_millis(200) };
        let (address, _stop, _running) = start(bounds).await;
        for head in ["", "GET / HTTP/1.1\r\nhost: a\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            timeout(SOON, client.read_to_end(&mut answer)).await.expect("still open").unwrap();
            assert_eq!(answer.starts_with(b"HTTP/1.1 404"), head.ends_with("\r\n\r\n"), "{head:?}");
        }
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn what_waits_in_the_kernel_is_bounded_for_every_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        bound_unsent(&listener);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let accepted = next(&listener, &Arc::new(Semaphore::new(1))).await;
        let bound = socket2::SockRef::from(&accepted.stream).tcp_notsent_lowat().unwrap();
        assert_eq!(bound, UNSENT_BYTES);
    }

    #[tokio::test]
    async fn over_the_bound_connections_wait_and_a_stop_ends_the_silent_ones() {
        let (address, stop, running) = start(Bounds { connections: 1, header_read: SOON }).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        let early = timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
        assert!(early.is_err(), "served beyond the bound");
        drop(silent);
        timeout(SOON, second.read_exact(&mut answer)).await.expect("not served").unwrap();
        let _silent = second;
        stop.cancel();
        timeout(SOON / 2, running).await.expect("does not stop").unwrap();
    }
}
