//! Generators on other machines, joined through Redis: a worker waits there for its share and delivers its part there.
//!
//! Every key begins with `chatlab:load:{ROOM}:`, holds no secret but the plan's access tokens, and runs out by itself:
//!
//! | key | holds |
//! | --- | --- |
//! | `workers` | a sorted set of the workers that wait, by the last time they said so |
//! | `to:WORKER` | a list: the invitation, then orders |
//! | `from:RUN` | a list: what the workers of a run tell |
//!
//! The same Redis is the clock that all agree on ([`super::clock`]). It should not be one that the run loads.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use crate::{
    crew::{
        Order, Part, Share,
        clock::{self, Offset},
        local::{Event, Starter, conduct},
        meeting::{Listener, MAX_NAME, Meeting, Place, TTL_S, is_name},
        merge::{Origin, merge},
        shares,
    },
    plan::{Plan, Progress},
    process::HUNG_AFTER,
    result::RunResult,
};

/// How often a waiting worker says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// One that has not said so for that long is gone, in microseconds.
const GONE_US: u64 = 4_000_000;
/// Reports that nobody takes, after which a worker gives up.
const MAX_UNHEARD: u64 = 10_000;
/// Orders that wait, a worker.
const ORDERS: usize = 4;
/// Reports that wait to be taken in or handed on.
const EVENTS: usize = 1_024;

/// What a worker is invited to.
#[derive(Debug, Serialize, Deserialize)]
struct Invitation {
    /// The key of what is told.
    from: String,
    /// The plan; its share's origin is on Redis' clock.
    plan: Plan,
}

/// What a worker tells.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    index: usize,
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Progress(Progress),
    Done { part: Box<Part>, clock: (Offset, Offset) },
    Failed(String),
}

/// Waits in the room for a share of a run, carries it out and delivers the part.
///
/// # Errors
/// When Redis can't be reached. A run that fails here is told to whoever asked for it, and is no error.
pub async fn work(
    meeting: &Meeting,
    name: &str,
    starter: &Starter,
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<()> {
    if !is_name(name) {
        bail!("`{name}` is no name: letters, digits, `-`, `_` and `.`, at most {MAX_NAME}");
    }
    let mut place = Place::enter(meeting).await?;
    let me = format!("{name}:{}", uuid::Uuid::new_v4().simple());
    let inbox = place.key(&format!("to:{me}"));
    let mut invitations = meeting.listen::<Invitation>(inbox.clone()).await?;
    say(&format!("{name} waits in {}", meeting.room));
    let invitation = loop {
        let now_us = place.time_us().await?;
        let workers = place.key("workers");
        let () = redis::pipe()
            .zadd(&workers, &me, now_us)
            .ignore()
            .expire(&workers, TTL_S)
            .ignore()
            .query_async(&mut place.connection)
            .await?;
        if let Some(invitation) = invitations.next(HEARTBEAT).await? {
            break invitation;
        }
    };
    let () = redis::cmd("ZREM").arg(place.key("workers")).arg(&me).query_async(&mut place.connection).await?;
    let index = invitation.plan.share.map_or(0, |share| share.index);
    let from = invitation.from.clone();
    say(&format!("generator {} of {}", index + 1, invitation.plan.share.map_or(1, |share| share.of)));
    let what = match carry_out(&mut place, invitation, inbox, starter).await {
        Ok((part, clock)) => What::Done { part: Box::new(part), clock },
        Err(error) => What::Failed(format!("{name}: {error:#}")),
    };
    say(match &what {
        What::Failed(why) => why,
        _ => "done",
    });
    place.push(&from, &Told { index, what }).await?;
    Ok(())
}

async fn carry_out(
    place: &mut Place,
    invitation: Invitation,
    inbox: String,
    starter: &Starter,
) -> anyhow::Result<(Part, (Offset, Offset))> {
    let Invitation { from, mut plan } = invitation;
    let before = place.offset().await?;
    let share = plan.share.context("the invitation names no share")?;
    plan.share = Some(Share { origin_unix_ns: before.ours(share.origin_unix_ns), ..share });
    // They are of another machine.
    (plan.server_pids, plan.redis_pids, plan.redis_nodes) = (Vec::new(), Vec::new(), Vec::new());
    let longest = Duration::from_millis(plan.longest_ms()) + HUNG_AFTER;
    let (events, mut told) = channel(EVENTS);
    let member = starter.start(share.index, plan, events)?;
    let mut orders = place.meeting.listen::<Order>(inbox).await?;
    let to = member.orders.clone();
    let obey = async {
        loop {
            if let Some(order) = orders.next(HEARTBEAT).await? {
                let _ = to.send(order).await;
            }
        }
    };
    let report = async {
        while let Some((index, event)) = told.recv().await {
            match event {
                Event::Told(progress) => {
                    let unheard = place.push(&from, &Told { index, what: What::Progress(progress) }).await?;
                    if unheard > MAX_UNHEARD {
                        bail!("nobody listens any more");
                    }
                }
                Event::Done(part, _) => return Ok(*part),
                Event::Failed(why) => bail!(why),
            }
        }
        bail!("the generator is gone")
    };
    let part = tokio::time::timeout(longest, async {
        tokio::select! {
            part = report => part,
            stopped = obey => {
                let stopped: anyhow::Result<std::convert::Infallible> = stopped;
                match stopped {
                    Ok(never) => match never {},
                    Err(error) => Err(error.context("the orders of the meeting")),
                }
            }
        }
    })
    .await
    .context("the generator hangs")??;
    Ok((part, (before, place.offset().await?)))
}

/// Runs a plan by as many workers as are asked for, who wait in the room.
///
/// # Errors
/// When not as many workers come in time, one of them fails, or their clocks are too uncertain.
pub async fn run(
    meeting: &Meeting,
    plan: &Plan,
    workers: usize,
    wait: Duration,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let mut place = Place::enter(meeting).await?;
    let before = place.offset().await?;
    let names = gather(&mut place, workers, wait, progress).await?;
    let origin_ns = clock::unix_ns();
    let run = uuid::Uuid::new_v4().as_u128() as u32;
    let from = place.key(&format!("from:{}", uuid::Uuid::new_v4().simple()));
    for (name, share) in names.iter().zip(shares(plan, workers, run, before.theirs(origin_ns))?) {
        let to = place.key(&format!("to:{name}"));
        place.push(&to, &Invitation { from: from.clone(), plan: share }).await?;
    }
    let (tell, told) = channel(EVENTS);
    let listening = Task(tokio::spawn(hear(meeting.listen(from).await?, tell)));
    let (orders, posts): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|name| {
            let (orders, given) = channel(ORDERS);
            (orders, Task(tokio::spawn(post(meeting.clone(), place.key(&format!("to:{name}")), given))))
        })
        .unzip();
    let longest = Duration::from_millis(plan.longest_ms()) + 2 * HUNG_AFTER;
    let parts = tokio::time::timeout(longest, conduct(&orders, told, origin_ns, progress))
        .await
        .context("the workers hang")??;
    drop((listening, posts));
    let after = place.offset().await?;
    let (own, mut origins, mut all) = (before.uncertain_until(after), Vec::new(), Vec::new());
    for (name, (part, clock)) in names.iter().zip(parts) {
        let place = name.split(':').next().unwrap_or_default().to_owned();
        // Two clocks stand between a worker's and ours.
        let sum = |offset: Offset| Offset { uncertain_ns: offset.uncertain_ns + own, ..offset };
        origins.push(Origin { place, clock: clock.map(|(before, after)| (sum(before), sum(after))) });
        all.push(part);
    }
    Ok(merge(all, &origins)?)
}

