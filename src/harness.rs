//! A whole chat system of its own: managed Redis and one or more server processes on it.
//!
//! What `demo`, `load run` and the integration tests measure and break. The server processes are
//! real ones, started from the same binary, and end with whoever started them.

pub mod postgres;

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use chatlab_kit::{
    acl,
    prereq::ServerBinary,
    redis::{ClientKind, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    config::{Database, ServerConfig, Variants},
    provision::{Provisioned, provision},
};

/// How long a server process may take from its start to its first line.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a server process may take to drain when it is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The user that the servers are at Redis, with no more rights than they need. Who looks at Redis beside them is the default user.
const REDIS_USER: &str = "chatlab";
/// The line of a server that is ready.
const READY: &str = "listening on http://";

/// What to start.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// One Redis node or six.
    pub topology: Topology,
    /// The Redis client that the servers use.
    pub client: ClientKind,
    /// How many server processes.
    pub servers: usize,
    /// The address that they listen at; their ports are the system's choice.
    pub host: IpAddr,
    /// The Redis server to run.
    pub redis: ServerBinary,
    /// The chatlab binary to run.
    pub chatlab: PathBuf,
    /// How Redis runs.
    pub redis_options: ServerOptions,
    /// The PostgreSQL database of the servers; none for a SQLite file beside Redis.
    pub postgres: Option<String>,
    /// Which variants the servers run instead of the references.
    pub variants: Variants,
    /// Further arguments of `serve`.
    pub serve_args: Vec<String>,
    /// What the servers log, as `serve --log` takes it.
    pub log: String,
    /// The file that they log to, one after the other; none for this process's own standard error.
    pub log_file: Option<PathBuf>,
}

impl StackOptions {
    /// One server process, on redis-rs, from the running binary.
    pub fn new(topology: Topology, redis: ServerBinary) -> anyhow::Result<Self> {
        Ok(Self {
            topology,
            client: ClientKind::RedisRs,
            servers: 1,
            host: IpAddr::from([127, 0, 0, 1]),
            redis,
            chatlab: std::env::current_exe().context("finding the running binary")?,
            redis_options: ServerOptions::steady(),
            postgres: None,
            variants: Variants::default(),
            serve_args: Vec::new(),
            log: "warn".to_owned(),
            log_file: None,
        })
    }
}

struct Server {
    child: Child,
    addr: String,
    pid: u32,
}

/// Managed Redis with server processes on it. Dropping it ends all of them.
pub struct Stack {
    // Order matters: the servers go before Redis does.
    servers: Vec<Server>,
    options: StackOptions,
    jwt_secret: String,
    redis_password: String,
    managed: Arc<Managed>,
}

impl Stack {
    /// Starts Redis, waits until it is ready, and starts the server processes one after the other.
    pub async fn start(mut options: StackOptions) -> anyhow::Result<Self> {
        let redis_password = uuid::Uuid::new_v4().simple().to_string();
        options.redis_options.extra.push(("user".to_owned(), acl::rule(REDIS_USER, &redis_password)));
        let managed = Managed::start_async(options.topology, &options.redis, &options.redis_options).await?;
        let managed = Arc::new(managed);
        let jwt_secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut stack = Self { servers: Vec::new(), options, jwt_secret, redis_password, managed };
        for _ in 0..stack.options.servers {
            stack.add_server().await?;
        }
        Ok(stack)
    }

    /// Starts one more server process and returns its number.
    pub async fn add_server(&mut self) -> anyhow::Result<usize> {
        let server = self.spawn(&SocketAddr::new(self.options.host, 0).to_string()).await?;
        self.servers.push(server);
        Ok(self.servers.len() - 1)
    }

    /// Starts server `i` again on the address it had.
    pub async fn restart_server(&mut self, i: usize) -> anyhow::Result<()> {
        let addr = self.servers[i].addr.clone();
        self.servers[i] = self.spawn(&addr).await?;
        Ok(())
    }

