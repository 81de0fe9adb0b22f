//! What all verbs that load something ask for.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use chatlab_kit::{redis::ClientKind, servers::Topology};
use chatlab_load::{plan::By, resp::Client, scenario::Scenario};

/// The load, and where its result goes.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// Which scenario: a name of `load list`, or a file that ends with .toml
    pub scenario: String,
    /// Connections
    #[arg(long)]
    conns: Option<usize>,
    /// Rooms; connections go round them
    #[arg(long)]
    rooms: Option<usize>,
    /// Messages a second, of all connections together
    #[arg(long)]
    rate: Option<f64>,
    /// The measured window, in seconds
    #[arg(long)]
    secs: Option<u64>,
    /// The schedule's seed
    #[arg(long)]
    seed: Option<u64>,
    /// Generator threads that drive connections
    #[arg(long)]
    threads: Option<usize>,
    /// The length of a message's body, in bytes
    #[arg(long)]
    body_bytes: Option<usize>,
    /// Scenarios with a `receive` part: how messages are received, push, poll or both
    #[arg(long, value_name = "HOW")]
    receive: Option<By>,
    /// Chat server processes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub servers: u8,
    /// Load this instead of servers that are started for it: ws://HOST:PORT (with --dialect), http://HOST:PORT,
    /// postgres://USER@HOST/NAME or sqlite:FILE, as the scenario's driver wants
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// Driver `ws` with --target ws://HOST:PORT: how to talk to that server; see load-tests/dialects/*.toml
    #[arg(long, value_name = "FILE", requires = "target")]
    pub dialect: Option<PathBuf>,
    /// Processes of the target, to observe: their CPU and memory are in the result
    #[arg(long, value_name = "PID,…", value_delimiter = ',', requires = "target")]
    pub target_pids: Vec<u32>,
    /// The secret that the target verifies tokens with (JWT, HS256): its dialect's ${token} is signed with it
    #[arg(
        long,
        value_name = "SECRET",
        requires = "target",
        env = "CHATLAB_TARGET_SECRET",
        hide_env_values = true
    )]
    pub target_secret: Option<String>,
    /// Write the result into this folder, as JSON; `load report` makes a page of it
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Show and exit with 0 also when a run is not VALID
    #[arg(long)]
    pub accept: bool,
}

impl LoadArgs {
    /// The scenario with what the flags change.
    pub(super) fn scenario(&self) -> anyhow::Result<Scenario> {
        let file = Path::new(&self.scenario);
        let mut scenario = match file.extension().is_some_and(|ending| ending == "toml") {
            true => Scenario::read(file)?,
            false => Scenario::find(&self.scenario)?,
        };
        fn set<T: Copy>(field: &mut T, flag: Option<T>) {
            *field = flag.unwrap_or(*field);
        }
        set(&mut scenario.conns, self.conns);
        set(&mut scenario.rooms, self.rooms);
        set(&mut scenario.rate, self.rate);
        set(&mut scenario.secs, self.secs);
        set(&mut scenario.seed, self.seed);
        set(&mut scenario.threads, self.threads);
        set(&mut scenario.body_bytes, self.body_bytes);
        if let Some(by) = self.receive {
            let Some(receive) = &mut scenario.receive else {
                bail!("--receive: {} has no `receive` part", self.scenario);
            };
            receive.by = by;
        }
        scenario.check().map_err(|why| anyhow!("{}: {why}", self.scenario))?;
        Ok(scenario)
    }
}

/// On which servers, and through which client.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct PlaceArgs {
    /// One Redis node or six: single or cluster
    #[arg(long, default_value = "single")]
    pub topology: Topology,
    /// The Redis client: redis-rs or fred; where commands go straight to Redis, lean too
    #[arg(long)]
    pub client: Option<Client>,
}

impl PlaceArgs {
    /// The library of the chat server, or of a variant.
    pub(super) fn library(self) -> anyhow::Result<ClientKind> {
        match self.client {
            None => Ok(ClientKind::RedisRs),
            Some(client) => match client.library() {
                Some(kind) => Ok(kind),
                None => bail!("{client} is a client of the driver `redis` only; here: redis-rs or fred"),
            },
        }
    }
}
