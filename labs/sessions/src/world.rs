//! Runs a history on a variant and writes down every fact that it proves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    check::{Crash, Finding, Held, Subject, race, server_ms},
    ids::UserId,
    keys,
    redis::{Redis, Stepper},
};

use crate::{
    Policy, Session, Sessions,
    history::{After, Answer, Call, Step},
    model::{End, Known, Span, State, Topic},
};

/// A pause between two looks at the server's clock.
const POLL: Duration = Duration::from_millis(2);
/// How long Redis gets to drop what has expired.
const LEFTOVER_WAIT: Duration = Duration::from_millis(2_000);

/// The fate of a key that nothing will ever remove.
const IMMORTAL: &str = "no expiry";

/// Why a history ends before its last step.
pub(crate) enum Stop {
    /// The variant answered with an error.
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

/// A user, the variant's clients, and what is known of the user's sessions.
pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn Sessions>,
    pub(crate) policy: Policy,
    pub(crate) user: UserId,
    client: Arc<dyn Sessions>,
    probe: Redis,
    began_ms: u64,
    pub(crate) known: Vec<Known>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) lines: Vec<String>,
    /// Crashes and races that really happened.
    pub(crate) faults: u32,
    /// Sessions that a crashed `revoke_all` either ended or not, all of them.
    pub(crate) together: Vec<usize>,
    trips: BTreeMap<&'static str, u64>,
}

impl<'a> World<'a> {
    pub(crate) async fn new(subject: &'a Subject<'a, dyn Sessions>, policy: Policy) -> LabResult<Self> {
        let user = UserId::new();
        let mut probe = subject.probe();
        let began_ms = server_ms(&mut probe, &keys::user_sessions(&user)).await?;
        Ok(Self {
            client: subject.client("A"),
            subject,
            policy,
            user,
            probe,
            began_ms,
            known: Vec::new(),
            facts: Vec::new(),
            lines: Vec::new(),
            faults: 0,
            together: Vec::new(),
            trips: BTreeMap::new(),
        })
    }

    async fn now(&mut self) -> LabResult<u64> {
        server_ms(&mut self.probe, &keys::user_sessions(&self.user)).await
    }

    pub(crate) fn fact(&mut self, topic: Topic, held: Result<(), String>) {
        self.facts.push((topic, held));
    }

    fn line(&mut self, at_ms: u64, what: &str) {
        self.lines.push(format!("{:>5} ms  {what}", at_ms.saturating_sub(self.began_ms)));
    }

    fn named(&self, s: u32) -> Option<usize> {
        self.known.iter().position(|known| known.s == Some(s))
    }

    /// The call that a step stands for; none for steps about a session that is not there.
    fn call(&self, step: &Step) -> Option<Call> {
        let id = |s: &u32| self.known[self.named(*s)?].id.clone();
        match step {
            Step::Login { device, .. } => Some(Call::Create(device.clone())),
            Step::Touch { s } => id(s).map(Call::Touch),
            Step::Rotate { s, older } => {
                let known = &self.known[self.named(*s)?];
                let token = known.token.checked_sub(*older)?;
                Some(Call::Rotate(known.id.clone()?, token))
            }
            Step::Revoke { s } => id(s).map(Call::Revoke),
            Step::List => Some(Call::List),
            Step::RevokeAll => Some(Call::RevokeAll),
            _ => None,
        }
    }

