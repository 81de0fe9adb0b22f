//! What people do to each other in the room: roles, removals, bans, additions, settings.

use chatlab_kit::{
    ids::RoomId,
    wire::{ErrorCode, Role},
};
use chatlab_load::client::{ClientError, NewSettings};
use futures_util::future::join_all;
use rand::{
    Rng,
    seq::{IndexedRandom, IteratorRandom},
};

use super::{PEOPLE, acts::Acts, model::Verdict, person::Person};

/// What each says in a storm.
const STORM: usize = 4;

impl Acts {
    pub(super) async fn role(&mut self, by: usize, whom: usize) {
        let (room, user) = (self.model.room, self.model.users[whom]);
        let role = *[Role::Moderator, Role::Admin].choose(&mut self.rng).unwrap();
        let role = if self.rng.random_bool(0.7) { role } else { *Role::ALL.choose(&mut self.rng).unwrap() };
        let expected = self.model.role(by, whom, role);
        let answer = self.people[by].client.set_role(room, user, role).await;
        if self.judge("role", expected, answer).is_some() {
            self.model.roles.insert(whom, role);
        }
    }

    /// Somebody has no place in a room any more, and was told.
    pub(super) async fn is_out(&mut self, who: usize, room: RoomId) {
        self.people[who].until("told to be out", |person| !person.at.contains_key(&room)).await;
    }

    pub(super) async fn remove(&mut self, by: usize, whom: usize) {
        let plain = self.model.roles.iter().filter(|(_, role)| **role == Role::Member).map(|(who, _)| *who);
        let plain = plain.choose(&mut self.rng);
        let whom = if self.rng.random_bool(0.7) { plain.unwrap_or(whom) } else { whom };
        let (room, user, ban) = (self.model.room, self.model.users[whom], self.rng.random_bool(0.3));
        let expected = self.model.remove(by, whom, ban);
        let answer = self.people[by].client.remove(room, user, ban).await;
        if self.judge(if ban { "ban" } else { "remove" }, expected, answer).is_some() {
            self.removed(whom, ban).await;
        }
    }

    async fn removed(&mut self, whom: usize, ban: bool) {
        self.is_out(whom, self.model.room).await;
        self.model.gone(whom);
        if ban {
            self.model.banned.insert(whom);
        }
    }

    pub(super) async fn unban(&mut self, by: usize, whom: usize) {
        let banned = self.model.banned.iter().copied().choose(&mut self.rng);
        let whom = if self.rng.random_bool(0.8) { banned.unwrap_or(whom) } else { whom };
        let (room, user) = (self.model.room, self.model.users[whom]);
        let expected = self.model.unban(by, whom);
        let answer = self.people[by].client.unban(room, user).await;
        if self.judge("unban", expected, answer).is_some() {
            self.model.banned.remove(&whom);
        }
    }

    pub(super) async fn add(&mut self, by: usize, whom: usize) {
        let outside =
            (0..PEOPLE).filter(|who| self.model.member(*who).is_err() && self.model.join(*who).is_ok());
        let outside = outside.choose(&mut self.rng);
        let whom = if self.rng.random_bool(0.7) { outside.unwrap_or(whom) } else { whom };
        let (room, user) = (self.model.room, self.model.users[whom]);
        let expected = self.model.add(by, whom);
        let answer = self.people[by].client.add(room, user).await;
        if self.judge("add", expected, answer).is_some() {
            self.model.roles.insert(whom, Role::Member);
        }
    }

    pub(super) async fn read_only(&mut self, by: usize) {
        let (room, on) = (self.model.room, !self.model.read_only);
        let expected = self.model.settings(by);
        let new = NewSettings { read_only: Some(on), ..NewSettings::default() };
        let answer = self.people[by].client.settings(room, new).await;
        if self.judge("settings", expected, answer).is_none() {
            return;
        }
        self.model.read_only = on;
        // From then on it holds wherever somebody was told.
        for person in self.people.iter_mut().filter(|person| person.at.contains_key(&room)) {
            let told = |person: &Person| person.told.as_ref().is_some_and(|info| info.read_only == on);
            person.until("told the settings", told).await;
        }
    }

    /// All who listen write while one of them is banned: what that one still could write is there, and nothing comes to them afterwards.
    pub(super) async fn storm(&mut self, by: usize, whom: usize) {
        let (room, user) = (self.model.room, self.model.users[whom]);
        let expected = self.model.remove(by, whom, true);
        let listening: Vec<bool> = (0..PEOPLE).map(|who| self.listens(who)).collect();
        let may_write: Vec<Verdict> = (0..PEOPLE).map(|who| self.model.write(who, listening[who])).collect();
        let bodies: Vec<Vec<String>> =
            (0..PEOPLE).map(|_| (0..STORM).map(|_| self.cid()).collect()).collect();
        let all = self.people.iter_mut().enumerate().map(|(who, person)| {
            let bodies = &bodies[who];
            async move {
                let mut answers = Vec::new();
                let mut banned = None;
                for body in bodies {
                    answers.push(person.client.send(room, body, body).await);
                    if who == by && banned.is_none() {
                        banned = Some(person.client.remove(room, user, true).await);
                    }
                }
                (answers, banned)
            }
        });
        let answers = join_all(all).await;
        let mut done = false;
        for (who, (answers, banned)) in answers.into_iter().enumerate() {
            for (answer, body) in answers.into_iter().zip(&bodies[who]) {
                // Who is banned meanwhile is refused from some moment on.
                let either = who == whom && expected.is_ok() && may_write[who].is_ok();
                let expected = match &answer {
                    Err(ClientError::Refused { code: ErrorCode::Forbidden, .. }) if either => {
                        Err(ErrorCode::Forbidden)
                    }
                    _ => may_write[who],
                };
                if let Some(ack) = self.judge("write in a storm", expected, answer) {
                    self.wrote(who, body.clone(), &ack);
                }
            }
            if let Some(banned) = banned {
                done = self.judge("ban in a storm", expected, banned).is_some();
            }
        }
        if done {
            self.removed(whom, true).await;
        }
    }
}
