//! Where a client is heard.

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use chatlab_kit::wire::{ClientFrame, ErrorCode, MAX_FRAME_BYTES};
use futures_util::{StreamExt, stream::SplitStream};
use tokio_tungstenite::tungstenite;

use super::fields::Refusal;
use crate::service::hub::outbox::Closing;

/// The reading half of a WebSocket.
pub type Stream = SplitStream<WebSocket>;

/// Where a client is heard, in the words of a protocol.
pub trait Source: Send {
    /// The next that is heard. May be dropped at any time without losing anything.
    fn next(&mut self) -> impl Future<Output = Heard> + Send;

    /// A text as a request.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(&self, text: &str) -> Result<ClientFrame, Refusal>;
}

/// What was heard.
pub enum Heard {
    /// What should be a request.
    Text(Utf8Bytes),
    /// What can't be one, and why.
    Odd(&'static str),
    /// A sign of life and nothing else.
    Sign,
    /// The client closed, or the socket failed.
    Gone,
    /// What comes can't be read any more, and why.
    Broken(Box<Closing>),
}

/// What a WebSocket gave.
pub async fn heard(stream: &mut Stream) -> Heard {
    match stream.next().await {
        Some(Ok(Message::Text(text))) => Heard::Text(text),
        Some(Ok(Message::Binary(_))) => Heard::Odd("only text frames are understood"),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Sign,
        Some(Ok(Message::Close(_))) | None => Heard::Gone,
        Some(Err(error)) => read_failed(error),
    }
}

fn read_failed(error: axum::Error) -> Heard {
    error.into_inner().downcast_ref::<tungstenite::Error>().map_or(Heard::Gone, refused)
}

/// A frame that tungstenite refused, or a socket that is gone.
pub fn refused(error: &tungstenite::Error) -> Heard {
    use tungstenite::{Error, error::ProtocolError};
    let (code, close_code, message) = match error {
        Error::Capacity(_) => {
            (ErrorCode::TooLarge, 1009, format!("a frame has more than {MAX_FRAME_BYTES} bytes"))
        }
        Error::Utf8(_) => (ErrorCode::BadFrame, 1007, "the text is not UTF-8".to_owned()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Heard::Gone,
        Error::Protocol(error) => (ErrorCode::BadFrame, 1002, error.to_string()),
        _ => return Heard::Gone,
    };
    Heard::Broken(Box::new(Closing { code, close_code, message }))
}
