//! A day of fifty users who do all that the server can, said in turn by each interface: what they are told, and what is there in the
//! evening, is the same.

use std::collections::HashMap;

use chatlab_kit::{ids::UserId, servers::Topology};
use serde_json::{Map, Value, json};

use super::{ALL, Asker, Frames, Interface};
use crate::common::{shared, user_of};

const USERS: usize = 50;
/// Who listens by WebSocket all day, whatever the others use.
const LISTENER: usize = 49;

/// One telling of the day.
struct Day {
    askers: Vec<Asker>,
    listener: Frames,
    users: Vec<UserId>,
    /// What an id is called in every telling: by the order in which it came up.
    names: HashMap<String, String>,
    /// What was asked and told.
    log: Vec<String>,
}

/// What differs from telling to telling, or from interface to interface, and means nothing.
const LEFT_OUT: [&str; 13] = [
    "ts",
    "epoch",
    "head",
    "created_ms",
    "ends_ms",
    "retryable",
    "request_id",
    "detail",
    "message",
    "title",
    "avatar",
    "since_ms",
    "type",
];

impl Day {
    async fn begin(interface: Interface, topology: Topology) -> Self {
        let stack = shared(topology).await;
        let made = stack.provision(USERS, 0).await.unwrap();
        let (mut askers, mut users) = (Vec::new(), Vec::new());
        for (nth, token) in made.tokens.iter().enumerate() {
            askers.push(Asker::connect(interface, stack, nth % stack.servers(), Some(token)).await);
            let id: UserId = user_of(token);
            users.push(id);
        }
        let names =
            users.iter().enumerate().map(|(nth, user)| (user.to_string(), format!("user {nth}"))).collect();
        let listener = Frames::connect(stack, 1, Some(&made.tokens[LISTENER])).await;
        Self { askers, listener, users, names, log: Vec::new() }
    }

    fn user(&self, who: usize) -> String {
        self.users[who].to_string()
    }

