//! Explores races: runs the commands of several clients in every order, to a bound.
//!
//! What a race does depends on the order in which the server gets the clients' commands, and on nothing else. So each client
//! is held before every command, and the explorer lets one go at a time: first always the first client that still runs, then,
//! order by order, the last choice that had an alternative is made differently (depth first, no order twice). Each order runs in
//! a place of its own. Which commands a client sends may depend on what it was answered: what is possible next is asked anew
//! after each step, so one client may be done early and another send more.
//!
//! A pipeline is one step, because the server gets it as a whole; so is everything that a client sends without waiting for the
//! reply to what it sent before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::RedisError;
use tokio::sync::{oneshot, watch};

use super::Finding;
use crate::lab::{BrokenOrder, Orders, RaceReport, RaceStep};
use crate::lua::Script;
use crate::redis::{Hook, Redis, Trace};
use crate::{LabError, LabResult};

/// The most clients of a race; they are named `A` to `D`.
pub const RACERS_MAX: usize = 4;
/// The most steps of one order; a client that sends more in a loop is let go.
pub const ORDER_STEPS_MAX: usize = 64;
/// The longest that a client may need from a reply to its next command.
pub const STEP_TIMEOUT_MS: u64 = 10_000;

/// A race: what each client does in a place of its own, and what must hold afterwards.
#[async_trait]
pub trait Racers: Send + Sync {
    /// What one run works on: a fresh user, a fresh room, laid out and ready.
    type Place: Send + Sync;
    /// What a client gets.
    type Answer: Send + Sync;

    /// How many clients there are, at most [`RACERS_MAX`].
    fn clients(&self) -> usize {
        2
    }

    /// Lays out a place that no other run shares. Its commands are neither held nor shown.
    ///
    /// # Errors
    /// When it cannot be laid out; this ends the exploration.
    async fn place(&self, redis: &Redis) -> LabResult<Self::Place>;

    /// What `client`, counted from 0, does. Only what goes through `redis` is held and shown.
    async fn act(&self, place: &Self::Place, client: usize, redis: Redis) -> Self::Answer;

    /// Whether the invariant holds after all clients are done. An order that proves nothing is [`Finding::Inconclusive`].
    ///
    /// # Errors
    /// When the place cannot be looked at; this ends the exploration.
    async fn judge(&self, place: &Self::Place, redis: &Redis, answers: &[Self::Answer])
    -> LabResult<Finding>;
}

/// Runs a race in the given orders; stops at the first that breaks the invariant. `scripts` are loaded beforehand, so that no
/// client sends one twice, and are shown by name. [`RaceReport::named`] adds what the race is called.
///
/// An order that could not be driven as planned, or that proved nothing, is counted as [`RaceReport::undriven`], never as one
/// that held. If it broke the invariant all the same, it is reported as the order that it became.
///
/// # Errors
/// [`LabError::Other`] for an order that is not made of the clients' letters, and for a client that never finishes; what the
/// race's own commands fail with.
pub async fn explore<R: Racers>(
    racers: &R,
    redis: &Redis,
    scripts: &[&'static Script],
    orders: &Orders,
) -> LabResult<RaceReport> {
    let clients = racers.clients().clamp(1, RACERS_MAX);
    load(redis, scripts).await?;
    let mut report = RaceReport::default();
    let (mut plan, max) = match orders {
        Orders::All { max } => (Vec::new(), *max),
        Orders::Only(order) => (parse(order, clients)?, 1),
    };
    for _ in 0..max {
        let run = run_once(racers, redis, scripts, clients, &plan).await?;
        report.last.clone_from(&run.steps);
        match run.finding {
            Finding::Broken(reason) => {
                report.explored += u32::from(run.diverged.is_none());
                report.undriven += u32::from(run.diverged.is_some());
                report.broken = Some(BrokenOrder { order: letters(&run.path), reason, steps: run.steps });
                return Ok(report);
            }
            Finding::Holds if run.diverged.is_none() => report.explored += 1,
            Finding::Holds | Finding::Inconclusive(_) => report.undriven += 1,
            Finding::Unsupported(why) => return Err(LabError::Other(why)),
        }
        let known = run.diverged.unwrap_or(run.path.len());
        match next(&run.path[..known]) {
            Some(other) if matches!(orders, Orders::All { .. }) => plan = other,
            Some(_) => return Ok(report),
            None => {
                report.exhausted = report.undriven == 0 && matches!(orders, Orders::All { .. });
                return Ok(report);
            }
        }
    }
    Ok(report)
}

/// One choice of an order: who went, out of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    went: usize,
    could: Vec<usize>,
}

