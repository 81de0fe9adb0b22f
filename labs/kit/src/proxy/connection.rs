//! The bytes of one connection, both ways.

use std::io;
use std::sync::Mutex;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::request::{Request, Requests};
use super::rewrite::{Rewriter, can_tell};
use super::wire::{Came, Wire, lock};
use super::{CONNECT_TIMEOUT, FRAME_BYTES_MAX, Shared};
use crate::budget::housekeeping;
use crate::redis::{ARG_PRINT_BYTES, REPLY_PRINT_BYTES};
use crate::resp::{Limits, Scanner};

/// Taken from a socket at a time.
const READ_BYTES: usize = 16 * 1024;
/// A batch of reads ends at about this many bytes.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// The most batches on their way to the server; then the client waits.
const BATCHES_MAX: usize = 16;
/// Of a reply, so many values are kept for the trace: each prints as one letter at least.
const VALUES_KEPT: usize = REPLY_PRINT_BYTES;

/// What one read brought, on its way to the server.
struct Batch {
    at: Instant,
    parts: Vec<Part>,
}

struct Part {
    bytes: Vec<u8>,
    /// The command that these bytes end, as printed, and its number in the trace.
    command: Option<(Vec<String>, u64)>,
}

/// Serves one client until either side closes.
pub(super) async fn serve(
    client: TcpStream,
    node: &str,
    wire: &Mutex<Wire>,
    shared: &Shared,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(node));
    let server = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (batches, queue) = mpsc::channel(BATCHES_MAX);
    let up = async {
        tokio::try_join!(
            read_client(from_client, batches, wire, shared),
            write_server(to_server, queue, wire, shared)
        )
    };
    let host = node.rsplit_once(':').map_or(node, |(host, _)| host);
    let rewriter = Rewriter { routes: &shared.routes, own_host: host };
    tokio::select! {
        down = read_server(from_server, to_client, wire, shared, &rewriter) => down,
        // When the client has said all it has to say, the server may still answer.
        Err(error) = up => Err(error),
    }
}

/// Waits for bytes, then takes what lies there. `false` at the end of the stream.
async fn read_batch(from: &mut OwnedReadHalf, buffer: &mut BytesMut) -> io::Result<bool> {
    buffer.clear();
    buffer.reserve(READ_BYTES);
    if from.read_buf(buffer).await? == 0 {
        return Ok(false);
    }
    while buffer.len() < BATCH_BYTES_MAX {
        buffer.reserve(READ_BYTES);
        match from.try_read_buf(buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

async fn read_client(
    mut from: OwnedReadHalf,
    batches: mpsc::Sender<Batch>,
    wire: &Mutex<Wire>,
    shared: &Shared,
) -> io::Result<()> {
    let mut requests = Requests::new();
    let mut buffer = BytesMut::new();
    while read_batch(&mut from, &mut buffer).await? {
        let at = Instant::now();
        let midway = requests.midway();
        let segments = requests.feed(&buffer);
        let parts = {
            let mut wire = lock(wire);
            wire.read(midway);
            let mut sent = |request: Request| (request.printable(), wire.sent(request, at));
            segments
                .into_iter()
                .map(|segment| Part { bytes: segment.bytes, command: segment.request.map(&mut sent) })
                .collect()
        };
        shared.changed();
        if batches.send(Batch { at, parts }).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Sends each batch when its time has come: the added latency runs from when it was read, for all its commands at once.
async fn write_server(
    mut to: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Batch>,
    wire: &Mutex<Wire>,
    shared: &Shared,
) -> io::Result<()> {
    let conn = lock(wire).conn();
    while let Some(batch) = queue.recv().await {
        let latency = shared.latency();
        if !latency.is_zero() {
            // The planted latency.
            tokio::time::sleep_until((batch.at + latency).into()).await;
        }
        let mut out = Vec::new();
        for part in batch.parts {
            if let Some((command, number)) = part.command
                && !housekeeping(&command)
            {
                let gate = shared.gate().clone();
                let held = gate.and_then(|gate| gate.hold(conn.clone(), command, number));
                if let Some(gone) = held {
                    to.write_all(&std::mem::take(&mut out)).await?;
                    shared.changed();
                    let _ = gone.await;
                }
            }
            out.extend_from_slice(&part.bytes);
        }
        to.write_all(&out).await?;
    }
    to.shutdown().await
}

async fn read_server(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    wire: &Mutex<Wire>,
    shared: &Shared,
    rewriter: &Rewriter<'_>,
) -> io::Result<()> {
    let mut replies = Replies {
        scanner: Scanner::new(Limits { text: ARG_PRINT_BYTES + 1, values: VALUES_KEPT }),
        frame: Vec::new(),
        bytes: 0,
        raw: false,
    };
    let mut buffer = BytesMut::new();
    while read_batch(&mut from, &mut buffer).await? {
        let mut out = Vec::with_capacity(buffer.len());
        replies.feed(&buffer, wire, rewriter, &mut out)?;
        shared.changed();
        to.write_all(&out).await?;
    }
    Ok(())
}

/// Cuts what the server sends into values.
struct Replies {
    scanner: Scanner,
    /// The bytes of the value that is being read, as far as they were not handed on.
    frame: Vec<u8>,
    /// How many there were of it.
    bytes: u64,
    raw: bool,
}

impl Replies {
    fn feed(
        &mut self,
        mut input: &[u8],
        wire: &Mutex<Wire>,
        rewriter: &Rewriter<'_>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        while !input.is_empty() {
            if self.raw {
                out.extend_from_slice(input);
                return Ok(());
            }
            let fed = self.scanner.feed(input);
            let (taken, value) = fed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.frame.extend_from_slice(&input[..taken]);
            self.bytes += taken as u64;
            input = &input[taken..];
            if let Some(value) = value {
                let whole = self.bytes == self.frame.len() as u64;
                let came = lock(wire).came(&value, self.bytes);
                self.raw = came == Came::Raw;
                if came == Came::Addresses && whole && can_tell(&value) {
                    out.extend(rewriter.frame(&self.frame));
                } else {
                    out.extend_from_slice(&self.frame);
                }
                self.frame.clear();
                self.bytes = 0;
            } else if self.frame.len() > FRAME_BYTES_MAX {
                out.append(&mut self.frame);
            }
        }
        Ok(())
    }
}
