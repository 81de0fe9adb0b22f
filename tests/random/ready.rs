//! What the servers say of themselves meanwhile: `/health/readiness`, looked at all the time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chatlab_load::http::{HttpClient, HttpError};
use serde_json::Value;
use tokio::task::JoinSet;

/// Between two looks at a server.
const LOOK: Duration = Duration::from_millis(50);

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Green,
    /// These components are not well.
    Red(Vec<String>),
    /// Nobody answers: the process is dead.
    Silent,
}

/// A look: when it was taken, and when the answer was there.
struct Look {
    asked: Instant,
    answered: Instant,
    seen: Seen,
}

type Looks = Arc<Mutex<Vec<Look>>>;

/// Looks at all servers until it is dropped.
pub struct Watch {
    servers: Vec<Looks>,
    _looking: JoinSet<()>,
}

/// How the servers were in some time.
#[derive(Debug, Default)]
pub struct Readiness {
    /// How long the one that was red longest was so.
    pub red: Duration,
    /// The components that were red anywhere.
    pub why: BTreeSet<String>,
}

impl Watch {
    pub fn new(servers: impl Iterator<Item = String>) -> Self {
        let mut looking = JoinSet::new();
        let servers = servers
            .map(|url| {
                let looks = Looks::default();
                looking.spawn(look(HttpClient::new(&url), looks.clone()));
                looks
            })
            .collect();
        Self { servers, _looking: looking }
    }

    /// Waits until each server is green in a look that began after `since`. Since when they have been so.
    pub async fn green(&self, since: Instant, within: Duration) -> Instant {
        let deadline = Instant::now() + within;
        loop {
            let states: Vec<Option<Seen>> = self.servers.iter().map(|looks| newest(looks, since)).collect();
            if states.iter().all(|state| *state == Some(Seen::Green)) {
                return self
                    .servers
                    .iter()
                    .filter_map(|looks| green_since(looks, since))
                    .max()
                    .unwrap_or(since);
            }
            assert!(Instant::now() < deadline, "not ready again in {within:?}: {states:?}");
            // A poll, bounded by the deadline.
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What was seen since then.
    pub fn since(&self, then: Instant) -> Readiness {
        let mut all = Readiness::default();
        for looks in &self.servers {
            let looks = looks.lock().unwrap();
            let mut red = Duration::ZERO;
            for pair in looks.windows(2).filter(|pair| pair[0].answered >= then) {
                if let Seen::Red(why) = &pair[0].seen {
                    red += pair[1].answered - pair[0].answered;
                    all.why.extend(why.iter().cloned());
                }
            }
            all.red = all.red.max(red);
        }
        all
    }
}

fn newest(looks: &Looks, since: Instant) -> Option<Seen> {
    let looks = looks.lock().unwrap();
    looks.last().filter(|look| look.asked >= since).map(|look| look.seen.clone())
}

/// The first of the green looks after which no other kind came.
fn green_since(looks: &Looks, since: Instant) -> Option<Instant> {
    let looks = looks.lock().unwrap();
    let green = looks.iter().rev().take_while(|look| look.asked >= since && look.seen == Seen::Green);
    green.last().map(|look| look.answered)
}

async fn look(http: HttpClient, looks: Looks) {
    loop {
        let asked = Instant::now();
        let answer: Result<Value, HttpError> = http.get("/health/readiness", None).await;
        let seen = match answer {
            Ok(_) => Seen::Green,
            Err(HttpError::Status { status: 503, body, .. }) => {
                let said: Value = serde_json::from_str(&body).unwrap();
                let components = said["components"].as_object().unwrap();
                let red = components.iter().filter(|(_, state)| state["ok"] == false);
                Seen::Red(red.map(|(name, _)| name.clone()).collect())
            }
            Err(HttpError::Transport { .. }) => Seen::Silent,
            Err(other) => panic!("{other}"),
        };
        looks.lock().unwrap().push(Look { asked, answered: Instant::now(), seen });
        tokio::time::sleep(LOOK).await;
    }
}
