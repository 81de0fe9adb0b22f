//! fred's replies and errors as redis-rs's.

use ::redis::{ErrorKind, RedisError, RedisResult, Value};
use fred::error::{Error, ErrorKind as FredKind};
use fred::types::{Resp3Frame, Value as FredValue};

/// A reply as it came over the wire.
pub(super) fn of_frame(frame: Resp3Frame) -> Value {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::ChunkedString(data) => {
            Value::BulkString(data.into())
        }
        Resp3Frame::SimpleString { data, .. } => status(&data),
        Resp3Frame::SimpleError { data, .. } => server_error(&data),
        Resp3Frame::BlobError { data, .. } => server_error(&String::from_utf8_lossy(&data)),
        Resp3Frame::Boolean { data, .. } => Value::Boolean(data),
        Resp3Frame::Null | Resp3Frame::Hello { .. } => Value::Nil,
        Resp3Frame::Number { data, .. } => Value::Int(data),
        Resp3Frame::Double { data, .. } => Value::Double(data),
        Resp3Frame::BigNumber { data, .. } => Value::BigNumber(data.into()),
        Resp3Frame::VerbatimString { data, .. } => Value::BulkString(data.into()),
        Resp3Frame::Array { data, .. } | Resp3Frame::Push { data, .. } => {
            Value::Array(data.into_iter().map(of_frame).collect())
        }
        Resp3Frame::Map { data, .. } => {
            let pair = |(key, value)| (of_frame(key), of_frame(value));
            Value::Map(data.into_iter().map(pair).collect())
        }
        Resp3Frame::Set { data, .. } => Value::Set(data.into_iter().map(of_frame).collect()),
    }
}

/// A reply of a pipeline or a transaction, where fred does not tell a status from a string.
pub(super) fn of_value(value: FredValue) -> Value {
    match value {
        FredValue::Boolean(truth) => Value::Boolean(truth),
        FredValue::Integer(number) => Value::Int(number),
        FredValue::Double(number) => Value::Double(number),
        FredValue::String(text) if &*text == "OK" => Value::Okay,
        FredValue::String(text) => Value::BulkString(text.as_bytes().to_vec()),
        FredValue::Bytes(bytes) => Value::BulkString(bytes.into()),
        FredValue::Null => Value::Nil,
        FredValue::Queued => Value::SimpleString("QUEUED".into()),
        FredValue::Map(map) => {
            let pair = |(key, value): (fred::types::Key, FredValue)| {
                (Value::BulkString(key.into_bytes().into()), of_value(value))
            };
            Value::Map(map.inner().into_iter().map(pair).collect())
        }
        FredValue::Array(items) => Value::Array(items.into_iter().map(of_value).collect()),
    }
}

/// An error of fred: one that the server sent becomes a reply, any other stays an error.
pub(super) fn of_error(error: &Error) -> RedisResult<Value> {
    if is_from_server(error) {
        return Ok(server_error(error.details()));
    }
    let io = |kind| RedisError::from(std::io::Error::new(kind, error.to_string()));
    Err(match error.kind() {
        FredKind::IO | FredKind::Canceled => io(std::io::ErrorKind::BrokenPipe),
        FredKind::Timeout => io(std::io::ErrorKind::TimedOut),
        FredKind::Protocol | FredKind::Parse => (ErrorKind::Parse, "fred", error.to_string()).into(),
        FredKind::Auth => (ErrorKind::AuthenticationFailed, "fred", error.to_string()).into(),
        FredKind::Config | FredKind::Url => {
            (ErrorKind::InvalidClientConfig, "fred", error.to_string()).into()
        }
        FredKind::Routing | FredKind::Cluster => {
            (ErrorKind::ClusterConnectionNotFound, "fred", error.to_string()).into()
        }
        _ => (ErrorKind::Client, "fred", error.to_string()).into(),
    })
}

/// Texts of the server begin with a code in capitals; fred's own do not.
fn is_from_server(error: &Error) -> bool {
    let code = error.details().split(' ').next().unwrap_or_default();
    let capitals = code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let own = matches!(error.kind(), FredKind::IO | FredKind::Timeout | FredKind::Canceled);
    code.len() >= 2 && capitals && !own
}

fn status(bytes: &[u8]) -> Value {
    match bytes {
        b"OK" => Value::Okay,
        bytes => Value::SimpleString(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// The error as redis-rs would have read it, so that it has the same code.
fn server_error(text: &str) -> Value {
    let line = text.replace(['\r', '\n'], " ");
    ::redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap_or(Value::Nil)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_errors_keep_their_code_and_other_errors_stay_errors() {
        let moved = Error::new(FredKind::Unknown, "NOSCRIPT No matching script.");
        let error = of_error(&moved).unwrap().extract_error().unwrap_err();
        assert_eq!(error.code(), Some("NOSCRIPT"));
        let timeout = of_error(&Error::new(FredKind::Timeout, "Request timed out.")).unwrap_err();
        assert!(timeout.is_timeout());
        let gone = of_error(&Error::new(FredKind::IO, "Connection closed.")).unwrap_err();
        assert!(gone.is_io_error());
    }
}