    /// An answer, or what somebody heard, as it is in every telling.
    fn told(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(name, value)| {
                    // The number of a request is its interface's own; a message's id is not.
                    let number = *name == "id" && value.is_number();
                    // What users are called was made up for this telling.
                    let of_user = *name == "name" && fields.contains_key("user");
                    // The status of an error; and of friends, who are online by some interfaces only.
                    let of_error = *name == "status" && (value.is_number() || fields.contains_key("state"));
                    !LEFT_OUT.contains(&name.as_str()) && !number && !of_user && !of_error
                });
                Value::Object(
                    kept.map(|(name, value)| (name.clone(), self.told(value))).collect::<Map<_, _>>(),
                )
            }
            Value::Array(items) => Value::Array(items.iter().map(|item| self.told(item)).collect()),
            Value::String(text) => self.names.get(text).unwrap_or(text).as_str().into(),
            other => other.clone(),
        }
    }

    /// Names the id in a field of an answer, if it is a new one.
    fn name(&mut self, answer: &Value, field: &str) {
        if let Some(id) = answer[field].as_str().filter(|id| !self.names.contains_key(*id)) {
            let name = format!("{field} {}", self.names.len());
            self.names.insert(id.to_owned(), name);
        }
    }

    /// Somebody asks for something.
    async fn asks(&mut self, who: usize, request: Value) -> Value {
        let answer = self.askers[who].ask(request.clone()).await;
        self.name(&answer, "room");
        self.name(&answer, "msg");
        let mut told = self.told(&answer);
        // Who asked by a connection is told again which room, and by which name of theirs.
        for echoed in ["room", "cid", "id"] {
            told.as_object_mut().unwrap().remove(echoed);
        }
        // A place in the index of words, of all rooms together.
        if request["t"] == "search"
            && let Some(next) = told.get_mut("next")
        {
            *next = true.into();
        }
        // By id, and ids differ from telling to telling where they are no times.
        for list in ["rooms", "users", "online", "members", "friends", "leaders"] {
            if let Some(list) = told.get_mut(list).and_then(Value::as_array_mut) {
                list.sort_by_key(ToString::to_string);
            }
        }
        // Who is online depends on how one is there.
        if request["t"] == "profile" && request["user"].is_string() && request["user"] != self.user(LISTENER)
        {
            told["profile"].as_object_mut().map(|profile| profile.remove("status"));
        }
        let request = self.told(&request);
        self.log.push(format!("user {who}: {request} → {told}"));
        answer
    }

    async fn all(&mut self, users: impl IntoIterator<Item = usize>, request: &Value) {
        for who in users {
            self.asks(who, request.clone()).await;
        }
    }

    async fn says(&mut self, who: usize, room: &Value, cid: &str, body: &str) -> Value {
        self.asks(who, json!({ "t": "send", "room": room, "cid": cid, "body": body })).await["msg"].clone()
    }

    /// The office opens: a group with roles, where everybody says good morning.
    async fn morning(&mut self) -> (Value, Value) {
        let room = self.asks(0, json!({ "t": "create", "name": "Office" })).await["room"].clone();
        self.all(1..40, &json!({ "t": "join", "room": room })).await;
        self.all([0], &json!({ "t": "join", "room": room })).await;
        for (who, role) in [(1, "admin"), (2, "moderator"), (3, "moderator"), (4, "owner")] {
            self.asks(0, json!({ "t": "role", "room": room, "user": self.user(who), "role": role })).await;
        }
        self.asks(5, json!({ "t": "role", "room": room, "user": self.user(6), "role": "admin" })).await;
        self.asks(2, json!({ "t": "add", "room": room, "user": self.user(LISTENER) })).await;
        self.listener.ask(json!({ "t": "join", "room": room })).await;
        let first = self.says(0, &room, "first", "Good morning! Tea is ready.").await;
        for who in 1..40 {
            self.says(who, &room, &format!("morning-{who}"), &format!("Good morning from {who}")).await;
        }
        // Sent again, as after a broken connection.
        self.says(7, &room, "morning-7", "Good morning from 7").await;
        self.all([40, 45], &json!({ "t": "send", "room": room, "cid": "x", "body": "not in there" })).await;
        (room, first)
    }

    /// What is done to messages.
    async fn at_work(&mut self, room: &Value, first: &Value) {
        let about = |t: &str, cid: &str, msg: &Value| json!({ "t": t, "room": room, "cid": cid, "msg": msg });
        for who in (0..40).step_by(2) {
            let mut react = about("react", "tea", first);
            (react["emoji"], react["on"]) = ("🍵".into(), true.into());
            self.asks(who, react.clone()).await;
            if who % 8 == 0 {
                (react["cid"], react["on"]) = ("no-tea".into(), false.into());
                self.asks(who, react).await;
            }
        }
        for who in 10..15 {
            let reply =
                json!({ "t": "send", "room": room, "cid": "reply", "body": "Thanks!", "reply_to": first });
            self.asks(who, reply).await;
        }
        let wrong = self.says(20, room, "wrong", "Lunch is at elven").await;
        let mut edit = about("edit", "right", &wrong);
        edit["body"] = "Lunch is at eleven".into();
        self.all([21, 20, 20], &edit).await;
        let rude = self.says(22, room, "rude", "Something rude").await;
        self.all([23, 2], &about("delete", "del", &rude)).await;
        let regretted = self.says(24, room, "regret", "Something regretted").await;
        self.all([24], &about("delete", "del", &regretted)).await;
        for (who, on) in [(25, true), (3, true), (3, true), (1, false), (1, true)] {
            let mut pin = about("pin", &format!("pin-{who}-{}-{on}", self.log.len()), first);
            pin["on"] = on.into();
            self.asks(who, pin).await;
        }
        for on in [true, false] {
            self.all([26, 46], &json!({ "t": "typing", "room": room, "on": on })).await;
        }
        for who in 0..40_u64 {
            let read = json!([{ "room": room, "read": 10 + who }]);
            self.asks(who as usize, json!({ "t": "mark", "rooms": read })).await;
        }
        self.all([41], &json!({ "t": "mark", "rooms": [{ "room": room }] })).await;
    }

    /// Those with even numbers are at the same process, where what one has done holds for the other at once.
    ///
    /// A second room, by invitation, read only, and slow; what is forwarded there.
    async fn noon(&mut self, room: &Value, first: &Value) -> Value {
        let news = self.asks(30, json!({ "t": "create", "name": "News" })).await["room"].clone();
        self.asks(30, json!({ "t": "settings", "room": news, "invited": true, "name": "The news" })).await;
        self.all([34], &json!({ "t": "settings", "room": news, "name": "Not mine" })).await;
        self.all([34], &json!({ "t": "join", "room": news })).await;
        for who in [34, 32, 28, 32] {
            self.asks(30, json!({ "t": "add", "room": news, "user": self.user(who) })).await;
        }
        self.all([30, 34, 32, 28], &json!({ "t": "join", "room": news })).await;
        self.all(
            [34, 32, 28],
            &json!({ "t": "forward", "room": news, "cid": "fwd", "from": room, "msg": first }),
        )
        .await;
        self.asks(30, json!({ "t": "settings", "room": news, "slow_s": 3_600 })).await;
        for nth in 0..2 {
            self.says(34, &news, &format!("slow-{nth}"), "As fast as I can").await;
        }
        self.asks(30, json!({ "t": "settings", "room": news, "slow_s": 0, "read_only": true })).await;
        self.says(32, &news, "quiet", "May I?").await;
        self.says(30, &news, "loud", "No.").await;
        news
    }

    /// Who goes, and who is sent away.
    async fn afternoon(&mut self, room: &Value) {
        self.all([36, 36], &json!({ "t": "leave", "room": room })).await;
        self.asks(2, json!({ "t": "remove", "room": room, "user": self.user(18), "ban": false })).await;
        self.asks(2, json!({ "t": "remove", "room": room, "user": self.user(38), "ban": true })).await;
        self.asks(2, json!({ "t": "remove", "room": room, "user": self.user(1), "ban": true })).await;
        self.asks(7, json!({ "t": "remove", "room": room, "user": self.user(8), "ban": false })).await;
        for who in [18, 38] {
            let user = self.user(who);
            self.askers[who].hears_left(&user).await;
        }
        for who in [36, 18, 38] {
            self.says(who, room, "after", "Am I still here?").await;
            self.all([who], &json!({ "t": "history", "room": room })).await;
            self.all([who], &json!({ "t": "join", "room": room })).await;
        }
        self.asks(3, json!({ "t": "unban", "room": room, "user": self.user(38) })).await;
        self.asks(3, json!({ "t": "unban", "room": room, "user": self.user(38) })).await;
        self.all([38], &json!({ "t": "join", "room": room })).await;
        self.says(38, room, "back", "I am back").await;
    }

    /// Two and two.
    async fn evening(&mut self) {
        let with = |day: &Self, who: usize| json!({ "t": "direct", "user": day.user(who) });
        let chat = self.asks(40, with(self, 41)).await["room"].clone();
        self.asks(41, with(self, 40)).await;
        let secret = self.says(40, &chat, "d1", "Between you and me").await;
        self.says(41, &chat, "d2", "Sure").await;
        self.all([41], &json!({ "t": "pin", "room": chat, "cid": "dp", "msg": secret, "on": true })).await;
        self.all([42], &json!({ "t": "history", "room": chat })).await;
        self.all([41], &json!({ "t": "leave", "room": chat })).await;
        self.asks(41, json!({ "t": "add", "room": chat, "user": self.user(42) })).await;
        self.all([42, 41, 40], &json!({ "t": "end", "room": chat })).await;
        self.asks(43, json!({ "t": "block", "user": self.user(44), "on": true })).await;
        self.asks(44, with(self, 43)).await;
        self.asks(43, with(self, 44)).await;
        self.all([43, 44], &json!({ "t": "blocks" })).await;
        self.asks(43, json!({ "t": "block", "user": self.user(44), "on": false })).await;
        let chat = self.asks(44, with(self, 43)).await["room"].clone();
        self.says(44, &chat, "friends", "Friends again?").await;
        self.asks(43, with(self, 43)).await;
    }

    /// What they show of themselves, and who is whose friend.
    async fn people(&mut self, room: &Value) {
        // Badges are for what the archive has.
        let tick =
            json!({ "t": "send", "room": room, "cid": "tick", "body": "Eight o'clock", "level": "archived" });
        self.asks(0, tick).await;
        for (who, new) in [
            (
                5,
                json!({ "status": "busy", "status_text": "in a meeting", "about": "Likes tea.\nAnd biscuits." }),
            ),
            (6, json!({ "status": "invisible" })),
            (7, json!({ "status": "asleep" })),
            (8, json!({ "status_text": "x".repeat(81) })),
            (9, json!({ "about": "bell\u{7}" })),
            (5, json!({ "status": "away" })),
            (LISTENER, json!({ "status_text": "all ears" })),
        ] {
            let mut set = new;
            set["t"] = "set_profile".into();
            self.asks(who, set).await;
        }
        for who in [5, 6, 7] {
            self.asks(who, json!({ "t": "profile" })).await;
        }
        self.asks(10, json!({ "t": "profile", "user": self.user(LISTENER) })).await;
        // Who asks, whom, and what is to become of them.
        for (who, whom, act) in [
            (10, 11, "request"),
            (10, 11, "request"),
            (12, 11, "request"),
            (13, 11, "request"),
            (14, 11, "request"),
            (11, 10, "accept"),
            (11, 12, "decline"),
            (11, 13, "request"),
            (14, 11, "remove"),
            (11, 14, "accept"),
            (10, 11, "accept"),
            (10, 12, "remove"),
            (10, 10, "request"),
        ] {
            self.asks(who, json!({ "t": "friend", "user": self.user(whom), "act": act })).await;
        }
        self.all(10..15, &json!({ "t": "friends" })).await;
        self.asks(13, json!({ "t": "friend", "user": self.user(11), "act": "remove" })).await;
        self.asks(11, json!({ "t": "block", "user": self.user(10), "on": true })).await;
        for (who, whom) in [(10, 11), (11, 10)] {
            self.asks(who, json!({ "t": "friend", "user": self.user(whom), "act": "request" })).await;
            self.asks(who, json!({ "t": "profile", "user": self.user(whom) })).await;
        }
        self.all(10..15, &json!({ "t": "friends" })).await;
    }

    /// What is there when all have gone home.
    async fn night(&mut self, room: &Value, news: &Value, first: &Value) {
        // Stored in SQL after all that was said before: so all of it can be found.
        let last =
            json!({ "t": "send", "room": room, "cid": "last", "body": "Good night", "level": "archived" });
        self.asks(0, last).await;
        self.listener.hears(|frame| frame["t"] == "message" && frame["body"] == "Good night").await;
        self.all([0, 39, 45], &json!({ "t": "leaders", "room": room, "days": 2, "limit": 50 })).await;
        self.all([0], &json!({ "t": "leaders", "room": room, "days": 31 })).await;
        for who in [0, 39, 45] {
            for t in ["pins", "members", "history"] {
                self.asks(who, json!({ "t": t, "room": room })).await;
            }
            self.asks(who, json!({ "t": "history", "room": room, "before": 60, "limit": 5 })).await;
            self.asks(who, json!({ "t": "search", "room": room, "query": "morning tea" })).await;
            self.asks(who, json!({ "t": "search", "room": room, "query": "elev", "limit": 1 })).await;
            self.asks(who, json!({ "t": "thread", "room": room, "msg": first, "limit": 3 })).await;
        }
        self.all([30, 34, 39], &json!({ "t": "history", "room": news })).await;
        self.all(0..USERS, &json!({ "t": "rooms" })).await;
        for who in 0..40_usize {
            self.asks(who, json!({ "t": "mark", "rooms": [{ "room": room }] })).await;
        }
        self.who_is_here(room).await;
        let heard = std::mem::take(&mut self.listener.heard);
        for message in heard {
            let message = self.told(&message);
            self.log.push(format!("the listener heard {message}"));
        }
    }

    /// Who is online is the only thing that depends on how one is there: by requests nobody is.
    async fn who_is_here(&mut self, room: &Value) {
        let answer = self.askers[0].ask(json!({ "t": "who", "room": room })).await;
        let listens = self.users[LISTENER].to_string();
        assert!(answer["online"].as_array().unwrap().iter().any(|user| user == listens.as_str()), "{answer}");
    }

    async fn whole(mut self) -> Vec<String> {
        let (room, first) = self.morning().await;
        self.at_work(&room, &first).await;
        let news = self.noon(&room, &first).await;
        self.afternoon(&room).await;
        self.evening().await;
        self.people(&room).await;
        self.night(&room, &news, &first).await;
        self.log
    }
}

async fn a_day_is_the_same_by_each_interface(topology: Topology) {
    let mut tellings = Vec::new();
    for interface in ALL {
        tellings.push((interface, Day::begin(interface, topology).await.whole().await));
    }
    let (_, first) = &tellings[0];
    assert!(first.len() > 400, "{} lines", first.len());
    let heard = first.iter().filter(|line| line.starts_with("the listener heard")).count();
    assert!(heard > 60, "{heard}");
    for (interface, telling) in &tellings[1..] {
        let differ = first.iter().zip(telling).filter(|(one, other)| one != other);
        let differ: Vec<_> = differ.map(|(one, other)| format!("{one}\nby {interface:?}: {other}")).collect();
        assert!(differ.is_empty(), "{} lines differ:\n{}", differ.len(), differ.join("\n"));
        assert_eq!(first.len(), telling.len());
    }
    println!("{} acts and what they led to, three times alike", first.len());
}

crate::on_both!(a_day_is_the_same_by_each_interface);
