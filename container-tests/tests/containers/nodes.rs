//! Containers to talk to: Redis by the settings of `docker/redis/`, PostgreSQL, and chatlab.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use hyper::Method;
use redis::FromRedisValue;
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{AccessMode, ExecCommand, IntoContainerPort, Mount, WaitFor, wait::ExitWaitStrategy},
    runners::AsyncRunner,
};

use crate::{
    engine::{PREFIX, generic, owned, owner},
    http::{Ask, Http},
    settings::Settings,
};

pub const REDIS_PASSWORD: &str = "of-chatlab";
pub const ADMIN_PASSWORD: &str = "of-the-operator";
const REPLICA_PASSWORD: &str = "of-replicas";
const POSTGRES_PASSWORD: &str = "of-the-database";
const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A node of six is taken for dead after this silence, in milliseconds: short, since one is killed.
const NODE_TIMEOUT_MS: &str = "2000";
const REDIS_PORT: u16 = 6379;
const HTTP_PORT: u16 = 8080;
/// More than the tests of a suite open at a time.
const POSTGRES_CONNECTIONS: &str = "max_connections=400";
/// How long something may take to be ready, on a machine that does much else.
pub const READY_BOUND: Duration = Duration::from_secs(90);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);

/// A network of one test; it goes with the last container in it.
pub struct Network(String);