    /// Runs one step.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Login { s, .. } => self.plain(step, Some(*s)).await,
            Step::Touch { .. } | Step::Rotate { .. } | Step::List | Step::Revoke { .. } | Step::RevokeAll => {
                self.plain(step, None).await
            }
            Step::Logins { count } => {
                let from = self.now().await?;
                self.line(from, &step.to_string());
                for i in 0..*count {
                    let lines = self.lines.len();
                    self.plain(&Step::Login { s: 0, device: format!("device {i}") }, None).await?;
                    self.lines.truncate(lines);
                }
                Ok(())
            }
            Step::Pause { ms } => {
                let scale = self.policy.idle_ms / crate::checks::IDLE_MS;
                let until = self.now().await? + ms * scale;
                Ok(self.wait_until(until, step).await?)
            }
            Step::IdleOut { s } => match self.named(*s) {
                Some(i) => Ok(self.wait_until(self.known[i].over_at(self.policy), step).await?),
                None => Ok(()),
            },
            Step::AgeOut { s } => self.age_out(*s).await,
            Step::Crash { step, commands } => self.crash(step, *commands).await,
            Step::Race { first, commands, second } => self.race(first, *commands, second).await,
            Step::Leftovers => Ok(self.leftovers(step).await?),
        }
    }

    async fn plain(&mut self, step: &Step, s: Option<u32>) -> Result<(), Stop> {
        let Some(call) = self.call(step) else { return Ok(()) };
        let trips_before = self.subject.trace().round_trips();
        let from = self.now().await?;
        let answer = call.send(&*self.client, &self.user).await;
        let to = self.now().await?;
        let trips = self.subject.trace().round_trips() - trips_before;
        let best = self.trips.entry(call.verb()).or_insert(trips);
        *best = trips.min(*best);
        self.judge_or_stop(step, &call, answer, Span { from, to }, s)
    }

    fn judge_or_stop(
        &mut self,
        step: &Step,
        call: &Call,
        answer: LabResult<Answer>,
        span: Span,
        s: Option<u32>,
    ) -> Result<(), Stop> {
        match answer {
            Ok(answer) => {
                let shown = self.shown(&answer);
                self.line(span.from, &format!("{step}  → {shown}"));
                self.judge(call, answer, span, s);
                Ok(())
            }
            Err(error) => {
                self.line(span.from, &format!("{step}  → {error}"));
                Err(Finding::of_error(call.verb(), error).map_or_else(Stop::Checker, Stop::Variant))
            }
        }
    }

    async fn wait_until(&mut self, until_ms: u64, step: &Step) -> LabResult<()> {
        let from = self.now().await?;
        self.line(from, &step.to_string());
        while self.now().await? < until_ms {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn age_out(&mut self, s: u32) -> Result<(), Stop> {
        let Some(i) = self.named(s) else { return Ok(()) };
        let until_ms = self.known[i].created.to + self.policy.absolute_ms + 1;
        let step = Step::AgeOut { s };
        let from = self.now().await?;
        self.line(from, &step.to_string());
        while self.now().await? < until_ms {
            let lines = self.lines.len();
            self.plain(&Step::Touch { s }, None).await?;
            self.lines.truncate(lines);
            let next = (self.now().await? + self.policy.idle_ms / 3).min(until_ms);
            while self.now().await? < next {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    async fn crash(&mut self, step: &Step, commands: u64) -> Result<(), Stop> {
        let Some(call) = self.call(step) else { return Ok(()) };
        let s = if let Step::Login { s, .. } = step { Some(*s) } else { None };
        let crash = Crash::after(commands);
        let client = self.subject.hooked("crashing", crash.clone());
        let from = self.now().await?;
        let answer = call.send(&*client, &self.user).await;
        let span = Span { from, to: self.now().await? };
        if !crash.fired() || answer.is_ok() {
            return self.judge_or_stop(step, &call, answer, span, s);
        }
        self.faults += 1;
        self.line(from, &format!("{step}  → crashes {}", After(commands)));
        self.after_crash(&call, span);
        Ok(())
    }

    /// A crashed operation happened or did not.
    fn after_crash(&mut self, call: &Call, span: Span) {
        match call {
            Call::Create(device) => self.known.push(Known {
                s: None,
                id: None,
                device: device.clone(),
                created: span,
                used: span,
                token: 0,
                end: End::Maybe(Topic::Visible),
            }),
            Call::Touch(id) | Call::Rotate(id, _) => {
                for known in self.known.iter_mut().filter(|known| known.id.as_ref() == Some(id)) {
                    known.used.to = span.to;
                }
            }
            Call::Revoke(id) => {
                for known in self.known.iter_mut().filter(|known| known.id.as_ref() == Some(id)) {
                    known.may_end(Topic::Revoked);
                }
            }
            Call::RevokeAll => {
                let policy = self.policy;
                self.together = (0..self.known.len())
                    .filter(|i| self.known[*i].state(span, policy) == State::Live)
                    .collect();
                for known in &mut self.known {
                    known.may_end(Topic::RevokedAll);
                }
            }
            Call::List => {}
        }
    }

    async fn race(&mut self, first: &Step, commands: u64, second: &Step) -> Result<(), Stop> {
        let (Some(a), Some(b)) = (self.call(first), self.call(second)) else { return Ok(()) };
        let stepper = Stepper::new();
        let held = self.subject.hooked("A", stepper.clone());
        let other = self.subject.client("B");
        let from = self.now().await?;
        let (outcome, answer_a, answer_b) =
            race(&stepper, commands, a.send(&*held, &self.user), b.send(&*other, &self.user)).await;
        let span = Span { from, to: self.now().await? };
        let step = Step::Race { first: Box::new(first.clone()), commands, second: Box::new(second.clone()) };
        if outcome == Held::AlreadyDone {
            self.line(from, &format!("{first}; {second} (too short to be overtaken)"));
        } else {
            self.faults += 1;
            self.line(from, &step.to_string());
        }
        let mut rotations = Vec::new();
        for (call, answer) in [(&a, answer_a), (&b, answer_b)] {
            let answer = answer.map_err(|error| {
                Finding::of_error(call.verb(), error).map_or_else(Stop::Checker, Stop::Variant)
            })?;
            if let (Call::Rotate(id, _), Answer::Rotated(rotation)) = (call, &answer) {
                rotations.push((id.clone(), *rotation));
            }
            self.after_race(answer, span);
        }
        self.after_rotations(&rotations, span);
        for known in &mut self.known {
            let login_meanwhile = known.created == span;
            match &b {
                Call::RevokeAll if login_meanwhile => known.may_end(Topic::RevokedAll),
                Call::RevokeAll => known.ends(Topic::RevokedAll),
                Call::Revoke(id) if known.id.as_ref() == Some(id) => known.ends(Topic::Revoked),
                _ => {}
            }
        }
        Ok(())
    }

    /// What an operation of a race proves by itself: nothing but that it happened in `span`.
    fn after_race(&mut self, answer: Answer, span: Span) {
        match answer {
            Answer::Created(session) => {
                self.make_room(span);
                self.add(session, None, span);
            }
            Answer::Touched(Some(session)) => {
                for known in self.known.iter_mut().filter(|known| known.id.as_ref() == Some(&session.id)) {
                    known.used = span;
                }
            }
            _ => {}
        }
    }

    /// A new session.
    pub(crate) fn add(&mut self, session: Session, s: Option<u32>, span: Span) {
        self.known.push(Known {
            s,
            device: session.device,
            id: Some(session.id),
            created: span,
            used: span,
            token: 0,
            end: End::Open,
        });
    }

    async fn leftovers(&mut self, step: &Step) -> LabResult<()> {
        let until = self.known.iter().map(|k| k.created.to + self.policy.absolute_ms + 1).max();
        let mut left = self.keys_left().await?;
        // Nobody is working on this user any more: what has no expiry now will not get one. (Fields of a hash may
        // have their own, which ends the key with the last field.)
        let immortal = |left: &Vec<String>| left.iter().any(|line| line.contains(IMMORTAL));
        if !immortal(&left) {
            self.wait_until(until.unwrap_or_default(), step).await?;
            left = self.keys_left().await?;
        }
        let began = std::time::Instant::now();
        while !left.is_empty() && !immortal(&left) && began.elapsed() < LEFTOVER_WAIT {
            tokio::time::sleep(POLL * 10).await;
            left = self.keys_left().await?;
        }
        for line in &left {
            self.lines.push(format!("          left: {line}"));
        }
        let held = match left.first() {
            None => Ok(()),
            Some(first) => {
                Err(format!("{} of the user's keys stay after every session is over: {first}", left.len()))
            }
        };
        self.fact(Topic::Leftover, held);
        Ok(())
    }

    /// The user's keys on every master, each with what is left of its time.
    async fn keys_left(&self) -> LabResult<Vec<String>> {
        let masters = self.probe.primaries().await?;
        let mut left = Vec::new();
        for (address, mut node) in self.probe.each_node().await? {
            if !masters.contains(&address) {
                continue;
            }
            let mut cursor = 0_u64;
            loop {
                let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
                    .arg(cursor)
                    .arg("MATCH")
                    .arg(format!("*{}*", self.user))
                    .arg("COUNT")
                    .arg(1_000)
                    .query_async(&mut node)
                    .await?;
                for key in keys {
                    let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut node).await?;
                    let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut node).await?;
                    let fate = match ttl {
                        -2 => continue,
                        -1 if kind == "hash" => "a hash without expiry".to_owned(),
                        -1 => IMMORTAL.to_owned(),
                        ms => format!("expires in {ms} ms"),
                    };
                    left.push(format!("{key} ({fate})"));
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(left)
    }

    /// The facts that only the whole history shows.
    pub(crate) fn finish(&mut self) {
        for (verb, trips) in std::mem::take(&mut self.trips) {
            let budget = Call::budget(verb);
            let held = if trips <= budget {
                Ok(())
            } else {
                Err(format!("`{verb}` takes {trips} round trips, its budget is {budget}"))
            };
            self.fact(Topic::Trips, held);
        }
        const FORBIDDEN: [&str; 5] = ["KEYS", "SCAN", "RANDOMKEY", "FLUSHALL", "FLUSHDB"];
        let entries = self.subject.trace().entries();
        let bad = entries.iter().find_map(|entry| {
            let verb = entry.command.first()?.to_uppercase();
            FORBIDDEN.contains(&verb.as_str()).then_some(verb)
        });
        let held = bad.map_or(Ok(()), |verb| Err(format!("{verb} walks over everybody's keys")));
        self.fact(Topic::Verbs, held);
    }

    /// Short names for the ids in keys.
    pub(crate) fn aliases(&self) -> Vec<(String, String)> {
        let mut aliases = vec![(self.user.to_string(), "1".to_owned())];
        for known in &self.known {
            let Some(id) = &known.id else { continue };
            let secret = id.secret();
            let short = known.s.map_or_else(|| format!("{}…", &secret[..4]), |s| format!("s{s}"));
            aliases.push((secret, short));
        }
        aliases
    }
}
