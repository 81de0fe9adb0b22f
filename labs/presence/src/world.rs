//! Runs a history on a variant and writes down every fact that it proves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    check::{Crash, Finding, Held, Subject, race, server_ms},
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    redis::{Redis, Stepper},
    servers::Topology,
};

use crate::{
    Policy, Presence,
    fleet::{Fleet, Switch},
    history::{After, Answer, Call, Step},
    model::{Conn, Life, Topic, User},
};

mod judge;
mod time;

/// The reaper that a history gets when nobody else is alive.
const STRANGER: u32 = 99;

/// How often everybody reaps before a user counts as never told, or a key as never removed.
const ROUNDS_MIN: u32 = 5;

/// Why a history ends before its last step.
pub(crate) enum Stop {
    /// The variant answered with an error, or the machine was too slow to judge it.
    Variant(Finding),
    /// The checker or the machine failed.
    Checker(LabError),
}

impl From<LabError> for Stop {
    fn from(error: LabError) -> Self {
        Self::Checker(error)
    }
}

/// Something that the history put to the test; the error says what was seen instead.
pub(crate) type Fact = (Topic, Result<(), String>);

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
    began_ms: u64,
    users: Vec<User>,
    instances: Vec<Instance>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) lines: Vec<String>,
    /// Crashes and races that really happened.
    pub(crate) faults: u32,
    trips: BTreeMap<&'static str, u64>,
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
            began_ms,
            users: Vec::new(),
            instances: Vec::new(),
            conns: Vec::new(),
            facts: Vec::new(),
            lines: Vec::new(),
            faults: 0,
            trips: BTreeMap::new(),
            reaper_died: false,
        })
    }

    async fn now(&mut self) -> LabResult<u64> {
        server_ms(&mut self.probe, &keys::leases(&self.space)).await
    }

    fn line(&mut self, at_ms: u64, what: &str) {
        self.lines.push(format!("{:>5} ms  {what}", at_ms.saturating_sub(self.began_ms)));
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

    /// Runs one step.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
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

    /// Sends a call; without a step it leaves no line.
    async fn plain(&mut self, step: Option<&Step>, at: usize, call: &Call) -> Result<(), Stop> {
        let trips_before = self.subject.trace().round_trips();
        let from = self.now().await?;
        let port = self.instances[at].port.clone();
        let answer = call.send(&*port).await;
        let trips = self.subject.trace().round_trips() - trips_before;
        let best = self.trips.entry(call.verb()).or_insert(trips);
        *best = trips.min(*best);
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
                self.line(from, &format!("i{} {}  → {error}", self.instances[at].i, call.verb()));
                return Err(Finding::of_error(call.verb(), error).map_or_else(Stop::Checker, Stop::Variant));
            }
        };
        let shown = self.shown(&answer);
        match (step, &answer) {
            (Some(step), _) => self.line(from, &format!("{step}  → {shown}")),
            (None, Answer::Refreshed(users) | Answer::Reaped(users)) if users.is_empty() => {}
            (None, _) => self.line(from, &format!("i{} {}  → {shown}", self.instances[at].i, call.verb())),
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

    /// Refreshes whoever is alive and has not for a while.
    async fn keep_up(&mut self) -> Result<(), Stop> {
        let now = self.now().await?;
        for at in 0..self.instances.len() {
            let Instance { state, leased_ms, .. } = self.instances[at];
            let due = leased_ms.is_some_and(|leased_ms| now >= leased_ms + self.policy.refresh_ms);
            if state == State::Up && due {
                self.plain(None, at, &Call::Refresh).await?;
            }
        }
        Ok(())
    }

    async fn reap_by_all(&mut self) -> Result<(), Stop> {
        for at in 0..self.instances.len() {
            if self.instances[at].state == State::Up {
                self.plain(None, at, &Call::Reap).await?;
            }
        }
        Ok(())
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis((self.policy.lease_ms / 20).max(2))).await;
    }

    async fn silence(&mut self, i: u32, state: State, step: &Step) -> Result<(), Stop> {
        let at = self.instance(i)?;
        if self.instances[at].state != State::Up {
            return Ok(());
        }
        let now = self.now().await?;
        self.line(now, &step.to_string());
        self.silenced(at, state);
        Ok(())
    }

    fn silenced(&mut self, at: usize, state: State) {
        self.instances[at].state = state;
        let i = self.instances[at].i;
        for conn in self.conns.iter_mut().filter(|conn| conn.i == i && conn.life == Life::Open) {
            conn.life = Life::Fading;
        }
    }

    async fn crash(&mut self, step: &Step, commands: u64) -> Result<(), Stop> {
        let Some((at, call)) = self.call(step)? else { return Ok(()) };
        let (port, switch) = (self.instances[at].port.clone(), self.instances[at].switch.clone());
        let crash = Crash::after(commands);
        switch.arm(crash.clone());
        let from = self.now().await?;
        let answer = call.send(&*port).await;
        switch.disarm();
        if !crash.fired() {
            return self.took(Some(step), at, &call, answer, from).await;
        }
        self.faults += 1;
        let died = format!("dies {}", After(commands));
        match (answer, &call) {
            // What it could still answer has been told.
            (Ok(answer), _) => {
                self.took(Some(step), at, &call, Ok(answer), from).await?;
                self.line(from, &format!("i{} {died}", self.instances[at].i));
            }
            (Err(_), _) => {
                self.line(from, &format!("{step}  → {died}"));
                self.doubt(&call, at);
                self.instances[at].last_ms = self.now().await?;
            }
        }
        self.reaper_died |= matches!(call, Call::Reap);
        self.silenced(at, State::Dead);
        Ok(())
    }

    /// A crashed operation happened or did not.
    fn doubt(&mut self, call: &Call, at: usize) {
        match call {
            Call::Connect { u, c, conn, .. } => {
                let i = self.instances[at].i;
                self.conns.push(Conn { c: *c, u: *u, i, id: *conn, life: Life::Unclear });
            }
            Call::Disconnect { c, .. } => {
                for conn in self.conns.iter_mut().filter(|conn| conn.c == *c) {
                    conn.life = Life::Unclear;
                }
            }
            _ => {}
        }
    }

    async fn race(&mut self, first: &Step, commands: u64, second: &Step) -> Result<(), Stop> {
        let (Some((a, call_a)), Some((b, call_b))) = (self.call(first)?, self.call(second)?) else {
            return Ok(());
        };
        if a == b {
            return Ok(());
        }
        let (port_a, port_b) = (self.instances[a].port.clone(), self.instances[b].port.clone());
        let (stepper, switch) = (Stepper::new(), self.instances[a].switch.clone());
        switch.arm(stepper.clone());
        let from = self.now().await?;
        let (held, answer_a, answer_b) =
            race(&stepper, commands, call_a.send(&*port_a), call_b.send(&*port_b)).await;
        switch.disarm();
        if held == Held::Overtaken {
            self.faults += 1;
            self.line(from, &format!("{first}, and {} of it:", After(commands)));
        }
        // Only both answers together can be judged.
        let both = [(second, b, call_b, answer_b), (first, a, call_a, answer_a)];
        let mut judged = Vec::with_capacity(both.len());
        for (step, at, call, answer) in both {
            let answer = answer.map_err(|error| {
                Finding::of_error(call.verb(), error).map_or_else(Stop::Checker, Stop::Variant)
            })?;
            let shown = self.shown(&answer);
            self.line(from, &format!("{step}  → {shown}"));
            self.apply(at, &call, &answer, from).await?;
            judged.push((call, answer));
        }
        for (call, answer) in judged {
            self.judge(&call, &answer);
        }
        Ok(())
    }

    /// The facts that only the whole history shows.
    pub(crate) fn finish(&mut self) {
        let cluster = self.probe.topology() == Topology::Cluster;
        for (verb, trips) in std::mem::take(&mut self.trips) {
            // What lies in many slots takes as many commands on a cluster, all at once: see `crate::batch`.
            if cluster && matches!(verb, "online" | "refresh") {
                continue;
            }
            let budget = Call::budget(verb);
            let held = if trips <= budget {
                Ok(())
            } else {
                Err(format!("`{verb}` takes {trips} round trips, its budget is {budget}"))
            };
            self.facts.push((Topic::Trips, held));
        }
        const FORBIDDEN: [&str; 5] = ["KEYS", "SCAN", "RANDOMKEY", "FLUSHALL", "FLUSHDB"];
        let entries = self.subject.trace().entries();
        let bad = entries.iter().find_map(|entry| {
            let verb = entry.command.first()?.to_uppercase();
            FORBIDDEN.contains(&verb.as_str()).then_some(verb)
        });
        let held = bad.map_or(Ok(()), |verb| Err(format!("{verb} walks over everybody's keys")));
        self.facts.push((Topic::Verbs, held));
    }

    /// Short names for the ids in keys.
    pub(crate) fn aliases(&self) -> Vec<(String, String)> {
        let users = self.users.iter().map(|user| (user.id.to_string(), format!("u{}", user.u)));
        let instances = self.instances.iter().map(|one| (one.id.to_string(), format!("i{}", one.i)));
        let conns = self.conns.iter().map(|conn| (conn.id.to_string(), format!("c{}", conn.c)));
        users.chain(instances).chain(conns).chain([(self.space.clone(), "chat".to_owned())]).collect()
    }
}

fn count(users: &[UserId], id: &UserId) -> i64 {
    users.iter().map(|user| i64::from(user == id)).sum()
}
