//! Steps in which something goes wrong: an instance falls silent, dies half-way, or is overtaken.

use chatlab_kit::{
    check::{After, Crash, Held, Stop, answered, race},
    redis::Stepper,
};

use super::{State, World};
use crate::{
    history::{Call, Step},
    model::{Conn, Life},
};

impl World<'_> {
    pub(super) async fn silence(&mut self, i: u32, state: State, step: &Step) -> Result<(), Stop> {
        let at = self.instance(i)?;
        if self.instances[at].state != State::Up {
            return Ok(());
        }
        let now = self.now().await?;
        self.record.line_at(now, &step.to_string());
        self.silenced(at, state);
        Ok(())
    }

    pub(super) fn silenced(&mut self, at: usize, state: State) {
        self.instances[at].state = state;
        let i = self.instances[at].i;
        for conn in self.conns.iter_mut().filter(|conn| conn.i == i && conn.life == Life::Open) {
            conn.life = Life::Fading;
        }
    }

    pub(super) async fn crash(&mut self, step: &Step, commands: u64) -> Result<(), Stop> {
        let Some((at, call)) = self.call(step)? else { return Ok(()) };
        let (port, switch) = (self.instances[at].port.clone(), self.instances[at].switch.clone());
        let crash = Crash::after(commands);
        switch.arm(crash.clone());
        let from = self.now().await?;
        let answer = call.send(&*port).await;
        switch.disarm();
        if !crash.fired() {
            return self.took(Some(step), at, &call, answer, from).await;
        }
        self.record.faults += 1;
        let died = format!("dies {}", After(commands));
        match (answer, &call) {
            // What it could still answer has been told.
            (Ok(answer), _) => {
                self.took(Some(step), at, &call, Ok(answer), from).await?;
                self.record.line_at(from, &format!("i{} {died}", self.instances[at].i));
            }
            (Err(_), _) => {
                self.record.line_at(from, &format!("{step}  → {died}"));
                self.doubt(&call, at);
                self.instances[at].last_ms = self.now().await?;
            }
        }
        self.reaper_died |= matches!(call, Call::Reap);
        self.silenced(at, State::Dead);
        Ok(())
    }

    /// A crashed operation happened or did not.
    fn doubt(&mut self, call: &Call, at: usize) {
        match call {
            Call::Connect { u, c, conn, .. } => {
                let i = self.instances[at].i;
                self.conns.push(Conn { c: *c, u: *u, i, id: *conn, life: Life::Unclear });
            }
            Call::Disconnect { c, .. } => {
                for conn in self.conns.iter_mut().filter(|conn| conn.c == *c) {
                    conn.life = Life::Unclear;
                }
            }
            _ => {}
        }
    }

    pub(super) async fn race(&mut self, first: &Step, commands: u64, second: &Step) -> Result<(), Stop> {
        let (Some((a, call_a)), Some((b, call_b))) = (self.call(first)?, self.call(second)?) else {
            return Ok(());
        };
        if a == b {
            return Ok(());
        }
        let (port_a, port_b) = (self.instances[a].port.clone(), self.instances[b].port.clone());
        let (stepper, switch) = (Stepper::new(), self.instances[a].switch.clone());
        switch.arm(stepper.clone());
        let from = self.now().await?;
        let (held, answer_a, answer_b) =
            race(&stepper, commands, call_a.send(&*port_a), call_b.send(&*port_b)).await;
        switch.disarm();
        if held == Held::Overtaken {
            self.record.faults += 1;
            self.record.line_at(from, &format!("{first}, and {} of it:", After(commands)));
        }
        // Only both answers together can be judged.
        let both = [(second, b, call_b, answer_b), (first, a, call_a, answer_a)];
        let mut judged = Vec::with_capacity(both.len());
        for (step, at, call, answer) in both {
            let answer = answered(call.verb(), answer)?;
            let shown = self.shown(&answer);
            self.record.line_at(from, &format!("{step}  → {shown}"));
            self.apply(at, &call, &answer, from).await?;
            judged.push((call, answer));
        }
        for (call, answer) in judged {
            self.judge(&call, &answer);
        }
        Ok(())
    }
}
