//! What the exchange of refresh tokens proves.

use chatlab_kit::ids::SessionId;

use crate::{
    Rotation,
    model::{End, Span, State, Topic},
    world::World,
};

impl World<'_> {
    pub(crate) fn rotated(&mut self, id: &SessionId, token: u64, rotation: Rotation, span: Span) {
        let Some(i) = self.of(id) else { return };
        let policy = self.policy;
        let (name, good) = (self.known[i].name(), self.known[i].token);
        match (self.known[i].state(span, policy), rotation) {
            (State::Dead(topic), Rotation::Next(_)) => {
                self.fact(topic, Err(format!("{name} is over, and its token is exchanged")));
                self.fact(Topic::Stolen, Err(format!("{name} is over, and its token is exchanged")));
            }
            (State::Dead(topic), _) => self.fact(topic, Ok(())),
            (State::Live, Rotation::Next(next)) if token == good => {
                let held = if next == good + 1 {
                    Ok(())
                } else {
                    Err(format!("after token {good} of {name} comes {}, not {next}", good + 1))
                };
                self.fact(Topic::Stolen, held);
                self.exchanged(i, next, span);
            }
            (State::Live, other) if token == good => {
                self.fact(
                    Topic::Stolen,
                    Err(format!("token {good} of {name} is good, but the answer is {other:?}")),
                );
                self.known[i].ends(Topic::Stolen);
            }
            (State::Live, Rotation::Stolen) => {
                self.fact(Topic::Stolen, Ok(()));
                self.known[i].ends(Topic::Stolen);
            }
            (State::Live, other) => {
                let what = format!(
                    "token {token} of {name} comes a second time, and the answer is {other:?}: whoever has the \
                     newer token stays logged in"
                );
                self.fact(Topic::Stolen, Err(what));
                self.known[i].ends(Topic::Stolen);
            }
            (State::Unknown, Rotation::Next(next)) => self.exchanged(i, next, span),
            (State::Unknown, _) => {
                let topic = match self.known[i].end {
                    End::Maybe(topic) => topic,
                    _ => self.known[i].clock(policy),
                };
                self.known[i].ends(topic);
            }
        }
    }

    fn exchanged(&mut self, i: usize, next: u64, span: Span) {
        self.known[i].token = next;
        self.known[i].used = span;
        if let End::Maybe(_) = self.known[i].end {
            self.known[i].end = End::Open;
        }
    }

    /// What two exchanges at the same time prove: of one token, one at most is good, and then the other ends the session.
    pub(crate) fn after_rotations(&mut self, rotations: &[(SessionId, Rotation)], span: Span) {
        for (id, rotation) in rotations {
            let Some(i) = self.of(id) else { continue };
            if let Rotation::Next(next) = rotation {
                self.known[i].token = self.known[i].token.max(*next);
                self.known[i].used = Span { from: self.known[i].used.from, to: span.to };
            }
        }
        let [(id, first), (other, second)] = rotations else { return };
        let Some(i) = self.of(id) else { return };
        if id != other {
            return;
        }
        let name = self.known[i].name();
        match (first, second) {
            (Rotation::Next(_), Rotation::Next(_)) => {
                self.fact(Topic::Stolen, Err(format!("one token of {name} was exchanged twice")));
                self.known[i].may_end(Topic::Stolen);
            }
            (Rotation::Next(_), Rotation::Stolen) | (Rotation::Stolen, Rotation::Next(_)) => {
                self.fact(Topic::Stolen, Ok(()));
                self.known[i].ends(Topic::Stolen);
            }
            _ => self.known[i].may_end(Topic::Stolen),
        }
    }
}
