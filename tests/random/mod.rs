//! Random conversations of many people over three server processes, and what must be true of each afterwards: what was
//! acknowledged is there once, all saw the same order without a hole, and who is online is known.
//!
//! | module | for |
//! | --- | --- |
//! | `person` | what one user does on two devices, and writes down |
//! | `faults` | what breaks meanwhile |
//! | `verdict` | the recorded conversation against the guarantees of docs/PROTOCOL.md |
//!
//! `CHATLAB_SEEDS=N` runs the seeds from 1 to N instead of the usual ones; each prints what it had to judge.

mod faults;
mod person;
mod verdict;

use std::{sync::Arc, time::Instant};

use chatlab_kit::{ids::RoomId, servers::Topology};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::common::own;
use person::Person;

/// Server processes.
const SERVERS: usize = 3;
/// People, each with two devices.
const PEOPLE: usize = 10;
/// Rooms that they talk in.
const ROOMS: usize = 3;
/// What each person does at least, in number.
const DEEDS: usize = 100;
/// Seeds of each topology.
const SEEDS: u64 = 2;

/// Where everybody is.
pub struct World {
    /// The addresses of the servers.
    pub servers: Vec<String>,
    /// All rooms.
    pub rooms: Vec<RoomId>,
    /// Whether requests may fail meanwhile.
    pub faults: bool,
}

fn seeds() -> u64 {
    let wanted = std::env::var("CHATLAB_SEEDS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(SEEDS)
}

/// One conversation a seed, and its verdict.
async fn converse(topology: Topology, faults: bool) {
    let mut stack = own(topology, SERVERS).await;
    for seed in 1..=seeds() {
        let (began, stop) = (Instant::now(), CancellationToken::new());
        let made = stack.provision(PEOPLE, ROOMS).await.unwrap();
        let servers = (0..SERVERS).map(|i| stack.ws_url(i)).collect();
        let world = Arc::new(World { servers, rooms: made.rooms, faults });
        let mut lives = JoinSet::new();
        for (number, token) in made.tokens.into_iter().enumerate() {
            let rng = ChaCha8Rng::seed_from_u64(seed * 1_000 + number as u64);
            lives.spawn(Person::new(world.clone(), number, token, rng).live(DEEDS, stop.clone()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let plan = if faults { faults::plan(topology, &mut rng) } else { Vec::new() };
        println!("{topology}, seed {seed}, faults {plan:?}");
        if faults {
            faults::happen(&mut stack, &plan, &mut rng).await;
        }
        stop.cancel();
        let mut people: Vec<Person> = lives.join_all().await;
        people.sort_by_key(|person| person.number);
        for person in &mut people {
            person.say_what_is_open().await;
        }
        for person in &mut people {
            person.catch_up().await;
        }
        let report = verdict::judge(&world, &mut people).await;
        assert!(report.heard > report.said, "too little happened: {report:?}");
        verdict::presence_settles(&world, &mut people).await;
        println!("{topology}, seed {seed}: {report:?} in {:.1} s", began.elapsed().as_secs_f64());
    }
    stack.stop().await.unwrap();
}

async fn what_is_acknowledged_is_there_once_and_in_one_order(topology: Topology) {
    Box::pin(converse(topology, false)).await;
}

async fn it_is_so_too_when_connections_servers_and_masters_go_and_come(topology: Topology) {
    Box::pin(converse(topology, true)).await;
}

crate::on_both!(
    what_is_acknowledged_is_there_once_and_in_one_order,
    it_is_so_too_when_connections_servers_and_masters_go_and_come,
);
