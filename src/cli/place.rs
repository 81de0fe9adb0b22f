//! Options that say where Redis is.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use chatlab_kit::{
    redis::{ClientKind, RedisConfig, Tls},
    servers::Topology,
};
use percent_encoding::percent_decode_str;

/// Where Redis is, and by which client library.
#[derive(Debug, Clone, clap::Args)]
pub struct RedisArgs {
    /// A Redis node, or one of a cluster: `redis://[USER:PASSWORD@]HOST:PORT`, with `%` and two hexadecimal digits for what has a meaning in
    /// a URL; `rediss://` for an encrypted connection
    #[arg(
        long,
        value_name = "URL",
        global = true,
        conflicts_with = "redis_nodes",
        env = "CHATLAB_REDIS_URL"
    )]
    redis_url: Option<String>,
    /// Redis nodes, `HOST:PORT,…`; of a cluster some are enough
    #[arg(long, global = true, value_name = "NODES", value_delimiter = ',', env = "CHATLAB_REDIS_NODES")]
    redis_nodes: Vec<String>,
    /// The ACL user to be at Redis, if the URL names none; the default user when missing
    #[arg(long, global = true, value_name = "NAME", env = "CHATLAB_REDIS_USER")]
    redis_user: Option<String>,
    /// The password there; better given by the environment, where others do not see it
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        env = "CHATLAB_REDIS_PASSWORD",
        hide_env_values = true
    )]
    redis_password: Option<String>,
    /// Connect to the Redis nodes by TLS
    #[arg(long, global = true, env = "CHATLAB_REDIS_TLS")]
    redis_tls: bool,
    /// Who has to have signed the certificates of Redis, a file in PEM; whom the system trusts when missing
    #[arg(long, global = true, value_name = "FILE", env = "CHATLAB_REDIS_CA")]
    redis_ca: Option<PathBuf>,
    /// What the Redis nodes are: `single` or `cluster`
    #[arg(long, global = true, default_value = "single", value_name = "TOPOLOGY", env = "CHATLAB_TOPOLOGY")]
    pub topology: Topology,
    /// The Redis client library: `redis-rs` or `fred`
    #[arg(long, global = true, default_value = "redis-rs", value_name = "CLIENT")]
    pub client: ClientKind,
}

impl RedisArgs {
    /// The Redis that was named; none when none was.
    ///
    /// # Errors
    /// For a URL that is none.
    pub fn config(&self) -> anyhow::Result<Option<RedisConfig>> {
        let config = match &self.redis_url {
            Some(url) => from_url(url)?,
            None if self.redis_nodes.is_empty() => return Ok(None),
            None => RedisConfig::new(self.topology, self.redis_nodes.clone()),
        };
        let config = if config.password.is_none() {
            config.with_credentials(self.redis_user.clone(), self.redis_password.clone())
        } else {
            config
        };
        let encrypted = self.redis_tls || config.tls.is_some();
        anyhow::ensure!(
            encrypted || self.redis_ca.is_none(),
            "--redis-ca is for encrypted connections: --redis-tls, or a URL with rediss://"
        );
        let ca = self.redis_ca.as_ref().map(read_ca).transpose()?;
        let config = config.with_tls(encrypted.then_some(Tls { ca }));
        Ok(Some(RedisConfig { topology: self.topology, ..config }.with_client(self.client)))
    }
}

/// Certificates in PEM.
fn read_ca(path: &PathBuf) -> anyhow::Result<Arc<[u8]>> {
    let pem = std::fs::read(path).with_context(|| format!("--redis-ca {}", path.display()))?;
    let begins = b"-----BEGIN CERTIFICATE-----";
    anyhow::ensure!(
        pem.windows(begins.len()).any(|part| part == begins),
        "--redis-ca {}: holds no certificate in PEM",
        path.display()
    );
    Ok(pem.into())
}

/// `redis://[USER:PASSWORD@]HOST:PORT`, or `rediss://`; without a database number, which a cluster has not.
fn from_url(url: &str) -> anyhow::Result<RedisConfig> {
    let wrong = || "--redis-url must be redis://[USER:PASSWORD@]HOST:PORT, or rediss://…";
    let (tls, rest) = match url.strip_prefix("rediss://") {
        Some(rest) => (Some(Tls::default()), rest),
        None => (None, url.strip_prefix("redis://").with_context(wrong)?),
    };
    let rest = rest.trim_end_matches('/');
    anyhow::ensure!(!rest.contains('/'), wrong());
    let (credentials, address) = match rest.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, rest),
    };
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:6379") };
    let (username, password) = match credentials.map(|c| c.split_once(':').unwrap_or(("", c))) {
        Some((user, password)) => {
            (Some(plain(user)?).filter(|user| !user.is_empty()), Some(plain(password)?))
        }
        None => (None, None),
    };
    Ok(RedisConfig::new(Topology::Single, vec![address]).with_credentials(username, password).with_tls(tls))
}

/// What a part of a URL stands for.
fn plain(part: &str) -> anyhow::Result<String> {
    let text = percent_decode_str(part)
        .decode_utf8()
        .context("--redis-url: the user or the password is no UTF-8")?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_node_and_credentials() {
        let config = from_url("redis://ada:secret@h:1234").unwrap();
        assert_eq!((config.nodes, config.username), (vec!["h:1234".to_owned()], Some("ada".to_owned())));
        assert_eq!(config.password.as_deref(), Some("secret"));
        let config = from_url("redis://a%40b:p%2F%3a%25@h").unwrap();
        assert_eq!((config.username.as_deref(), config.password.as_deref()), (Some("a@b"), Some("p/:%")));
        assert!(from_url("redis://:%ff@h").is_err());
        assert_eq!(from_url("redis://h").unwrap().nodes, ["h:6379"]);
        assert!(from_url("redis://h").unwrap().tls.is_none());
        assert!(from_url("rediss://h").unwrap().tls.is_some());
        assert!(from_url("http://h").is_err());
        assert!(from_url("redis://h:1/0").is_err());
    }
}
