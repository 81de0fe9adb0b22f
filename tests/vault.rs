//! Encryption at rest: what Redis and the database keep of messages, and what is read after the keys were rotated.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use chatlab::harness::Stack;
use chatlab_kit::{
    ids::RoomId,
    message::Message,
    servers::Topology,
    wire::{AckLevel, ErrorCode},
};
use chatlab_load::client::WsClient;
use redis::AsyncCommands;

use crate::common::{SOON, chatlab, code, node, options};

/// A word that is in every text, and nowhere else.
const WORD: &str = "xylophonist";
/// More texts than Redis keeps of a room here, so that the database is asked, too.
const TEXTS: usize = 12;

fn keys(args: &[&str]) -> std::process::Output {
    Command::new(chatlab()).arg("keys").args(args).output().unwrap()
}

fn done(args: &[&str]) {
    let output = keys(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Where the word is: keys of Redis, files of the database.
async fn plain(stack: &Stack) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0..stack.managed().nodes().len() {
        let mut node = node(stack, at).await;
        // What is dumped is not packed then.
        let _: () =
            redis::cmd("CONFIG").arg(&["SET", "rdbcompression", "no"]).query_async(&mut node).await.unwrap();
        let keys: Vec<String> = node.keys("*").await.unwrap();
        for key in keys {
            let dump: redis::RedisResult<Option<Vec<u8>>> =
                redis::cmd("DUMP").arg(&key).query_async(&mut node).await;
            // A replica says who has it; that one is asked as well.
            if let Ok(Some(dump)) = dump
                && contains(&dump, WORD)
            {
                found.push(key);
            }
        }
    }
    let folder = stack.db().parent().unwrap().to_owned();
    let database = stack.db().file_name().unwrap().to_string_lossy().into_owned();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&database) && contains(&fs::read(entry.path()).unwrap(), WORD) {
            found.push(name);
        }
    }
    found
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Says all that has a text, in Redis and in the database.
async fn say(stack: &Stack, token: &str, room: RoomId, round: &str) -> WsClient {
    let mut client = WsClient::connect(&stack.ws_url(0), token).await.unwrap();
    client.join(room, None).await.unwrap();
    let mut last = None;
    for n in 0..TEXTS {
        let body = format!("{WORD} {round} {n}");
        let ack = client.send_at(room, &format!("{round}-{n}"), &body, AckLevel::Archived).await.unwrap();
        assert_eq!(ack.level, AckLevel::Archived);
        assert_eq!(client.next_message(SOON).await.unwrap().draft.body, body);
        last = Some(ack.msg);
    }
    let last = last.unwrap();
    client.edit(room, &format!("{round}-e"), last, &format!("{WORD} {round} edited")).await.unwrap();
    client.pin(room, &format!("{round}-p"), last, true).await.unwrap();
    client.react(room, &format!("{round}-r"), last, ("👍", true)).await.unwrap();
    client.reply(room, &format!("{round}-a"), last, &format!("{WORD} {round} reply")).await.unwrap();
    client.forward(room, &format!("{round}-f"), (room, last)).await.unwrap();
    let end = format!("{WORD} {round} end");
    client.send_at(room, &format!("{round}-z"), &end, AckLevel::Archived).await.unwrap();
    client
}

/// All of a room, page by page.
async fn all(client: &mut WsClient, room: RoomId) -> Vec<Message> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = client.history(room, before, Some(5)).await.unwrap();
        all.splice(0..0, page.messages);
        before = page.next;
        if before.is_none() {
            return all;
        }
    }
}

/// How many of the messages that have a text are readable, and how many are sealed.
fn readable(messages: &[Message]) -> (usize, usize) {
    let count = |wanted: &dyn Fn(&str) -> bool| messages.iter().filter(|m| wanted(&m.draft.body)).count();
    (count(&|body| body.contains(WORD)), count(&|body| body.starts_with("sealed:1:")))
}

/// The texts of one round: those said, the edit, the reply, the forward and the end.
const OF_A_ROUND: usize = TEXTS + 4;