    async fn spawn(&self, listen: &str) -> anyhow::Result<Server> {
        let mut command = self.command();
        if let Some(path) = &self.options.log_file {
            let file = std::fs::File::options().create(true).append(true).open(path);
            command.stderr(file.with_context(|| format!("opening {}", path.display()))?);
        }
        let mut child = command
            .args(["--with-parent", "--listen", listen])
            .args(&self.options.serve_args)
            .spawn()
            .with_context(|| format!("starting {}", self.options.chatlab.display()))?;
        let pid = child.id().context("the server ended at once")?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_TIMEOUT, lines.next_line())
            .await
            .context("the server did not say that it listens")??;
        match first.as_deref().and_then(|line| line.strip_prefix(READY)) {
            Some(addr) => Ok(Server { child, addr: addr.trim().to_owned(), pid }),
            None => bail!("the server did not start (see its messages above)"),
        }
    }

    /// `serve` on this Redis, with everything but what it is to do.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.options.chatlab);
        command
            .args(["serve", "--log", &self.options.log])
            .args(["--topology", &self.options.topology.to_string()])
            .args(["--client", &self.options.client.to_string()])
            .args(["--redis-nodes", &self.redis_nodes().join(",")])
            .arg("--db")
            .arg(self.db_setting())
            .args(self.options.variants.choices().flat_map(|c| ["--variant".to_owned(), c.to_string()]))
            .env("CHATLAB_JWT_SECRET", &self.jwt_secret)
            // What the labs' other variants do is not in the rule.
            .envs(self.is_of_references().then_some(("CHATLAB_REDIS_USER", REDIS_USER)))
            .envs(self.is_of_references().then_some(("CHATLAB_REDIS_PASSWORD", self.redis_password.as_str())))
            .envs(self.options.redis_options.tls.as_ref().map(|tls| ("CHATLAB_REDIS_CA", tls.join("ca.crt"))))
            .envs(self.options.redis_options.tls.as_ref().map(|_| ("CHATLAB_REDIS_TLS", "true")))
            // The pipe that nobody writes to: it closes when this process ends, however it ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Where the servers reach Redis.
    fn redis_nodes(&self) -> Vec<String> {
        if self.options.redis_options.tls.is_some() { self.managed.tls_addrs() } else { self.managed.addrs() }
    }

    /// Whether the servers run what a server runs by default.
    fn is_of_references(&self) -> bool {
        self.options.variants.choices().next().is_none()
    }

    /// Where the accounts are.
    pub fn database(&self) -> Database {
        self.options.postgres.clone().map_or_else(|| Database::File(self.db()), Database::Postgres)
    }

    /// The same as `--db` takes it.
    pub fn db_setting(&self) -> OsString {
        self.options.postgres.as_ref().map_or_else(|| self.db().into_os_string(), Into::into)
    }

    /// The SQLite file, unless they are in PostgreSQL.
    pub fn db(&self) -> PathBuf {
        // In Redis' own folder, because that folder is removed even if this process is killed.
        self.managed.folder().join("chatlab.db")
    }

    /// The managed Redis nodes.
    pub fn managed(&self) -> &Managed {
        &self.managed
    }

    /// The same for somebody who breaks them meanwhile; they live as long as the last who holds them.
    pub fn shared_managed(&self) -> Arc<Managed> {
        Arc::clone(&self.managed)
    }

    /// After which silence a cluster takes a node for dead.
    pub fn node_timeout(&self) -> Duration {
        Duration::from_millis(self.options.redis_options.cluster_node_timeout_ms)
    }

    /// How to reach Redis.
    pub fn redis_config(&self) -> RedisConfig {
        RedisConfig::new(self.options.topology, self.managed.addrs()).with_client(self.options.client)
    }

    /// The secret that the servers sign tokens with.
    pub fn jwt_secret(&self) -> &str {
        &self.jwt_secret
    }

    /// How many server processes were started.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// `host:port` of server `i`.
    pub fn addr(&self, i: usize) -> &str {
        &self.servers[i].addr
    }

    /// The HTTP address of server `i`.
    pub fn http_url(&self, i: usize) -> String {
        format!("http://{}", self.servers[i].addr)
    }

    /// The WebSocket address of server `i`.
    pub fn ws_url(&self, i: usize) -> String {
        format!("ws://{}/ws", self.servers[i].addr)
    }

    /// The process id of server `i`.
    pub fn server_pid(&self, i: usize) -> u32 {
        self.servers[i].pid
    }

    /// The process ids of the Redis nodes.
    pub fn redis_pids(&self) -> Vec<u32> {
        (0..self.managed.nodes().len()).filter_map(|i| self.managed.pid(i)).collect()
    }

    /// Ends server `i` at once, as a crash would (`kill -9`).
    pub async fn kill_server(&mut self, i: usize) -> anyhow::Result<()> {
        Ok(self.servers[i].child.kill().await?)
    }

    /// Tells server `i` to stop, waits for it, and returns its exit code.
    pub async fn stop_server(&mut self, i: usize) -> anyhow::Result<Option<i32>> {
        let server = &mut self.servers[i];
        drop(server.child.stdin.take());
        let status = tokio::time::timeout(STOP_TIMEOUT, server.child.wait())
            .await
            .context("the server did not stop in time")??;
        Ok(status.code())
    }

    /// Makes users with live sessions, and rooms, without the cost of a password hash each.
    pub async fn provision(&self, users: usize, rooms: usize) -> anyhow::Result<Provisioned> {
        if self.options.variants.of("sessions") == Some("exercise") {
            return self.provision_by_program(users, rooms).await;
        }
        let config = ServerConfig {
            jwt_secret: Some(self.jwt_secret.clone()),
            // Sessions must be such as the servers read; the rest has no part in this.
            variants: Variants::new(self.options.variants.choices().filter(|c| c.lab == "sessions")),
            ..ServerConfig::new(self.redis_config(), self.database())
        };
        provision(&config, users, rooms).await
    }

    /// The exercise is in the servers' program, not in this one.
    async fn provision_by_program(&self, users: usize, rooms: usize) -> anyhow::Result<Provisioned> {
        let output = self
            .command()
            .args(["--provision", &format!("{users},{rooms}")])
            .output()
            .await
            .with_context(|| format!("starting {}", self.options.chatlab.display()))?;
        if !output.status.success() {
            bail!("users could not be made (see the message above)");
        }
        serde_json::from_slice(&output.stdout).context("what was made is not what it should be")
    }

    /// Stops the servers in order, then Redis.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for i in 0..self.servers.len() {
            self.stop_server(i).await?;
        }
        Ok(())
    }
}
