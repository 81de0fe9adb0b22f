//! What an answer shows.

use super::World;
use crate::{
    history::{Answer, Call},
    model::{Count, Topic},
};

impl World<'_> {
    pub(super) fn judge(&mut self, call: &Call, answer: &Answer) {
        match (call, answer) {
            (Call::Online { numbers, .. }, Answer::Online(online)) => self.judge_online(numbers, online),
            (Call::Devices { u, .. }, Answer::Devices(devices)) => self.judge_devices(*u, *devices),
            (Call::Refresh, _) => self.judge_told(Topic::Returned),
            (Call::Reap, _) => self.judge_told(Topic::Reaped),
            _ => self.judge_told(Topic::Told),
        }
    }

    pub(super) fn judge_told(&mut self, topic: Topic) {
        for user in &self.users {
            let count = Count::of(&self.conns, user.u);
            let live = count.open > 0 && count.fading == 0 && user.stayed && !user.back;
            let topic = if topic == Topic::Reaped && live { Topic::Stays } else { topic };
            let held = match count.told_wrong(user.told) {
                None => Ok(()),
                Some(what) => Err(format!("u{} {what}", user.u)),
            };
            self.record.fact(topic, held);
        }
    }

    pub(super) fn judge_online(&mut self, numbers: &[u32], online: &[bool]) {
        if online.len() != numbers.len() {
            let what = format!("{} users were asked about, {} answers came", numbers.len(), online.len());
            self.record.fact(Topic::Shown, Err(what));
            return;
        }
        for (u, shown) in numbers.iter().zip(online) {
            let Some(user) = self.users.iter().find(|user| user.u == *u) else { continue };
            let fact = match Count::of(&self.conns, *u).online() {
                Some(true) if !shown => {
                    (user.topic_of_missing(), Err(format!("u{u} is online, but not shown")))
                }
                Some(true) => (user.topic_of_missing(), Ok(())),
                Some(false) if *shown => {
                    (user.topic_of_surplus(), Err(format!("u{u} is offline, but shown")))
                }
                Some(false) => (user.topic_of_surplus(), Ok(())),
                None => continue,
            };
            self.record.facts.push(fact);
        }
    }

    pub(super) fn judge_devices(&mut self, u: u32, devices: u64) {
        let Some(user) = self.users.iter().find(|user| user.u == u) else { return };
        let count = Count::of(&self.conns, u);
        let topic = if devices > count.open { user.topic_of_surplus() } else { user.topic_of_missing() };
        let held = if count.fits(devices) {
            Ok(())
        } else {
            Err(format!("u{u} has {} connections, but {devices} are counted", count.open))
        };
        self.record.fact(topic, held);
    }
}
