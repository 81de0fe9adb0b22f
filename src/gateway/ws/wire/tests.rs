use std::time::Duration;

use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::{Epoch, Position},
    wire::{ErrorCode, ResumeRoom},
};
use futures_util::StreamExt;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, tcp::OwnedReadHalf},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::service::hub::frame::{Frame, Mark};

const SOON: Duration = Duration::from_secs(20);

/// A client, and the outbox of its connection, whose socket takes little.
async fn pair() -> (WebSocketStream<TcpStream>, Arc<Outbox>, OwnedReadHalf, Replies) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    SockRef::from(&server).set_send_buffer_size(8 * 1024).unwrap();
    let (read, write) = server.into_split();
    let replies = Replies::default();
    let outbox = Arc::new(Outbox::on(Box::new(WsWire::new(write, replies.clone()))));
    (WebSocketStream::from_raw_socket(client, Role::Client, None).await, outbox, read, replies)
}

fn frame(text: String, mark: Mark) -> Arc<Frame> {
    Arc::new(Frame::of(text, mark))
}

async fn next(client: &mut WebSocketStream<TcpStream>) -> Message {
    timeout(SOON, client.next()).await.expect("nothing comes").unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn frames_of_many_writers_arrive_whole_and_each_writers_in_order() {
    const WRITERS: usize = 4;
    const FRAMES: usize = 150;
    let (mut client, outbox, _read, _) = pair().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let outbox = outbox.clone();
        writers.spawn(async move {
            for n in 0..FRAMES {
                // Some shorter and some longer than a short head allows.
                let padding = "x".repeat(n * 17 % 1_500);
                assert!(outbox.push(frame(format!("{writer} {n} {padding}"), Mark::None)));
                tokio::task::yield_now().await;
            }
        });
    }
    writers.join_all().await;
    let mut seen = [0; WRITERS];
    for _ in 0..WRITERS * FRAMES {
        let text = next(&mut client).await.into_text().unwrap();
        let mut parts = text.split(' ');
        let mut number = || parts.next().unwrap().parse::<usize>().unwrap();
        let (writer, n) = (number(), number());
        assert_eq!(n, seen[writer]);
        assert_eq!(parts.next().unwrap().len(), n * 17 % 1_500);
        seen[writer] += 1;
    }
    assert_eq!(seen, [FRAMES; WRITERS]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_goodbye_comes_last_and_tells_where_to_go_on_also_to_a_socket_that_was_full() {
    let (mut client, outbox, _read, _) = pair().await;
    let (room, other) = (RoomId::new(), RoomId::new());
    let at = |seq| Position { epoch: Epoch("e".into()), seq, id: Some(MessageId::new()) };
    let positions: Vec<_> = (1..=300).map(at).collect();
    for position in &positions {
        outbox.push(frame("m".repeat(2_000), Mark::At(room, position.clone())));
    }
    outbox.push(frame("m".into(), Mark::At(other, at(9))));
    outbox.push(frame("left".into(), Mark::Gone(other)));
    outbox.close(Closing::new(ErrorCode::GoingAway, "stop"));
    assert!(timeout(Duration::from_millis(50), outbox.over()).await.is_err(), "was never full");
    for _ in 0..302 {
        next(&mut client).await;
    }
    let bye = next(&mut client).await.into_text().unwrap();
    let bye: ServerFrame = serde_json::from_str(&bye).unwrap();
    let ServerFrame::Bye { code: ErrorCode::GoingAway, resume, .. } = bye else { panic!("{bye:?}") };
    assert_eq!(resume, [ResumeRoom { room, after: positions[299].clone() }]);
    let Message::Close(Some(close)) = next(&mut client).await else { panic!("no close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "going_away"));
    timeout(SOON, outbox.over()).await.expect("not over");
}

#[tokio::test]
async fn a_socket_that_is_gone_ends_the_outbox() {
    let (client, outbox, read, _) = pair().await;
    drop((client, read));
    let pushing = async {
        while outbox.push(frame("m".repeat(1_000), Mark::None)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, pushing).await.expect("goes on");
    timeout(SOON, outbox.over()).await.expect("not over");
}

#[tokio::test]
async fn answers_of_the_transport_are_bounded() {
    let (mut client, outbox, _read, replies) = pair().await;
    const FIT: u32 = MAX_REPLY_BYTES as u32 / 6;
    // As many as fit, again and again, and a few.
    for n in 0..10 * FIT + 3 {
        replies.add(&[&[0x8a, 4][..], &n.to_be_bytes()].concat());
        assert!(lock(&replies.0).len() <= MAX_REPLY_BYTES);
    }
    outbox.reply();
    for n in 10 * FIT..10 * FIT + 3 {
        let pong = Message::Pong(n.to_be_bytes().to_vec().into());
        assert_eq!(next(&mut client).await, pong, "the newest are answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_comes_behind_the_answer_to_a_close_whoever_writes() {
    const FRAMES: u32 = 1_000;
    for _ in 0..200 {
        let (mut client, outbox, _read, replies) = pair().await;
        let pushing = outbox.clone();
        let pusher = tokio::spawn(async move {
            // Less than the sockets' buffers take: what they do not take now would be lost by the end below.
            for _ in 0..FRAMES {
                if !pushing.push(frame("m".into(), Mark::None)) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
        next(&mut client).await;
        replies.add(&[CLOSE, 2, 3, 232]);
        outbox.reply_last();
        pusher.await.unwrap();
        outbox.push(frame("late".into(), Mark::None));
        outbox.close(Closing::new(ErrorCode::GoingAway, "late too"));
        outbox.wire().unwrap().ended();
        // As bytes: a WebSocket would not look behind a close.
        let mut bytes = Vec::new();
        client.get_mut().read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.ends_with(&[b'm', CLOSE, 2, 3, 232]) || bytes == [CLOSE, 2, 3, 232], "{bytes:?}");
    }
}
