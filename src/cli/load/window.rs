//! Servers for one window of load, and the window itself.

use std::path::{Path, PathBuf};

use anyhow::Context;
use chatlab_kit::{
    prereq::ServerBinary,
    redis::ClientKind,
    servers::{Managed, ServerOptions},
};
use chatlab_load::{
    null::{self, Calibration},
    preflight::preflight,
    result::RunResult,
    scenario::{Driver, Scenario},
};

use super::{
    crew::Crew,
    measure::{GENERATE, labels, measure_by, measure_lab, measure_redis},
    options::{LoadArgs, PlaceArgs},
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
    redis: ServerBinary,
    /// The program that has all variants of all sides.
    program: PathBuf,
}

impl Setting {
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
        let (server, yes) = (global.redis_server.clone(), global.yes);
        let redis =
            tokio::task::spawn_blocking(move || setup::ensure_server(server.as_deref(), yes)).await??;
        let program = match exercises.is_empty() {
            true => std::env::current_exe().context("finding the running binary")?,
            // For all sides: they shall differ by nothing but the variant.
            false => match play::build(&exercises).await? {
                Some(program) => program,
                None => return Ok(None),
            },
        };
        Ok(Some(Self { scenario, crew: Crew::default(), servers: usize::from(args.servers), redis, program }))
    }

    /// What the generator can do by itself; none where there is no responder for it.
    pub(super) async fn calibrate(
        &self,
        place: PlaceArgs,
        teller: &mut Teller,
    ) -> anyhow::Result<Option<Calibration>> {
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
        let result = started.load(&self.scenario, record, teller).await;
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
        let servers = match self.scenario.driver {
            Driver::Ws => {
                teller.note(&format!("starting {topology} Redis and {} chat server(s)", self.servers));
                let options = StackOptions {
                    client: place.library()?,
                    servers: self.servers,
                    chatlab: program.clone(),
                    variants: side.variants.clone(),
                    host: self.crew.host,
                    ..StackOptions::new(topology, self.redis.clone())?
                };
                Servers::Chat(Box::new(Box::pin(Stack::start(options)).await?))
            }
            Driver::Lab | Driver::Redis => {
                teller.note(&format!("starting {topology} Redis"));
                let options = ServerOptions::steady();
                Servers::Redis(Managed::start_async(topology, &self.redis, &options).await?)
            }
        };
        Ok(Started { setting: self, place, side, program, servers })
    }
}

enum Servers {
    Chat(Box<Stack>),
    Redis(Managed),
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
                let mut labels = labels(topology, self.place.library()?, &self.setting.redis);
                if self.side.variants != Variants::default() {
                    labels.insert("variants".to_owned(), self.side.title.clone());
                }
                measure_by(&self.setting.crew, stack, scenario, labels, record, tell).await
            }
            Servers::Redis(managed) if scenario.driver == Driver::Lab => {
                let client = self.place.library()?;
                let labels = labels(topology, client, &self.setting.redis);
                let what = (scenario, self.side.variant_of(scenario)?);
                measure_lab(managed, client, what, self.program, labels, record, tell).await
            }
            Servers::Redis(managed) => {
                let labels = labels(topology, ClientKind::RedisRs, &self.setting.redis);
                let client = self.place.client;
                let what = (scenario, client);
                measure_redis(managed, what, self.program, labels, record, tell).await
            }
        }
    }

    /// Stops them.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self.servers {
            Servers::Chat(stack) => stack.stop().await,
            Servers::Redis(managed) => Ok(tokio::task::spawn_blocking(move || managed.stop()).await?),
        }
    }
}
