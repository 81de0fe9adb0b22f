//! Random conversations of many people over three server processes, and what must be true of each afterwards: what was
//! acknowledged is there once, all saw the same order without a hole, nobody heard what was not for them, and who is
//! online is known. The same while things break; what a master's death may lose was told to whoever had heard it.
//!
//! | module | for |
//! | --- | --- |
//! | `device` | one connection after the other, and what came on it in which order |
//! | `person`, `deeds` | what one user does on two devices, and writes down |
//! | `faults`, `harm` | what breaks meanwhile, when, and how |
//! | `ready` | what the servers say of themselves then |
//! | `looks` | how messages must look after what was said about them: edits, deletions, reactions |
//! | `verdict`, `settle` | the recorded conversation against the guarantees of docs/PROTOCOL.md |
//! | `report` | what is printed of a seed |
//!
//! `CHATLAB_SEEDS=N` runs the seeds from 1 to N instead of the usual ones, `CHATLAB_SEEDS=N-M` those from N to M; each prints
//! what it had to judge. `CHATLAB_FAULTS=long` leaves things broken for up to 20 s, and
//! `CHATLAB_FAULTS=lockSql,killMaster` breaks only these; both can be combined.

mod deeds;
mod device;
mod faults;
mod harm;
mod looks;
mod person;
mod ready;
mod report;
mod settle;
mod verdict;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chatlab::harness::Stack;
use chatlab_kit::{
    ids::RoomId,
    servers::{ServerOptions, Topology},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::common::options;
use faults::{Breaker, Choice, Deaths};
use person::Person;

/// Server processes.
const SERVERS: usize = 3;
/// People who talk at random, each with two devices. Two more are in the loud room.
const PEOPLE: usize = 10;
/// Rooms that they talk in.
const ROOMS: usize = 3;
/// What each person does at least, in number.
const DEEDS: usize = 100;
/// Seeds of each topology without faults, and with them.
const SEEDS: [u64; 2] = [2, 1];
/// How long a server's users are online after its death, in milliseconds.
const LEASE_MS: u64 = 4_000;
/// With faults: silence after which a cluster takes a node for dead, in milliseconds. Less, and a busy machine does.
const NODE_TIMEOUT_MS: u64 = 5_000;
/// How long the archive may take to have everything: what a killed server had begun to work is another's after 30 s.
const ARCHIVED: Duration = Duration::from_secs(60);

/// Where everybody is.
pub struct World {
    /// The addresses of the servers.
    pub servers: Vec<String>,
    /// The rooms of those who talk at random.
    pub rooms: Vec<RoomId>,
    /// Where one talks more than another one reads.
    pub loud: RoomId,
    /// Whether requests may fail meanwhile.
    pub faults: bool,
    /// Whether Redis may lose something meanwhile.
    pub may_lose: bool,
    /// What it may have lost.
    pub deaths: Deaths,
    acks: Mutex<Acks>,
}

/// What was acknowledged since something was mended.
#[derive(Default)]
struct Acks {
    mended: Option<Instant>,
    /// When the first answer came to what was sent after it, by room.
    first: BTreeMap<RoomId, Instant>,
}

impl World {
    /// Every room.
    pub fn all_rooms(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.iter().copied().chain([self.loud])
    }

    /// Something that was sent at `began` was stored in a room.
    pub fn acknowledged(&self, room: RoomId, began: Instant) {
        let mut acks = self.acks.lock().unwrap();
        if acks.mended.is_some_and(|mended| began >= mended) {
            acks.first.entry(room).or_insert_with(Instant::now);
        }
    }

    /// From now on acknowledgements show that all is well again.
    pub fn mended(&self) -> Instant {
        let now = Instant::now();
        *self.acks.lock().unwrap() = Acks { mended: Some(now), first: BTreeMap::new() };
        now
    }

    /// Waits until something that was sent after the mending was stored in each room that people talk in. When that was so.
    pub async fn acknowledged_everywhere(&self, within: Duration) -> Instant {
        let deadline = Instant::now() + within;
        loop {
            let first = self.acks.lock().unwrap().first.clone();
            let all: Option<Vec<Instant>> = self.rooms.iter().map(|room| first.get(room).copied()).collect();
            if let Some(last) = all.and_then(|all| all.into_iter().max()) {
                return last;
            }
            assert!(Instant::now() < deadline, "not everywhere acknowledged again in {within:?}");
            // A poll, bounded by the deadline.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub fn seeds(usual: u64) -> RangeInclusive<u64> {
    let Ok(wanted) = std::env::var("CHATLAB_SEEDS") else { return 1..=usual };
    let (first, last) = wanted.split_once('-').unwrap_or(("1", &wanted));
    first.parse().expect("a seed")..=last.parse().expect("a seed")
}

async fn start(topology: Topology, faults: bool) -> Stack {
    let mut options = options(topology, SERVERS);
    if faults {
        options.redis_options = ServerOptions {
            persistence: true,
            cluster_node_timeout_ms: NODE_TIMEOUT_MS,
            extra: vec![("appendfsync".into(), "always".into())],
            ..ServerOptions::default()
        };
        options.serve_args = vec!["--presence-lease-ms".into(), LEASE_MS.to_string()];
    }
    Stack::start(options).await.unwrap()
}

/// Starts everybody's life.
fn begin(world: &Arc<World>, tokens: Vec<String>, seed: u64, stop: &CancellationToken) -> JoinSet<Person> {
    let (asleep, poured) = (CancellationToken::new(), CancellationToken::new());
    let mut lives = JoinSet::new();
    for (number, token) in tokens.into_iter().enumerate() {
        let rng = ChaCha8Rng::seed_from_u64(seed * 1_000 + number as u64);
        let person = Person::new(world.clone(), number, token, rng);
        let (asleep, poured) = (asleep.clone(), poured.clone());
        match number.checked_sub(PEOPLE) {
            None => lives.spawn(person.live(DEEDS, stop.clone())),
            Some(0) => lives.spawn(person.pour(asleep, poured)),
            Some(_) => lives.spawn(person.sleep_through(asleep, poured)),
        };
    }
    lives
}

/// When all is mended: brings everybody to the end.
async fn finish(world: &World, people: &mut [Person]) {
    for person in &mut *people {
        person.settle().await;
    }
    for room in world.all_rooms() {
        let talker = people.iter_mut().find(|person| person.member.contains(&room));
        talker.expect("somebody is in every room").close_with_a_word(room).await;
    }
    for person in people {
        person.catch_up().await;
    }
}

/// One conversation a seed, and its verdict.
async fn converse(topology: Topology, faults: bool) {
    let mut stack = start(topology, faults).await;
    let choice = Choice::made();
    for seed in seeds(SEEDS[usize::from(faults)]) {
        let (began, stop) = (Instant::now(), CancellationToken::new());
        let made = stack.provision(PEOPLE + 2, ROOMS + 1).await.unwrap();
        let servers = (0..SERVERS).map(|i| stack.ws_url(i)).collect();
        let mut rooms = made.rooms;
        let loud = rooms.pop().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let plan = if faults { choice.plan(topology, &mut rng) } else { Vec::new() };
        println!("{topology}, seed {seed}: begins, to break {plan:?}");
        let may_lose = plan.contains(&faults::Fault::KillMaster);
        let (deaths, acks) = (Deaths::default(), Mutex::default());
        let world = Arc::new(World { servers, rooms, loud, faults, may_lose, deaths, acks });
        let lives = begin(&world, made.tokens, seed, &stop);
        let (lengths, behind) = (&choice.lengths, seed % 2 == 1);
        let breaker = Breaker { stack: &mut stack, world: &world, lengths, behind, rng };
        let incidents = if faults { Box::pin(breaker.happen(&plan)).await } else { Vec::new() };
        stop.cancel();
        let mut people: Vec<Person> = lives.join_all().await;
        people.sort_by_key(|person| person.number);
        finish(&world, &mut people).await;
        let (report, histories) = verdict::judge(&world, &mut people).await;
        assert!(report.heard > report.said, "too little happened: {report:?}");
        assert!(faults || report.slow > 0, "nobody was too slow");
        settle::unread(&mut people, &histories).await;
        settle::presence(&stack, &world, &mut people).await;
        settle::archive(&stack, &histories, ARCHIVED).await;
        report::print(&format!("{topology}, seed {seed}"), &world, &report, &incidents, began.elapsed());
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
