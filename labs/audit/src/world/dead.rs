//! Steps about consumers that die, and those who take over.

use chatlab_kit::check::{Crash, Finding, Stop};

use super::{Group, Topic, World};
use crate::{TAKE_MAX, history::group_name};

impl World<'_> {
    pub(super) async fn crash(&mut self, group: usize, commands: u64) -> Result<(), Stop> {
        let Some(known) = self.groups.get_mut(&group) else { return Ok(()) };
        known.unsure = true;
        let crash = Crash::after(commands);
        let mortal = self.subject.hooked("B", crash.clone());
        let name = group_name(group);
        let taken = mortal.take(&self.topic, &name, "mortal", TAKE_MAX).await;
        let mut failed = taken.as_ref().err().map(ToString::to_string);
        for delivery in taken.unwrap_or_default() {
            if delivery.event.action == "poison" {
                continue;
            }
            if let Err(error) = mortal.work(&self.topic, &name, &delivery).await {
                failed = Some(error.to_string());
                break;
            }
        }
        self.record.faults += u32::from(crash.fired());
        match failed {
            Some(why) if !crash.fired() => {
                Err(Stop::Variant(Finding::Broken(format!("without a crash it answered: {why}"))))
            }
            _ => Ok(()),
        }
    }

    /// Not before the holder counts as dead, and all of it then.
    pub(super) async fn take_over(&mut self, group: usize) -> Result<(), Stop> {
        let Some(known) = self.groups.get(&group).filter(|known| !known.unsure) else { return Ok(()) };
        let held = known.held();
        let over_ms = known.held_ms + self.policy.idle_ms;
        let early = self.take(group, "heir", TAKE_MAX).await?;
        let in_time = self.now().await? < over_ms;
        let was_held = |id| held.iter().any(|(n, _)| self.events[*n].id == id);
        let robbed = early.iter().map(|delivery| delivery.id).find(|id| was_held(*id));
        if let Some(id) = robbed.filter(|_| in_time) {
            let what = format!("{id} was given away while its holder still had time");
            self.fact(Topic::Claimed, Some(what));
        }
        let held = self.groups.get(&group).map(Group::held).unwrap_or_default();
        self.wait_idle().await?;
        let late = self.take(group, "second heir", TAKE_MAX).await?;
        let max_deliveries = self.policy.max_deliveries;
        for (n, deliveries) in held.into_iter().filter(|(_, deliveries)| *deliveries < max_deliveries) {
            let id = self.events[n].id;
            let broken = match late.iter().find(|delivery| delivery.id == id) {
                None => Some(format!("{id} is held by a dead consumer and is given to nobody")),
                Some(delivery) if delivery.deliveries != deliveries + 1 => Some(format!(
                    "{id} says that it was delivered {} times, not {}",
                    delivery.deliveries,
                    deliveries + 1
                )),
                Some(_) => None,
            };
            self.fact(Topic::Claimed, broken);
        }
        self.work_all(group, &late).await
    }
}
