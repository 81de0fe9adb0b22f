//! Experiment: a subscriber that does not read, and the limit at which Redis closes it.

use chatlab_kit::{
    LabError, LabResult,
    lab::{Axis, Chart, Env, Findings, Point, Series},
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// Values of `client-output-buffer-limit` for `pubsub`: hard limit, soft limit, seconds over the soft limit.
const LIMITS: [(&str, &str); 4] =
    [("256 KB", "256kb 0 0"), ("2 MB", "2mb 0 0"), ("8 MB", "8mb 0 0"), ("32 MB (default)", "32mb 8mb 60")];
/// Bytes of one message.
const MESSAGE: usize = 1_024;
/// Messages between two looks at the server.
const BATCH: usize = 128;
/// No more than this is published, in MiB.
const PUBLISHED_MAX_MIB: usize = 64;
/// The reader's own socket buffer: small, so that what waits, waits in Redis.
const SOCKET_BUFFER: u32 = 16 * 1_024;
const MIB: f64 = 1_048_576.0;

/// What one limit showed, in MiB.
struct Seen {
    published: f64,
    buffered: f64,
    memory: f64,
    closed: bool,
    points: Vec<Point>,
}

/// For each limit: how much is published until the reader is closed, and what the server needs meanwhile.
pub(crate) async fn slow_reader(env: &Env) -> LabResult<Findings> {
    let started = Managed::start_async(Topology::Single, env.server()?, &ServerOptions::default()).await;
    let server = started.map_err(|error| LabError::Other(error.to_string()))?;
    let redis = Redis::connect(&RedisConfig::new(Topology::Single, server.addrs())).await?;
    let mut findings = Findings::new("MiB", ["published", "most buffered", "memory grown", "closed"]);
    let mut series = Vec::new();
    for (name, limit) in LIMITS {
        let seen = one(redis.clone(), &server.addrs()[0], limit).await?;
        findings.row(name, [seen.published, seen.buffered, seen.memory, f64::from(u8::from(seen.closed))]);
        findings.conclude(if seen.closed {
            format!(
                "Limit {name}: closed after {:.1} MiB, of which at most {:.1} MiB were seen to wait in Redis; the rest was in \
                 the sockets.",
                seen.published, seen.buffered
            )
        } else {
            format!("Limit {name}: not closed by {:.0} MiB.", seen.published)
        });
        series.push(Series { name: name.to_owned(), points: seen.points });
    }
    findings.charts.push(Chart {
        title: "what waits in Redis for one reader that does not read".to_owned(),
        x: Axis::linear("MiB published"),
        y: Axis::linear("MiB in its output buffer"),
        series,
    });
    findings.note(format!(
        "Looked at after every {BATCH} messages of {MESSAGE} bytes: the buffer may have been fuller in between. A closed \
         reader has lost what waited, and whatever comes until it is back."
    ));
    Ok(findings)
}

async fn one(mut redis: Redis, address: &str, limit: &str) -> LabResult<Seen> {
    let set = format!("pubsub {limit}");
    let () = redis::cmd("CONFIG")
        .arg("SET")
        .arg("client-output-buffer-limit")
        .arg(set)
        .query_async(&mut redis)
        .await?;
    let reader = stuck_reader(address).await.map_err(|error| LabError::Other(error.to_string()))?;
    let base = used_memory(&mut redis).await?;
    let mut seen = Seen { published: 0.0, buffered: 0.0, memory: 0.0, closed: false, points: Vec::new() };
    let payload = vec![b'x'; MESSAGE];
    for batch in 1..=PUBLISHED_MAX_MIB * 1_048_576 / (MESSAGE * BATCH) {
        let mut pipe = redis::pipe();
        for _ in 0..BATCH {
            pipe.cmd("PUBLISH").arg("slow").arg(&payload);
        }
        let received: Vec<u64> = pipe.query_async(&mut redis).await?;
        seen.published = (batch * BATCH * MESSAGE) as f64 / MIB;
        seen.memory = seen.memory.max((used_memory(&mut redis).await? - base) / MIB);
        let list: String =
            redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub").query_async(&mut redis).await?;
        let buffered = field(&list, "omem=") / MIB;
        seen.buffered = seen.buffered.max(buffered);
        seen.points.push(Point::at(seen.published, buffered));
        if received.last() == Some(&0) {
            seen.closed = true;
            break;
        }
    }
    drop(reader);
    Ok(seen)
}

/// Subscribes, and reads nothing after the confirmation.
async fn stuck_reader(address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    let address = address.parse().map_err(std::io::Error::other)?;
    let mut reader = socket.connect(address).await?;
    reader.write_all(b"SUBSCRIBE slow\r\n").await?;
    let mut confirmed = [0_u8; 64];
    let _ = reader.read(&mut confirmed).await?;
    Ok(reader)
}

async fn used_memory(redis: &mut Redis) -> LabResult<f64> {
    let info: String = redis::cmd("INFO").arg("memory").query_async(redis).await?;
    Ok(field(&info, "used_memory:"))
}

/// The number after `name` in a reply; 0 without it.
fn field(text: &str, name: &str) -> f64 {
    let number = text.split_once(name).map_or("", |(_, rest)| rest);
    number.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0.0)
}
