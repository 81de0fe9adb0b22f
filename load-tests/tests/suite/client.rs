//! The test client itself, against a scripted server.

use std::time::Duration;

use crate::scripted::Faults;
use chatlab_kit::wire::{ErrorCode, ServerFrame};
use chatlab_load::client::{ClientError, WsClient};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn two_users_talk_and_read_history() {
    let url = format!("ws://{}/v1/ws", crate::scripted::start(Faults::default()));
    let mut ann = WsClient::connect(&url, "good").await.unwrap();
    let mut bob = WsClient::connect(&url, "good").await.unwrap();
    let room = ann.create("talk").await.unwrap();
    assert_eq!(bob.join(room, None).await.unwrap().head.unwrap().seq, 0);
    for n in 1..=5 {
        let ack = ann.send(room, &format!("c{n}"), "hello").await.unwrap();
        assert_eq!((ack.seq, ack.dup), (n, false));
        assert_eq!(bob.next_message(SOON).await.unwrap().seq, n);
    }
    assert_eq!(bob.position(room).unwrap().seq, 5);
    let page = bob.history(room, None, Some(2)).await.unwrap();
    assert_eq!(page.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [4, 5]);
    let older = bob.history(room, page.next, Some(2)).await.unwrap();
    assert_eq!(older.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [2, 3]);
    // What came while Ann waited for her acks is still there, in order.
    for n in 1..=5 {
        assert!(matches!(ann.next_event(SOON).await.unwrap(), ServerFrame::Message(m) if m.seq == n));
    }
    ann.ping().await.unwrap();
    ann.close().await.unwrap();
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed() {
    let url = format!("ws://{}/v1/ws", crate::scripted::start(Faults::default()));
    let mut ann = WsClient::connect(&url, "good").await.unwrap();
    let mut bob = WsClient::connect(&url, "good").await.unwrap();
    let room = ann.create("talk").await.unwrap();
    bob.join(room, None).await.unwrap();
    ann.send(room, "c1", "seen").await.unwrap();
    assert_eq!(bob.next_message(SOON).await.unwrap().seq, 1);
    for cid in ["c2", "c3"] {
        ann.send(room, cid, "in the old connection's buffer").await.unwrap();
    }
    bob.reconnect(&url, "good").await.unwrap();
    for n in 2..=3 {
        assert_eq!(bob.next_message(SOON).await.unwrap().seq, n);
    }
    assert_eq!(bob.position(room).unwrap().seq, 3);
}

#[tokio::test]
async fn refusals_closes_and_silence_are_different_errors() {
    let faults = Faults { refuse_every: Some(2), hang_up_at: Some(2), ..Faults::default() };
    let url = format!("ws://{}/v1/ws", crate::scripted::start(faults));
    let refused = WsClient::connect(&url, "bad").await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { code: ErrorCode::Unauthorized, .. }), "{refused}");
    let mut ann = WsClient::connect(&url, "good").await.unwrap();
    let room = ann.create("talk").await.unwrap();
    ann.send(room, "c1", "fine").await.unwrap();
    let limited = ann.send(room, "c2", "refused").await.unwrap_err();
    assert!(matches!(limited, ClientError::Refused { code: ErrorCode::RateLimited, retryable: true, .. }));
    assert!(matches!(ann.send(room, "c 3", "").await, Err(ClientError::Id(_))));
    ann.next_message(SOON).await.unwrap();
    assert!(matches!(ann.next_event(Duration::from_millis(50)).await, Err(ClientError::Timeout(_))));
    let _ = ann.send(room, "c3", "and the server hangs up").await;
    assert_eq!(ann.next_close().await, None);
    assert!(matches!(ann.ping().await, Err(ClientError::Closed(_))));
}
