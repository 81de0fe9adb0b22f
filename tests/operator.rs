//! An operator at the command line beside servers that run: users, rooms, roles and bans.

use std::process::{Command, Output};

use chatlab::{app::open_archive, config::Database, harness::Stack};
use chatlab_kit::{
    ids::{RoomId, UserId},
    message::MessageKind,
    servers::Topology,
    wire::{ErrorCode, Role, ServerFrame},
};
use chatlab_load::client::WsClient;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::common::{SOON, chatlab, code, party, shared, until_event, user};

/// `chatlab admin …`, with the Redis of the servers or without.
fn admin(stack: &Stack, with_redis: bool, args: &[&str]) -> Command {
    let mut command = Command::new(chatlab());
    command.arg("admin").args(args).arg("--db").arg(stack.db_setting());
    for setting in ["CHATLAB_REDIS_URL", "CHATLAB_REDIS_NODES", "CHATLAB_DB"] {
        command.env_remove(setting);
    }
    if with_redis {
        let redis = stack.redis_config();
        command.args(["--topology", &redis.topology.to_string(), "--redis-nodes", &redis.nodes.join(",")]);
    }
    command
}

/// What it says, beside tests that wait for nothing else meanwhile.
async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn done(stack: &Stack, args: &[&str]) -> Value {
    let output = output(admin(stack, true, &[args, &["--json"]].concat())).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn seen(stack: &Stack, args: &[&str]) -> Value {
    let output = output(admin(stack, false, &[args, &["--json"]].concat())).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn text(stack: &Stack, args: &[&str]) -> String {
    let output = output(admin(stack, false, args)).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn refused(command: Command, why: &str) {
    let output = output(command).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(why) && output.stdout.is_empty(), "{said}");
}

/// `n` users in a room of the first of them, spread over the processes.
async fn room_of(stack: &Stack, n: usize) -> (Vec<WsClient>, Vec<UserId>, Vec<String>, RoomId) {
    let (mut clients, tokens, room) = party(stack, n).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let users = clients.iter().map(user).collect();
    (clients, users, tokens, room)
}

async fn name_of(stack: &Stack, user: UserId) -> String {
    open_archive(&stack.database()).await.unwrap().user(&user).await.unwrap().unwrap().name
}

async fn find_audited(stack: &Stack, action: &str, about: &str) -> Option<(Option<String>, String)> {
    let select = "SELECT user_id, detail FROM audit WHERE action = $1 AND detail LIKE '%' || $2 || '%'";
    let found = match stack.database() {
        Database::File(path) => {
            let url = format!("sqlite://{}", path.display());
            let mut sql = SqliteConnection::connect(&url).await.unwrap();
            sqlx::query_as(select).bind(action).bind(about).fetch_optional(&mut sql).await
        }
        Database::Postgres(url) => {
            let mut sql = PgConnection::connect(&url).await.unwrap();
            sqlx::query_as(select).bind(action).bind(about).fetch_optional(&mut sql).await
        }
    };
    found.unwrap()
}

/// The audit log about a room or a user, once it has `action`: who did it, and the detail.
async fn audited(stack: &Stack, action: &str, about: &str) -> (Option<String>, String) {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        if let Some(found) = find_audited(stack, action, about).await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {action} about {about}");
        // A poll, bounded by the deadline: the servers write it in their own time.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn a_ban_cuts_off_on_another_process_until_it_ends(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, users, tokens, room) = room_of(stack, 2).await;
    let mut elsewhere = WsClient::connect(&stack.ws_url(0), &tokens[1]).await.unwrap();
    elsewhere.join(room, None).await.unwrap();
    let [owner, banned] = &mut clients[..] else { unreachable!() };
    let (id, name) = (room.to_string(), name_of(stack, users[1]).await);
    let answer = done(stack, &["rooms", "ban", &id, &name.to_uppercase()]).await;
    assert_eq!(answer, json!({ "done": "banned", "room": room, "user": users[1], "name": name }));
    let left = ServerFrame::Left { room, user: users[1] };
    for client in [&mut *owner, &mut *banned, &mut elsewhere] {
        until_event(client, |event| *event == left).await;
    }
    assert_eq!(code(banned.send(room, "c1", "x").await), ErrorCode::Forbidden);
    assert_eq!(code(banned.join(room, None).await), ErrorCode::Forbidden);
    assert_eq!(code(elsewhere.history(room, None, None).await), ErrorCode::Forbidden);

    let again = admin(stack, true, &["rooms", "ban", &id, &name]);
    refused(again, "is banned already").await;
    let bans = seen(stack, &["rooms", "bans", &id]).await;
    assert_eq!(bans["next"], Value::Null);
    let [ban] = bans["bans"].as_array().unwrap().as_slice() else { panic!("{bans}") };
    assert_eq!((&ban["id"], &ban["name"], &ban["by"]), (&json!(users[1]), &json!(name), &Value::Null));
    assert!(ban["at_ms"].as_i64().unwrap() > 0);
    assert!(text(stack, &["rooms", "bans", &id]).await.contains("(operator)"));
    assert_eq!(seen(stack, &["rooms", "show", &id]).await["bans"], 1);
    let (by, detail) = audited(stack, "member.banned", &id).await;
    assert!(by.is_none() && detail.contains(&users[1].to_string()), "{by:?} {detail}");

    done(stack, &["rooms", "unban", &id, &users[1].to_string()]).await;
    refused(admin(stack, true, &["rooms", "unban", &id, &name]), "is not banned").await;
    banned.join(room, None).await.unwrap();
    banned.send(room, "c2", "back").await.unwrap();
    // Removed, one may come back.
    done(stack, &["rooms", "remove", &id, &name]).await;
    until_event(banned, |event| *event == left).await;
    assert_eq!(code(banned.send(room, "c3", "x").await), ErrorCode::Forbidden);
    refused(admin(stack, true, &["rooms", "remove", &id, &name]), "is no member of the room").await;
    banned.join(room, None).await.unwrap();
    // A member's ban has their name on it, the operator's list too.
    owner.remove(room, users[1], true).await.unwrap();
    let bans = seen(stack, &["rooms", "bans", &id]).await;
    assert_eq!(bans["bans"][0]["by"]["id"], json!(users[0]));
}

async fn a_role_is_told_to_the_room_and_holds(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, users, _, room) = room_of(stack, 3).await;
    let (id, name) = (room.to_string(), name_of(stack, users[1]).await);
    let [owner, raised, member] = &mut clients[..] else { unreachable!() };
    assert_eq!(code(raised.set_role(room, users[2], Role::Moderator).await), ErrorCode::Forbidden);
    done(stack, &["rooms", "role", &id, &name, "admin"]).await;
    let told = ServerFrame::Role { room, user: users[1], role: Role::Admin };
    for client in [&mut *owner, &mut *raised, member] {
        until_event(client, |event| *event == told).await;
    }
    raised.set_role(room, users[2], Role::Moderator).await.unwrap();
    let members = seen(stack, &["rooms", "members", &id]).await;
    let mut roles: Vec<_> = members["members"].as_array().unwrap().iter().collect();
    roles.sort_by_key(|member| users.iter().position(|user| member["user"] == json!(user)));
    let roles: Vec<_> = roles.iter().map(|member| member["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["owner", "admin", "moderator"]);
    let (by, detail) = audited(stack, "member.role", &users[1].to_string()).await;
    assert!(by.is_none() && detail.contains("admin"), "{by:?} {detail}");
    let raised = seen(stack, &["users", "show", &name]).await;
    assert_eq!((&raised["rooms"][0]["role"], &raised["sessions"]), (&json!("admin"), &Value::Null));
}

async fn a_room_is_told_something_by_nobody_in_it(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, _, room) = room_of(stack, 2).await;
    let text = "The server is back at noon.\nTea is on the house.";
    let said = done(stack, &["rooms", "notify", &room.to_string(), text]).await;
    for client in &mut clients {
        let message = client.next_message(SOON).await.unwrap();
        assert_eq!((message.seq, message.draft.kind), (said["seq"].as_u64().unwrap(), MessageKind::System));
        assert_eq!((message.draft.from, message.draft.body.as_str()), (UserId(uuid::Uuid::nil()), text));
    }
    let page = clients[1].history(room, None, None).await.unwrap();
    assert_eq!(page.messages.last().unwrap().draft.body, text);
    // Nobody's text: it is not forwarded, edited or taken away.
    let msg = said["msg"].as_str().unwrap().parse().unwrap();
    assert_eq!(code(clients[0].edit(room, "e", msg, "other").await), ErrorCode::Invalid);
    assert_eq!(code(clients[0].delete(room, "d", msg).await), ErrorCode::Invalid);
    let (by, _) = audited(stack, "room.notified", said["msg"].as_str().unwrap()).await;
    assert_eq!(by, None);
    for (room, text, why) in [(room, "", "body: empty"), (RoomId::new(), "hi", "there is no such room")] {
        refused(admin(stack, true, &["rooms", "notify", &room.to_string(), text]), why).await;
    }
    let users = clients.iter().map(user).collect::<Vec<_>>();
    let direct = clients[0].direct(users[1], None).await.unwrap();
    refused(admin(stack, true, &["rooms", "notify", &direct.to_string(), "hi"]), "direct").await;
}

async fn the_owner_stays_and_unknown_names_are_told(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, users, _, room) = room_of(stack, 2).await;
    let (id, owner) = (room.to_string(), name_of(stack, users[0]).await);
    let member = name_of(stack, users[1]).await;
    for act in [&["ban"][..], &["remove"], &["role"]] {
        let mut args = [&["rooms"], act, &[id.as_str(), owner.as_str()]].concat();
        if act == ["role"] {
            args.push("member");
        }
        refused(admin(stack, true, &args), "owns the room, and is not removed, banned").await;
    }
    refused(admin(stack, true, &["rooms", "role", &id, &member, "owner"]), "one owner").await;
    let listed = "member, moderator, admin or owner";
    refused(admin(stack, true, &["rooms", "role", &id, &member, "king"]), listed).await;
    refused(admin(stack, true, &["rooms", "ban", &id, "nobody-of-us"]), "no user `nobody-of-us`").await;
    let nowhere = RoomId::new().to_string();
    for args in [
        &["rooms", "ban", &nowhere, &member][..],
        &["rooms", "show", &nowhere],
        &["rooms", "bans", &nowhere],
        &["rooms", "members", &nowhere],
    ] {
        refused(admin(stack, true, args), &format!("there is no room {nowhere}")).await;
    }
    refused(admin(stack, false, &["users", "show", &UserId::new().to_string()]), "there is no user").await;
    refused(admin(stack, false, &["users", "list", "--limit", "0"]), "--limit").await;
    refused(admin(stack, false, &["rooms", "ban", &id, &member]), "which Redis").await;
    // A direct chat belongs to its two.
    let direct = clients[0].direct(users[1], None).await.unwrap().to_string();
    refused(admin(stack, true, &["rooms", "remove", &direct, &member]), "a direct chat has no").await;
    // Nothing listens there: then nothing is changed.
    let mut away = admin(stack, false, &["rooms", "ban", &id, &member]);
    away.args(["--redis-url", "redis://127.0.0.1:1"]);
    refused(away, "nothing is changed").await;
    clients[1].send(room, "c1", "still here").await.unwrap();
    assert_eq!(seen(stack, &["rooms", "show", &id]).await["members"], 2);
}

async fn a_log_out_closes_every_live_socket(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, users, tokens, _) = room_of(stack, 2).await;
    let name = name_of(stack, users[0]).await;
    let shown = done(stack, &["users", "show", &name]).await;
    let [session] = shown["sessions"].as_array().unwrap().as_slice() else { panic!("{shown}") };
    assert_eq!((&shown["id"], &session["device"]), (&json!(users[0]), &json!("provisioned")));
    let mut both = vec![clients.remove(0)];
    both.push(WsClient::connect(&stack.ws_url(1), &tokens[0]).await.unwrap());
    let answer = done(stack, &["users", "logout", &name]).await;
    assert_eq!(answer, json!({ "user": users[0], "name": name, "ended": 1 }));
    let revoked = Some((ErrorCode::SessionRevoked.close_code(), "session_revoked".to_owned()));
    for mut client in both {
        assert_eq!(tokio::time::timeout(SOON, client.next_close()).await.unwrap(), revoked);
    }
    assert!(WsClient::connect(&stack.ws_url(0), &tokens[0]).await.is_err());
    clients[0].ping().await.unwrap();
    let (by, _) = audited(stack, "sessions.ended", &users[0].to_string()).await;
    assert_eq!(by, None);
    assert_eq!(done(stack, &["users", "show", &name]).await["sessions"], json!([]));
    assert_eq!(done(stack, &["users", "logout", &name]).await["ended"], 0);
}

