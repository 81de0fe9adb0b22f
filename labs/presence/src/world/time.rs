//! Steps in which time passes.

use std::time::Duration;

use chatlab_kit::check::Stop;

use super::{Instance, ROUNDS_MIN, STRANGER, State, World};
use crate::{
    history::{Call, Step},
    leftovers::keys_left,
    model::{Conn, Count, Life, Topic},
};

impl World<'_> {
    /// The pace of polls: each is bounded by the server's clock, or by a number of rounds.
    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis((self.policy.lease_ms / 20).max(2))).await;
    }

    /// Refreshes whoever is alive and has not for a while.
    pub(super) async fn keep_up(&mut self) -> Result<(), Stop> {
        let now = self.now().await?;
        for at in 0..self.instances.len() {
            let Instance { state, leased_ms, .. } = self.instances[at];
            let due = leased_ms.is_some_and(|leased_ms| now >= leased_ms + self.policy.refresh_ms);
            if state == State::Up && due {
                self.plain(None, at, &Call::Refresh).await?;
            }
        }
        Ok(())
    }

    async fn reap_by_all(&mut self) -> Result<(), Stop> {
        for at in 0..self.instances.len() {
            if self.instances[at].state == State::Up {
                self.plain(None, at, &Call::Reap).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn stay(&mut self, quarters: u64, step: &Step) -> Result<(), Stop> {
        let from = self.now().await?;
        self.record.line_at(from, &step.to_string());
        while self.now().await? < from + quarters * self.policy.lease_ms / 4 {
            self.pause().await;
            self.keep_up().await?;
            self.reap_by_all().await?;
        }
        for user in &mut self.users {
            user.stayed |= self.conns.iter().any(|conn| conn.u == user.u && conn.life == Life::Open);
        }
        Ok(())
    }

    /// When everybody silent is dead for every reaper.
    pub(super) fn overdue_at(&self) -> u64 {
        let silent = self.instances.iter().filter(|instance| instance.state != State::Up);
        silent.map(|instance| instance.last_ms + self.policy.overdue_ms() + 1).max().unwrap_or_default()
    }

    pub(super) async fn lapse(&mut self, step: &Step) -> Result<(), Stop> {
        let (now, until) = (self.now().await?, self.overdue_at());
        self.record.line_at(now, &step.to_string());
        while self.now().await? < until {
            self.pause().await;
            self.keep_up().await?;
        }
        Ok(())
    }

    /// Whether a user is offline and nobody was told.
    pub(super) fn untold(&self) -> bool {
        self.users.iter().any(|user| {
            let count = Count::of(&self.conns, user.u);
            count.open == 0 && count.unclear == 0 && user.told > 0
        })
    }

    pub(super) async fn settle(&mut self, step: &Step) -> Result<(), Stop> {
        self.lapse(step).await?;
        let (lease_ms, overdue) = (self.policy.lease_ms, self.overdue_at());
        let takeover_ms = if self.reaper_died { lease_ms * 5 / 4 } else { lease_ms / 8 };
        let somebody = self.somebody();
        self.instance(somebody)?;
        let doubtful = self.conns.iter().any(|conn| conn.life == Life::Unclear);
        let patience = overdue.max(self.now().await?) + takeover_ms * 2;
        let least = if doubtful { overdue + takeover_ms } else { 0 };
        for round in 1_u32.. {
            self.reap_by_all().await?;
            let now = self.now().await?;
            if (round >= ROUNDS_MIN && now > patience) || (now > least && !self.untold()) {
                break;
            }
            self.pause().await;
            self.keep_up().await?;
        }
        // Once more: nobody may be told twice.
        self.reap_by_all().await?;
        self.settled();
        Ok(())
    }

    /// From here on the connections of the silent are over.
    pub(super) fn settled(&mut self) {
        let over = |conn: &&mut Conn| matches!(conn.life, Life::Fading | Life::Unclear);
        let mut doubtful = Vec::new();
        // A paused instance keeps its connections: it may come back.
        let paused: Vec<u32> =
            self.instances.iter().filter(|one| one.state == State::Paused).map(|one| one.i).collect();
        for conn in self.conns.iter_mut().filter(over) {
            if conn.life == Life::Unclear {
                doubtful.push(conn.u);
            }
            for user in self.users.iter_mut().filter(|user| user.u == conn.u) {
                user.died = true;
            }
            if !paused.contains(&conn.i) {
                conn.life = Life::Gone;
            }
        }
        for user in &mut self.users {
            let open = Count::of(&self.conns, user.u).open;
            if doubtful.contains(&user.u) {
                user.told = i64::from(open > 0);
            } else if open == 0 && user.died && user.told > 0 {
                let what = format!("u{} went offline with its instance, and nobody was told", user.u);
                self.record.fact(Topic::Reaped, Err(what));
            }
        }
        self.judge_told(Topic::Reaped);
    }

    pub(super) async fn leftovers(&mut self, step: &Step) -> Result<(), Stop> {
        for at in 0..self.instances.len() {
            if self.instances[at].state == State::Up {
                self.silenced(at, State::Dead);
            }
        }
        self.lapse(step).await?;
        let stranger = self.instance(STRANGER)?;
        self.instances[stranger].state = State::Up;
        let mut left = Vec::new();
        for _ in 0..ROUNDS_MIN {
            self.plain(None, stranger, &Call::Reap).await?;
            left = keys_left(&self.probe, &self.names_in_keys()).await?;
            if left.is_empty() {
                break;
            }
            self.pause().await;
        }
        for line in &left {
            self.record.line(format!("          left for ever: {line}"));
        }
        let held = match left.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} keys stay for ever after everybody is gone: {first}", left.len())),
        };
        self.record.fact(Topic::Leftover, held);
        Ok(())
    }

    pub(super) fn names_in_keys(&self) -> Vec<String> {
        let users = self.users.iter().map(|user| user.id.to_string());
        let instances = self.instances.iter().map(|instance| instance.id.to_string());
        users.chain(instances).chain([self.space.clone()]).collect()
    }
}
