//! Steps in which something goes wrong: a crash, a reply that is lost, two senders that meet.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chatlab_kit::{
    LabError,
    check::{Crash, Stop, explore},
    lab::Orders,
    redis::{Hook, Redis},
};
use redis::RedisError;

use super::{Topic, World, shown};
use crate::{SendPath, races::Senders};

/// The most orders of a race tried in one step.
const ORDERS_MAX: u32 = 24;

/// A client to which one reply does not come: the command ran.
struct LostReply {
    reply: u64,
}

#[async_trait]
impl Hook for LostReply {
    async fn before(&self, _n: u64, _command: &[String]) -> Result<(), RedisError> {
        Ok(())
    }

    async fn after(&self, n: u64, _command: &[String]) -> Result<(), RedisError> {
        if n == self.reply {
            let why = "cut: the reply is lost";
            return Err(std::io::Error::new(std::io::ErrorKind::BrokenPipe, why).into());
        }
        Ok(())
    }
}

impl World<'_> {
    pub(super) async fn crash(&mut self, commands: u64) -> Result<(), Stop> {
        let crash = Crash::after(commands);
        let client = self.subject.hooked("crashing", crash.clone());
        self.faulty(client, || crash.fired()).await
    }

    pub(super) async fn lost_reply(&mut self, reply: u64) -> Result<(), Stop> {
        let client = self.subject.hooked("cut off", Arc::new(LostReply { reply }));
        self.faulty(client, || true).await
    }

    /// A send by a client that may get no answer; the sender then tries again.
    async fn faulty(
        &mut self,
        client: Arc<dyn SendPath>,
        happened: impl Fn() -> bool + Send,
    ) -> Result<(), Stop> {
        let draft = self.draft(0)?;
        let first = client.send(&draft.room, &draft.from, &draft.cid, &draft.body).await;
        match first {
            Err(LabError::Redis(error)) if happened() && error.is_io_error() => {
                self.record.faults += 1;
                let again = self.client.send(&draft.room, &draft.from, &draft.cid, &draft.body).await;
                let sent = self.answered("send", again)?;
                self.record.line(format!("  {}: no answer; again → {}", draft.body, shown(sent)));
                // Whether the first attempt came through is not known: both answers are true.
                self.known.push((draft, sent.seq));
            }
            other => {
                let sent = self.answered("send", other)?;
                self.record.line(format!("  {} → {} (done before)", draft.body, shown(sent)));
                self.judge(&draft, sent);
            }
        }
        Ok(())
    }

    pub(super) async fn race(&mut self, same: bool) -> Result<(), Stop> {
        let make = |redis: Redis| self.subject.over(redis);
        let racers = Senders { make: &make, same, unseen: self.probe.clone(), places: Mutex::default() };
        let shown = self.probe.traced_into(self.subject.trace(), "A or B");
        let orders = Orders::All { max: ORDERS_MAX };
        let report = explore(&racers, &shown, self.subject.scripts(), &orders).await?;
        for (place, n) in racers.places.into_inner().unwrap_or_else(PoisonError::into_inner).iter().zip(1..) {
            self.aliases.push((place.room.to_string(), format!("r{n}")));
            self.aliases.push((place.from.to_string(), "u1".to_owned()));
        }
        self.record.faults += report.explored;
        self.record.line(format!("  {} orders of their commands tried", report.explored));
        let held = match report.broken {
            Some(broken) => {
                for step in &broken.steps {
                    self.record.line(format!("  {}: {} → {}", step.client, step.command, step.reply));
                }
                Err(format!("{} (commands in the order {})", broken.reason, broken.order))
            }
            None if report.explored == 0 => return Ok(()),
            None => Ok(()),
        };
        self.fact(Topic::Meeting, held);
        Ok(())
    }
}