/// `chatlab admin rooms notify`, with the keys or without: how it ends, and why it does not do it.
fn notify(stack: &Stack, room: RoomId, list: Option<&str>) -> (Option<i32>, String) {
    let redis = stack.redis_config();
    let mut command = Command::new(chatlab());
    command.args(["admin", "rooms", "notify", &room.to_string(), &format!("{WORD} from above")]);
    command.args(["--topology", &redis.topology.to_string(), "--redis-nodes", &redis.nodes.join(",")]);
    command.arg("--db").arg(stack.db());
    if let Some(list) = list {
        command.args(["--message-keys", list]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = "texts are encrypted here";
    (output.status.code(), if said.contains(why) { why.into() } else { said })
}

async fn start(topology: Topology, list: Option<&Path>) -> Stack {
    let mut options = options(topology, 1);
    options.serve_args = ["--hot-messages", "5"].map(str::to_owned).to_vec();
    if let Some(list) = list {
        options.serve_args.extend(["--message-keys".to_owned(), list.to_string_lossy().into_owned()]);
    }
    Stack::start(options).await.unwrap()
}

async fn nothing_is_kept_in_plain_text_and_all_is_read_after_a_rotation(topology: Topology) {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("keys");
    let path = list.to_str().unwrap();
    done(&["add", path, "--name", "first"]);
    let mut stack = start(topology, Some(&list)).await;
    let made = stack.provision(1, 1).await.unwrap();
    let (token, room) = (&made.tokens[0], made.rooms[0]);
    let mut client = say(&stack, token, room, "one").await;
    assert_eq!(plain(&stack).await, Vec::<String>::new());
    assert_eq!(readable(&all(&mut client, room).await), (OF_A_ROUND, 0));
    let pinned = client.pins(room).await.unwrap();
    assert_eq!(pinned[0].draft.body, format!("{WORD} one edited"));
    let thread = client.thread(room, pinned[0].draft.id, (None, None)).await.unwrap();
    assert_eq!(thread.messages[0].draft.body, format!("{WORD} one reply"));
    assert_eq!(code(client.search(room, WORD, (None, None)).await), ErrorCode::Invalid);
    // The operator's words are sealed as well, and not said without the keys.
    assert_eq!(notify(&stack, room, None), (Some(2), "texts are encrypted here".into()));
    assert_eq!(notify(&stack, room, Some(path)), (Some(0), String::new()));
    assert_eq!(plain(&stack).await, Vec::<String>::new());
    // What came while one was away is opened as well.
    let at = client.position(room);
    drop(client);
    say(&stack, token, room, "two").await;
    let mut client = WsClient::connect(&stack.ws_url(0), token).await.unwrap();
    let mut missed = Vec::new();
    client.join(room, at).await.unwrap();
    while let Ok(message) = client.next_message(std::time::Duration::from_millis(500)).await {
        missed.push(message);
    }
    assert_eq!(readable(&missed).1, 0);

    done(&["add", path, "--name", "second"]);
    done(&["use", path, "second"]);
    stack.stop_server(0).await.unwrap();
    stack.restart_server(0).await.unwrap();
    let mut client = say(&stack, token, room, "three").await;
    assert_eq!(readable(&all(&mut client, room).await), (3 * OF_A_ROUND + 1, 0));
    assert_eq!(plain(&stack).await, Vec::<String>::new());

    // Without the first key what it sealed stays shut, is there all the same, and stands in nobody's way.
    let kept = fs::read_to_string(&list).unwrap();
    fs::write(&list, kept.lines().next().unwrap()).unwrap();
    stack.stop_server(0).await.unwrap();
    stack.restart_server(0).await.unwrap();
    let mut client = WsClient::connect(&stack.ws_url(0), token).await.unwrap();
    assert_eq!(readable(&all(&mut client, room).await), (OF_A_ROUND, 2 * OF_A_ROUND + 1));
}

async fn without_keys_the_same_look_finds_plain_text(topology: Topology) {
    let stack = start(topology, None).await;
    let made = stack.provision(1, 1).await.unwrap();
    say(&stack, &made.tokens[0], made.rooms[0], "one").await;
    let found = plain(&stack).await;
    for part in [":msg", ":events:message.created", ".db"] {
        assert!(found.iter().any(|place| place.contains(part)), "{part}: {found:?}");
    }
}

#[tokio::test]
async fn a_list_of_keys_that_is_none_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("keys");
    let path = list.to_str().unwrap();
    let serve = || Command::new(chatlab()).args(["serve", "--message-keys", path]).output().unwrap();
    let refused = |output: std::process::Output, why: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    };
    refused(serve(), "No such file");
    done(&["add", path, "--name", "a"]);
    assert_eq!(fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o600);
    refused(keys(&["add", path, "--name", "a"]), "a key of that name already");
    refused(keys(&["add", path, "--name", "B!"]), "--name");
    refused(keys(&["use", path, "b"]), "there is no key b");
    done(&["add", path, "--name", "b"]);
    done(&["use", path, "b"]);
    assert_eq!(String::from_utf8_lossy(&keys(&["list", path]).stdout), "b  encrypts\na\n");
    fs::set_permissions(&list, fs::Permissions::from_mode(0o644)).unwrap();
    refused(serve(), "chmod 600");
    fs::write(&list, "a nonsense\n").unwrap();
    fs::set_permissions(&list, fs::Permissions::from_mode(0o600)).unwrap();
    refused(serve(), "line 1");
}

crate::on_both!(
    nothing_is_kept_in_plain_text_and_all_is_read_after_a_rotation,
    without_keys_the_same_look_finds_plain_text,
);