impl Network {
    pub fn fresh() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        Self(format!("{PREFIX}-{}-{}", owner(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// What something is called in here, and nowhere else.
    fn host(&self, name: &str) -> String {
        format!("{}-{name}", self.0)
    }
}

/// PostgreSQL in a container.
pub struct Postgres {
    _container: ContainerAsync<GenericImage>,
    host: String,
    port: u16,
}

impl Postgres {
    /// The server, as containers of its network reach it.
    pub fn inner_url(&self) -> String {
        format!("postgres://chatlab:{POSTGRES_PASSWORD}@{}:5432", self.host)
    }

    /// The same as this machine does.
    pub fn url(&self) -> String {
        format!("postgres://chatlab:{POSTGRES_PASSWORD}@127.0.0.1:{}", self.port)
    }
}

/// Starts one that keeps nothing when the machine goes.
pub async fn postgres(image: &str, network: &Network) -> anyhow::Result<Postgres> {
    let host = network.host("postgres");
    // By the network: the public image's first server, which only makes the database, does not listen there.
    let ready = WaitFor::message_on_stderr("listening on IPv4 address \"0.0.0.0\"");
    let image = generic(image).with_exposed_port(5432.tcp()).with_wait_for(ready);
    let container = owned(image)
        .with_network(network.name())
        .with_container_name(&host)
        .with_env_var("POSTGRES_USER", "chatlab")
        .with_env_var("POSTGRES_PASSWORD", POSTGRES_PASSWORD)
        .with_env_var("POSTGRES_DB", "chatlab")
        .with_cmd(["-c", POSTGRES_CONNECTIONS, "-c", "fsync=off"])
        .with_startup_timeout(READY_BOUND)
        .start()
        .await
        .context("PostgreSQL in a container")?;
    let asked = ["pg_isready", "-h", "127.0.0.1", "-U", "chatlab", "-d", "chatlab"];
    until("PostgreSQL takes connections", async || {
        let mut result = container.exec(ExecCommand::new(asked)).await?;
        result.stdout_to_vec().await?;
        Ok(result.exit_code().await? == Some(0))
    })
    .await?;
    let port = container.get_host_port_ipv4(5432).await?;
    Ok(Postgres { _container: container, host, port })
}

/// Redis in containers, one a node.
pub struct Redis {
    pub nodes: Vec<ContainerAsync<GenericImage>>,
    topology: &'static str,
    url: String,
}

impl Redis {
    /// Where node `i` is reached from this machine, as a user.
    pub async fn url(&self, i: usize, user: &str, password: &str) -> anyhow::Result<String> {
        let port = self.nodes[i].get_host_port_ipv4(REDIS_PORT).await?;
        Ok(format!("redis://{user}:{password}@127.0.0.1:{port}"))
    }

    /// What a node answers the operator.
    pub async fn ask<T: FromRedisValue>(&self, i: usize, words: &[&str]) -> anyhow::Result<T> {
        let client = redis::Client::open(self.url(i, "admin", ADMIN_PASSWORD).await?)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        Ok(command.query_async(&mut connection).await?)
    }

    /// Whether a node is the master that has a room.
    pub async fn is_master_of(&self, i: usize, room: &str) -> anyhow::Result<bool> {
        let replication: String = self.ask(i, &["INFO", "replication"]).await?;
        let keys: Vec<String> = self.ask(i, &["KEYS", &format!("*{room}*")]).await?;
        Ok(replication.contains("role:master") && !keys.is_empty())
    }

    /// What the servers' user was refused at a node.
    pub async fn refusals(&self, i: usize) -> anyhow::Result<Vec<String>> {
        let log: Vec<HashMap<String, redis::Value>> = self.ask(i, &["ACL", "LOG"]).await?;
        let told = log.into_iter().map(|entry| format!("{entry:?}"));
        Ok(told.filter(|entry| entry.contains("chatlab")).collect())
    }
}

/// A node with the settings of `docker/redis/`.
async fn node(
    settings: &Settings,
    image: &str,
    network: &Network,
    name: &str,
    arguments: &[&str],
) -> anyhow::Result<ContainerAsync<GenericImage>> {
    let image = generic(image)
        .with_entrypoint("/etc/chatlab/redis/start")
        .with_exposed_port(REDIS_PORT.tcp())
        .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"));
    let container = owned(image)
        .with_network(network.name())
        .with_container_name(network.host(name))
        .with_env_var("CHATLAB_REDIS_PASSWORD", REDIS_PASSWORD)
        .with_env_var("REDIS_ADMIN_PASSWORD", ADMIN_PASSWORD)
        .with_env_var("REDIS_REPLICA_PASSWORD", REPLICA_PASSWORD)
        .with_user("999:999")
        .with_mount(settings_of_redis(settings))
        .with_mount(Mount::tmpfs_mount("/tmp"))
        .with_readonly_rootfs(true)
        .with_cmd(arguments.iter().copied())
        .with_startup_timeout(READY_BOUND);
    container.start().await.with_context(|| format!("{name} in a container"))
}

fn settings_of_redis(settings: &Settings) -> Mount {
    let folder = settings.root.join("docker/redis").display().to_string();
    Mount::bind_mount(folder, "/etc/chatlab/redis").with_access_mode(AccessMode::ReadOnly)
}

/// One node.
pub async fn single(settings: &Settings, image: &str, network: &Network) -> anyhow::Result<Redis> {
    let node = node(settings, image, network, "redis", &["redis.conf"]).await?;
    let url = format!("redis://chatlab:{REDIS_PASSWORD}@{}:{REDIS_PORT}", network.host("redis"));
    Ok(Redis { nodes: vec![node], topology: "single", url })
}

/// Three masters with a replica each.
pub async fn cluster(settings: &Settings, image: &str, network: &Network) -> anyhow::Result<Redis> {
    let arguments = ["cluster.conf", "--cluster-node-timeout", NODE_TIMEOUT_MS];
    let names: Vec<String> = (1..=6).map(|i| format!("redis-{i}")).collect();
    let starts = names.iter().map(|name| node(settings, image, network, name, &arguments));
    let nodes = futures_util::future::try_join_all(starts).await?;
    let mut addresses = Vec::new();
    for node in &nodes {
        addresses.push(node.get_bridge_ip_address().await?.to_string());
    }
    let ended = WaitFor::Exit(ExitWaitStrategy::new().with_exit_code(0).with_poll_interval(LOOK));
    let image = generic(image).with_entrypoint("/etc/chatlab/redis/create-cluster").with_wait_for(ended);
    owned(image)
        .with_network(network.name())
        .with_env_var("REDIS_ADMIN_PASSWORD", ADMIN_PASSWORD)
        .with_user("999:999")
        .with_mount(settings_of_redis(settings))
        .with_cmd(addresses)
        .with_startup_timeout(READY_BOUND)
        .start()
        .await
        .context("making a cluster of the nodes")?;
    let url = format!("redis://chatlab:{REDIS_PASSWORD}@{}:{REDIS_PORT}", network.host("redis-1"));
    Ok(Redis { nodes, topology: "cluster", url })
}

/// chatlab in a container.
pub struct Server {
    _container: ContainerAsync<GenericImage>,
    pub http: Http,
}

/// Starts one that nothing is kept in, as in the stack, and waits until it is ready.
pub async fn chatlab(
    settings: &Settings,
    network: &Network,
    redis: &Redis,
    postgres: &Postgres,
) -> anyhow::Result<Server> {
    let image = generic(&settings.chatlab).with_exposed_port(HTTP_PORT.tcp());
    let container = owned(image)
        .with_network(network.name())
        .with_env_var("CHATLAB_REDIS_URL", &redis.url)
        .with_env_var("CHATLAB_TOPOLOGY", redis.topology)
        .with_env_var("CHATLAB_DB", format!("{}/chatlab", postgres.inner_url()))
        .with_env_var("CHATLAB_JWT_SECRET", JWT_SECRET)
        .with_mount(Mount::tmpfs_mount("/tmp"))
        .with_mount(Mount::tmpfs_mount("/data"))
        .with_readonly_rootfs(true)
        .with_cap_drop("ALL")
        .with_security_opt("no-new-privileges:true")
        .with_startup_timeout(READY_BOUND)
        .start()
        .await
        .context("chatlab in a container")?;
    let http = Http::new(format!("http://127.0.0.1:{}", container.get_host_port_ipv4(HTTP_PORT).await?));
    let ready = until("chatlab is ready", async || Ok(is_ready(&http).await)).await;
    if let Err(error) = ready {
        let said = String::from_utf8_lossy(&container.stderr_to_vec().await?).into_owned();
        bail!("{error}\n{said}");
    }
    Ok(Server { _container: container, http })
}

/// What a server says of itself.
pub async fn is_ready(http: &Http) -> bool {
    matches!(http.ask(Method::GET, "/health/readiness", Ask::default()).await, Ok((200, _)))
}

/// Looks until something holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_BOUND;
    while !holds().await? {
        ensure!(Instant::now() < deadline, "not within {READY_BOUND:?}: {what}");
        // A poll, bounded by the deadline.
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
