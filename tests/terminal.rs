//! `chatlab chat` through pipes: two people talk, and what cannot be done is said.

use std::process::Stdio;

use chatlab_kit::servers::Topology;
use chatlab_load::{client::WsClient, http::HttpClient};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::common::{SOON, chatlab, own, shared};

const PASSWORD: &str = "correct horse";

/// A name of its own, since tests share a server.
fn name(of: &str) -> String {
    format!("{of}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

/// `chatlab chat` of somebody, with arguments.
fn chat(url: &str, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(chatlab());
    command
        .args(["chat", "--url", url, "--name", name])
        .args(args)
        .env("CHATLAB_PASSWORD", PASSWORD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Somebody who talks.
struct Talker {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Talker {
    fn start(url: &str, name: &str, args: &[&str]) -> Self {
        let mut child = chat(url, name, args).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    async fn types(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The next line with a text in it.
    async fn reads(&mut self, wanted: &str) -> String {
        let mut seen = Vec::new();
        let found = timeout(SOON, async {
            while let Some(line) = self.output.next_line().await.unwrap() {
                if line.contains(wanted) {
                    return Some(line);
                }
                seen.push(line);
            }
            None
        });
        match found.await {
            Ok(Some(line)) => line,
            other => panic!("{wanted:?} did not come ({other:?}), but {seen:#?}"),
        }
    }

    /// Ends the input; the exit code, and what was said of errors.
    async fn ends(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let mut errors = String::new();
        timeout(SOON, self.child.stderr.take().unwrap().read_to_string(&mut errors)).await.unwrap().unwrap();
        (timeout(SOON, self.child.wait()).await.unwrap().unwrap().code(), errors)
    }
}

/// Runs it with an input and to its end: exit code, standard output, standard error.
async fn run(mut command: Command, input: &str) -> (Option<i32>, String, String) {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it reads.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(SOON, child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The number that stands before a message.
fn number(line: &str) -> &str {
    line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).unwrap().0
}

/// The last word of the line that says how others join.
fn room_of(line: &str) -> String {
    line.rsplit(' ').next().unwrap().to_owned()
}

async fn two_people_talk_through_pipes(topology: Topology) {
    let stack = shared(topology).await;
    let (ada, bob, tea) = (name("ada"), name("bob"), name("Tea"));
    let mut one = Talker::start(&stack.http_url(0), &ada, &["--register"]);
    one.reads("/create NAME").await;
    one.types(&format!("/create {tea}")).await;
    let room = room_of(&one.reads("others join").await);
    let mut two = Talker::start(&stack.http_url(1), &bob, &["--register", &room]);
    two.reads(&format!("you talk in {tea}")).await;

    one.types("is there tea?").await;
    let question = two.reads(&format!("{ada}: is there tea?")).await;
    let question = number(&question).to_owned();
    two.types(&format!("/reply {question} there is")).await;
    let answer = one.reads(&format!("{bob}: (to {question}) there is")).await;
    let answer = number(&answer).to_owned();
    two.types(&format!("/edit {answer} there was")).await;
    one.reads(&format!("{bob} edited {answer}: there was")).await;
    one.types(&format!("/react {answer} 👍")).await;
    two.reads(&format!("{ada} reacted to {answer}: 👍")).await;
    one.types(&format!("/pin {answer}")).await;
    two.reads(&format!("{ada} pinned {answer}")).await;
    two.types("//who is a text").await;
    one.reads(&format!("{bob}: /who is a text")).await;
    two.types(&format!("/delete {answer}")).await;
    one.reads(&format!("{bob} deleted {answer}")).await;
    one.types("/history 3").await;
    one.reads("/who is a text").await;
    one.types("/who").await;
    let who = one.reads("online: ").await;
    assert!(who.contains(&ada) && who.contains(&bob), "{who}");
    one.types(&format!("/direct {bob}")).await;
    one.reads(&format!("you talk in @{bob}")).await;
    two.reads(&format!("you are in @{ada}")).await;
    two.types("/leave").await;
    two.reads("you left").await;
    one.reads(&format!("{bob} left")).await;
    assert_eq!(two.ends().await, (Some(0), String::new()));
    assert_eq!(one.ends().await, (Some(0), String::new()));
}

async fn people_say_how_they_are_and_become_friends(topology: Topology) {
    let stack = shared(topology).await;
    let (ada, bob, tea) = (name("ada"), name("bob"), name("Tea"));
    let mut one = Talker::start(&stack.http_url(0), &ada, &["--register"]);
    one.types(&format!("/create {tea}")).await;
    let room = room_of(&one.reads("others join").await);
    let mut two = Talker::start(&stack.http_url(1), &bob, &["--register", &room]);
    two.reads("you talk in").await;
    two.types("/status busy in a meeting").await;
    two.reads("status busy: in a meeting").await;
    one.reads(&format!("{bob} is busy: in a meeting")).await;
    two.types("/status invisible").await;
    one.reads(&format!("{bob} is offline")).await;
    one.types(&format!("/profile {bob}")).await;
    one.reads("status offline").await;
    one.types(&format!("/friend request {bob}")).await;
    one.reads("was asked by you").await;
    two.reads(&format!("{ada} asks to be your friend: /friend")).await;
    two.types(&format!("/friend accept {ada}")).await;
    two.reads(&format!("{ada}, your friend, available")).await;
    one.reads(&format!("{bob} is your friend now")).await;
    one.types("/friends").await;
    one.reads(&format!("{bob}, your friend")).await;
    one.types("/about Likes tea").await;
    one.reads("about  Likes tea").await;
    two.types(&format!("/friend remove {ada}")).await;
    two.reads("you have no friends here").await;
    one.reads(&format!("{bob} is not your friend any more")).await;
    two.types("hello there").await;
    one.reads(&format!("{bob}: hello there")).await;
    // What was said is counted when it is archived: asked for until it is.
    let counted = async {
        loop {
            two.types("/leaders 1").await;
            if two.reads(" ").await.contains(&format!("1. {bob}, 1 text")) {
                return;
            }
        }
    };
    timeout(SOON, counted).await.expect("counted");
    assert_eq!(two.ends().await, (Some(0), String::new()));
    assert_eq!(one.ends().await, (Some(0), String::new()));
}

crate::on_both!(two_people_talk_through_pipes, people_say_how_they_are_and_become_friends);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_talks_in_a_room_by_its_name_and_hears_what_was_refused() {
    let stack = shared(Topology::Single).await;
    let (url, ada, tea) = (stack.http_url(0), name("ada"), name("Tea"));
    let (code, out, _) = run(chat(&url, &ada, &["--register"]), &format!("/create {tea}\n")).await;
    assert_eq!(code, Some(0), "{out}");

    let (code, out, errors) = run(chat(&url, &ada, &[&tea]), "one\n\ntwo\nthree").await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    for text in ["one", "two", "three"] {
        assert_eq!(out.matches(&format!("] {ada}: {text}\n")).count(), 1, "{out}");
    }
    assert!(!out.contains('\u{1b}') && out.lines().all(|line| line.chars().count() <= 80), "{out}");

    let long = "x".repeat(5_000);
    let lines = format!("/jion x\n/reply 99 hi\n/react 1 nope\n{long}\n{}\nlast\n", "y".repeat(40_000));
    let (code, out, errors) = run(chat(&url, &ada, &[&tea]), &lines).await;
    assert_eq!(code, Some(1), "{errors}");
    let squeezed = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    for says in ["/join?", "no message 99", "refused (invalid)", "4096 bytes", "16384 bytes"] {
        assert!(squeezed.contains(says), "{says}: {errors}");
    }
    assert!(out.contains("last") && !out.contains('!'), "the rest is said all the same: {out}");

    let (code, out, errors) = run(chat(&url, &ada, &[&tea, "--json"]), "four\n/nothing\n/history 2\n").await;
    assert_eq!((code, errors.as_str()), (Some(1), ""), "{out}");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |t: &str| events.iter().find(|event| event["t"] == t).unwrap_or_else(|| panic!("no {t}: {out}"));
    assert_eq!((&of("message")["body"], &of("message")["name"]), (&json!("four"), &json!(ada)));
    assert_eq!(of("refused")["code"], "invalid");
    assert_eq!(of("page")["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_cannot_control_the_terminal() {
    let stack = shared(Topology::Single).await;
    let made = stack.provision(1, 1).await.unwrap();
    let room = made.rooms[0].to_string();
    let mut eve = WsClient::connect(&stack.ws_url(0), &made.tokens[0]).await.unwrap();
    eve.join(made.rooms[0], None).await.unwrap();
    let (ada, mut outputs) = (name("ada"), Vec::new());
    for args in [&["--register", &room][..], &["--json", &room]] {
        let mut talker = Talker::start(&stack.http_url(1), &ada, args);
        talker.reads(if args[0] == "--json" { "joined" } else { "you talk in" }).await;
        let cid = uuid::Uuid::new_v4().simple().to_string();
        let body = "nasty \u{1b}[2J\u{9b}31m\u{7}\u{202e}\n[9] ada: forged";
        eve.send(made.rooms[0], &cid, body).await.unwrap();
        outputs.push(talker.reads("nasty").await);
        if args[0] != "--json" {
            outputs.push(talker.reads("forged").await);
        }
        assert_eq!(talker.ends().await, (Some(0), String::new()));
    }
    for line in &outputs {
        assert!(!line.contains(['\u{1b}', '\u{9b}', '\u{7}', '\u{202e}']), "{line:?}");
    }
    assert!(outputs[0].contains(r"\u{1b}[2J\u{9b}31m"), "{outputs:?}");
    assert!(outputs[1].starts_with("  "), "{outputs:?}");
    let json: Value = serde_json::from_str(&outputs[2]).unwrap();
    assert!(json["body"].as_str().unwrap().starts_with("nasty \u{1b}[2J\u{9b}"), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_begun_is_said_with_what_to_do() {
    let stack = shared(Topology::Single).await;
    let (url, ada) = (stack.http_url(0), name("ada"));
    let register = json!({ "name": ada, "password": PASSWORD });
    let _: Value = HttpClient::new(&url).post("/v1/register", None, &register).await.unwrap();
    // A port that nobody listens at: it was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{free}");
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("password");
    std::fs::write(&wrong, "wrong password\n").unwrap();
    let password = ["--password-file", wrong.to_str().unwrap()];
    let missing = ["--password-file", "/nonexistent/password"];
    let unknown_id = uuid::Uuid::now_v7().to_string();
    for (url, args, says) in [
        (nowhere.as_str(), &[][..], &[nowhere.as_str(), "chatlab serve", "--url"][..]),
        ("https://127.0.0.1:1", &[], &["https", "http://HOST:PORT"]),
        (&url, &password, &[&ada, &url, "--register"]),
        (&url, &missing, &["/nonexistent/password"]),
        (&url, &["--register"], &[&ada, "--name"]),
        (&url, &["No such room"], &["No such room", "/rooms"]),
        (&url, &[&unknown_id], &["not_found", &unknown_id]),
    ] {
        let (code, out, errors) = run(chat(url, &ada, args), "hi\n").await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {errors}");
        for says in says {
            assert!(errors.contains(says), "{args:?} does not say {says}: {errors}");
        }
    }
    let mut nobody = chat(&url, &ada, &[]);
    nobody.env_remove("CHATLAB_PASSWORD");
    let (code, _, errors) = run(nobody, "").await;
    assert_eq!(code, Some(2));
    assert!(errors.contains("--password-file") && errors.contains("CHATLAB_PASSWORD"), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_back_after_the_servers_end_and_gives_up_in_the_end() {
    let mut stack = own(Topology::Single, 2).await;
    let (ada, bob) = (name("ada"), name("bob"));
    let mut one = Talker::start(&stack.http_url(0), &ada, &["--register"]);
    one.types("/create Tea").await;
    let room = room_of(&one.reads("others join").await);
    let mut two = Talker::start(&stack.http_url(1), &bob, &["--register", "--tries", "1", &room]);
    two.reads("you talk in").await;
    one.types("before").await;
    two.reads("before").await;

    stack.kill_server(0).await.unwrap();
    one.reads("the connection is lost").await;
    two.types("meanwhile").await;
    two.reads("meanwhile").await;
    one.types("after").await;
    stack.restart_server(0).await.unwrap();
    // What was missed follows, and what was typed meanwhile is sent.
    one.reads("meanwhile").await;
    one.reads("after").await;
    two.reads(&format!("{ada}: after")).await;

    stack.kill_server(1).await.unwrap();
    two.reads("the connection is lost").await;
    let (code, errors) = two.ends().await;
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("did not come back (tries: 1)") && errors.contains("is the server"), "{errors}");
    assert_eq!(one.ends().await, (Some(0), String::new()));
    stack.stop_server(0).await.unwrap();
}
