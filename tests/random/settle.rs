//! What must be true some time after all is said: how much is unread, who is online, and what the archive has.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chatlab::harness::Stack;
use chatlab_kit::{
    ids::UserId,
    keys,
    redis::{Redis, RedisConfig},
    wire::MarkRoom,
};
use sqlx::{Connection, SqliteConnection};

use super::{World, person::Person, verdict::History};
use crate::common::SOON;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Every other person goes; everybody who asks is soon told exactly those who stay.
pub async fn presence(stack: &Stack, world: &World, people: &mut [Person]) {
    let users: Vec<UserId> = people.iter().map(Person::user).collect();
    for (number, person) in people.iter_mut().enumerate() {
        for device in person.devices.iter_mut().skip(usize::from(number % 2 == 0)) {
            device.ended();
        }
    }
    for room in world.all_rooms() {
        let stays: Vec<usize> = (0..people.len())
            .filter(|number| number % 2 == 0 && people[*number].member.contains(&room))
            .collect();
        let Some(asks) = stays.first() else { continue };
        let staying: BTreeSet<UserId> = stays.iter().map(|number| users[*number]).collect();
        let deadline = Instant::now() + SOON;
        loop {
            let device = &mut people[*asks].devices[0];
            let who = device.request(async |client| client.who(room, None, None).await).await.unwrap();
            let online: BTreeSet<UserId> = who.online.into_iter().collect();
            if online == staying {
                break;
            }
            let missing: Vec<_> = staying.difference(&online).collect();
            let wrong: Vec<_> = online.difference(&staying).copied().collect();
            if Instant::now() > deadline {
                let held = held(stack, &wrong).await;
                panic!("who is online does not settle: missing {missing:?}, gone {wrong:?}: {held:?}");
            }
            // A poll, bounded by the deadline.
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The connections that Redis has of users, each with the lease it lives under.
async fn held(stack: &Stack, users: &[UserId]) -> Vec<(UserId, Vec<(String, String)>)> {
    let config = RedisConfig::new(stack.managed().topology(), stack.managed().addrs());
    let mut redis = Redis::connect(&config).await.unwrap();
    let mut all = Vec::new();
    for user in users {
        let held = redis::cmd("HGETALL").arg(keys::presence(user)).query_async(&mut redis).await.unwrap();
        all.push((*user, held));
    }
    all
}

/// Who has read half of a room has the texts of the other half before them, on any server.
pub async fn unread(people: &mut [Person], histories: &[History]) {
    for history in histories {
        let (room, (read, texts)) = (history.room(), history.middle());
        for person in people.iter_mut().filter(|person| person.member.contains(&room)) {
            let to = MarkRoom { room, read: Some(read), delivered: None };
            for device in &mut person.devices {
                let marks = device.request(async |client| client.mark(&[to]).await).await.unwrap();
                assert_eq!((marks[0].read, marks[0].unread), (read, texts), "{marks:?}");
            }
        }
    }
}

/// Everything that is in a room's history is archived soon, and under the same id.
pub async fn archive(stack: &Stack, histories: &[History], within: Duration) {
    let url = format!("sqlite:{}", stack.managed().folder().join("chatlab.db").display());
    let mut sql = SqliteConnection::connect(&url).await.unwrap();
    let deadline = Instant::now() + within;
    loop {
        let archived: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM messages").fetch_all(&mut sql).await.unwrap();
        let archived: BTreeSet<String> = archived.into_iter().map(|(id,)| id).collect();
        let ids = histories.iter().flat_map(History::ids);
        let missing = ids.filter(|id| !archived.contains(&id.to_string())).count();
        if missing == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{missing} messages are not archived in {within:?}");
        // A poll, bounded by the deadline.
        tokio::time::sleep(LOOK).await;
    }
}
