//! fred behind redis-rs's connection: the same `Cmd` and `Pipeline` in, the same `Value` out.
//!
//! Unlike redis-rs's cluster connection, fred does not split a command whose keys are in several
//! slots (`MGET`, `DEL`): the server refuses it with CROSSSLOT, as it would refuse a script.

use ::redis::{Arg, Cmd, Pipeline, RedisFuture, RedisResult, Value};
use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, ClusterInterface, TransactionInterface};
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ReconnectPolicy, Server, ServerConfig, TcpConfig, TlsConfig,
    TlsConnector, TlsHostMapping,
};
use fred::types::{Builder, ClusterHash, CustomCommand, Value as FredValue};

use super::config::{RedisConfig, Tls, split_address};
use super::fred_value::{of_error, of_frame, of_value};
use super::route::{arg, key_of, upper};
use super::{RECONNECT_MAX_DELAY_MS, RECONNECT_MIN_DELAY_MS};
use crate::servers::Topology;
use crate::slots::slot;
use crate::{LabError, LabResult};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};

/// A command is sent once: what is not idempotent must not run twice behind the caller's back.
const COMMAND_ATTEMPTS: u32 = 1;
/// How many MOVED or ASK redirects one command follows.
const REDIRECTIONS: u32 = 5;
/// 0 is fred's "for ever": the connection is tried again until the client is dropped, while each
/// command fails after its own timeout.
const RECONNECT_ATTEMPTS: u32 = 0;
/// The factor between two pauses before a reconnection.
const RECONNECT_BASE: u32 = 2;

/// A clone of one fred client.
#[derive(Clone)]
pub(super) struct FredConnection {
    client: Client,
    topology: Topology,
}

impl FredConnection {
    pub(super) async fn connect(config: &RedisConfig) -> LabResult<Self> {
        let servers = config
            .nodes
            .iter()
            .map(|node| split_address(node).map(|(host, port)| Server::new(host, port)))
            .collect::<LabResult<Vec<_>>>()?;
        let client = builder(config, servers)?.build().map_err(|error| failed(&error))?;
        client.init().await.map_err(|error| failed(&error))?;
        Ok(Self { client, topology: config.topology })
    }

    pub(super) fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let args = Args::of(cmd);
            match self.everywhere(cmd) {
                Some(merge) => self.on_each_primary(args, merge).await,
                None => self.send(args).await,
            }
        })
    }

    pub(super) fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            if pipeline.is_empty() {
                // What redis-rs answers.
                return Err((::redis::ErrorKind::Client, "empty command").into());
            }
            if pipeline.is_transaction() {
                return Ok(vec![self.transaction(pipeline).await?]);
            }
            let replies = self.pipeline(pipeline).await?;
            Ok(replies.into_iter().skip(offset).take(count).collect())
        })
    }

    async fn send(&self, args: Args) -> RedisResult<Value> {
        match self.client.custom_raw(args.command, args.rest).await {
            Ok(frame) => Ok(of_frame(frame)),
            Err(error) => of_error(&error),
        }
    }

    async fn pipeline(&self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let queue = self.client.pipeline();
        for cmd in pipeline.cmd_iter() {
            let args = Args::of(cmd);
            let queued: Result<FredValue, _> = queue.custom(args.command, args.rest).await;
            if let Err(error) = queued {
                of_error(&error)?;
            }
        }
        let results = queue.try_all::<FredValue>().await;
        if results.len() != pipeline.len() {
            // One error for all of them: nothing is known about each.
            let error = results.into_iter().find_map(Result::err);
            let error = error.unwrap_or_else(fred::error::Error::new_canceled);
            let reply = of_error(&error)?;
            return Ok(vec![reply; pipeline.len()]);
        }
        results
            .into_iter()
            .map(|result| result.map_or_else(|error| of_error(&error), |value| Ok(of_value(value))))
            .collect()
    }

    /// `MULTI` … `EXEC`. fred turns one failed command into an error of the whole.
    async fn transaction(&self, pipeline: &Pipeline) -> RedisResult<Value> {
        let transaction = self.client.multi();
        for cmd in pipeline.cmd_iter() {
            let args = Args::of(cmd);
            let queued: Result<FredValue, _> = transaction.custom(args.command, args.rest).await;
            if let Err(error) = queued {
                of_error(&error)?.extract_error()?;
            }
        }
        match transaction.exec::<FredValue>(true).await {
            Ok(value) => Ok(of_value(value)),
            Err(error) => of_error(&error)?.extract_error(),
        }
    }

    /// How the replies of all masters become one, if the command is for all of them.
    fn everywhere(&self, cmd: &Cmd) -> Option<Merge> {
        if self.topology == Topology::Single {
            return None;
        }
        let verb = upper(arg(cmd, 0)?);
        let sub = || arg(cmd, 1).map(upper).unwrap_or_default();
        match verb.as_str() {
            "FLUSHALL" | "FLUSHDB" => Some(Merge::All),
            "SCRIPT" | "FUNCTION" => (sub() != "EXISTS").then_some(Merge::All),
            "CONFIG" => (sub() != "GET").then_some(Merge::All),
            "DBSIZE" => Some(Merge::Sum),
            "KEYS" => Some(Merge::Concat),
            _ => None,
        }
    }

    async fn on_each_primary(&self, args: Args, merge: Merge) -> RedisResult<Value> {
        let primaries =
            self.client.cached_cluster_state().map(|state| state.unique_primary_nodes()).unwrap_or_default();
        let mut merged = None;
        for primary in primaries {
            let node = self.client.with_cluster_node(primary);
            let reply = match node.custom_raw(args.command.clone(), args.rest.clone()).await {
                Ok(frame) => of_frame(frame),
                Err(error) => of_error(&error)?,
            };
            if matches!(reply, Value::ServerError(_)) {
                return Ok(reply);
            }
            merged = Some(match merged {
                None => reply,
                Some(before) => merge.both(before, reply),
            });
        }
        Ok(merged.unwrap_or_default())
    }
}

