//! Holds each answer against the model.

use chatlab_kit::ids::SessionId;

use crate::{
    MAX_SESSIONS, Rotation, Session,
    history::{Answer, Call},
    model::{End, Known, Span, State, Topic},
    world::World,
};

impl Known {
    /// It is over now, for this reason, unless it was already.
    pub(crate) fn ends(&mut self, topic: Topic) {
        if !matches!(self.end, End::Over(_)) {
            self.end = End::Over(topic);
        }
    }

    /// It may be over now.
    pub(crate) fn may_end(&mut self, topic: Topic) {
        if self.end == End::Open {
            self.end = End::Maybe(topic);
        }
    }
}

const fn why(topic: Topic) -> &'static str {
    match topic {
        Topic::Idle => "was unused for longer than the idle time",
        Topic::Absolute => "is older than any session may be",
        Topic::Revoked => "was revoked",
        Topic::Stolen => "ended when its refresh token came a second time",
        Topic::RevokedAll => "ended when all were revoked",
        Topic::Cap => "had to go when there were too many",
        _ => "is over",
    }
}

impl World<'_> {
    /// The answer in a few words.
    pub(crate) fn shown(&self, answer: &Answer) -> String {
        match answer {
            Answer::Created(_) => "ok".to_owned(),
            Answer::Touched(None) => "not live".to_owned(),
            Answer::Touched(Some(_)) => "live".to_owned(),
            Answer::Rotated(Rotation::Next(token)) => format!("token {token} is next"),
            Answer::Rotated(Rotation::Stolen) => "stolen: the session ends".to_owned(),
            Answer::Rotated(Rotation::Over) => "not live".to_owned(),
            Answer::Revoked(live) => (if *live { "was live" } else { "was not live" }).to_owned(),
            Answer::RevokedAll(count) => format!("{count} were live"),
            Answer::Listed(sessions) if sessions.is_empty() => "none".to_owned(),
            Answer::Listed(sessions) => {
                let names: Vec<_> =
                    sessions.iter().take(8).map(|session| self.name_of(&session.id)).collect();
                let more = if sessions.len() > names.len() { ", …" } else { "" };
                format!("{}{more}", names.join(", "))
            }
        }
    }

    fn name_of(&self, id: &SessionId) -> String {
        self.known
            .iter()
            .find(|known| known.id.as_ref() == Some(id))
            .map_or_else(|| "unknown".to_owned(), Known::name)
    }

    pub(crate) fn of(&self, id: &SessionId) -> Option<usize> {
        self.known.iter().position(|known| known.id.as_ref() == Some(id))
    }

    /// Writes down what an answer in `span` proves, and what is known from here on.
    pub(crate) fn judge(&mut self, call: &Call, answer: Answer, span: Span, s: Option<u32>) {
        match (call, answer) {
            (Call::Create(_), Answer::Created(session)) => self.created(session, span, s),
            (Call::Touch(id), Answer::Touched(shown)) => self.touched(id, shown, span),
            (Call::Rotate(id, token), Answer::Rotated(rotation)) => self.rotated(id, *token, rotation, span),
            (Call::List, Answer::Listed(sessions)) => self.listed(&sessions, span),
            (Call::Revoke(id), Answer::Revoked(live)) => self.revoked(id, live, span),
            (Call::RevokeAll, Answer::RevokedAll(count)) => self.revoked_all(count, span),
            _ => {}
        }
    }

    fn created(&mut self, session: Session, span: Span, s: Option<u32>) {
        self.make_room(span);
        let shown = session.clone();
        self.add(session, s, span);
        let policy = self.policy;
        if let Some(known) = self.known.last() {
            let held = known.difference(&shown, policy).map_or(Ok(()), Err);
            self.fact(Topic::Answer, held);
        }
    }

    /// What a login at the cap ends.
    pub(crate) fn make_room(&mut self, span: Span) {
        let policy = self.policy;
        let alive: Vec<usize> = (0..self.known.len())
            .filter(|i| matches!(self.known[*i].state(span, policy), State::Live))
            .collect();
        let perhaps = self.known.iter().filter(|known| known.state(span, policy) == State::Unknown).count();
        if alive.len() + perhaps < MAX_SESSIONS {
            return;
        }
        let certain = alive.len() >= MAX_SESSIONS && perhaps == 0;
        let first = alive
            .iter()
            .copied()
            .find(|i| alive.iter().all(|j| i == j || self.known[*i].ends_before(&self.known[*j], policy)));
        match first {
            Some(i) if certain => self.known[i].ends(Topic::Cap),
            // Which one ends first is a tie by the clock: every one of them may be gone.
            _ => self.known.iter_mut().for_each(|known| known.may_end(Topic::Cap)),
        }
    }

    fn touched(&mut self, id: &SessionId, shown: Option<Session>, span: Span) {
        let Some(i) = self.of(id) else { return };
        let policy = self.policy;
        let state = self.known[i].state(span, policy);
        let name = self.known[i].name();
        match (state, shown) {
            (State::Dead(topic), None) => self.fact(topic, Ok(())),
            (State::Dead(topic), Some(_)) => {
                self.fact(topic, Err(format!("{name} {}, and touch still finds it", why(topic))));
            }
            (State::Live, None) => {
                self.fact(Topic::Visible, Err(format!("{name} is live, but touch does not find it")));
                self.known[i].ends(Topic::Visible);
            }
            (State::Unknown, None) => {
                let topic = match self.known[i].end {
                    End::Maybe(topic) => topic,
                    _ => self.known[i].clock(policy),
                };
                self.known[i].ends(topic);
            }
            (State::Live | State::Unknown, Some(shown)) => {
                self.known[i].used = span;
                if let End::Maybe(_) = self.known[i].end {
                    self.known[i].end = End::Open;
                }
                let held = self.known[i].difference(&shown, policy).map_or(Ok(()), Err);
                let limit = shown.created_ms + policy.absolute_ms;
                if shown.expires_ms > limit {
                    let late = shown.expires_ms - limit;
                    self.fact(
                        Topic::Absolute,
                        Err(format!("touch lets {name} live {late} ms longer than any session may")),
                    );
                }
                self.fact(Topic::Visible, held);
            }
        }
    }

    fn listed(&mut self, sessions: &[Session], span: Span) {
        let policy = self.policy;
        self.listed_together(sessions, span);
        for i in 0..self.known.len() {
            let Some(id) = self.known[i].id.clone() else { continue };
            let name = self.known[i].name();
            let shown: Vec<&Session> = sessions.iter().filter(|session| session.id == id).collect();
            match (self.known[i].state(span, policy), shown.as_slice()) {
                (_, [_, _, ..]) => self.fact(Topic::List, Err(format!("{name} is listed twice"))),
                (State::Live, []) => {
                    self.fact(Topic::Visible, Err(format!("{name} is live, but not listed")));
                    self.fact(Topic::List, Err(format!("{name} is live, but not listed")));
                }
                (State::Live, [shown]) => {
                    let held = self.known[i].difference(shown, policy).map_or(Ok(()), Err);
                    self.fact(Topic::Visible, held.clone());
                    self.fact(Topic::List, held);
                }
                (State::Dead(topic), []) => {
                    self.fact(topic, Ok(()));
                    self.fact(Topic::List, Ok(()));
                }
                (State::Dead(topic), [_]) => {
                    let what = format!("{name} {}, and is still listed", why(topic));
                    self.fact(topic, Err(what.clone()));
                    self.fact(Topic::List, Err(what));
                }
                (State::Unknown, _) => {}
            }
        }
        self.listed_as_a_whole(sessions, span);
    }

    /// What a crashed `revoke_all` meant to end is listed entirely or not at all.
    fn listed_together(&mut self, sessions: &[Session], span: Span) {
        let policy = self.policy;
        let together = std::mem::take(&mut self.together);
        let still_in_time = |known: &Known| {
            let open = Known { end: End::Open, ..known.clone() };
            open.state(span, policy) == State::Live
        };
        if together.len() < 2 || !together.iter().all(|i| still_in_time(&self.known[*i])) {
            return;
        }
        let is_shown =
            |i: &&usize| sessions.iter().any(|session| Some(&session.id) == self.known[**i].id.as_ref());
        let shown = together.iter().filter(is_shown).count();
        let held = if shown == 0 || shown == together.len() {
            Ok(())
        } else {
            Err(format!("the crash left {shown} of {} sessions: neither all nor none", together.len()))
        };
        self.fact(Topic::RevokedAll, held);
    }

    fn listed_as_a_whole(&mut self, sessions: &[Session], span: Span) {
        let policy = self.policy;
        let held = if sessions.len() <= MAX_SESSIONS {
            Ok(())
        } else {
            Err(format!("{} sessions are listed, at most {MAX_SESSIONS} may be", sessions.len()))
        };
        // Worth a note only where the cap is near.
        if sessions.len() >= MAX_SESSIONS {
            self.fact(Topic::Cap, held);
        }
        if sessions.windows(2).any(|pair| pair[0].created_ms < pair[1].created_ms) {
            self.fact(Topic::List, Err("the list is not in order of login, newest first".to_owned()));
        }
        for session in sessions {
            if self.of(&session.id).is_some() {
                continue;
            }
            // A login that crashed may have happened; then it lives as long as any other.
            let crashed = self.known.iter().find(|k| k.id.is_none() && k.device == session.device);
            let held = match crashed.map(|known| known.state(span, policy)) {
                None => Err("a session is listed that was never created".to_owned()),
                Some(State::Dead(topic)) => {
                    Err(format!("a session whose login crashed {}, and is still listed", why(topic)))
                }
                Some(_) => continue,
            };
            self.fact(Topic::List, held);
        }
    }

    fn revoked(&mut self, id: &SessionId, live: bool, span: Span) {
        let Some(i) = self.of(id) else { return };
        let name = self.known[i].name();
        match (self.known[i].state(span, self.policy), live) {
            (State::Live, false) => {
                self.fact(Topic::Answer, Err(format!("{name} was live, but revoke says it was not")));
            }
            (State::Dead(topic), true) => {
                self.fact(Topic::Answer, Err(format!("{name} {}, but revoke says it was live", why(topic))));
            }
            (State::Live | State::Dead(_), _) => self.fact(Topic::Answer, Ok(())),
            (State::Unknown, _) => {}
        }
        self.known[i].ends(Topic::Revoked);
    }

    fn revoked_all(&mut self, count: u64, span: Span) {
        let states = self.known.iter().map(|known| known.state(span, self.policy));
        let (mut live, mut perhaps) = (0_u64, 0_u64);
        for state in states {
            live += u64::from(state == State::Live);
            perhaps += u64::from(state == State::Unknown);
        }
        let held = if (live..=live + perhaps).contains(&count) {
            Ok(())
        } else {
            Err(format!("{live} sessions were live, but revoke_all says {count}"))
        };
        self.fact(Topic::Answer, held);
        for known in &mut self.known {
            known.ends(Topic::RevokedAll);
        }
    }
}
