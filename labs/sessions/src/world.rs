//! Runs a history on a variant and writes down every fact that it proves.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    budget::{FewestTrips, no_walk},
    check::{self, Record, Stop, Subject, server_ms, stored_keys},
    ids::UserId,
    keys,
    redis::Redis,
};

use crate::{
    Policy, Session, Sessions,
    history::{Answer, Call, Step},
    model::{End, Known, Span, Topic},
};

mod faults;

/// A pause between two looks at the server's clock.
const POLL: Duration = Duration::from_millis(2);
/// How long Redis gets to drop what has expired.
const LEFTOVER_WAIT: Duration = Duration::from_millis(2_000);

/// The fate of a key that nothing will ever remove.
const IMMORTAL: &str = "no expiry";

/// A user, the variant's clients, and what is known of the user's sessions.
pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn Sessions>,
    pub(crate) policy: Policy,
    pub(crate) user: UserId,
    client: Arc<dyn Sessions>,
    probe: Redis,
    pub(crate) known: Vec<Known>,
    record: Record<Topic>,
    /// Sessions that a crashed `revoke_all` either ended or not, all of them.
    pub(crate) together: Vec<usize>,
    trips: FewestTrips,
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
            known: Vec::new(),
            record: Record::since(began_ms),
            together: Vec::new(),
            trips: FewestTrips::default(),
        })
    }

    async fn now(&mut self) -> LabResult<u64> {
        server_ms(&mut self.probe, &keys::user_sessions(&self.user)).await
    }

    pub(crate) fn fact(&mut self, topic: Topic, held: Result<(), String>) {
        self.record.fact(topic, held);
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

    async fn plain(&mut self, step: &Step, s: Option<u32>) -> Result<(), Stop> {
        let Some(call) = self.call(step) else { return Ok(()) };
        let trips_before = self.subject.trace().round_trips();
        let from = self.now().await?;
        let answer = call.send(&*self.client, &self.user).await;
        let to = self.now().await?;
        let trips = self.subject.trace().round_trips() - trips_before;
        self.trips.took(call.verb(), trips);
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
                self.record.line_at(span.from, &format!("{step}  → {shown}"));
                self.judge(call, answer, span, s);
                Ok(())
            }
            Err(error) => {
                self.record.line_at(span.from, &format!("{step}  → {error}"));
                Err(Stop::of(call.verb(), error))
            }
        }
    }

    async fn wait_until(&mut self, until_ms: u64, step: &Step) -> LabResult<()> {
        let from = self.now().await?;
        self.record.line_at(from, &step.to_string());
        while self.now().await? < until_ms {
            // A poll, bounded by the server's clock.
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn age_out(&mut self, s: u32) -> Result<(), Stop> {
        let Some(i) = self.named(s) else { return Ok(()) };
        let until_ms = self.known[i].created.to + self.policy.absolute_ms + 1;
        let step = Step::AgeOut { s };
        let from = self.now().await?;
        self.record.line_at(from, &step.to_string());
        while self.now().await? < until_ms {
            let lines = self.record.lines.len();
            self.plain(&Step::Touch { s }, None).await?;
            self.record.lines.truncate(lines);
            let next = (self.now().await? + self.policy.idle_ms / 3).min(until_ms);
            while self.now().await? < next {
                // A poll, bounded by the server's clock.
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
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
            // A poll, bounded by `LEFTOVER_WAIT`.
            tokio::time::sleep(POLL * 10).await;
            left = self.keys_left().await?;
        }
        for line in &left {
            self.record.lines.push(format!("          left: {line}"));
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
    async fn keys_left(&mut self) -> LabResult<Vec<String>> {
        let mut left = Vec::new();
        for key in stored_keys(&self.probe, &format!("*{}*", self.user)).await? {
            let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut self.probe).await?;
            let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut self.probe).await?;
            let fate = match ttl {
                -2 => continue,
                -1 if kind == "hash" => "a hash without expiry".to_owned(),
                -1 => IMMORTAL.to_owned(),
                ms => format!("expires in {ms} ms"),
            };
            left.push(format!("{key} ({fate})"));
        }
        Ok(left)
    }
}

#[async_trait]
impl check::World for World<'_> {
    type Step = Step;
    type Topic = Topic;

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Login { s, .. } => self.plain(step, Some(*s)).await,
            Step::Touch { .. } | Step::Rotate { .. } | Step::List | Step::Revoke { .. } | Step::RevokeAll => {
                self.plain(step, None).await
            }
            Step::Logins { count } => {
                let from = self.now().await?;
                self.record.line_at(from, &step.to_string());
                for i in 0..*count {
                    let lines = self.record.lines.len();
                    self.plain(&Step::Login { s: 0, device: format!("device {i}") }, None).await?;
                    self.record.lines.truncate(lines);
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

    fn end(&mut self) {
        for held in self.trips.within(|verb| Some(Call::budget(verb))) {
            self.record.fact(Topic::Trips, held);
        }
        self.record.fact(Topic::Verbs, no_walk(&self.subject.trace().entries()));
    }

    fn aliases(&self) -> Vec<(String, String)> {
        let mut aliases = vec![(self.user.to_string(), "1".to_owned())];
        for known in &self.known {
            let Some(id) = &known.id else { continue };
            let secret = id.secret();
            let short = known.s.map_or_else(|| format!("{}…", &secret[..4]), |s| format!("s{s}"));
            aliases.push((secret, short));
        }
        aliases
    }

    fn record(&mut self) -> &mut Record<Topic> {
        &mut self.record
    }
}