/// A task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes as many waiting workers as are asked for; each is taken once.
async fn gather(
    place: &mut Place,
    workers: usize,
    wait: Duration,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<Vec<String>> {
    let (key, give_up) = (place.key("workers"), tokio::time::Instant::now() + wait);
    let mut taken = Vec::with_capacity(workers);
    loop {
        let since = place.time_us().await?.saturating_sub(GONE_US);
        let waiting: Vec<String> = redis::cmd("ZRANGEBYSCORE")
            .arg(&key)
            .arg(since)
            .arg("+inf")
            .query_async(&mut place.connection)
            .await?;
        for name in waiting {
            if taken.len() < workers {
                let mine: u64 =
                    redis::cmd("ZREM").arg(&key).arg(&name).query_async(&mut place.connection).await?;
                if mine == 1 {
                    taken.push(name);
                }
            }
        }
        progress(Progress::Connecting { done: taken.len() as u64, of: workers as u64 });
        if taken.len() == workers {
            return Ok(taken);
        }
        if tokio::time::Instant::now() >= give_up {
            bail!(
                "{} of {workers} workers came to {} in {} s: start `chatlab load worker --join …` on each machine",
                taken.len(),
                place.meeting.room,
                wait.as_secs()
            );
        }
        tokio::time::sleep(HEARTBEAT / 4).await;
    }
}

async fn hear(mut from: Listener<Told>, tell: Sender<(usize, Event)>) {
    loop {
        let event = match from.next(HEARTBEAT).await {
            Ok(None) => continue,
            Ok(Some(Told { index, what: What::Progress(progress) })) => (index, Event::Told(progress)),
            Ok(Some(Told { index, what: What::Done { part, clock } })) => {
                (index, Event::Done(part, Some(clock)))
            }
            Ok(Some(Told { index, what: What::Failed(why) })) => (index, Event::Failed(why)),
            Err(error) => (0, Event::Failed(format!("the meeting: {error:#}"))),
        };
        let last = matches!(event.1, Event::Failed(_));
        if tell.send(event).await.is_err() || last {
            return;
        }
    }
}

async fn post(meeting: Meeting, to: String, mut given: Receiver<Order>) {
    // A worker that no order reaches says so by giving up.
    let Ok(mut place) = Place::enter(&meeting).await else { return };
    while let Some(order) = given.recv().await {
        if place.push(&to, &order).await.is_err() {
            return;
        }
    }
}