/// The next order, depth first: the last choice that still has an alternative is made differently.
fn next(path: &[Choice]) -> Option<Vec<usize>> {
    let later = |choice: &Choice| choice.could.iter().copied().find(|client| *client > choice.went);
    let (at, other) = path.iter().enumerate().rev().find_map(|(at, choice)| Some((at, later(choice)?)))?;
    Some(path[..at].iter().map(|choice| choice.went).chain([other]).collect())
}

fn letter(client: usize) -> char {
    char::from(b'A' + u8::try_from(client).unwrap_or(0))
}

fn letters(path: &[Choice]) -> String {
    path.iter().map(|choice| letter(choice.went)).collect()
}

fn parse(order: &str, clients: usize) -> LabResult<Vec<usize>> {
    let client = |given: char| (0..clients).find(|client| letter(*client) == given.to_ascii_uppercase());
    let parsed: Option<Vec<usize>> = order.chars().map(client).collect();
    match parsed {
        Some(plan) if plan.len() <= ORDER_STEPS_MAX => Ok(plan),
        _ => Err(LabError::Other(format!(
            "`{order}` is no order of this race: use at most {ORDER_STEPS_MAX} of the letters A to {}",
            letter(clients - 1)
        ))),
    }
}

async fn load(redis: &Redis, scripts: &[&'static Script]) -> LabResult<()> {
    if scripts.is_empty() {
        return Ok(());
    }
    for (_, mut node) in redis.each_node().await? {
        let mut pipe = redis::pipe();
        for script in scripts {
            pipe.cmd("SCRIPT").arg("LOAD").arg(script.source).ignore();
        }
        let () = pipe.query_async(&mut node).await?;
    }
    Ok(())
}

/// One order, run.
struct OrderRun {
    path: Vec<Choice>,
    /// The first step that was not as planned.
    diverged: Option<usize>,
    finding: Finding,
    steps: Vec<RaceStep>,
}

async fn run_once<R: Racers>(
    racers: &R,
    redis: &Redis,
    scripts: &[&'static Script],
    clients: usize,
    plan: &[usize],
) -> LabResult<OrderRun> {
    let place = racers.place(redis).await?;
    let trace = Trace::new();
    for script in scripts {
        trace.name_script(script.sha(), script.name);
    }
    let changes = Arc::new(watch::Sender::new(0));
    let gates: Vec<Arc<Gate>> = (0..clients).map(|_| Gate::new(&changes)).collect();
    let all = join_all(gates.iter().enumerate().map(|(client, gate)| {
        let handle = redis.traced_into(&trace, &letter(client).to_string()).hooked(gate.clone());
        let place = &place;
        async move {
            let answer = racers.act(place, client, handle).await;
            gate.done();
            answer
        }
    }));
    let both = async { tokio::join!(all, drive(&gates, &changes, plan)) };
    // The driver gives up after a step's timeout and then lets everybody go: as much again for what is left.
    let bound = Duration::from_millis(STEP_TIMEOUT_MS * (ORDER_STEPS_MAX as u64 + 1));
    let (answers, (path, diverged)) = tokio::time::timeout(bound, both)
        .await
        .map_err(|_| LabError::Other("a client of the race never finished".into()))?;
    let finding = racers.judge(&place, redis, &answers).await?;
    Ok(OrderRun { path, diverged, finding, steps: steps(&trace) })
}

/// Lets one client after the other go, as planned and then the first one that still runs. Returns what became of it, and the
/// first step that was not as planned.
async fn drive(
    gates: &[Arc<Gate>],
    changes: &watch::Sender<u64>,
    plan: &[usize],
) -> (Vec<Choice>, Option<usize>) {
    let mut path: Vec<Choice> = Vec::new();
    let mut diverged = None;
    loop {
        let settled = tokio::time::timeout(Duration::from_millis(STEP_TIMEOUT_MS), settled(gates, changes));
        if settled.await.is_err() || path.len() == ORDER_STEPS_MAX {
            gates.iter().for_each(|gate| gate.open());
            return (path.clone(), Some(diverged.unwrap_or(path.len())));
        }
        let could: Vec<usize> = (0..gates.len()).filter(|client| !gates[*client].is_done()).collect();
        let Some(first) = could.first().copied() else { break };
        let went = match plan.get(path.len()) {
            Some(planned) if diverged.is_none() && could.contains(planned) => *planned,
            Some(_) => {
                diverged.get_or_insert(path.len());
                first
            }
            None => first,
        };
        path.push(Choice { went, could });
        gates[went].release();
    }
    if plan.len() > path.len() {
        diverged.get_or_insert(path.len());
    }
    (path, diverged)
}

/// Waits until each client is held before a command, or done.
async fn settled(gates: &[Arc<Gate>], changes: &watch::Sender<u64>) {
    let mut changes = changes.subscribe();
    while !gates.iter().all(|gate| gate.is_settled()) {
        // The sender outlives this call.
        let _ = changes.changed().await;
    }
}

/// The trace as steps: what shares a round trip is one.
fn steps(trace: &Trace) -> Vec<RaceStep> {
    let mut steps: Vec<(u64, RaceStep)> = Vec::new();
    for entry in trace.entries() {
        let command = entry.command.join(" ");
        match steps.last_mut() {
            Some((trip, step)) if *trip == entry.round_trip => {
                step.command.push_str("; ");
                step.command.push_str(&command);
                step.reply.push_str("; ");
                step.reply.push_str(&entry.reply);
            }
            _ => {
                let client = entry.conn.chars().next().unwrap_or('?');
                steps.push((entry.round_trip, RaceStep { client, command, reply: entry.reply }));
            }
        }
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

/// Holds one client before each step.
struct Gate {
    state: Mutex<GateState>,
    /// Shared by all clients of a run: counts changes, whoever waits looks again.
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct GateState {
    held: Vec<oneshot::Sender<()>>,
    /// Something was let go and has not been answered: what is sent meanwhile belongs to the same step.
    passing: bool,
    open: bool,
    done: bool,
}

impl Gate {
    fn new(changes: &Arc<watch::Sender<u64>>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changes: changes.clone() })
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn is_done(&self) -> bool {
        self.state().done
    }

    fn is_settled(&self) -> bool {
        let state = self.state();
        state.done || (!state.passing && !state.held.is_empty())
    }

    fn release(&self) {
        let held = {
            let mut state = self.state();
            state.passing = true;
            std::mem::take(&mut state.held)
        };
        for go in held {
            // Nobody waits any more where the operation gave the command up.
            let _ = go.send(());
        }
    }

    fn open(&self) {
        self.state().open = true;
        self.release();
    }

    fn done(&self) {
        self.state().done = true;
        self.changed();
    }
}

#[async_trait]
impl Hook for Gate {
    async fn before(&self, _n: u64, _command: &[String]) -> Result<(), RedisError> {
        let gone = {
            let mut state = self.state();
            if state.open || state.passing {
                return Ok(());
            }
            let (go, gone) = oneshot::channel();
            state.held.push(go);
            gone
        };
        self.changed();
        // The gate, and with it the sender, lives as long as this call.
        let _ = gone.await;
        Ok(())
    }

    async fn after(&self, _n: u64, _command: &[String]) -> Result<(), RedisError> {
        self.state().passing = false;
        self.changed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All orders of two clients with so many commands each, as the explorer would go through them.
    fn walk(commands: [usize; 2]) -> Vec<String> {
        let mut orders = Vec::new();
        let mut plan = Some(Vec::new());
        while let Some(planned) = plan {
            let mut left = commands;
            let mut path: Vec<Choice> = Vec::new();
            while left != [0, 0] {
                let could: Vec<usize> = (0..2).filter(|client| left[*client] > 0).collect();
                let went = planned.get(path.len()).copied().unwrap_or(could[0]);
                left[went] -= 1;
                path.push(Choice { went, could });
            }
            orders.push(letters(&path));
            plan = next(&path);
        }
        orders
    }

    #[test]
    fn every_order_comes_once() {
        assert_eq!(walk([2, 2]), ["AABB", "ABAB", "ABBA", "BAAB", "BABA", "BBAA"]);
        assert_eq!(walk([3, 3]).len(), 20);
        assert_eq!(walk([0, 2]), ["BB"]);
    }

    #[test]
    fn an_order_is_made_of_the_clients_letters() {
        assert_eq!(parse("aBa", 2).unwrap(), [0, 1, 0]);
        assert!(parse("ABC", 2).unwrap_err().to_string().contains("A to B"));
        assert!(parse(&"A".repeat(ORDER_STEPS_MAX + 1), 2).is_err());
    }
}
