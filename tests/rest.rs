//! What the REST API has of its own: keys, links, problems, limits, streams and polls, its description and who fuzzes that.

use std::{collections::BTreeSet, time::Duration};

use chatlab::{clients, harness::Stack};
use chatlab_kit::{ids::RoomId, servers::Topology};
use chatlab_load::http::{HttpClient, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
    time::{Instant, timeout},
};

use crate::common::{SILENCE, SOON, options, party, shared};

/// A user's calls.
struct Caller {
    http: HttpClient,
    token: String,
}

impl Caller {
    fn new(stack: &Stack, server: usize, token: &str) -> Self {
        Self { http: HttpClient::new(&stack.http_url(server)), token: token.to_owned() }
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Response {
        let body = body.map(|body| serde_json::to_vec(&body).unwrap());
        self.http.request_with(method.parse().unwrap(), path, Some(&self.token), body, headers).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None, &[]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        json_of(&answer)
    }

    async fn say(&self, room: RoomId, body: &str) -> Value {
        let path = format!("/v1/rooms/{room}/messages");
        let answer = self.call("POST", &path, Some(json!({ "body": body })), &[]).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        json_of(&answer)
    }

    /// A member of the room.
    async fn join(&self, room: RoomId) {
        let joined = self.call("POST", &format!("/v1/rooms/{room}/join"), None, &[]).await;
        assert_eq!(joined.status, 204, "{}", joined.text());
    }
}

fn json_of(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// The bodies of what an answer brought.
fn bodies(of: &Value) -> Vec<&str> {
    let all = of.as_array().unwrap().iter().filter(|message| !message["body"].is_null());
    all.map(|message| message["body"].as_str().unwrap()).collect()
}

async fn what_has_a_key_is_done_once_by_any_process(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(2, 0).await.unwrap();
    let (one, other) = (Caller::new(stack, 0, &made.tokens[0]), Caller::new(stack, 1, &made.tokens[0]));
    let key = [("idempotency-key", "\"a-key\"")];
    let name = |name: &str| Some(json!({ "name": name }));
    let (first, second) = tokio::join!(
        one.call("POST", "/v1/rooms", name("Tea"), &key),
        other.call("POST", "/v1/rooms", name("Tea"), &key)
    );
    assert_eq!((first.status, second.status), (201, 201), "{} {}", first.text(), second.text());
    assert_eq!(first.body, second.body);
    let room: RoomId = json_of(&first)["room"].as_str().unwrap().parse().unwrap();
    assert_eq!(first.header("location"), Some(&*format!("/v1/rooms/{room}")));
    assert_eq!(one.get("/v1/rooms").await["rooms"].as_array().unwrap().len(), 1);
    let again = one.call("POST", "/v1/rooms", name("Coffee"), &key).await;
    assert_eq!((again.status, &json_of(&again)["code"]), (409, &json!("conflict")));
    // Somebody else's key of the same letters is another one.
    let stranger = Caller::new(stack, 0, &made.tokens[1]);
    let theirs = stranger.call("POST", "/v1/rooms", name("Tea"), &key).await;
    assert_eq!(theirs.status, 201);
    assert_ne!(json_of(&theirs)["room"], json!(room));

    let path = format!("/v1/rooms/{room}/messages");
    let bare = [("idempotency-key", "a-key")];
    let sent = json_of(&one.call("POST", &path, Some(json!({ "body": "once" })), &bare).await);
    let resent = json_of(&other.call("POST", &path, Some(json!({ "body": "once" })), &key).await);
    assert_eq!((&sent["dup"], &resent["dup"]), (&json!(false), &json!(true)));
    assert_eq!(sent["msg"], resent["msg"]);
    assert_eq!(bodies(&one.get(&path).await["messages"]), ["once"]);
    for wrong in ["", "with space", "\"", &"k".repeat(65)] {
        let refused =
            one.call("POST", &path, Some(json!({ "body": "x" })), &[("idempotency-key", wrong)]).await;
        assert_eq!(refused.status, 400, "{wrong:?}");
        assert!(json_of(&refused)["detail"].as_str().unwrap().starts_with("idempotency-key: "), "{wrong:?}");
    }
}

async fn links_lead_through_all_pages(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(1, 1).await.unwrap();
    let (caller, room) = (Caller::new(stack, 0, &made.tokens[0]), made.rooms[0]);
    caller.join(room).await;
    for nth in 0..7 {
        caller.say(room, &format!("m{nth}")).await;
    }
    let (mut path, mut seen) = (format!("/v1/rooms/{room}/messages?limit=3"), Vec::new());
    loop {
        let page = caller.call("GET", &path, None, &[]).await;
        seen.push(bodies(&json_of(&page)["messages"]).join(" "));
        let Some(link) = page.header("link") else { break };
        let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        path = next.to_owned();
    }
    assert_eq!(seen, ["m4 m5 m6", "m1 m2 m3", "m0"]);
    let (first, rest) = (caller.get("/v1/rooms?limit=1").await, caller.get("/v1/rooms?limit=100").await);
    assert_eq!((&first["rooms"][0]["room"], &rest["next"]), (&json!(room), &Value::Null));
}

async fn problems_are_told_as_problems(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(2, 1).await.unwrap();
    // Made by the first, who is its owner.
    let (caller, room) = (Caller::new(stack, 0, &made.tokens[1]), made.rooms[0]);
    let nowhere = RoomId::new();
    let cases = [
        ("GET", format!("/v1/rooms/{nowhere}"), None, 404, "not_found"),
        ("GET", format!("/v1/rooms/{room}/messages"), None, 403, "forbidden"),
        ("GET", "/v1/rooms/x/messages".into(), None, 400, "invalid"),
        ("GET", "/v1/rooms/%ff/messages".into(), None, 400, "invalid"),
        ("GET", "/v1/rooms?limit=101".into(), None, 400, "invalid"),
        ("GET", "/v1/rooms?limit=x".into(), None, 400, "invalid"),
        ("POST", "/v1/rooms".into(), Some(json!({})), 400, "invalid"),
        ("POST", "/v1/rooms".into(), None, 415, "invalid"),
        ("PUT", "/v1/rooms".into(), None, 405, "invalid"),
        ("GET", "/v1/nothing".into(), None, 404, "not_found"),
        ("GET", "/v1/events?rooms=".into(), None, 400, "invalid"),
        ("GET", format!("/v1/events?rooms={room}"), None, 403, "forbidden"),
        ("GET", format!("/v1/events/poll?rooms={nowhere}"), None, 404, "not_found"),
        ("GET", format!("/v1/events/poll?rooms={room}&after=x"), None, 400, "invalid"),
        ("GET", format!("/v1/events/poll?rooms={room}&wait_s=61"), None, 400, "invalid"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = caller.call(method, &path, body, &[]).await;
        let problem = json_of(&answer);
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{method} {path}: {problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")), "{path}");
        assert!(
            !problem["detail"].as_str().unwrap().is_empty() && problem["request_id"].is_string(),
            "{path}"
        );
    }
    // Asking made nobody a member.
    assert_eq!(caller.get("/v1/rooms").await["rooms"], json!([]));
}

async fn a_user_asks_so_often_and_no_oftener(topology: Topology) {
    const A_MINUTE: u32 = 20;
    let mut options = options(topology, 2);
    options.serve_args = vec!["--requests-per-user".into(), A_MINUTE.to_string()];
    let stack = Stack::start(options).await.unwrap();
    let made = stack.provision(2, 0).await.unwrap();
    let callers = [Caller::new(&stack, 0, &made.tokens[0]), Caller::new(&stack, 1, &made.tokens[0])];
    let mut left = u32::MAX;
    let refused = loop {
        let answer = callers[left as usize % 2].call("GET", "/v1/blocks", None, &[]).await;
        assert_eq!(answer.header("ratelimit-limit"), Some("20"));
        if answer.status == 429 {
            break answer;
        }
        let now = answer.header("ratelimit-remaining").unwrap().parse().unwrap();
        // One may have come back.
        assert!(now <= left, "{now} after {left}");
        left = now;
    };
    assert_eq!((left, json_of(&refused)["code"].as_str()), (0, Some("rate_limited")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // Half of them at once, the others spread over the minute.
    assert!((1..=6).contains(&wait), "{wait} s");
    let other = Caller::new(&stack, 0, &made.tokens[1]);
    assert_eq!(other.call("GET", "/v1/blocks", None, &[]).await.status, 200);
    stack.stop().await.unwrap();
}

/// A stream of events as lines.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(stack: &Stack, server: usize, token: &str, query: &str, last: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(stack.addr(server)).await.unwrap();
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        let head = format!(
            "GET /v1/events?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n{last}\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut events = Self(BufReader::new(socket));
        assert_eq!(events.line().await.unwrap(), "HTTP/1.1 200 OK");
        while events.line().await.is_some_and(|line| !line.is_empty()) {}
        events
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(SOON, self.0.read_line(&mut line)).await.expect("a line").unwrap_or_default();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event: its name, its frame, its id. Between the lines of events stand only the lengths of chunks.
    async fn next(&mut self) -> Option<(String, Value, Option<String>)> {
        let (mut name, mut frame, mut id) = (None, None, None);
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("event", text)) => name = Some(text.to_owned()),
                Some(("data", text)) => frame = Some(serde_json::from_str(text).unwrap()),
                Some(("id", text)) => id = Some(text.to_owned()),
                _ => {}
            }
            if line.is_empty()
                && let (Some(name), Some(frame)) = (name.take(), frame.take())
            {
                return Some((name, frame, id));
            }
        }
    }

    /// The next event of that name.
    async fn until(&mut self, wanted: &str) -> (Value, Option<String>) {
        loop {
            let (name, frame, id) = self.next().await.unwrap();
            assert_eq!(name, frame["t"]);
            if name == wanted {
                return (frame, id);
            }
        }
    }
}

async fn a_stream_goes_on_at_another_process_where_it_ended(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 2).await;
    let ada = &mut clients[0];
    ada.join(room, None).await.unwrap();
    let other = ada.create("Other").await.unwrap();
    let bob = Caller::new(stack, 0, &tokens[1]);
    bob.join(room).await;
    bob.join(other).await;
    let query = format!("rooms={room},{other}");
    let mut events = Events::open(stack, 0, &tokens[1], &query, None).await;
    for _ in 0..2 {
        events.until("ok").await;
    }
    let mut last = None;
    for (nth, body) in ["one", "two\nlines", "three"].into_iter().enumerate() {
        let to = if nth == 1 { other } else { room };
        ada.send(to, &format!("c{nth}"), body).await.unwrap();
        let (frame, id) = events.until("message").await;
        assert_eq!((&frame["body"], frame["room"].as_str()), (&json!(body), Some(to.to_string().as_str())));
        last = id;
    }
    drop(events);
    for (to, body) in [(room, "four"), (other, "five")] {
        ada.send(to, body, body).await.unwrap();
    }
    let mut events = Events::open(stack, 1, &tokens[1], &query, last.as_deref()).await;
    let mut missed = BTreeSet::new();
    for _ in 0..2 {
        missed.insert(events.until("message").await.0["body"].as_str().unwrap().to_owned());
    }
    assert_eq!(missed, ["five", "four"].map(str::to_owned).into());
    ada.send(room, "c6", "six").await.unwrap();
    assert_eq!(events.until("message").await.0["body"], "six");

    // Who leaves is told so, and the stream of whose log-in ends is closed.
    let out = bob.call("POST", &format!("/v1/rooms/{room}/leave"), None, &[]).await;
    assert_eq!(out.status, 204);
    assert_eq!(events.until("left").await.0["room"], json!(room));
    assert_eq!(bob.call("POST", "/v1/logout", None, &[]).await.status, 204);
    assert_eq!(events.until("bye").await.0["code"], "session_revoked");
    assert!(events.next().await.is_none(), "nothing after the goodbye");
}

async fn polls_miss_nothing_between_processes(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 2).await;
    let ada = &mut clients[0];
    ada.join(room, None).await.unwrap();
    let bobs = [Caller::new(stack, 0, &tokens[1]), Caller::new(stack, 1, &tokens[1])];
    bobs[0].join(room).await;
    let poll = |after: &Value, wait_s: u32| {
        let after = after.as_str().map(|after| format!("&after={after}")).unwrap_or_default();
        format!("/v1/events/poll?rooms={room}{after}&wait_s={wait_s}")
    };
    let begun = bobs[0].get(&poll(&Value::Null, 60)).await;
    assert_eq!(begun["events"], json!([]), "without a place it is told where the room is, at once");
    let mut after = begun["after"].clone();
    let nothing = bobs[1].get(&poll(&after, 0)).await;
    assert_eq!((&nothing["events"], &nothing["after"]), (&json!([]), &after));
    // What waits, what comes meanwhile, and much of it.
    let big = "x".repeat(4000);
    let mut expected = Vec::new();
    for nth in 0..200 {
        let body = format!("{nth} {big}");
        ada.send(room, &format!("c{nth}"), &body).await.unwrap();
        expected.push(body);
    }
    let (mut heard, mut polls) = (Vec::new(), 0);
    while heard.len() < expected.len() {
        let news = bobs[polls % 2].get(&poll(&after, 5)).await;
        heard.extend(bodies(&news["events"]).into_iter().map(str::to_owned));
        after = news["after"].clone();
        polls += 1;
    }
    assert_eq!(heard, expected, "in order, each once");
    assert!(polls > 1, "so much does not fit into one answer");
    let path = poll(&after, 10);
    let (began, waiting) = (Instant::now(), bobs[1].get(&path));
    let (news, _) = tokio::join!(waiting, async {
        // Nothing shows from outside that the poll waits.
        tokio::time::sleep(SILENCE).await;
        ada.send(room, "live", "live").await.unwrap()
    });
    assert_eq!(bodies(&news["events"]), ["live"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

async fn the_page_and_the_description_are_served(topology: Topology) {
    let stack = shared(topology).await;
    let http = HttpClient::new(&stack.http_url(0));
    let page = http.request("GET".parse().unwrap(), "/v1/docs/", None, None).await.unwrap();
    assert!(page.text().contains("swagger-ui"), "{}", page.text());
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
    // It loads nothing of elsewhere.
    assert!(!page.text().contains("http://") && !page.text().contains("https://"), "{}", page.text());
    let document: Value = http.get("/v1/openapi.json", None).await.unwrap();
    assert_eq!(document, chatlab::gateway::rest::document().unwrap());
}

/// No answer to what the description allows, or nearly, is a fault of the server's, of a status or a form that the description has not.
async fn what_the_description_says_holds_for_whoever_fuzzes_it(topology: Topology) {
    let mut options = options(topology, 1);
    let most = ["--requests-per-user", "--logins-per-address", "--logins-per-name"];
    options.serve_args = most.into_iter().flat_map(|flag| [flag.to_owned(), "100000".into()]).collect();
    let stack = Stack::start(options).await.unwrap();
    let made = stack.provision(2, 1).await.unwrap();
    let (caller, room) = (Caller::new(&stack, 0, &made.tokens[0]), made.rooms[0]);
    caller.join(room).await;
    let msg = caller.say(room, "to be found").await["msg"].clone();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("schemathesis.toml");
    // Half of the time about a room that there is; the place is the one thing that no schema can give.
    let there = format!("[parameters]\n\"path.room\" = \"{room}\"\n\"path.msg\" = {msg}\n");
    for (nth, (parameters, session)) in
        [("", &made.tokens[0]), (&*there, &made.tokens[0]), ("", &made.tokens[1])].into_iter().enumerate()
    {
        let text = include_str!("rest/schemathesis.toml");
        std::fs::write(&config, format!("{text}\n{parameters}")).unwrap();
        let mut fuzz = Command::new(clients::schemathesis().unwrap());
        fuzz.arg("--config-file")
            .arg(&config)
            .args(["run", &format!("{}/v1/openapi.json", stack.http_url(0))]);
        fuzz.args(["--header", &format!("Authorization: Bearer {session}"), "--seed", &nth.to_string()]);
        // The last one ends its own session.
        let ends = "^/v1/(logout|sessions)";
        fuzz.args([if nth == 2 { "--include-path-regex" } else { "--exclude-path-regex" }, ends]);
        let output = fuzz.current_dir(folder.path()).kill_on_drop(true).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let cases = said.lines().find(|line| line.contains("generated")).unwrap_or_default();
        println!("{}", cases.trim());
    }
    stack.stop().await.unwrap();
}

crate::on_both!(
    what_has_a_key_is_done_once_by_any_process,
    links_lead_through_all_pages,
    problems_are_told_as_problems,
    a_user_asks_so_often_and_no_oftener,
    a_stream_goes_on_at_another_process_where_it_ended,
    polls_miss_nothing_between_processes,
    the_page_and_the_description_are_served,
    what_the_description_says_holds_for_whoever_fuzzes_it,
);
