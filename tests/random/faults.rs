//! What is broken while people talk, and mended again: of nothing may a message be lost, but of a master's death.

use std::{
    str::FromStr,
    sync::Mutex,
    time::{Duration, Instant},
};

use chatlab::harness::Stack;
use chatlab_kit::{ids::RoomId, servers::Topology, slots::Partition};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{World, ready::Watch};

/// Between two faults.
const CALM: Duration = Duration::from_millis(600);
/// How long everything may take to be well again when it is mended.
const WELL_AGAIN: Duration = Duration::from_secs(30);

/// One thing that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every subscriber's connection to Redis ends.
    KillSubscribers,
    /// Redis takes commands and answers none for a while.
    PauseClients,
    /// A server process is killed and started again.
    KillServer,
    /// The archive can't be written: somebody else is at it.
    LockSql,
    /// The archive answers nothing but errors.
    RemoveSql,
    /// Redis ends, by a signal to stop or by `kill -9`, and is started again: of a cluster a master, before it is missed.
    RestartRedis,
    /// A replica takes its master's place, without a loss.
    Failover,
    /// Slots of rooms go to another master.
    MoveSlots,
    /// `kill -9` of a master: its replica takes its place, and it comes back as a replica.
    KillMaster,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::KillSubscribers,
        Self::PauseClients,
        Self::KillServer,
        Self::LockSql,
        Self::RemoveSql,
        Self::RestartRedis,
        Self::Failover,
        Self::MoveSlots,
        Self::KillMaster,
    ];

    fn can_happen(self, topology: Topology) -> bool {
        topology == Topology::Cluster || !matches!(self, Self::Failover | Self::MoveSlots | Self::KillMaster)
    }

    /// The component that cannot serve meanwhile, if that must be seen.
    fn reddens(self, lengths: &Lengths) -> Option<&'static str> {
        match self {
            // The probes of live delivery come every 2 s and wait 1 s.
            Self::PauseClients => (lengths.paused >= Duration::from_secs(4)).then_some("pubsub"),
            Self::RestartRedis | Self::KillMaster => Some("pubsub"),
            Self::RemoveSql => Some("sql"),
            // A statement waits 5 s for another one's transaction, and a consumer may fail for 5 s.
            Self::LockSql => (lengths.sql >= Duration::from_secs(15)).then_some("events"),
            Self::KillSubscribers | Self::KillServer | Self::Failover | Self::MoveSlots => None,
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fault| format!("{fault:?}").eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("CHATLAB_FAULTS: `long`, or any of {:?}", Self::ALL))
    }
}

/// How long things stay broken.
#[derive(Debug, Clone)]
pub struct Lengths {
    pub subscribers: Duration,
    pub paused: Duration,
    pub server: Duration,
    pub sql: Duration,
    pub redis: Duration,
    /// Below a cluster's node timeout.
    pub restart: Duration,
    /// A dead master, from its replica's promotion on.
    pub master: Duration,
}

impl Lengths {
    const SHORT: Self = Self {
        subscribers: Duration::ZERO,
        paused: Duration::from_millis(700),
        server: Duration::from_millis(600),
        sql: Duration::from_secs(3),
        redis: Duration::from_secs(3),
        restart: Duration::from_millis(1_500),
        master: Duration::from_millis(600),
    };
    const LONG: Self = Self {
        subscribers: Duration::from_secs(5),
        paused: Duration::from_secs(6),
        server: Duration::from_secs(10),
        sql: Duration::from_secs(20),
        redis: Duration::from_secs(20),
        restart: Duration::from_millis(2_500),
        master: Duration::from_secs(20),
    };
}

/// What `CHATLAB_FAULTS` says.
pub struct Choice {
    faults: Vec<Fault>,
    pub lengths: Lengths,
}

impl Choice {
    pub fn made() -> Self {
        let text = std::env::var("CHATLAB_FAULTS").unwrap_or_default();
        let (long, faults): (Vec<&str>, Vec<&str>) =
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).partition(|word| *word == "long");
        let faults: Vec<Fault> = faults.into_iter().map(|word| word.parse().unwrap()).collect();
        let faults = if faults.is_empty() { Fault::ALL.to_vec() } else { faults };
        Self { faults, lengths: if long.is_empty() { Lengths::SHORT } else { Lengths::LONG } }
    }

    /// All that a topology can take, in an order that the seed decides.
    pub fn plan(&self, topology: Topology, rng: &mut ChaCha8Rng) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        faults.retain(|fault| fault.can_happen(topology));
        faults.shuffle(rng);
        faults
    }
}

