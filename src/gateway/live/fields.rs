//! What exactly is wrong with a request, by its fields.

use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId, UserId},
    message::{MessageKind, Position, Seq},
    wire::{AckLevel, ClientFrame, FriendAct, MarkRoom, RequestId, Role, Status},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{gateway::http::shorten, service::ServiceError};

/// Why something is no request, and its request number where one can be read.
#[derive(Debug)]
pub struct Refusal {
    /// To be echoed.
    pub id: Option<RequestId>,
    /// The code and the text.
    pub error: ServiceError,
}

/// A request out of its fields, `t` among them; `name` is what the client calls it.
///
/// # Errors
/// `invalid`, with the first field that is wrong.
pub fn request(name: &str, fields: Map<String, Value>) -> Result<ClientFrame, ServiceError> {
    let fields = Value::Object(fields);
    ClientFrame::deserialize(&fields).map_err(|error| match &fields {
        Value::Object(fields) => invalid(name, fields, &error),
        _ => ServiceError::invalid(name),
    })
}

/// What is wrong with a request that has a known name: `error` is what the parser of the whole said.
pub fn invalid(name: &str, fields: &Map<String, Value>, error: &serde_json::Error) -> ServiceError {
    let what = fields.iter().find_map(|(name, value)| Some(format!("{name}: {}", wrong(name, value)?)));
    ServiceError::invalid(format!("{name}: {}", shorten(&what.unwrap_or_else(|| error.to_string()))))
}

/// What is wrong with one field: the parser of a whole frame does not say which one it was.
fn wrong(name: &str, value: &Value) -> Option<String> {
    fn check<T: DeserializeOwned>(value: &Value) -> Option<String> {
        T::deserialize(value).err().map(|error| error.to_string())
    }
    match name {
        "id" => check::<RequestId>(value),
        "v" => check::<u32>(value),
        "token" | "body" | "emoji" | "query" => check::<String>(value),
        "name" | "about" | "status_text" => check::<Option<String>>(value),
        "status" => check::<Option<Status>>(value),
        "act" => check::<FriendAct>(value),
        "read_only" | "invited" => check::<Option<bool>>(value),
        "slow_s" | "for_s" | "limit" | "days" => check::<Option<u32>>(value),
        "cursor" => check::<Option<u64>>(value),
        "reply_to" => check::<Option<MessageId>>(value),
        "on" | "ban" => check::<bool>(value),
        "user" => check::<UserId>(value),
        "role" => check::<Role>(value),
        "room" | "from" => check::<RoomId>(value),
        "cid" => check::<ClientMsgId>(value),
        "msg" => check::<MessageId>(value),
        "kind" => check::<MessageKind>(value),
        "level" => check::<AckLevel>(value),
        "after" => check::<Option<Position>>(value),
        "before" => check::<Option<Seq>>(value),
        "start_after" => check::<Option<UserId>>(value),
        "rooms" => check::<Vec<MarkRoom>>(value),
        _ => None,
    }
}
