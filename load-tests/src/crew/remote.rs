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
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use crate::{
    crew::{
        Order, Part, Share,
        clock::{self, Offset, ROUND_TRIPS},
        local::{Event, Starter, conduct},
        merge::{Origin, merge},
        shares,
    },
    plan::{Plan, Progress},
    process::HUNG_AFTER,
    result::RunResult,
};

/// What no key outlives, in seconds: longer than the pause between two of its uses.
const TTL_S: i64 = 900;
/// How often a waiting worker says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// One that has not said so for that long is gone, in microseconds.
const GONE_US: u64 = 4_000_000;
/// Reports that nobody takes, after which a worker gives up.
const MAX_UNHEARD: u64 = 10_000;
/// The largest part or plan, in bytes.
const MAX_BYTES: usize = 256 << 20;
/// A clock may be uncertain by so much before the run, in nanoseconds. After it, the latency says what is too much.
pub const MAX_UNCERTAIN_NS: u64 = 1_000_000;
/// Orders that wait, a worker.
const ORDERS: usize = 4;
/// Reports that wait to be taken in or handed on.
const EVENTS: usize = 1_024;
/// The longest name of a room or a worker.
const MAX_NAME: usize = 64;

/// Where the machines of a run meet: `redis://[USER:PASSWORD@]HOST:PORT/ROOM`.
#[derive(Clone, PartialEq, Eq)]
pub struct Meeting {
    url: String,
    room: String,
}

impl std::fmt::Debug for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Meeting").field("room", &self.room).finish_non_exhaustive()
    }
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(plain)
}

impl std::str::FromStr for Meeting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            "give redis://HOST:PORT/ROOM, where ROOM is a name of letters, digits, `-`, `_` and `.`"
                .to_owned()
        };
        let (url, room) = text.rsplit_once('/').ok_or_else(wrong)?;
        if !is_name(room) || url.strip_prefix("redis://").is_none_or(str::is_empty) {
            return Err(wrong());
        }
        Ok(Self { url: url.to_owned(), room: room.to_owned() })
    }
}

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

/// A connection to the place, for commands that do not block.
struct Place {
    meeting: Meeting,
    connection: MultiplexedConnection,
}

impl Place {
    async fn enter(meeting: &Meeting) -> anyhow::Result<Self> {
        let connection = meeting.connect().await?;
        Ok(Self { meeting: meeting.clone(), connection })
    }

    fn key(&self, name: &str) -> String {
        format!("chatlab:load:{{{}}}:{name}", self.meeting.room)
    }

    /// Puts something at a list's end; how long the list is then.
    async fn push(&mut self, key: &str, value: &impl Serialize) -> anyhow::Result<u64> {
        let bytes = serde_json::to_vec(value)?;
        if bytes.len() > MAX_BYTES {
            bail!("{} bytes are more than goes through Redis ({MAX_BYTES})", bytes.len());
        }
        let (length, _): (u64, i64) =
            redis::pipe().rpush(key, bytes).expire(key, TTL_S).query_async(&mut self.connection).await?;
        Ok(length)
    }

    /// Redis' clock, in microseconds since 1970.
    async fn time_us(&mut self) -> redis::RedisResult<u64> {
        let (s, us): (u64, u64) = redis::cmd("TIME").query_async(&mut self.connection).await?;
        Ok(s * 1_000_000 + us)
    }

    /// Redis' clock minus this machine's.
    async fn offset(&mut self) -> anyhow::Result<Offset> {
        let mut trips = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let sent = clock::unix_ns();
            let theirs_us = self.time_us().await?;
            trips.push((sent, theirs_us * 1_000, clock::unix_ns()));
        }
        let offset = Offset::of(&trips).context("the clocks could not be compared")?;
        if offset.uncertain_ns > MAX_UNCERTAIN_NS {
            bail!(
                "this machine's clock can be compared with Redis' to {:.1} ms only, and {} ms is the most: use a Redis \
                 that is nearer",
                offset.uncertain_ns as f64 / 1e6,
                MAX_UNCERTAIN_NS / 1_000_000
            );
        }
        Ok(offset)
    }
}

impl Meeting {
    async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url.as_str()).context("the address of the meeting")?;
        // Blocking reads wait as long as they ask for, and not as long as a reply may take.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .context("reaching the meeting's Redis")
    }

    /// A connection for blocking reads of one list.
    async fn listen<T: for<'de> Deserialize<'de>>(&self, key: String) -> anyhow::Result<Listener<T>> {
        Ok(Listener { connection: self.connect().await?, key, of: std::marker::PhantomData })
    }
}

struct Listener<T> {
    connection: MultiplexedConnection,
    key: String,
    of: std::marker::PhantomData<T>,
}

impl<T: for<'de> Deserialize<'de>> Listener<T> {
    /// The next of the list; none when nothing came in that time.
    async fn next(&mut self, wait: Duration) -> anyhow::Result<Option<T>> {
        let mut command = redis::cmd("BLPOP");
        command.arg(&self.key).arg(wait.as_secs_f64());
        let came: Option<(String, Vec<u8>)> = command.query_async(&mut self.connection).await?;
        Ok(came.map(|(_, bytes)| serde_json::from_slice(&bytes)).transpose()?)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meeting_is_a_redis_and_a_room() {
        let meeting: Meeting = "redis://user:secret@10.0.0.1:6379/my-room.1".parse().unwrap();
        assert_eq!(
            (meeting.url.as_str(), meeting.room.as_str()),
            ("redis://user:secret@10.0.0.1:6379", "my-room.1")
        );
        assert!(!format!("{meeting:?}").contains("secret"));
        for wrong in [
            "",
            "room",
            "redis://h:1/",
            "redis:///room",
            "redis://h:1/a room",
            "http://h:1/room",
            "redis://h:1/{x}",
        ] {
            assert!(wrong.parse::<Meeting>().is_err(), "{wrong}");
        }
    }
}
