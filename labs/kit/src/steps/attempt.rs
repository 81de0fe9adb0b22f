//! A step in progress.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Typist;
use super::drive::{Progress, Stage, drive, is_sent};
use super::judge::{Facts, judge};
use crate::lab::{Expect, Step};
use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::{LabError, LabResult};

/// Between two looks at a server that is to catch up.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Messages come by themselves: the judge gives those that are published already so long to arrive.
const MESSAGE_GRACE: Duration = Duration::from_millis(100);

/// One step in progress on a private server. Dropping it ends what happens around the learner.
#[derive(Debug)]
pub struct Attempt {
    step: Step,
    redis: Redis,
    proxy: Arc<Proxy>,
    progress: Arc<Progress>,
    driver: JoinHandle<()>,
}

impl Attempt {
    /// Begins a step: **removes every key and function of the server** behind `redis`, cuts off who is subscribed or blocked
    /// there, runs the step's setup past the proxy, forgets the trace and the added latency, and starts what happens around the
    /// learner. `redis` must be the un-proxied handle of a managed server: never pass one that is not private.
    ///
    /// # Errors
    /// When the server does not answer, or a line of the setup is refused.
    pub async fn begin(step: Step, redis: &Redis, proxy: Arc<Proxy>) -> LabResult<Self> {
        empty(redis).await?;
        let mut typist = beside(redis);
        for line in &step.setup {
            let typed = typist.line(line).await;
            if typed.error {
                let why = typed.text;
                return Err(LabError::Other(format!("setup of step `{}`: `{line}` gave {why}", step.id)));
            }
        }
        proxy.set_latency(Duration::ZERO);
        proxy.trace().clear();
        let progress = Arc::new(Progress::before(step.drive.len()));
        let driver =
            tokio::spawn(drive(step.drive.clone(), redis.clone(), proxy.clone(), progress.clone(), typist));
        Ok(Self { step, redis: redis.clone(), proxy, progress, driver })
    }

    /// Whether what the step asks for is so now.
    ///
    /// # Errors
    /// When the server does not answer, or what happens around the learner failed.
    pub async fn judge(&self) -> LabResult<Judgement> {
        let waiting = match self.progress.stage() {
            Stage::Failed(why) => return Err(LabError::Other(format!("step `{}`: {why}", self.step.id))),
            Stage::Done => None,
            stage => Some(stage.to_string()),
        };
        let mut facts = Facts::of(&self.redis, self.proxy.trace());
        let end = Instant::now() + MESSAGE_GRACE;
        while facts.lacks_messages(&self.step.expect) && Instant::now() < end {
            // A poll, bounded by `MESSAGE_GRACE`.
            tokio::time::sleep(LOOK_AGAIN).await;
            facts = Facts::of(&self.redis, self.proxy.trace());
        }
        let (met, unmet) = self.sentences(&self.step.expect, &facts).await?;
        let mut judgement = Judgement { met, unmet, mistake: None, waiting };
        if !judgement.passed() {
            judgement.mistake = self.mistake(&facts).await?;
        }
        Ok(judgement)
    }

    async fn sentences(&self, expects: &[Expect], facts: &Facts) -> LabResult<(Vec<String>, Vec<String>)> {
        let (mut met, mut unmet) = (Vec::new(), Vec::new());
        for expect in expects {
            match judge(expect, facts).await? {
                Ok(sentence) => met.push(sentence),
                Err(sentence) => unmet.push(sentence),
            }
        }
        Ok((met, unmet))
    }

    /// The words about the first mistake of which everything holds.
    async fn mistake(&self, facts: &Facts) -> LabResult<Option<String>> {
        for mistake in &self.step.mistakes {
            let (_, unmet) = self.sentences(&mistake.when, facts).await?;
            if unmet.is_empty() {
                return Ok(Some(mistake.say.clone()));
            }
        }
        Ok(None)
    }

    /// Waits until what happens around the learner has caught up with what was typed, at most for `bound`. Scripts that type
    /// line after line call it between two lines; a person is slow enough.
    pub async fn settle(&self, bound: Duration) {
        let caught_up = async {
            loop {
                let stage = self.progress.stage();
                let settled = match &stage {
                    Stage::Done | Stage::Failed(_) => true,
                    Stage::Acting(_) => false,
                    Stage::Awaiting { verb, times } => {
                        !is_sent(&self.redis, &self.proxy, verb, *times).await
                            && self.progress.stage() == stage
                    }
                };
                if settled {
                    return;
                }
                // A poll, bounded by `bound`.
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(bound, caught_up).await;
    }

    /// The step.
    pub fn step(&self) -> &Step {
        &self.step
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A typist that goes past the proxy.
fn beside(redis: &Redis) -> Typist {
    Typist::new(redis.topology(), redis.config().nodes.clone())
}

/// Makes the private server as good as new: nobody waits for anything, and nothing is stored.
async fn empty(redis: &Redis) -> LabResult<()> {
    let primaries = redis.primaries().await?;
    for (node, mut connection) in redis.each_node().await? {
        let clients: String = ::redis::cmd("CLIENT").arg("LIST").query_async(&mut connection).await?;
        let mut pipe = ::redis::pipe();
        for id in clients.lines().filter_map(waiting_client) {
            pipe.cmd("CLIENT").arg("KILL").arg("ID").arg(id);
        }
        if primaries.contains(&node) {
            // One by one: Redis 8.0.2 crashes at FUNCTION FLUSH, in `freeClient`.
            let libraries = ::redis::cmd("FUNCTION").arg("LIST").query_async(&mut connection).await?;
            for library in names_of(libraries) {
                pipe.cmd("FUNCTION").arg("DELETE").arg(library);
            }
            pipe.cmd("FLUSHALL").cmd("SCRIPT").arg("FLUSH");
        }
        if !pipe.is_empty() {
            let _: ::redis::Value = pipe.query_async(&mut connection).await?;
        }
    }
    Ok(())
}

/// The libraries in an answer to `FUNCTION LIST`.
fn names_of(libraries: Vec<HashMap<String, ::redis::Value>>) -> impl Iterator<Item = String> {
    let name = |mut library: HashMap<String, ::redis::Value>| {
        library.remove("library_name").and_then(|name| ::redis::from_redis_value(name).ok())
    };
    libraries.into_iter().filter_map(name)
}

/// The id of a client that is subscribed (`P`), blocked (`b`) or a monitor (`O`), by its line in `CLIENT LIST`. Whoever left
/// is one for as long as the server has not seen its connection close: it would be counted, or be given what is meant for
/// another.
fn waiting_client(line: &str) -> Option<&str> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
    field("flags=").filter(|flags| flags.contains(['P', 'b', 'O']))?;
    field("id=")
}

/// What is so and what is not, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What is as the step asks for it.
    pub met: Vec<String>,
    /// What is not, and how it is instead.
    pub unmet: Vec<String>,
    /// The fitting words about a mistake that is recognised.
    pub mistake: Option<String>,
    /// What happens around the learner and is not done: mostly, what it waits for.
    pub waiting: Option<String>,
}

impl Judgement {
    /// Whether the step is done: everything is met, and everything around the learner has happened.
    pub fn passed(&self) -> bool {
        self.unmet.is_empty() && self.waiting.is_none()
    }
}
