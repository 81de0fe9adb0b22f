//! A recorded conversation against the guarantees of docs/PROTOCOL.md.

use std::collections::{BTreeMap, BTreeSet};

use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{Message, Position},
};

use super::{
    World,
    person::{Device, Person, Step},
};
use crate::common::SOON;

/// How much there was to judge.
#[derive(Debug, Default)]
pub struct Report {
    pub requests: u64,
    pub failed: u64,
    pub said: usize,
    pub heard: usize,
    pub resyncs: usize,
}

/// Judges everything; panics with what is wrong. People are left as they are, in order, each with all devices connected.
pub async fn judge(world: &World, people: &mut [Person]) -> Report {
    let mut report = Report::default();
    let mut histories = BTreeMap::new();
    for room in &world.rooms {
        let member = people.iter().position(|person| person.member.contains(room)).unwrap_or_default();
        let history = people[member].history(*room).await;
        whole(&history);
        histories.insert(*room, history);
    }
    let mut said = BTreeSet::new();
    for person in &*people {
        report.requests += person.done;
        report.failed += person.failed;
        report.said += person.said.len();
        for one in &person.said {
            let (epoch, seq, id) = one.stored.as_ref().expect("everything is answered by now");
            let message = at(&histories[&one.room], *seq);
            let kept = (&message.epoch, message.draft.id, message.draft.cid.as_str(), &message.draft.body);
            assert_eq!(kept, (epoch, *id, one.cid.as_str(), &one.body), "acknowledged, and not there");
            said.insert(*id);
        }
        for device in &person.devices {
            heard(world, device, &histories, &mut report);
        }
    }
    let stored: usize = histories.values().map(Vec::len).sum();
    assert_eq!(said.len(), stored, "each thing that was said is stored once, and nothing else");
    report
}

fn at(history: &[Message], seq: u64) -> &Message {
    let found = usize::try_from(seq).ok().and_then(|seq| history.get(seq.checked_sub(1)?));
    found.filter(|message| message.seq == seq).unwrap_or_else(|| panic!("there is no message {seq}"))
}

/// Numbered from 1 without a hole, each message once.
fn whole(history: &[Message]) {
    for (message, seq) in history.iter().zip(1..) {
        assert_eq!(message.seq, seq, "the history has a hole");
    }
    let ids: BTreeSet<_> = history.iter().map(|m| m.draft.id).collect();
    let cids: BTreeSet<_> = history.iter().map(|m| (m.draft.from, m.draft.cid.as_str().to_owned())).collect();
    assert_eq!((ids.len(), cids.len()), (history.len(), history.len()), "a second copy");
}

/// What a device heard: in each room every message after where it stood, in order, and nothing while it did not listen.
fn heard(world: &World, device: &Device, histories: &BTreeMap<RoomId, Vec<Message>>, report: &mut Report) {
    let mut stands: BTreeMap<RoomId, Option<Position>> = BTreeMap::new();
    for (room, step) in &device.log {
        let stand = stands.entry(*room).or_default();
        match step {
            Step::Joined(head) => *stand = Some(head.clone()),
            Step::Silent => *stand = None,
            Step::Resync(head) => {
                assert!(world.faults && stand.is_some(), "told to start over, for nothing: {head:?}");
                report.resyncs += 1;
                *stand = Some(head.clone());
            }
            Step::Heard(message) => {
                let before = stand.as_ref().expect("a message to who does not listen");
                assert_eq!(message.seq, before.seq + 1, "a hole or a copy after {before:?}");
                assert_eq!(*message, *at(&histories[room], message.seq), "another order than others'");
                let (epoch, seq, id) = (message.epoch.clone(), message.seq, Some(message.draft.id));
                *stand = Some(Position { epoch, seq, id });
                report.heard += 1;
            }
        }
    }
    for (room, stand) in stands {
        if let (Some(stand), Some(last)) = (stand, histories[&room].last()) {
            assert_eq!((stand.seq, stand.id), (last.seq, Some(last.draft.id)), "it never heard the end");
        }
    }
}

/// Every other person goes; everybody who asks is soon told exactly those who stay.
pub async fn presence_settles(world: &World, people: &mut [Person]) {
    let users: Vec<UserId> = people.iter_mut().map(Person::user).collect();
    for (number, person) in people.iter_mut().enumerate() {
        person.part(number % 2 == 0);
    }
    for room in &world.rooms {
        let staying: BTreeSet<UserId> = (0..people.len())
            .filter(|number| number % 2 == 0 && people[*number].member.contains(room))
            .map(|number| users[number])
            .collect();
        let asks =
            people.iter_mut().enumerate().find(|(number, p)| number % 2 == 0 && p.member.contains(room));
        let Some((_, asks)) = asks else { continue };
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let who = asks.first().who(*room, None, None).await.unwrap();
            let online: BTreeSet<UserId> = who.online.into_iter().collect();
            if online == staying {
                break;
            }
            let missing: Vec<_> = staying.difference(&online).collect();
            let wrong: Vec<_> = online.difference(&staying).collect();
            let now = tokio::time::Instant::now();
            assert!(now < deadline, "who is online does not settle: missing {missing:?}, gone {wrong:?}");
            // A poll, bounded by the deadline.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
