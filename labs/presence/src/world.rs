//! Runs a history on a variant and writes down every fact that it proves.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    budget::{FewestTrips, no_walk},
    check::{self, Finding, Record, Stop, Subject, server_ms},
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    redis::Redis,
    servers::Topology,
};

use crate::{
    Policy, Presence,
    fleet::{Fleet, Switch},
    history::{Answer, Call, Step},
    model::{Conn, Life, Topic, User},
};

mod faults;
mod judge;
mod time;

/// The reaper that a history gets when nobody else is alive.
const STRANGER: u32 = 99;

/// How often everybody reaps before a user counts as never told, or a key as never removed.
const ROUNDS_MIN: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Paused,
    Dead,
}

/// One server instance. Times are the server's, in milliseconds.
struct Instance {
    i: u32,
    id: InstanceId,
    port: Arc<dyn Presence>,
    switch: Arc<Switch>,
    state: State,
    /// Before its last refresh, or its first connect; none while it holds no lease.
    leased_ms: Option<u64>,
    /// After its last call.
    last_ms: u64,
}

/// Users, instances and connections, and what is known of them.
pub(crate) struct World<'a> {
    subject: &'a Subject<'a, Fleet>,
    policy: Policy,
    space: String,
    probe: Redis,
    users: Vec<User>,
    instances: Vec<Instance>,
    pub(crate) conns: Vec<Conn>,
    record: Record<Topic>,
    trips: FewestTrips,
    /// A reaper died half-way: another one takes over within a lease.
    reaper_died: bool,
}

impl<'a> World<'a> {
    pub(crate) async fn new(subject: &'a Subject<'a, Fleet>, policy: Policy) -> LabResult<Self> {
        let space = UserId::new().to_string();
        let mut probe = subject.probe();
        let began_ms = server_ms(&mut probe, &keys::leases(&space)).await?;
        Ok(Self {
            subject,
            policy,
            space,
            probe,
            users: Vec::new(),
            instances: Vec::new(),
            conns: Vec::new(),
            record: Record::since(began_ms),
            trips: FewestTrips::default(),
            reaper_died: false,
        })
    }

    async fn now(&mut self) -> LabResult<u64> {
        server_ms(&mut self.probe, &keys::leases(&self.space)).await
    }

    fn user(&mut self, u: u32) -> usize {
        if let Some(at) = self.users.iter().position(|user| user.u == u) {
            return at;
        }
        let id = UserId::new();
        self.users.push(User { u, id, told: 0, closed: false, died: false, back: false, stayed: false });
        self.users.len() - 1
    }

    fn instance(&mut self, i: u32) -> Result<usize, Stop> {
        if let Some(at) = self.instances.iter().position(|instance| instance.i == i) {
            return Ok(at);
        }
        let (id, switch) = (InstanceId::new(), Arc::new(Switch::default()));
        let fleet = self.subject.hooked(&format!("i{i}"), switch.clone());
        let port = fleet
            .instance(&self.space, id)
            .ok_or_else(|| LabError::Other(format!("no variant {}", fleet.variant)))?;
        self.instances.push(Instance { i, id, port, switch, state: State::Up, leased_ms: None, last_ms: 0 });
        Ok(self.instances.len() - 1)
    }

    fn conn(&self, c: u32) -> Option<&Conn> {
        self.conns.iter().find(|conn| conn.c == c && conn.life == Life::Open)
    }

