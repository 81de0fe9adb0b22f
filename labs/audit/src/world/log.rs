//! Steps about the whole log: what a trim drops, what an erased event leaves, how far a group is behind, what a replay shows.

use chatlab_kit::check::{Stop, answered};

use super::{State, Topic, World};
use crate::{Event, EventId, history::group_name};

/// A page of a replay.
const PAGE: usize = 3;
/// The most pages: more than any history has.
const PAGES_MAX: usize = 100;

impl World<'_> {
    /// The lowest event that some group still needs.
    fn needed(&self) -> usize {
        let open = self.groups.values().flat_map(|group| &group.states);
        let open = open.filter(|(n, state)| **state != State::Done && !self.events[**n].erased);
        open.map(|(n, _)| *n).min().unwrap_or(self.events.len())
    }

    pub(super) async fn trim(&mut self) -> Result<(), Stop> {
        if self.groups.is_empty() || self.groups.values().any(|group| group.unsure) {
            return Ok(());
        }
        let dropped = answered("trim", self.client.trim(&self.topic).await)?;
        self.record.line(format!("  → {dropped} dropped"));
        let left = self.read_all().await?;
        let needed = self.needed();
        let (mut lost, mut kept) = (None, 0);
        for (n, known) in self.events.iter_mut().enumerate().filter(|(_, known)| !known.erased) {
            let there = left.iter().any(|(id, _)| *id == known.id);
            if !there && !known.trimmed && n >= needed {
                lost = Some(format!("{} was dropped, and a group has not worked it", known.id));
            }
            kept += usize::from(there && n < needed);
            known.trimmed |= !there;
        }
        self.fact(Topic::Unread, lost);
        let too_many = (kept > 1).then(|| format!("{kept} events that no group needs are still there"));
        self.fact(Topic::Kept, too_many);
        Ok(())
    }

    pub(super) async fn erase(&mut self, nth: usize) -> Result<(), Stop> {
        let free: Vec<usize> = (0..self.events.len())
            .filter(|n| !self.events[*n].erased && !self.events[*n].trimmed)
            .filter(|n| {
                self.groups.values().all(|g| !matches!(g.states.get(n), Some(State::Held(_))) && !g.unsure)
            })
            .collect();
        let Some(n) = free.get(nth % free.len().max(1)).copied() else { return Ok(()) };
        let id = self.events[n].id;
        let there = answered("erase", self.client.erase(&self.topic, id).await)?;
        self.record.line(format!("  → {id}"));
        if !there {
            self.fact(Topic::Replay, Some(format!("{id} was to be erased and is not there")));
        }
        self.events[n].erased = true;
        Ok(())
    }

    pub(super) async fn lag(&mut self, group: usize) -> Result<(), Stop> {
        let Some(known) = self.groups.get(&group).filter(|known| !known.unsure) else { return Ok(()) };
        let count = |wanted: fn(&State) -> bool| {
            let all = known.states.iter().filter(|(n, state)| wanted(state) && !self.events[**n].erased);
            all.count() as u64
        };
        let undelivered = count(|state| *state == State::New);
        let pending = count(|state| matches!(state, State::Held(_)));
        let lag = answered("lag", self.client.lag(&self.topic, &group_name(group)).await)?;
        let right = (lag.undelivered, lag.pending) == (undelivered, pending);
        let broken = (!right).then(|| {
            format!(
                "lag says {} undelivered and {} pending; it is {undelivered} and {pending}",
                lag.undelivered, lag.pending
            )
        });
        self.fact(Topic::Lag, broken);
        Ok(())
    }

    async fn read_all(&self) -> Result<Vec<(EventId, Event)>, Stop> {
        let mut all: Vec<(EventId, Event)> = Vec::new();
        for _ in 0..PAGES_MAX {
            let after = all.last().map_or(EventId(0, 0), |(id, _)| *id);
            let page = self.client.replay(&self.topic, after, PAGE).await;
            let page = answered("replay", page)?;
            let last = page.len() < PAGE;
            all.extend(page);
            if last {
                break;
            }
        }
        Ok(all)
    }

    pub(super) async fn replay(&mut self) -> Result<(), Stop> {
        let all = self.read_all().await?;
        let there = self.events.iter().filter(|known| !known.erased && !known.trimmed);
        let expected: Vec<(EventId, Event)> = there.map(|known| (known.id, known.event.clone())).collect();
        let broken = (all != expected).then(|| {
            format!("a replay by pages of {PAGE} showed {} events, not these {}", all.len(), expected.len())
        });
        self.fact(Topic::Replay, broken);
        Ok(())
    }
}
