//! Steps in which something goes wrong: a client that crashes, a client that is overtaken.

use chatlab_kit::{
    LabError,
    check::{After, Crash, Held, answered, race},
    message::{Draft, Position},
    redis::Stepper,
};

use super::{Answer, Call, Halt, World, verb};
use crate::{model::Look, steps::Step};

impl World<'_> {
    pub(super) async fn crash(&mut self, step: &Step, commands: u64) -> Result<(), Halt> {
        let Some(call) = self.call(step) else { return Ok(()) };
        let crash = Crash::after(commands);
        let client = self.subject.hooked("crashing", crash.clone());
        let answer = self.send(&*client, &call).await;
        if !crash.fired() || answer.is_ok() {
            self.line(step, "done before it could crash");
            return self.after_call(&call, answered(verb(&call), answer)?);
        }
        self.record.faults += 1;
        self.line(step, &format!("crashes {}", After(commands)));
        if let Call::Edit(i, ..) | Call::Delete(i, _) = &call {
            let looks = self.model.known[*i].looks.clone();
            let after: Vec<Look> = looks.iter().map(|look| self.look_after(&call, look)).collect();
            self.model.known[*i].looks.extend(after);
        }
        Ok(())
    }

    /// What a call of a crash or a race that was answered after all says.
    fn after_call(&mut self, call: &Call, answer: Answer) -> Result<(), Halt> {
        let told = match (call, answer) {
            (Call::Append(draft), Answer::Appended(appended)) => self.model.appended(draft, appended, false),
            (Call::Edit(i, ..) | Call::Delete(i, _), Answer::Changed(answer)) => {
                self.changed(call, *i, answer)
            }
            _ => Ok(()),
        };
        self.held(told)
    }

    pub(super) async fn race(&mut self, first: &Step, commands: u64, second: &Step) -> Result<(), Halt> {
        let Some(a) = self.call(first) else { return Ok(()) };
        let Some(b) = self.call(second) else { return Ok(()) };
        let stepper = Stepper::new();
        let held_client = self.subject.hooked("A", stepper.clone());
        let other = self.subject.client("B");
        let room = self.model.room;
        let from = answered("head", self.client.head(&room).await)?;
        let second_then_look = async {
            let answer = self.send(&*other, &b).await?;
            // While the first client is held: is what was answered there, and everything before it?
            Ok::<_, LabError>((answer, other.since(&room, &from).await?, other.head(&room).await?))
        };
        let (held, answer_a, seen) =
            race(&stepper, commands, self.send(&*held_client, &a), second_then_look).await;
        if held == Held::Overtaken {
            self.record.faults += 1;
            let step =
                Step::Race { first: Box::new(first.clone()), commands, second: Box::new(second.clone()) };
            self.line(&step, "");
        } else {
            self.line(first, "(too short to be overtaken)");
            self.line(second, "");
        }
        let (answer_b, since, head) = answered(verb(&b), seen)?;
        if held == Held::AlreadyDone {
            self.after_call(&a, answered(verb(&a), answer_a)?)?;
            return self.after_call(&b, answer_b);
        }
        if let (Call::Append(_), Call::Append(draft)) = (&a, &b) {
            self.after_call(&b, answer_b)?;
            let is_new = matches!(second, Step::Send { .. });
            let told = self.overtaken(draft, &from, &since, &head);
            self.held(if is_new { told } else { Ok(()) })?;
            return self.after_call(&a, answered(verb(&a), answer_a)?);
        }
        // Whoever changes a message that is deleted meanwhile comes too late or too early: it is a tombstone.
        answered(verb(&a), answer_a)?;
        for call in [&a, &b] {
            if let Call::Edit(i, ..) | Call::Delete(i, _) = call {
                self.model.known[*i].looks =
                    self.model.known[*i].looks.iter().map(|look| self.look_after(call, look)).collect();
            }
        }
        Ok(())
    }

    /// A reader sees, while another append is under way, everything up to what was answered.
    fn overtaken(
        &mut self,
        draft: &Draft,
        from: &Position,
        since: &crate::Since,
        head: &Position,
    ) -> Result<(), String> {
        let Some(stored) =
            self.model.known.iter().find(|k| k.draft.id == draft.id).and_then(|k| k.stored.clone())
        else {
            return Ok(());
        };
        match since {
            crate::Since::Continued { messages, .. } => {
                self.model.run_of(messages, from.seq + 1, head.seq.max(stored.seq)).map_err(|why| {
                    format!("sequence {} was answered while another append was under way: {why}", stored.seq)
                })
            }
            crate::Since::Resync { .. } => Err(format!(
                "sequence {} was answered while another append was under way, and a reader cannot go on to it from {}",
                stored.seq, from.seq
            )),
        }
    }
}
