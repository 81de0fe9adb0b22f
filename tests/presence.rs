//! Who is online, over several server processes: told once when somebody comes and when somebody goes.

use std::time::{Duration, Instant};

use chatlab_kit::{
    ids::{RoomId, UserId},
    keys,
    servers::Topology,
    wire::{ErrorCode, ServerFrame},
};
use chatlab_load::client::{ClientError, WsClient};

use crate::common::{SOON, ask, options, party, shared, user};
use chatlab::harness::Stack;

/// The lease of the servers in a test that waits for its end, in milliseconds.
const LEASE_MS: u64 = 2_000;

/// The next presence frame; other events are dropped.
async fn next_presence(client: &mut WsClient, within: Duration) -> Option<(RoomId, UserId, bool)> {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match client.next_event(left).await {
            Ok(ServerFrame::Presence { room, user, online, .. }) => return Some((room, user, online)),
            Ok(_) => {}
            Err(ClientError::Timeout(_)) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Who a client is told went offline or came online, until `settled` is told and for a moment longer. Those who had just
/// connected when the client joined may still be told to be online; so either kind is looked at by itself.
async fn told_until(client: &mut WsClient, settled: (UserId, bool)) -> Vec<(UserId, bool)> {
    let mut told = Vec::new();
    while told.last() != Some(&settled) {
        let (_, user, online) = next_presence(client, SOON).await.expect("told");
        if online == settled.1 {
            told.push((user, online));
        }
    }
    while let Some((_, user, online)) = next_presence(client, Duration::from_millis(300)).await {
        told.push((user, online));
    }
    told
}

async fn two_devices_are_one_user_until_the_last_one_closes(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let bob = clients.pop().unwrap();
    let mut ada = clients.pop().unwrap();
    let (ada_id, bob_id) = (user(&ada), user(&bob));

    let everybody = |mut users: Vec<UserId>| {
        users.sort_unstable();
        users
    };
    assert_eq!(ada.who(room, None, None).await.unwrap().online, everybody(vec![ada_id, bob_id]));

    // Bob is at the second process already, and comes to the first one as well.
    let mut phone = WsClient::connect(&stack.ws_url(0), &tokens[1]).await.unwrap();
    phone.join(room, None).await.unwrap();
    bob.close().await.unwrap();
    phone.ping().await.unwrap();
    assert_eq!(ada.who(room, None, None).await.unwrap().online, everybody(vec![ada_id, bob_id]));
    phone.close().await.unwrap();
    let told = told_until(&mut ada, (bob_id, false)).await;
    assert_eq!(told, [(bob_id, false)], "once, and nothing about the second device");
    assert_eq!(ada.who(room, None, None).await.unwrap().online, [ada_id]);

    let bob = WsClient::connect(&stack.ws_url(1), &tokens[1]).await.unwrap();
    let told = told_until(&mut ada, (bob_id, true)).await;
    assert_eq!(told, [(bob_id, true)], "told to the room though he has not joined it on this connection");
    drop(bob);
}

async fn users_of_a_killed_process_go_offline_once_within_a_lease(topology: Topology) {
    let mut options = options(topology, 3);
    options.serve_args = vec!["--presence-lease-ms".into(), LEASE_MS.to_string()];
    let mut stack = Stack::start(options).await.unwrap();
    let (mut clients, tokens, room) = party(&stack, 6).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let ids: Vec<_> = clients.iter().map(user).collect();
    // The third process has clients 2 and 5; 2 has a second device at the first one.
    let mut device = WsClient::connect(&stack.ws_url(0), &tokens[2]).await.unwrap();
    device.ping().await.unwrap();

    stack.kill_server(2).await.unwrap();
    let killed = Instant::now();
    let expected = (ids[5], false);
    for watcher in [0, 1] {
        let told = told_until(&mut clients[watcher], expected).await;
        assert_eq!(told, [expected], "watcher {watcher}: once, and nobody else");
    }
    // A lease, its margin, and the pause between two looks; twice that, because the machine is shared.
    let bound = Duration::from_millis(2 * 2 * LEASE_MS);
    assert!(killed.elapsed() < bound + Duration::from_secs(1), "{:?}", killed.elapsed());
    let mut online = vec![ids[0], ids[1], ids[2], ids[3], ids[4]];
    online.sort_unstable();
    assert_eq!(clients[0].who(room, None, None).await.unwrap().online, online);
    device.close().await.unwrap();
    let told = told_until(&mut clients[1], (ids[2], false)).await;
    assert_eq!(told, [(ids[2], false)]);
    stack.stop().await.unwrap();
}

async fn who_is_for_members_in_pages(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 5).await;
    let outsider = &mut clients[4];
    let refused = outsider.who(room, None, None).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { code: ErrorCode::Forbidden, .. }), "{refused}");
    let nowhere = outsider.who(RoomId::new(), None, None).await.unwrap_err();
    assert!(matches!(nowhere, ClientError::Refused { code: ErrorCode::NotFound, .. }), "{nowhere}");
    for limit in [0, 201] {
        let error = outsider.who(room, None, Some(limit)).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused { code: ErrorCode::Invalid, .. }), "{error}");
    }
    let mut expected = Vec::new();
    for client in &mut clients[..4] {
        client.join(room, None).await.unwrap();
        expected.push(user(client));
    }
    expected.sort_unstable();
    let (mut seen, mut next, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = clients[0].who(room, next, Some(2)).await.unwrap();
        seen.extend(page.online);
        pages += 1;
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    assert!((2..=3).contains(&pages), "{pages} pages of two for four members");
}

