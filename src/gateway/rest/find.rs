//! Finding messages: the pinned ones, by words, by what they answer; and how far one has read.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::{MAX_PAGE, Message},
    wire::{ErrorCode, MAX_MARKS, MAX_QUERY_BYTES, MarkRoom, RoomMarks},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    asked::{Ask, At, Me, next_link},
    route::{Route, get, post},
};
use crate::gateway::{
    Gateway,
    fault::{Fault, JsonResult},
    http::Body,
};

const MISSING: &[ErrorCode] = &[ErrorCode::NotFound];

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        get("/v1/rooms/{room}/pins", pins)
            .says("The pinned messages, the first pin first")
            .gives::<Pins>(StatusCode::OK)
            .codes(MISSING),
        get("/v1/rooms/{room}/search", search)
            .says("Messages by words of their texts, the newest first")
            .query::<Query>()
            .gives::<Found>(StatusCode::OK)
            .codes(MISSING),
        post("/v1/marks", mark)
            .says("Says how far one has read some rooms, and is told how much is unread")
            .body::<Marks>()
            .gives::<Marked>(StatusCode::OK)
            .codes(MISSING),
        get("/v1/rooms/{room}/messages/{msg}/replies", replies)
            .says("Messages that answer one, the oldest first")
            .query::<Cursor>()
            .gives::<Found>(StatusCode::OK)
            .codes(MISSING),
    ]
}

/// Pinned messages.
#[derive(Serialize, JsonSchema)]
pub struct Pins {
    /// The first pin first.
    messages: Vec<Message>,
}

/// What is looked for.
#[derive(Deserialize, JsonSchema)]
pub struct Query {
    /// 1 to 8 words, in bytes of UTF-8; the last may be the beginning of one.
    #[schemars(length(min = 1, max = MAX_QUERY_BYTES), extend("x-max-bytes" = MAX_QUERY_BYTES))]
    query: String,
    /// `next` of the page before.
    #[schemars(range(max = u64::MAX))]
    cursor: Option<u64>,
    /// How many; 50 when missing.
    #[schemars(range(min = 1, max = MAX_PAGE))]
    limit: Option<u32>,
}

/// Which page of what was found.
#[derive(Deserialize, JsonSchema)]
pub struct Cursor {
    /// `next` of the page before.
    #[schemars(range(max = u64::MAX))]
    cursor: Option<u64>,
    /// How many; 50 when missing.
    #[schemars(range(min = 1, max = MAX_PAGE))]
    limit: Option<u32>,
}

/// What was found.
#[derive(Serialize, JsonSchema)]
pub struct Found {
    /// In the order that was asked for.
    messages: Vec<Message>,
    /// `cursor` for the next page; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// How far one has read.
#[derive(Deserialize, JsonSchema)]
pub struct Marks {
    /// Each room once.
    #[schemars(length(min = 1, max = MAX_MARKS))]
    rooms: Vec<MarkRoom>,
}

/// How far one is.
#[derive(Serialize, JsonSchema)]
pub struct Marked {
    /// As they were asked for.
    rooms: Vec<RoomMarks>,
}

type Served = State<Arc<Gateway>>;
/// A page, and where the next one is.
type PageOf<T> = Result<(HeaderMap, Json<T>), Fault>;

async fn pins(State(gateway): Served, me: Me, At(room): At<RoomId>) -> JsonResult<Pins> {
    Ok(Json(Pins { messages: gateway.chat.pins(me.by(), room).await? }))
}

async fn search(
    State(gateway): Served,
    me: Me,
    uri: Uri,
    At(room): At<RoomId>,
    Ask(ask): Ask<Query>,
) -> PageOf<Found> {
    let found = gateway.chat.search(me.by(), room, &ask.query, (ask.cursor, ask.limit)).await?;
    let link = next_link(&uri, "cursor", found.next.map(|next| next.to_string()));
    Ok((link, Json(Found { messages: found.messages, next: found.next })))
}

async fn replies(
    State(gateway): Served,
    me: Me,
    uri: Uri,
    At((room, msg)): At<(RoomId, MessageId)>,
    Ask(ask): Ask<Cursor>,
) -> PageOf<Found> {
    let found = gateway.chat.thread(me.by(), room, msg, (ask.cursor, ask.limit)).await?;
    let link = next_link(&uri, "cursor", found.next.map(|next| next.to_string()));
    Ok((link, Json(Found { messages: found.messages, next: found.next })))
}

async fn mark(State(gateway): Served, me: Me, Body(body): Body<Marks>) -> JsonResult<Marked> {
    Ok(Json(Marked { rooms: gateway.chat.mark(me.by(), &body.rooms).await? }))
}