    /// The instance and the call that a step stands for; none for steps about what is not there.
    fn call(&mut self, step: &Step) -> Result<Option<(usize, Call)>, Stop> {
        let (i, call) = match step {
            Step::Connect { u, i, c } if self.conns.iter().all(|conn| conn.c != *c) => {
                let at = self.user(*u);
                let user = self.users[at].id;
                (*i, Call::Connect { u: *u, c: *c, user, conn: ConnectionId::new() })
            }
            Step::Disconnect { c } => {
                let Some(conn) = self.conn(*c).cloned() else { return Ok(None) };
                let at = self.user(conn.u);
                (conn.i, Call::Disconnect { c: *c, user: self.users[at].id, conn: conn.id })
            }
            Step::Online { users } => {
                let ids = users.iter().map(|u| self.user(*u)).collect::<Vec<_>>();
                let ids = ids.into_iter().map(|at| self.users[at].id).collect();
                (self.somebody(), Call::Online { numbers: users.clone(), users: ids })
            }
            Step::Devices { u } => {
                let at = self.user(*u);
                (self.somebody(), Call::Devices { u: *u, user: self.users[at].id })
            }
            Step::Refresh { i } => (*i, Call::Refresh),
            Step::Reap { i } => (*i, Call::Reap),
            _ => return Ok(None),
        };
        let at = self.instance(i)?;
        let back = self.instances[at].state == State::Paused && matches!(call, Call::Refresh);
        Ok((self.instances[at].state == State::Up || back).then_some((at, call)))
    }

    /// An instance to ask, or to reap with.
    fn somebody(&self) -> u32 {
        let up = self.instances.iter().find(|instance| instance.state == State::Up);
        up.map_or(STRANGER, |instance| instance.i)
    }

    /// Sends a call; without a step it leaves no line.
    async fn plain(&mut self, step: Option<&Step>, at: usize, call: &Call) -> Result<(), Stop> {
        let trips_before = self.subject.trace().round_trips();
        let from = self.now().await?;
        let port = self.instances[at].port.clone();
        let answer = call.send(&*port).await;
        let trips = self.subject.trace().round_trips() - trips_before;
        self.trips.took(call.verb(), trips);
        self.took(step, at, call, answer, from).await
    }

    async fn took(
        &mut self,
        step: Option<&Step>,
        at: usize,
        call: &Call,
        answer: LabResult<Answer>,
        from: u64,
    ) -> Result<(), Stop> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.record.line_at(from, &format!("i{} {}  → {error}", self.instances[at].i, call.verb()));
                return Err(Stop::of(call.verb(), error));
            }
        };
        let shown = self.shown(&answer);
        match (step, &answer) {
            (Some(step), _) => self.record.line_at(from, &format!("{step}  → {shown}")),
            (None, Answer::Refreshed(users) | Answer::Reaped(users)) if users.is_empty() => {}
            (None, _) => {
                self.record.line_at(from, &format!("i{} {}  → {shown}", self.instances[at].i, call.verb()));
            }
        }
        self.apply(at, call, &answer, from).await?;
        self.judge(call, &answer);
        Ok(())
    }

    fn shown(&self, answer: &Answer) -> String {
        match answer {
            Answer::Changed(changed) => changed.to_string(),
            Answer::Online(online) => {
                let words: Vec<&str> = online.iter().map(|one| if *one { "yes" } else { "no" }).collect();
                words.join(" ")
            }
            Answer::Devices(devices) => devices.to_string(),
            Answer::Refreshed(users) if users.is_empty() => "done".to_owned(),
            Answer::Refreshed(users) => format!("back online: {}", self.names(users)),
            Answer::Reaped(users) if users.is_empty() => "nobody".to_owned(),
            Answer::Reaped(users) => format!("offline: {}", self.names(users)),
        }
    }

    fn names(&self, users: &[UserId]) -> String {
        let name = |id: &UserId| {
            let known = self.users.iter().find(|user| user.id == *id);
            known.map_or_else(|| id.to_string(), |user| format!("u{}", user.u))
        };
        users.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    /// Takes over what an answer changes, if no lease may have run out meanwhile.
    async fn apply(&mut self, at: usize, call: &Call, answer: &Answer, from: u64) -> Result<(), Stop> {
        let now = self.now().await?;
        let instance = &mut self.instances[at];
        instance.last_ms = now;
        let i = instance.i;
        match (call, answer) {
            (Call::Connect { u, c, conn, .. }, Answer::Changed(online)) => {
                instance.leased_ms.get_or_insert(from);
                self.conns.push(Conn { c: *c, u: *u, i, id: *conn, life: Life::Open });
                let at = self.user(*u);
                self.users[at].told += i64::from(*online);
            }
            (Call::Disconnect { c, user, .. }, Answer::Changed(offline)) => {
                for conn in self.conns.iter_mut().filter(|conn| conn.c == *c) {
                    conn.life = Life::Gone;
                }
                for known in self.users.iter_mut().filter(|known| known.id == *user) {
                    known.closed = true;
                    known.told -= i64::from(*offline);
                }
            }
            (Call::Refresh, Answer::Refreshed(returned)) => {
                instance.leased_ms = Some(from);
                let back = instance.state == State::Paused;
                instance.state = State::Up;
                for conn in self.conns.iter_mut().filter(|conn| conn.i == i && conn.life == Life::Fading) {
                    conn.life = Life::Open;
                }
                for user in &mut self.users {
                    user.told += count(returned, &user.id);
                    let here = self.conns.iter().any(|conn| conn.u == user.u && conn.i == i);
                    user.back |= back && here;
                }
            }
            (Call::Reap, Answer::Reaped(gone)) => {
                for user in &mut self.users {
                    user.told -= count(gone, &user.id);
                }
            }
            _ => {}
        }
        self.in_time(now)
    }

    /// Ends the history where an instance that should be alive may have lost its lease: what follows proves nothing.
    fn in_time(&self, now: u64) -> Result<(), Stop> {
        let late = |instance: &&Instance| {
            instance.state == State::Up
                && instance.leased_ms.is_some_and(|leased_ms| now > leased_ms + self.policy.lease_ms)
        };
        match self.instances.iter().find(late) {
            None => Ok(()),
            Some(_) => {
                let why = "the machine was too slow for the leases of this history".to_owned();
                Err(Stop::Variant(Finding::Inconclusive(why)))
            }
        }
    }
}

