//! Random conversations in a room that is governed, and between two: roles, removals, bans, additions, settings, pins, reactions, edits,
//! deletions, marks, direct chats, blocks. What each answer must be a model says beforehand; storms of what happens at once are among them.
//! Nothing comes past a removal, a ban, a block or an end, the order has no hole, and pins, looks and what is unread are as the model has them.
//!
//! | module | for |
//! | --- | --- |
//! | `model` | what must be, by the rules of docs/PROTOCOL.md |
//! | `person` | one user's connection, and what came on it |
//! | `acts`, `powers`, `between` | what people say, do to each other in the room, and between two; the answers against the model's |
//! | `verdict` | what is there in the end, against the model |
//!
//! `CHATLAB_SEEDS=N` and `CHATLAB_SEEDS=N-M` as in `random`.

mod acts;
mod between;
mod model;
mod person;
mod powers;
mod verdict;

use std::collections::BTreeMap;

use chatlab_kit::{ids::RoomId, servers::Topology};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    common::{shared, user},
    random::seeds,
};
use acts::Acts;
use model::Model;
use person::Person;

/// People in and around the room. The first one made it.
const PEOPLE: usize = 6;
/// What is done, in number.
const DEEDS: usize = 600;
/// Seeds of each topology.
const SEEDS: u64 = 2;

async fn what_a_rule_forbids_does_not_happen_and_all_else_does(topology: Topology) {
    let stack = shared(topology).await;
    let mut all: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for seed in seeds(SEEDS) {
        let made = stack.provision(PEOPLE, 1).await.unwrap();
        let mut people = Vec::new();
        for (number, token) in made.tokens.iter().enumerate() {
            people.push(Person::connect(&stack.ws_url(number % stack.servers()), token).await);
        }
        let room: RoomId = made.rooms[0];
        let model = Model::new(room, people.iter().map(|person| user(&person.client)).collect());
        let mut acts = Acts::new(people, model, ChaCha8Rng::seed_from_u64(seed));
        for who in 0..PEOPLE {
            acts.join(who).await;
        }
        for _ in 0..DEEDS {
            acts.deed().await;
        }
        acts.finish().await;
        println!("{topology}, seed {seed}: {:?}", acts.counts);
        for (what, (done, refused)) in acts.counts {
            let sum = all.entry(what).or_default();
            *sum = (sum.0 + done, sum.1 + refused);
        }
    }
    for what in
        ["say", "edit", "delete", "pin", "react", "mark", "role", "remove", "unban", "add", "settings"]
    {
        let enough = all.get(what).is_some_and(|(done, refused)| *done > 0 && *refused > 0);
        assert!(enough, "{what} was not tried enough: {all:?}");
    }
}

crate::on_both!(what_a_rule_forbids_does_not_happen_and_all_else_does);
