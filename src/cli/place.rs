//! Options that say where Redis is.

use anyhow::Context;
use chatlab_kit::{
    redis::{ClientKind, RedisConfig},
    servers::Topology,
};

/// Where Redis is, and by which client library.
#[derive(Debug, Clone, clap::Args)]
pub struct RedisArgs {
    /// One Redis node: `redis://[USER:PASSWORD@]HOST:PORT`
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
    /// What the Redis nodes are: `single` or `cluster`
    #[arg(long, global = true, default_value = "single", value_name = "TOPOLOGY")]
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
        Ok(Some(RedisConfig { topology: self.topology, ..config }.with_client(self.client)))
    }
}

/// `redis://[USER:PASSWORD@]HOST:PORT`; without encryption and database number, which a cluster has not.
fn from_url(url: &str) -> anyhow::Result<RedisConfig> {
    let wrong = || "--redis-url must be redis://[USER:PASSWORD@]HOST:PORT";
    let rest = url.strip_prefix("redis://").with_context(wrong)?.trim_end_matches('/');
    anyhow::ensure!(!rest.contains('/'), wrong());
    let (credentials, address) = match rest.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, rest),
    };
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:6379") };
    let (username, password) = match credentials.map(|c| c.split_once(':').unwrap_or(("", c))) {
        Some((user, password)) => {
            (Some(user.to_owned()).filter(|user| !user.is_empty()), Some(password.to_owned()))
        }
        None => (None, None),
    };
    Ok(RedisConfig::new(Topology::Single, vec![address]).with_credentials(username, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_node_and_credentials() {
        let config = from_url("redis://ada:secret@h:1234").unwrap();
        assert_eq!((config.nodes, config.username), (vec!["h:1234".to_owned()], Some("ada".to_owned())));
        assert_eq!(config.password.as_deref(), Some("secret"));
        assert_eq!(from_url("redis://h").unwrap().nodes, ["h:6379"]);
        assert!(from_url("rediss://h").is_err());
        assert!(from_url("redis://h:1/0").is_err());
    }
}