#[async_trait]
impl check::World for World<'_> {
    type Step = Step;
    type Topic = Topic;

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        self.keep_up().await?;
        match step {
            Step::Kill { i } => self.silence(*i, State::Dead, step).await,
            Step::Pause { i } => self.silence(*i, State::Paused, step).await,
            Step::Stay { quarters } => self.stay(*quarters, step).await,
            Step::Lapse => self.lapse(step).await,
            Step::Settle => self.settle(step).await,
            Step::Crash { step, commands } => self.crash(step, *commands).await,
            Step::Race { first, commands, second } => self.race(first, *commands, second).await,
            Step::Leftovers => self.leftovers(step).await,
            _ => match self.call(step)? {
                Some((at, call)) => self.plain(Some(step), at, &call).await,
                None => Ok(()),
            },
        }
    }

    fn end(&mut self) {
        let cluster = self.probe.topology() == Topology::Cluster;
        // What lies in many slots takes as many commands on a cluster, all at once: see `crate::batch`.
        let scattered = |verb: &str| cluster && matches!(verb, "online" | "refresh");
        for held in self.trips.within(|verb| (!scattered(verb)).then(|| Call::budget(verb))) {
            self.record.fact(Topic::Trips, held);
        }
        self.record.fact(Topic::Verbs, no_walk(&self.subject.trace().entries()));
    }

    fn aliases(&self) -> Vec<(String, String)> {
        let users = self.users.iter().map(|user| (user.id.to_string(), format!("u{}", user.u)));
        let instances = self.instances.iter().map(|one| (one.id.to_string(), format!("i{}", one.i)));
        let conns = self.conns.iter().map(|conn| (conn.id.to_string(), format!("c{}", conn.c)));
        users.chain(instances).chain(conns).chain([(self.space.clone(), "chat".to_owned())]).collect()
    }

    fn record(&mut self) -> &mut Record<Topic> {
        &mut self.record
    }
}

fn count(users: &[UserId], id: &UserId) -> i64 {
    users.iter().map(|user| i64::from(user == id)).sum()
}
