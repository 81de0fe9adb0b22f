//! Servers for one window of load, and the window itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use chatlab_kit::{
    prereq::ServerBinary,
    redis::ClientKind,
    servers::{Managed, ServerOptions, Topology},
};
use chatlab_load::{
    dialect::Dialect,
    null::{self, Calibration},
    plan::Progress,
    preflight::preflight,
    result::RunResult,
    scenario::{Driver, Scenario},
};

use super::{
    bare::Writer,
    crew::Crew,
    faults::FaultArgs,
    measure::{
        GENERATE, labels, measure_bare, measure_by, measure_foreign, measure_http, measure_lab,
        measure_redis, measure_sql,
    },
    options::{LoadArgs, PlaceArgs},
    peer::{self, PeerServer},
    side::Side,
    teller::Teller,
};
use crate::{
    cli::{Global, play, setup},
    config::Variants,
    harness::{Stack, StackOptions},
};

/// Everything that is the same for each window of a session.
pub(super) struct Setting {
    /// What is loaded.
    pub scenario: Scenario,
    /// Who generates the load.
    pub crew: Crew,
    servers: usize,
    /// None where no Redis takes part.
    redis: Option<ServerBinary>,
    /// What is loaded instead of servers that are started for it.
    target: Option<Elsewhere>,
    /// The program that has all variants of all sides.
    program: PathBuf,
    /// What is broken meanwhile.
    pub faults: FaultArgs,
}

impl Setting {
    /// How Redis runs.
    fn redis_options(&self) -> ServerOptions {
        let steady = ServerOptions::steady();
        let cluster_node_timeout_ms = self.faults.node_timeout_ms().unwrap_or(steady.cluster_node_timeout_ms);
        ServerOptions { cluster_node_timeout_ms, ..steady }
    }

    /// Checks what is asked for, finds Redis and builds what must be built; none when an exercise does not compile, which the
    /// compiler has said.
    pub(super) async fn prepare(
        args: &LoadArgs,
        sides: &[&Side],
        global: &Global,
    ) -> anyhow::Result<Option<Self>> {
        let scenario = args.scenario()?;
        let mut exercises: Vec<String> = Vec::new();
        for side in sides {
            side.check(&scenario)?;
            exercises.extend(side.exercises());
        }
        exercises.sort_unstable();
        exercises.dedup();
        // Also raises the limit for the server processes, which inherit it.
        preflight(scenario.all_conns())?;
        if args.target.is_some() && matches!(scenario.driver, Driver::Lab | Driver::Redis | Driver::Bare) {
            bail!("--target: {} is loaded on servers that are started for it", scenario.name);
        }
        let (server, yes) = (global.redis_server.clone(), global.yes);
        let peers: Vec<_> = sides.iter().filter_map(|side| side.peer).collect();
        if !peers.is_empty() && (args.servers > 1 || args.target.is_some()) {
            bail!("a peer is one process, and compared with ours: leave out --servers and --target");
        }
        tokio::task::spawn_blocking(move || peers.into_iter().try_for_each(|peer| peer::ensure(peer, yes)))
            .await??;
        let no_redis = matches!(scenario.driver, Driver::Sql | Driver::Bare);
        let redis = match no_redis || args.target.is_some() {
            true => None,
            false => Some(
                tokio::task::spawn_blocking(move || setup::ensure_server(server.as_deref(), yes)).await??,
            ),
        };
        let program = match exercises.is_empty() {
            true => std::env::current_exe().context("finding the running binary")?,
            // For all sides: they shall differ by nothing but the variant.
            false => match play::build(&exercises).await? {
                Some(program) => program,
                None => return Ok(None),
            },
        };
        let dialect = args.dialect.as_deref().map(Dialect::read).transpose()?;
        if args.target.is_some() && (scenario.driver == Driver::Ws) != dialect.is_some() {
            bail!("--target and --dialect go together for the driver `ws`, and only for it");
        }
        let target = args.target.clone().map(|url| Elsewhere {
            url,
            dialect,
            pids: args.target_pids.clone(),
            secret: args.target_secret.clone(),
            ..Elsewhere::default()
        });
        let faults = FaultArgs::default();
        let servers = usize::from(args.servers);
        Ok(Some(Self { scenario, crew: Crew::default(), servers, redis, target, program, faults }))
    }

