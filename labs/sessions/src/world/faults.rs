//! Steps in which something goes wrong: a client that crashes, a client that is overtaken.

use chatlab_kit::{
    check::{After, Crash, Held, Stop, answered, race},
    redis::Stepper,
};

use super::World;
use crate::{
    history::{Answer, Call, Step},
    model::{End, Known, Span, State, Topic},
};

impl World<'_> {
    pub(super) async fn crash(&mut self, step: &Step, commands: u64) -> Result<(), Stop> {
        let Some(call) = self.call(step) else { return Ok(()) };
        let s = if let Step::Login { s, .. } = step { Some(*s) } else { None };
        let crash = Crash::after(commands);
        let client = self.subject.hooked("crashing", crash.clone());
        let from = self.now().await?;
        let answer = call.send(&*client, &self.user).await;
        let span = Span { from, to: self.now().await? };
        if !crash.fired() || answer.is_ok() {
            return self.judge_or_stop(step, &call, answer, span, s);
        }
        self.record.faults += 1;
        self.record.line_at(from, &format!("{step}  → crashes {}", After(commands)));
        self.after_crash(&call, span);
        Ok(())
    }

    /// A crashed operation happened or did not.
    fn after_crash(&mut self, call: &Call, span: Span) {
        match call {
            Call::Create(device) => self.known.push(Known {
                s: None,
                id: None,
                device: device.clone(),
                created: span,
                used: span,
                token: 0,
                end: End::Maybe(Topic::Visible),
            }),
            Call::Touch(id) | Call::Rotate(id, _) => {
                for known in self.known.iter_mut().filter(|known| known.id.as_ref() == Some(id)) {
                    known.used.to = span.to;
                }
            }
            Call::Revoke(id) => {
                for known in self.known.iter_mut().filter(|known| known.id.as_ref() == Some(id)) {
                    known.may_end(Topic::Revoked);
                }
            }
            Call::RevokeAll => {
                let policy = self.policy;
                self.together = (0..self.known.len())
                    .filter(|i| self.known[*i].state(span, policy) == State::Live)
                    .collect();
                for known in &mut self.known {
                    known.may_end(Topic::RevokedAll);
                }
            }
            Call::List => {}
        }
    }

    pub(super) async fn race(&mut self, first: &Step, commands: u64, second: &Step) -> Result<(), Stop> {
        let (Some(a), Some(b)) = (self.call(first), self.call(second)) else { return Ok(()) };
        let stepper = Stepper::new();
        let held = self.subject.hooked("A", stepper.clone());
        let other = self.subject.client("B");
        let from = self.now().await?;
        let (outcome, answer_a, answer_b) =
            race(&stepper, commands, a.send(&*held, &self.user), b.send(&*other, &self.user)).await;
        let span = Span { from, to: self.now().await? };
        let step = Step::Race { first: Box::new(first.clone()), commands, second: Box::new(second.clone()) };
        if outcome == Held::AlreadyDone {
            self.record.line_at(from, &format!("{first}; {second} (too short to be overtaken)"));
        } else {
            self.record.faults += 1;
            self.record.line_at(from, &step.to_string());
        }
        let mut rotations = Vec::new();
        for (call, answer) in [(&a, answer_a), (&b, answer_b)] {
            let answer = answered(call.verb(), answer)?;
            if let (Call::Rotate(id, _), Answer::Rotated(rotation)) = (call, &answer) {
                rotations.push((id.clone(), *rotation));
            }
            self.after_race(answer, span);
        }
        self.after_rotations(&rotations, span);
        for known in &mut self.known {
            let login_meanwhile = known.created == span;
            match &b {
                Call::RevokeAll if login_meanwhile => known.may_end(Topic::RevokedAll),
                Call::RevokeAll => known.ends(Topic::RevokedAll),
                Call::Revoke(id) if known.id.as_ref() == Some(id) => known.ends(Topic::Revoked),
                _ => {}
            }
        }
        Ok(())
    }

    /// What an operation of a race proves by itself: nothing but that it happened in `span`.
    fn after_race(&mut self, answer: Answer, span: Span) {
        match answer {
            Answer::Created(session) => {
                self.make_room(span);
                self.add(session, None, span);
            }
            Answer::Touched(Some(session)) => {
                for known in self.known.iter_mut().filter(|known| known.id.as_ref() == Some(&session.id)) {
                    known.used = span;
                }
            }
            _ => {}
        }
    }
}