async fn a_stopping_server_takes_its_users_out(topology: Topology) {
    let mut stack = Stack::start(options(topology, 2)).await.unwrap();
    let (mut clients, _, room) = party(&stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let gone = user(&clients[1]);
    assert_eq!(stack.stop_server(1).await.unwrap(), Some(0));
    let told = told_until(&mut clients[0], (gone, false)).await;
    assert_eq!(told, [(gone, false)], "by the server itself, long before its lease is over");
    assert_eq!(clients[0].who(room, None, None).await.unwrap().online, [user(&clients[0])]);
    stack.stop().await.unwrap();
}

/// As after a failover that lost it: what Redis knew of somebody is gone, and the connections to it were cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_lost_is_written_again_long_before_the_lease_is_due() {
    const LONG_LEASE_MS: u64 = 120_000;
    let mut options = options(Topology::Single, 1);
    options.serve_args = vec!["--presence-lease-ms".into(), LONG_LEASE_MS.to_string()];
    let stack = Stack::start(options).await.unwrap();
    let (mut clients, _, room) = party(&stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    let mut both: Vec<_> = clients.iter().map(user).collect();
    both.sort_unstable();
    let lost = user(&clients[1]);
    let gone: u64 = ask(&stack, 0, redis::cmd("DEL").arg(keys::presence(&lost))).await;
    assert_eq!(gone, 1);
    assert_eq!(clients[0].who(room, None, None).await.unwrap().online, [user(&clients[0])]);
    let cut: u64 = ask(&stack, 0, redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await;
    assert!(cut > 0, "nobody subscribes");
    // Refreshed without that after three tenths of the lease.
    let (began, bound) = (Instant::now(), Duration::from_millis(LONG_LEASE_MS / 10));
    while clients[0].who(room, None, None).await.unwrap().online != both {
        assert!(began.elapsed() < bound, "not written again within {bound:?}");
        // A poll, bounded by the line before.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stack.stop().await.unwrap();
}

crate::on_both!(
    two_devices_are_one_user_until_the_last_one_closes,
    users_of_a_killed_process_go_offline_once_within_a_lease,
    who_is_for_members_in_pages,
    a_stopping_server_takes_its_users_out,
);