    /// The same for a bare loop: it has nothing but a load.
    ///
    /// # Errors
    /// When the machine has too few open files for it.
    pub(super) fn of(&self, scenario: Scenario) -> anyhow::Result<Self> {
        preflight(scenario.all_conns())?;
        Ok(Self {
            scenario,
            crew: Crew::default(),
            servers: 1,
            redis: None,
            target: None,
            program: self.program.clone(),
            faults: FaultArgs::default(),
        })
    }

    fn redis(&self) -> anyhow::Result<&ServerBinary> {
        self.redis.as_ref().context("this load has no Redis")
    }

    /// What the generator can do by itself; none where there is no responder for it.
    pub(super) async fn calibrate(
        &self,
        place: PlaceArgs,
        teller: &mut Teller,
    ) -> anyhow::Result<Option<Calibration>> {
        // The responder speaks our dialect only, and theirs costs the generator more; for calls there is none.
        let has_responder = matches!(self.scenario.driver, Driver::Ws | Driver::Redis);
        if self.target.is_some() || !has_responder {
            return Ok(None);
        }
        teller.note("the generator by itself, before a responder that does nothing");
        let tell = &mut |progress| teller.tell(progress);
        null::calibrate(&self.scenario, place.client, (&self.program, &GENERATE), tell).await
    }

    /// Starts everything anew, loads it for one window, and stops it: no window inherits from another.
    pub(super) async fn window(
        &self,
        place: PlaceArgs,
        side: &Side,
        record: Option<&Path>,
        teller: &mut Teller,
    ) -> anyhow::Result<RunResult> {
        let started = self.start(place, side, teller).await?;
        let result = started.load(&side.of(&self.scenario), record, teller).await;
        started.stop().await?;
        result
    }

    /// Starts what the scenario loads.
    pub(super) async fn start<'a>(
        &'a self,
        place: PlaceArgs,
        side: &'a Side,
        teller: &mut Teller,
    ) -> anyhow::Result<Started<'a>> {
        let topology = place.topology;
        let program = side.program.as_ref().unwrap_or(&self.program);
        if let Some(target) = &self.target {
            let servers = Servers::Elsewhere(Box::new(target.clone()));
            return Ok(Started { setting: self, place, side, program, servers });
        }
        if let Some(peer) = side.peer {
            if topology != Topology::Single {
                bail!("peer:{} knows one Redis node: --topology single", peer.name);
            }
            teller.note(&format!("starting {topology} Redis and peer:{}", peer.name));
            let server = PeerServer::start(peer, self.redis()?, &self.redis_options()).await?;
            return Ok(Started {
                setting: self,
                place,
                side,
                program,
                servers: Servers::Peer(Box::new(server)),
            });
        }
        let servers = match self.scenario.driver {
            Driver::Bare => {
                teller.note("starting the writer");
                Servers::Bare(Box::new(Writer::start(program).await?))
            }
            Driver::Sql => {
                teller.note("making a SQLite file");
                Servers::File(tempfile::tempdir().context("making a folder for SQLite's file")?)
            }
            Driver::Ws | Driver::Http => {
                teller.note(&format!("starting {topology} Redis and {} chat server(s)", self.servers));
                let options = StackOptions {
                    client: place.library()?,
                    servers: self.servers,
                    chatlab: program.clone(),
                    variants: side.variants.clone(),
                    host: self.crew.host,
                    redis_options: self.redis_options(),
                    ..StackOptions::new(topology, self.redis()?.clone())?
                };
                Servers::Chat(Box::new(Box::pin(Stack::start(options)).await?))
            }
            Driver::Lab | Driver::Redis => {
                teller.note(&format!("starting {topology} Redis"));
                let options = self.redis_options();
                Servers::Redis(Managed::start_async(topology, self.redis()?, &options).await?)
            }
        };
        Ok(Started { setting: self, place, side, program, servers })
    }
}

enum Servers {
    Chat(Box<Stack>),
    Redis(Managed),
    /// SQLite's file is in it, and goes with it.
    File(tempfile::TempDir),
    Elsewhere(Box<Elsewhere>),
    Peer(Box<PeerServer>),
    Bare(Box<Writer>),
}