async fn lists_go_on_page_by_page_and_fit_a_terminal(topology: Topology) {
    let stack = shared(topology).await;
    let (_clients, users, _, room) = room_of(stack, 3).await;
    let name = name_of(stack, users[0]).await;
    let id = room.to_string();
    // Of lists that other tests add to meanwhile, those that are known to be there.
    let before = name.strip_suffix("-1").unwrap();
    let page = seen(stack, &["users", "list", "--after", before, "--limit", "2"]).await;
    let names: Vec<_> = page["users"].as_array().unwrap().iter().map(|user| user["name"].clone()).collect();
    assert_eq!(names, [format!("{before}-1"), format!("{before}-2")]);
    let rest =
        seen(stack, &["users", "list", "--after", page["next"].as_str().unwrap(), "--limit", "1"]).await;
    assert_eq!(rest["users"][0]["id"], json!(users[2]));
    let shown = seen(stack, &["rooms", "show", &id]).await;
    assert_eq!((&shown["members"], &shown["bans"], &shown["made_by"]), (&json!(3), &json!(0), &json!(name)));
    assert_eq!(shown["room"]["room"], json!(room));
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut args = vec!["rooms", "list", "--limit", "200"];
        args.extend(after.iter().flat_map(|last| ["--after", last.as_str()]));
        let page = seen(stack, &args).await;
        all.extend(page["rooms"].as_array().unwrap().iter().map(|room| room["room"]["room"].clone()));
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(all.iter().filter(|one| **one == json!(room)).count(), 1);
    let first = seen(stack, &["rooms", "members", &id, "--limit", "2"]).await;
    let next = first["next"].as_str().unwrap();
    let rest = seen(stack, &["rooms", "members", &id, "--after", next, "--limit", "2"]).await;
    let both = [&first["members"], &rest["members"]].map(|page| page.as_array().unwrap().len());
    assert_eq!((both, &rest["next"]), ([2, 1], &Value::Null));
    for args in [
        &["users", "list"][..],
        &["rooms", "list"],
        &["users", "show", &name],
        &["rooms", "show", &id],
        &["rooms", "members", &id],
    ] {
        let said = text(stack, args).await;
        assert!(said.lines().all(|line| line.chars().count() <= 80) && said.lines().count() > 1, "{said}");
    }
}

crate::on_each!(
    a_ban_cuts_off_on_another_process_until_it_ends,
    a_role_is_told_to_the_room_and_holds,
    a_room_is_told_something_by_nobody_in_it,
    the_owner_stays_and_unknown_names_are_told,
    a_log_out_closes_every_live_socket,
    lists_go_on_page_by_page_and_fit_a_terminal,
);