/// How two masters' replies become one.
#[derive(Clone, Copy)]
enum Merge {
    /// They are the same.
    All,
    Sum,
    Concat,
}

impl Merge {
    fn both(self, before: Value, reply: Value) -> Value {
        match (self, before, reply) {
            (Self::Sum, Value::Int(before), Value::Int(reply)) => Value::Int(before + reply),
            (Self::Concat, Value::Array(mut before), Value::Array(reply)) => {
                before.extend(reply);
                Value::Array(before)
            }
            (_, before, _) => before,
        }
    }
}

/// One command in fred's terms.
struct Args {
    command: CustomCommand,
    rest: Vec<FredValue>,
}

impl Args {
    fn of(cmd: &Cmd) -> Self {
        let hash = key_of(cmd).map_or(ClusterHash::Random, |key| ClusterHash::Custom(slot(key)));
        let mut all = if cmd.in_scan_mode() { packed_args(cmd) } else { plain_args(cmd) }.into_iter();
        let verb = all.next().unwrap_or_default();
        let verb = String::from_utf8_lossy(&verb).into_owned();
        Self { command: CustomCommand::new(verb, hash, false), rest: all.map(FredValue::Bytes).collect() }
    }
}

fn plain_args(cmd: &Cmd) -> Vec<Bytes> {
    let bytes = |part| match part {
        Arg::Simple(bytes) => Bytes::copy_from_slice(bytes),
        _ => Bytes::from_static(b"0"),
    };
    cmd.args_iter().map(bytes).collect()
}

/// The cursor of a scan is known to the packed form only.
fn packed_args(cmd: &Cmd) -> Vec<Bytes> {
    let parsed = ::redis::parse_redis_value(&cmd.get_packed_command());
    let parts = parsed.ok().and_then(|value| value.into_sequence().ok());
    let bytes = |part| match part {
        Value::BulkString(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    };
    parts.unwrap_or_default().into_iter().map(bytes).collect()
}

fn builder(config: &RedisConfig, servers: Vec<Server>) -> LabResult<Builder> {
    let server = match config.topology {
        Topology::Single => ServerConfig::Centralized {
            server: servers.into_iter().next().unwrap_or_else(|| Server::new("127.0.0.1", 6_379)),
        },
        Topology::Cluster => {
            ServerConfig::Clustered { hosts: servers, policy: ClusterDiscoveryPolicy::default() }
        }
    };
    let mut builder = Builder::from_config(Config {
        server,
        username: config.username.clone(),
        password: config.password.clone(),
        tls: config.tls.as_ref().map(encrypted).transpose()?,
        ..Config::default()
    });
    builder.with_connection_config(|connection| {
        connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        connection.connection_timeout = config.connect_timeout();
        connection.internal_command_timeout = config.response_timeout();
        connection.max_command_attempts = COMMAND_ATTEMPTS;
        connection.max_redirections = REDIRECTIONS;
    });
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = config.response_timeout();
    });
    let ms = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
    builder.set_policy(ReconnectPolicy::new_exponential(
        RECONNECT_ATTEMPTS,
        ms(RECONNECT_MIN_DELAY_MS),
        ms(RECONNECT_MAX_DELAY_MS),
        RECONNECT_BASE,
    ));
    Ok(builder)
}

/// Encryption as fred wants it; nodes are reached, and their certificates checked, by their addresses.
fn encrypted(tls: &Tls) -> LabResult<TlsConfig> {
    let wrong = |error: String| LabError::Other(format!("the authorities to be trusted: {error}"));
    let connector = match &tls.ca {
        None => TlsConnector::default_rustls().map_err(|error| failed(&error))?,
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth().into()
        }
    };
    Ok(TlsConfig { connector, hostnames: TlsHostMapping::None })
}

fn failed(error: &fred::error::Error) -> LabError {
    match of_error(error).and_then(Value::extract_error) {
        Err(error) => LabError::Redis(error),
        Ok(_) => LabError::Other(format!("fred: {error}")),
    }
}
