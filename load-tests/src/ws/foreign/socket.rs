//! A connection to a server that is not ours, as the WebSocket library has it: such a server may cut its frames, or talk at once.

use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, Utf8Bytes},
};

use crate::ws::conn::CLOSE_WAIT;

pub(super) type Socket = WebSocketStream<TcpStream>;

/// Says goodbye.
pub(super) async fn close(socket: &mut Socket) {
    let goodbye = async {
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // The run is over; a server that does not answer is not waited for.
    let _ = timeout(CLOSE_WAIT, goodbye).await;
}

/// Sends a text.
pub(super) async fn write(socket: &mut Socket, text: String) -> Result<(), String> {
    socket.send(Message::text(text)).await.map_err(|e| format!("send: {}", kind_of(&e)))
}

/// The text of the next frame; none of a frame without one.
pub(super) async fn next_text(socket: &mut Socket) -> Result<Option<Utf8Bytes>, String> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Close(frame))) => {
            Err(frame.map_or("closed".into(), |f| format!("closed: {}", u16::from(f.code))))
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(e)) => Err(format!("socket: {}", kind_of(&e))),
        None => Err("closed without a close frame".into()),
    }
}

/// A short, stable name: errors are counted by it.
fn kind_of(error: &Error) -> String {
    match error {
        Error::Io(e) => e.kind().to_string(),
        Error::ConnectionClosed | Error::AlreadyClosed => "closed".into(),
        Error::Protocol(e) => format!("protocol: {e}"),
        Error::Capacity(_) => "frame too large".into(),
        _ => "websocket".into(),
    }
}