/// Servers that are not ours.
#[derive(Clone, Default)]
pub(super) struct Elsewhere {
    pub url: String,
    pub dialect: Option<Dialect>,
    /// Processes to observe.
    pub pids: Vec<u32>,
    /// What tokens are signed with.
    pub secret: Option<String>,
    /// The Redis that they use, where it is known: processes and nodes.
    pub redis_pids: Vec<u32>,
    pub redis_nodes: Vec<String>,
    /// What a result says about them.
    pub labels: BTreeMap<String, String>,
}

/// Running servers that can be loaded.
pub(super) struct Started<'a> {
    setting: &'a Setting,
    place: PlaceArgs,
    side: &'a Side,
    program: &'a Path,
    servers: Servers,
}

impl Started<'_> {
    /// Loads them for one window. `scenario` is the setting's, perhaps at another rate.
    pub(super) async fn load(
        &self,
        scenario: &Scenario,
        record: Option<&Path>,
        teller: &mut Teller,
    ) -> anyhow::Result<RunResult> {
        let tell = &mut |progress| teller.tell(progress);
        let topology = self.place.topology;
        match &self.servers {
            Servers::Chat(stack) => {
                let mut labels = labels(topology, self.place.library()?, self.setting.redis()?);
                if self.side.variants != Variants::default() {
                    labels.insert("variants".to_owned(), self.side.title.clone());
                }
                if scenario.driver == Driver::Http {
                    return measure_http(Ok(stack.as_ref()), scenario, labels, record, tell).await;
                }
                let faults = &self.setting.faults;
                if faults.node_timeout_ms().is_some() && topology == Topology::Cluster {
                    let timeout = format!("{} ms", stack.node_timeout().as_millis());
                    labels.insert("node timeout".to_owned(), timeout);
                }
                let by = (&self.setting.crew, faults.faults());
                measure_by(by, stack, scenario, labels, record, tell).await
            }
            Servers::File(folder) => {
                let url = format!("sqlite:{}", folder.path().join("load.db").display());
                measure_sql((&url, &[]), scenario, record, tell).await
            }
            Servers::Elsewhere(target) => {
                anyhow::ensure!(self.setting.crew.is_one(), "--target is loaded by one generator");
                load_elsewhere(target, scenario, record, tell).await
            }
            Servers::Peer(peer) => {
                anyhow::ensure!(self.setting.crew.is_one(), "a peer is loaded by one generator");
                load_elsewhere(&peer.elsewhere, scenario, record, tell).await
            }
            Servers::Bare(writer) => measure_bare(writer, scenario, record, tell).await,
            Servers::Redis(managed) if scenario.driver == Driver::Lab => {
                let client = self.place.library()?;
                let labels = labels(topology, client, self.setting.redis()?);
                let what = (scenario, self.side.variant_of(scenario)?);
                measure_lab(managed, client, what, self.program, labels, record, tell).await
            }
            Servers::Redis(managed) => {
                let labels = labels(topology, ClientKind::RedisRs, self.setting.redis()?);
                let client = self.place.client;
                let what = (scenario, client);
                measure_redis(managed, what, self.program, labels, record, tell).await
            }
        }
    }

    /// Stops them.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self.servers {
            Servers::File(_) | Servers::Elsewhere(_) => Ok(()),
            Servers::Chat(stack) => stack.stop().await,
            Servers::Peer(peer) => peer.stop().await,
            Servers::Bare(writer) => writer.stop().await,
            Servers::Redis(managed) => Ok(tokio::task::spawn_blocking(move || managed.stop()).await?),
        }
    }
}

async fn load_elsewhere(
    target: &Elsewhere,
    scenario: &Scenario,
    record: Option<&Path>,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let url = &target.url;
    // A password stays out of the result.
    let shown = url.split_once('@').map_or(url.as_str(), |(_, host)| host);
    let mut labels = target.labels.clone();
    if labels.is_empty() {
        labels.insert("target".to_owned(), shown.to_owned());
    }
    match scenario.driver {
        Driver::Sql => measure_sql((url, &target.pids), scenario, record, tell).await,
        Driver::Http => measure_http(Err(target), scenario, labels, record, tell).await,
        Driver::Ws => measure_foreign(target, scenario, labels, record, tell).await,
        Driver::Lab | Driver::Redis | Driver::Bare => {
            bail!("--target: {} is loaded on servers that are started for it", scenario.name)
        }
    }
}