/// A master's death: what it acknowledged from the one time to the other, in milliseconds of its clock, may be lost.
#[derive(Debug, Clone)]
pub struct Death {
    pub slots: Vec<(u16, u16)>,
    pub from_ms: u64,
    pub until_ms: u64,
}

impl Death {
    fn had(&self, room: RoomId) -> bool {
        let slot = Partition::of(&room).slot();
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

/// Every master's death so far.
#[derive(Debug, Default)]
pub struct Deaths(pub Mutex<Vec<Death>>);

impl Deaths {
    /// Whether a message of that time and room may be lost.
    pub fn explain(&self, room: RoomId, ts: u64) -> bool {
        let deaths = self.0.lock().unwrap();
        deaths.iter().any(|death| death.had(room) && (death.from_ms..=death.until_ms).contains(&ts))
    }

    /// Whether anything of a room may be lost.
    pub fn touched(&self, room: RoomId) -> bool {
        self.0.lock().unwrap().iter().any(|death| death.had(room))
    }
}

/// One fault, as it was.
#[derive(Debug)]
pub struct Incident {
    pub fault: Fault,
    /// More about it.
    pub how: String,
    pub began: Instant,
    pub mended: Instant,
    /// When something said after the mending was acknowledged in every room.
    pub recovered: Instant,
    /// When every server was ready.
    pub green: Instant,
    pub red: Duration,
    pub why: Vec<String>,
    pub ended: Instant,
}

/// Who breaks things.
pub struct Breaker<'a> {
    pub stack: &'a mut Stack,
    pub world: &'a World,
    pub lengths: &'a Lengths,
    /// A master that dies has a replica that is behind.
    pub behind: bool,
    pub rng: ChaCha8Rng,
}

impl Breaker<'_> {
    /// Breaks one thing after the other, mends it, and waits until all is well again.
    pub async fn happen(mut self, faults: &[Fault]) -> Vec<Incident> {
        let urls: Vec<String> = (0..self.stack.servers()).map(|i| self.stack.http_url(i)).collect();
        let watch = Watch::new(urls.into_iter());
        let mut incidents = Vec::new();
        for fault in faults {
            // The pace of what breaks; nothing depends on it.
            tokio::time::sleep(CALM).await;
            let began = Instant::now();
            let (how, mended) = Box::pin(self.harm(*fault)).await;
            let recovered = self.world.acknowledged_everywhere(WELL_AGAIN).await;
            let green = watch.green(mended, WELL_AGAIN).await;
            let seen = watch.since(began);
            if let Some(component) = fault.reddens(self.lengths) {
                assert!(seen.why.contains(component), "{fault:?} ({how}): {component} was not red: {seen:?}");
            }
            let (red, why) = (seen.red, seen.why.into_iter().collect());
            incidents.push(Incident {
                fault: *fault,
                how,
                began,
                mended,
                recovered,
                green,
                red,
                why,
                ended: Instant::now(),
            });
        }
        // The pace again: some talk comes after the last fault too.
        tokio::time::sleep(CALM).await;
        if let Some(last) = incidents.last_mut() {
            last.ended = Instant::now();
        }
        incidents
    }

    async fn harm(&mut self, fault: Fault) -> (String, Instant) {
        match fault {
            Fault::KillSubscribers => self.kill_subscribers().await,
            Fault::PauseClients => self.pause_clients().await,
            Fault::KillServer => self.kill_server().await,
            Fault::LockSql => self.lock_sql().await,
            Fault::RemoveSql => self.remove_sql().await,
            Fault::RestartRedis => self.restart_redis().await,
            Fault::Failover => self.failover().await,
            Fault::MoveSlots => self.move_slots().await,
            Fault::KillMaster => self.kill_master().await,
        }
    }

    /// One of the rooms that people talk in.
    pub fn some_room(&mut self) -> RoomId {
        self.world.rooms[self.rng.random_range(0..self.world.rooms.len())]
    }
}
