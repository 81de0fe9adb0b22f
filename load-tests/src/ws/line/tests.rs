use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::LocalSet,
};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, coding::CloseCode};

use super::*;

/// A line, and the server's end of its socket.
async fn pair() -> (Line, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let (line, server) = tokio::join!(TcpStream::connect(to), listener.accept());
    (Line::new(line.unwrap()), server.unwrap().0)
}

fn bytes_of(frame: Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

fn text(text: &str) -> Vec<u8> {
    bytes_of(Frame::message(text.to_owned(), OpCode::Data(Data::Text), true))
}

/// Texts of all lengths that heads tell apart, and a ping among them.
fn conversation() -> (Vec<String>, Vec<u8>) {
    let texts: Vec<String> =
        [0, 1, 125, 126, 300, 65_535, 65_536, 200_000].iter().map(|bytes| "é".repeat(bytes / 2)).collect();
    let mut bytes = Vec::new();
    for one in &texts {
        bytes.extend(text(one));
        bytes.extend(bytes_of(Frame::ping("still there?")));
    }
    (texts, bytes)
}

#[tokio::test]
async fn frames_are_read_whole_however_they_are_cut() {
    for piece in [1, 7, 1_000, 64 * 1024, 1 << 20] {
        let (mut line, mut server) = pair().await;
        let (texts, bytes) = conversation();
        // A byte at a time for the small ones only.
        let few = if piece == 1 { bytes.len().min(2_000) } else { bytes.len() };
        let writing = tokio::spawn(async move {
            server.set_nodelay(true).unwrap();
            for part in bytes[..few].chunks(piece) {
                server.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            server
        });
        let whole = if piece == 1 { 5 } else { texts.len() };
        for expected in &texts[..whole] {
            assert_eq!(line.next_text().await.unwrap().as_str(), expected, "in pieces of {piece}");
        }
        assert!(line.ear.held.capacity() <= READ_BYTES * 8, "{}", line.ear.held.capacity());
        drop(writing.await.unwrap());
    }
}

#[tokio::test]
async fn a_reading_that_is_given_up_loses_nothing() {
    let (mut line, mut server) = pair().await;
    let whole = text("in two halves");
    server.write_all(&whole[..5]).await.unwrap();
    loop {
        tokio::select! {
            biased;
            text = line.next_text() => panic!("{text:?}"),
            () = tokio::task::yield_now() => if !line.ear.held.is_empty() { break },
        }
    }
    server.write_all(&whole[5..]).await.unwrap();
    assert_eq!(line.next_text().await.unwrap().as_str(), "in two halves");
}

#[tokio::test]
async fn what_it_sends_is_masked_and_a_ping_is_answered() {
    let (mut line, mut server) = pair().await;
    line.send("hello".to_owned()).await.unwrap();
    server.write_all(&bytes_of(Frame::ping("1"))).await.unwrap();
    assert_eq!(line.text().await, Ok(None));
    let mut bytes = [0; 11 + 7];
    server.read_exact(&mut bytes).await.unwrap();
    for (frame, (first, payload)) in [&bytes[..11], &bytes[11..]].iter().zip([(0x81, "hello"), (0x8A, "1")]) {
        assert_eq!((frame[0], frame[1]), (first, 0x80 | payload.len() as u8), "{frame:x?}");
        let read: Vec<u8> = frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(b, m)| b ^ m).collect();
        assert_eq!(read, payload.as_bytes());
    }
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_waited_for() {
    let (mut line, mut server) = pair().await;
    let long = "x".repeat(900_000);
    let sending = LocalSet::new();
    let expected = long.len() * 20;
    sending
        .run_until(async {
            let said = tokio::task::spawn_local(async move {
                for _ in 0..20 {
                    line.send(long.clone()).await.unwrap();
                }
                line
            });
            let (mut read, mut buffer) = (0, vec![0; 1 << 16]);
            while read < expected {
                read += server.read(&mut buffer).await.unwrap();
            }
            let line = said.await.unwrap();
            assert!(line.mouth.unsent.borrow().is_empty());
        })
        .await;
}

#[tokio::test]
async fn each_end_has_a_name() {
    let close = |code: CloseCode| bytes_of(Frame::close(Some(CloseFrame { code, reason: "".into() })));
    let masked = {
        let mut bytes = Vec::new();
        super::masked(Frame::message("x", OpCode::Data(Data::Text), true), &mut bytes).unwrap();
        bytes
    };
    let huge = {
        let mut bytes = vec![0x81, 127];
        bytes.extend((MAX_FRAME_BYTES + 1).to_be_bytes());
        bytes
    };
    let cases: [(Vec<u8>, &str); 10] = [
        (close(CloseCode::Normal), "closed: 1000"),
        (close(CloseCode::Library(4_008)), "closed: 4008"),
        (bytes_of(Frame::close(None)), "closed"),
        (Vec::new(), "closed without a close frame"),
        (text("cut off")[..4].to_vec(), "closed without a close frame"),
        (masked, "socket: protocol: a frame that is cut, extended or masked"),
        (vec![0x01, 1, b'x'], "socket: protocol: a frame that is cut, extended or masked"),
        (vec![0x82, 1, b'x'], "socket: protocol: neither text nor control"),
        (vec![0x81, 1, 0xFF], "socket: protocol: no UTF-8"),
        (huge, "socket: frame too large"),
    ];
    for (bytes, name) in cases {
        let (mut line, mut server) = pair().await;
        server.write_all(&bytes).await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(line.text().await, Err(name.to_owned()), "{bytes:x?}");
    }
}
