//! Steps in which something goes wrong: a crash, a race, and what they leave.

use chatlab_kit::{
    LabResult,
    check::{Crash, Stop, answered, explore},
    lab::Orders,
    redis::Redis,
};

use super::{KEPT_WINDOWS, ORDERS_MAX, Topic, World};
use crate::{
    history::Step,
    last_permit::{LastPermit, capacity},
};

impl World<'_> {
    pub(super) async fn crash(&mut self, step: &Step, commands: u64) -> Result<(), Stop> {
        let crash = Crash::after(commands);
        let client = self.subject.hooked("crashing", crash.clone());
        let name = self.name();
        let from_ms = self.now().await?;
        let answer = client.take(&name).await;
        self.rested = false;
        if crash.fired() && answer.is_err() {
            self.record.faults += 1;
            self.record.line_at(from_ms, &step.to_string());
        } else {
            let to_ms = self.now().await?;
            self.saw(from_ms, to_ms, answer)?;
            self.record.line_at(from_ms, "a take (done before it could crash)");
        }
        Ok(self.leftovers(&Step::Leftovers).await?)
    }

    /// Nobody is working on the subject now: what has no expiry will not get one.
    pub(super) async fn leftovers(&mut self, step: &Step) -> LabResult<()> {
        let now = self.now().await?;
        let bound_ms = KEPT_WINDOWS * self.limit.window_ms;
        let mut held = Ok(());
        let mut kept = Vec::new();
        for key in self.keys_kept().await? {
            let ttl_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut self.probe).await?;
            match u64::try_from(ttl_ms) {
                Ok(ms) if ms <= bound_ms => kept.push(format!("{key} for {ms} ms")),
                Ok(ms) => held = Err(format!("{key} stays for {ms} ms, longer than four windows")),
                Err(_) if ttl_ms == -1 => held = Err(format!("{key} stays for ever")),
                Err(_) => {}
            }
        }
        let shown = if kept.is_empty() { "nothing".to_owned() } else { kept.join(", ") };
        self.record.line_at(now, &format!("{step}  → {}", held.as_ref().err().unwrap_or(&shown)));
        self.fact(Topic::Leftover, held);
        Ok(())
    }

    pub(super) async fn last_permit(&mut self, step: &Step) -> Result<(), Stop> {
        let make = |redis: Redis| self.subject.over(redis);
        let twin = format!("{}:twin", self.base);
        let now = self.now().await?;
        let capacity = answered("take", capacity(&*self.clients[0], &twin, &self.limit).await)?;
        let racers = LastPermit {
            make: &make,
            limit: self.limit,
            clients: 2,
            capacity,
            base: format!("{}:race", self.base),
            places: 0.into(),
            unseen: self.probe.clone(),
        };
        let shown = self.probe.traced_into(self.subject.trace(), "A or B");
        let report =
            explore(&racers, &shown, self.subject.scripts(), &Orders::All { max: ORDERS_MAX }).await?;
        self.record.faults += report.explored;
        self.record.line_at(now, &format!("{step}: {} orders of their commands tried", report.explored));
        match report.broken {
            Some(broken) => {
                for race_step in &broken.steps {
                    let line = format!("{}: {} → {}", race_step.client, race_step.command, race_step.reply);
                    self.record.line(format!("          {line}"));
                }
                let what = format!("{} (commands in the order {})", broken.reason, broken.order);
                self.fact(Topic::Race, Err(what));
            }
            None if report.explored > 0 => self.fact(Topic::Race, Ok(())),
            None => {}
        }
        Ok(())
    }
}
