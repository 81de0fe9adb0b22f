//! What a handle is connected with.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ::redis::io::tcp::TcpSettings;
use ::redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};
use serde::{Deserialize, Serialize};

use crate::servers::Topology;
use crate::{LabError, LabResult};

/// How long a connection attempt may take, unless the configuration says otherwise.
pub const CONNECT_TIMEOUT_MS: u64 = 2_000;
/// How long a reply may take, unless the configuration says otherwise. Far above any healthy
/// reply: it bounds waiting, it does not measure.
pub const RESPONSE_TIMEOUT_MS: u64 = 5_000;

/// The client library under a [`Redis`](super::Redis) handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientKind {
    /// The redis crate, the production client.
    #[serde(rename = "redis-rs")]
    RedisRs,
    /// The fred crate, for comparison.
    #[serde(rename = "fred")]
    Fred,
}

impl ClientKind {
    /// Both, in the order in which reports show them.
    pub const ALL: [Self; 2] = [Self::RedisRs, Self::Fred];

    /// The clients that this build has.
    pub fn available() -> &'static [Self] {
        if cfg!(feature = "fred") { &Self::ALL } else { &[Self::RedisRs] }
    }

    /// The name as typed on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RedisRs => "redis-rs",
            Self::Fred => "fred",
        }
    }
}

impl fmt::Display for ClientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no client: use `redis-rs` or `fred`")]
pub struct UnknownClient(pub String);

impl FromStr for ClientKind {
    type Err = UnknownClient;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|client| client.as_str() == text)
            .ok_or_else(|| UnknownClient(text.to_owned()))
    }
}

/// How connections to Redis are encrypted. A server's certificate must be valid for the name, or the address, by which it is reached: on a
/// cluster also for those that the nodes tell each other.
#[derive(Clone, Default)]
pub struct Tls {
    /// Who has to have signed a server's certificate, in PEM; whom the system trusts when missing.
    pub ca: Option<Arc<[u8]>>,
}

impl Tls {
    /// In the words of redis-rs.
    pub(super) fn certificates(&self) -> TlsCertificates {
        TlsCertificates { client_tls: None, root_cert: self.ca.as_ref().map(|pem| pem.to_vec()) }
    }
}

/// Where Redis is and how to reach it.
#[derive(Clone)]
pub struct RedisConfig {
    /// One node or a cluster.
    pub topology: Topology,
    /// `host:port`: the node, or some nodes of the cluster; the rest is discovered.
    pub nodes: Vec<String>,
    /// The client library.
    pub client: ClientKind,
    /// The ACL user; none for the default user.
    pub username: Option<String>,
    /// Never printed.
    pub password: Option<String>,
    /// How connections are encrypted; none when they are not.
    pub tls: Option<Tls>,
    /// Bound on one connection attempt, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Bound on one reply, in milliseconds.
    pub response_timeout_ms: u64,
}

impl RedisConfig {
    /// redis-rs, no password, the default timeouts.
    pub fn new(topology: Topology, nodes: Vec<String>) -> Self {
        Self {
            topology,
            nodes,
            client: ClientKind::RedisRs,
            username: None,
            password: None,
            tls: None,
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            response_timeout_ms: RESPONSE_TIMEOUT_MS,
        }
    }

    /// The same with another client library.
    #[must_use]
    pub fn with_client(mut self, client: ClientKind) -> Self {
        self.client = client;
        self
    }

    /// The same with credentials.
    #[must_use]
    pub fn with_credentials(mut self, username: Option<String>, password: Option<String>) -> Self {
        self.username = username;
        self.password = password;
        self
    }

    /// The same over encrypted connections.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// The same with another bound on a reply, such as a longer one for blocking commands.
    #[must_use]
    pub fn with_response_timeout_ms(mut self, response_timeout_ms: u64) -> Self {
        self.response_timeout_ms = response_timeout_ms;
        self
    }

    /// The same with another bound on a connection attempt.
    #[must_use]
    pub fn with_connect_timeout_ms(mut self, connect_timeout_ms: u64) -> Self {
        self.connect_timeout_ms = connect_timeout_ms;
        self
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }

    /// The first node, which `check` has made sure of.
    pub(crate) fn check(&self) -> LabResult<()> {
        if self.nodes.is_empty() {
            return Err(LabError::Other("no Redis address is configured".into()));
        }
        if self.topology == Topology::Single && self.nodes.len() > 1 {
            return Err(LabError::Other(format!(
                "a single node was asked for, but {} addresses are configured",
                self.nodes.len()
            )));
        }
        Ok(())
    }

    /// One node's connection parameters, for whoever opens a connection of a kind that the handle has not:
    /// `TCP_NODELAY` on (redis-rs 1.x leaves it off), and the credentials.
    ///
    /// # Errors
    /// When `node` is no `host:port`.
    pub fn connection_info(&self, node: &str) -> LabResult<ConnectionInfo> {
        let (host, port) = split_address(node)?;
        let mut settings = RedisConnectionInfo::default();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        let host = host.to_owned();
        let addr = match self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let info = addr
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(settings);
        Ok(info)
    }

    /// A client for a connection that [`RedisConfig::connection_info`] describes, encrypted if it is to be.
    ///
    /// # Errors
    /// When what is to be trusted can't be read.
    pub fn client_of(&self, info: ConnectionInfo) -> LabResult<Client> {
        Ok(match &self.tls {
            Some(tls) => Client::build_with_tls(info, tls.certificates())?,
            None => Client::open(info)?,
        })
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("topology", &self.topology)
            .field("nodes", &self.nodes)
            .field("client", &self.client)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("tls", &self.tls.is_some())
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("response_timeout_ms", &self.response_timeout_ms)
            .finish()
    }
}

/// `host:port` in two parts; an IPv6 host may stand in brackets.
pub(super) fn split_address(node: &str) -> LabResult<(&str, u16)> {
    let wrong = || LabError::Other(format!("`{node}` is no host:port"));
    let (host, port) = node.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| wrong())?;
    if host.is_empty() {
        return Err(wrong());
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_names_are_the_same_in_text_and_in_json() {
        for client in ClientKind::ALL {
            assert_eq!(client.as_str().parse(), Ok(client));
            assert_eq!(serde_json::to_string(&client).unwrap(), format!("\"{client}\""));
        }
        assert!("jedis".parse::<ClientKind>().is_err());
    }

    #[test]
    fn addresses_split_at_the_last_colon() {
        assert_eq!(split_address("127.0.0.1:7000").unwrap(), ("127.0.0.1", 7000));
        assert_eq!(split_address("[::1]:7000").unwrap(), ("::1", 7000));
        for wrong in ["", "7000", ":7000", "host:", "host:70000"] {
            assert!(split_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let config = RedisConfig::new(Topology::Single, vec!["h:1".into()])
            .with_credentials(None, Some("hunter2".into()));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
