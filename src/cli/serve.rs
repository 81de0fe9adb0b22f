//! `chatlab serve`: run the chat server.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use chatlab_kit::{
    redis::RedisConfig,
    servers::{Managed, ServerOptions},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, App},
    config::{self, Choice, Database, ServerConfig, Variants},
    provision::provision,
    seats, telemetry,
};

use super::place::RedisArgs;

/// Run the chat server. Without `--redis-url` or `--redis-nodes` it starts a Redis of its own, which
/// ends with it
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  chatlab serve                                          a Redis of its own, port 8080
  chatlab serve --redis-url redis://127.0.0.1:6379       your single node
  chatlab serve --topology cluster --redis-nodes 127.0.0.1:7000,127.0.0.1:7001
  CHATLAB_DB=postgres://chat:…@localhost/chat chatlab serve   the archive in PostgreSQL
  chatlab serve --variant sessions=user_hash             another variant of a lab
  CHATLAB_JWT_SECRET=… chatlab serve --listen 127.0.0.1:0   a free port; it is printed")]
pub struct Args {
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR", env = "CHATLAB_LISTEN")]
    listen: String,
    #[command(flatten)]
    redis: RedisArgs,
    /// The database, which server processes that belong together share: a SQLite file, or PostgreSQL by
    /// postgres://USER:PASSWORD@HOST/NAME, of which only the setting keeps the password out of lists of processes [default: a file in the state folder]
    #[arg(long, value_name = "PATH|URL", env = "CHATLAB_DB", hide_env_values = true)]
    db: Option<Database>,
    /// Signs access tokens, at least 32 bytes; servers on several machines need one [default: a random one beside the
    /// SQLite file, or in the state folder]
    #[arg(long, value_name = "SECRET", env = "CHATLAB_JWT_SECRET", hide_env_values = true)]
    jwt_secret: Option<String>,
    /// How long an access token lives, in seconds
    #[arg(long, default_value_t = config::TOKEN_TTL_S, value_name = "SECONDS")]
    token_ttl_s: u64,
    /// The list of keys that messages are encrypted with, see `chatlab keys` [default: they are not encrypted]
    #[arg(long, value_name = "FILE", env = "CHATLAB_MESSAGE_KEYS")]
    message_keys: Option<PathBuf>,
    /// An origin that browsers may connect from besides the server's own; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// How often connections are pinged, in milliseconds
    #[arg(long, default_value_t = config::HEARTBEAT_MS, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(100..=600_000))]
    heartbeat_ms: u64,
    /// The most WebSocket connections at once
    #[arg(long, default_value_t = config::MAX_CONNECTIONS, value_name = "N")]
    max_connections: usize,
    /// Run this variant of a lab instead of the reference; may be repeated. Labs with a seat in the
    /// server: see `chatlab list`
    #[arg(long, value_name = "LAB=NAME")]
    variant: Vec<Choice>,
    /// Log-ins, and registrations, of one name in any minute
    #[arg(long, default_value_t = config::LOGINS_PER_NAME, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    logins_per_name: u32,
    /// Log-ins, and registrations, from one address in any minute
    #[arg(long, default_value_t = config::LOGINS_PER_ADDRESS, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    logins_per_address: u32,
    /// Requests over HTTP of one user in any minute
    #[arg(long, default_value_t = config::REQUESTS_PER_USER, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests_per_user: u32,
    /// Put letters to users (codes that verify an e-mail address) into this folder, a file each, for whatever
    /// sends mail to take; without it no address can be verified
    #[arg(long, value_name = "PATH")]
    mail_dir: Option<PathBuf>,
    /// How long after its last sign of life a server process is taken for dead, in milliseconds
    #[arg(long, default_value_t = config::PRESENCE_LEASE_MS, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(500..=600_000))]
    presence_lease_ms: u64,
    /// The newest messages of a room that stay in Redis; older ones are read from the database
    #[arg(long, default_value_t = chatlab_history::HOT_MESSAGES, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    hot_messages: u64,
    /// Make so many users and rooms, print them as JSON, and end
    #[arg(long, hide = true, value_name = "USERS,ROOMS", value_parser = users_and_rooms)]
    provision: Option<(usize, usize)>,
    /// Stop in good order when standard input closes, as it does when the starting process ends
    #[arg(long, hide = true)]
    with_parent: bool,
    /// What is logged to standard error, such as `info` or `chatlab=debug`
    #[arg(long, default_value = "info", value_name = "FILTER", env = "CHATLAB_LOG")]
    log: String,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When Redis, the database or the address is not to be had.
pub async fn run(args: Args, global: &super::Global) -> anyhow::Result<ExitCode> {
    telemetry::init_logs(&args.log).context("--log")?;
    telemetry::count_panics();
    // Before anything is started, so that a signal meanwhile is not lost.
    let shutdown = on_signal()?;
    if args.with_parent {
        stop_with_stdin(shutdown.clone());
    }
    // Before a Redis is started: a misspelt name is told at once.
    seats::all(&Variants::new(args.variant.iter().cloned()))?;
    let vault = config::vault(args.message_keys.as_deref())?;
    let (redis, own) = match args.redis.config()? {
        Some(redis) => (redis, None),
        None => {
            let (redis, own) = start_own(&args.redis, global).await?;
            (redis, Some(own))
        }
    };
    let listen = args.listen.clone();
    let provisioning = args.provision;
    let config = args.server_config(redis);
    if let Some((users, rooms)) = provisioning {
        let made = provision(&config, users, rooms).await?;
        println!("{}", serde_json::to_string(&made)?);
        return Ok(ExitCode::SUCCESS);
    }
    // First, so that a taken port is told before anything is connected.
    let listener = TcpListener::bind(&listen).await.with_context(|| format!("listen on {listen}"))?;
    let Some(app) = shutdown.run_until_cancelled(App::build(&config, vault)).await else {
        return Ok(ExitCode::SUCCESS);
    };
    let address = listener.local_addr()?;
    let app = app?;
    println!("listening on http://{address}");
    app::serve(app, listener, shutdown).await?;
    if let Some(own) = own {
        tokio::task::spawn_blocking(move || own.stop()).await?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn server_config(self, redis: RedisConfig) -> ServerConfig {
        let db = self.db.unwrap_or_else(Database::usual);
        ServerConfig {
            jwt_secret: self.jwt_secret,
            token_ttl_s: self.token_ttl_s,
            allow_origins: self.allow_origin,
            heartbeat_ms: self.heartbeat_ms,
            max_connections: self.max_connections,
            variants: Variants::new(self.variant),
            logins_per_name: self.logins_per_name,
            logins_per_address: self.logins_per_address,
            requests_per_user: self.requests_per_user,
            mail_dir: self.mail_dir,
            presence_lease_ms: self.presence_lease_ms,
            hot_messages: self.hot_messages,
            ..ServerConfig::new(redis, db)
        }
    }
}

async fn start_own(args: &RedisArgs, global: &super::Global) -> anyhow::Result<(RedisConfig, Managed)> {
    let topology = args.topology;
    let binary = super::setup::ensure_server(global.redis_server.as_deref(), global.yes)?;
    let own = Managed::start_async(topology, &binary, &ServerOptions::default()).await?;
    tracing::info!(nodes = own.addrs().join(","), "serve.own_redis");
    Ok((RedisConfig::new(topology, own.addrs()).with_client(args.client), own))
}

fn users_and_rooms(text: &str) -> Result<(usize, usize), String> {
    let both =
        text.split_once(',').and_then(|(users, rooms)| Some((users.parse().ok()?, rooms.parse().ok()?)));
    both.ok_or_else(|| "it must be USERS,ROOMS".to_owned())
}

/// Cancelled by SIGTERM or SIGINT.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(token)
}

/// Cancels when standard input ends. A thread of its own, because the runtime would wait for a read
/// that never returns.
fn stop_with_stdin(shutdown: CancellationToken) {
    std::thread::spawn(move || {
        let read = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        tracing::debug!(?read, "serve.parent_gone");
        shutdown.cancel();
    });
}
