//! Messages: what is said in a room, and what becomes of it.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
};
use chatlab_history::Appended;
use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::{Epoch, MAX_BODY_BYTES, MAX_PAGE, Message, MessageKind, Seq},
    wire::{AckLevel, ErrorCode},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    asked::{Ask, At, Key, Me, next_link},
    route::{Route, delete, get, patch, post, put},
};
use crate::gateway::{
    Gateway,
    fault::{Fault, JsonResult},
    http::Body,
};

const MISSING: &[ErrorCode] = &[ErrorCode::NotFound];
const MISSING_OR_CONFLICT: &[ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Conflict];

/// The routes.
pub fn routes() -> Vec<Route> {
    let mut routes = vec![
        get("/v1/rooms/{room}/messages", page)
            .says("A page of messages, the newest without `before`")
            .query::<Before>()
            .gives::<Page>(StatusCode::OK)
            .codes(MISSING),
        post("/v1/rooms/{room}/messages", send)
            .says("Says something")
            .keyed()
            .body::<Text>()
            .gives::<Stored>(StatusCode::CREATED)
            .codes(MISSING),
        post("/v1/rooms/{room}/forwards", forward)
            .says("Says what was said elsewhere, and by whom")
            .keyed()
            .body::<Forwarded>()
            .gives::<Stored>(StatusCode::CREATED)
            .codes(MISSING),
    ];
    routes.extend(of_one());
    routes
}

fn of_one() -> Vec<Route> {
    vec![
        get("/v1/rooms/{room}/messages/{msg}", one)
            .says("A message as it is now")
            .gives::<Message>(StatusCode::OK)
            .codes(MISSING),
        patch("/v1/rooms/{room}/messages/{msg}", edit)
            .says("Gives a message of one's own another text")
            .keyed()
            .body::<NewText>()
            .gives::<Stored>(StatusCode::OK)
            .codes(MISSING_OR_CONFLICT),
        delete("/v1/rooms/{room}/messages/{msg}", remove)
            .says("Takes the text out of a message; of others', for moderators")
            .keyed()
            .query::<Safe>()
            .gives::<Stored>(StatusCode::OK)
            .codes(MISSING_OR_CONFLICT),
        put("/v1/rooms/{room}/messages/{msg}/pin", pin)
            .says("Pins a message; for moderators, and in direct chats")
            .keyed()
            .query::<Safe>()
            .gives::<Stored>(StatusCode::OK)
            .codes(MISSING_OR_CONFLICT),
        delete("/v1/rooms/{room}/messages/{msg}/pin", unpin)
            .says("Takes a pin away; for moderators, and in direct chats")
            .keyed()
            .query::<Safe>()
            .gives::<Stored>(StatusCode::OK)
            .codes(MISSING_OR_CONFLICT),
        put("/v1/rooms/{room}/messages/{msg}/reactions/{emoji}", react)
            .says("Reacts to a message")
            .keyed()
            .query::<Safe>()
            .gives::<Stored>(StatusCode::OK)
            .codes(MISSING_OR_CONFLICT),
        delete("/v1/rooms/{room}/messages/{msg}/reactions/{emoji}", unreact)
            .says("Takes one's reaction back")
            .keyed()
            .query::<Safe>()
            .gives::<Stored>(StatusCode::OK)
            .codes(MISSING_OR_CONFLICT),
    ]
}

/// Which page of messages.
#[derive(Deserialize, JsonSchema)]
pub struct Before {
    /// `next` of the page before; none for the newest.
    #[schemars(range(max = u64::MAX))]
    before: Option<Seq>,
    /// How many; 50 when missing.
    #[schemars(range(min = 1, max = MAX_PAGE))]
    limit: Option<u32>,
}

/// A page of messages.
#[derive(Serialize, JsonSchema)]
pub struct Page {
    /// Oldest first.
    messages: Vec<Message>,
    /// `before` for the next, older page; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Seq>,
}

/// What is said.
#[derive(Deserialize, JsonSchema)]
pub struct Text {
    /// In bytes of UTF-8.
    #[schemars(length(min = 1, max = MAX_BODY_BYTES), extend("x-max-bytes" = MAX_BODY_BYTES))]
    body: String,
    /// The message that it answers.
    reply_to: Option<MessageId>,
    /// How safe it must be before this is answered; `memory` when missing.
    #[serde(default)]
    level: AckLevel,
}

/// What is said again.
#[derive(Deserialize, JsonSchema)]
pub struct Forwarded {
    /// The room where it was said.
    from: RoomId,
    /// The message there.
    msg: MessageId,
    /// How safe it must be before this is answered; `memory` when missing.
    #[serde(default)]
    level: AckLevel,
}

/// Another text.
#[derive(Deserialize, JsonSchema)]
pub struct NewText {
    /// In bytes of UTF-8.
    #[schemars(length(min = 1, max = MAX_BODY_BYTES), extend("x-max-bytes" = MAX_BODY_BYTES))]
    body: String,
    /// How safe it must be before this is answered; `memory` when missing.
    #[serde(default)]
    level: AckLevel,
}

/// How safe something must be.
#[derive(Deserialize, JsonSchema)]
pub struct Safe {
    /// Before this is answered; `memory` when missing.
    level: Option<AckLevel>,
}

/// A message that was stored.
#[derive(Serialize, JsonSchema)]
pub struct Stored {
    /// Its id.
    msg: MessageId,
    /// The run of its sequence.
    epoch: Epoch,
    /// Its place.
    seq: Seq,
    /// Milliseconds since 1970 by Redis' clock.
    ts: u64,
    /// Whether an earlier request of the same key had stored it.
    dup: bool,
    /// How safe it is known to be.
    level: AckLevel,
    /// What was asked for, when that was not reached in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<AckLevel>,
}

type Served = State<Arc<Gateway>>;
/// A page, and where the next one is.
type PageOf<T> = Result<(HeaderMap, Json<T>), Fault>;

/// Waits until what was stored is as safe as is wanted, in bounds, and says so.
async fn told(gateway: &Gateway, room: RoomId, stored: Appended, wanted: AckLevel) -> JsonResult<Stored> {
    let level = gateway.levels.reach(&room, &stored, wanted).await?;
    let Appended { epoch, seq, id: msg, ts, duplicate: dup } = stored;
    Ok(Json(Stored { msg, epoch, seq, ts, dup, level, wanted: (wanted != level).then_some(wanted) }))
}

/// The same of what has a place of its own now.
async fn made(
    gateway: &Gateway,
    room: RoomId,
    stored: Appended,
    wanted: AckLevel,
) -> Result<(StatusCode, HeaderMap, Json<Stored>), Fault> {
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/rooms/{room}/messages/{}", stored.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, told(gateway, room, stored, wanted).await?))
}

async fn page(
    State(gateway): Served,
    me: Me,
    uri: Uri,
    At(room): At<RoomId>,
    Ask(ask): Ask<Before>,
) -> PageOf<Page> {
    let page = gateway.chat.page(me.by(), room, ask.before, ask.limit).await?;
    let link = next_link(&uri, "before", page.next.map(|next| next.to_string()));
    Ok((link, Json(Page { messages: page.messages, next: page.next })))
}

async fn send(
    State(gateway): Served,
    me: Me,
    key: Key,
    At(room): At<RoomId>,
    Body(body): Body<Text>,
) -> Result<(StatusCode, HeaderMap, Json<Stored>), Fault> {
    let what = (MessageKind::Text, body.reply_to);
    let stored = gateway.chat.send(me.by(), room, key.or_new()?, what, body.body).await?;
    made(&gateway, room, stored, body.level).await
}

async fn forward(
    State(gateway): Served,
    me: Me,
    key: Key,
    At(room): At<RoomId>,
    Body(body): Body<Forwarded>,
) -> Result<(StatusCode, HeaderMap, Json<Stored>), Fault> {
    let stored = gateway.chat.forward(me.by(), room, key.or_new()?, (body.from, body.msg)).await?;
    made(&gateway, room, stored, body.level).await
}

async fn one(
    State(gateway): Served,
    me: Me,
    At((room, msg)): At<(RoomId, MessageId)>,
) -> JsonResult<Message> {
    Ok(Json(gateway.chat.message(me.by(), room, msg).await?))
}

async fn edit(
    State(gateway): Served,
    me: Me,
    key: Key,
    At((room, msg)): At<(RoomId, MessageId)>,
    Body(body): Body<NewText>,
) -> JsonResult<Stored> {
    let stored = gateway.chat.edit(me.by(), room, key.or_new()?, msg, body.body).await?;
    told(&gateway, room, stored, body.level).await
}

async fn remove(
    State(gateway): Served,
    me: Me,
    key: Key,
    At((room, msg)): At<(RoomId, MessageId)>,
    Ask(ask): Ask<Safe>,
) -> JsonResult<Stored> {
    let stored = gateway.chat.delete(me.by(), room, key.or_new()?, msg).await?;
    told(&gateway, room, stored, ask.level.unwrap_or_default()).await
}

async fn pin(
    State(gateway): Served,
    me: Me,
    key: Key,
    At((room, msg)): At<(RoomId, MessageId)>,
    Ask(ask): Ask<Safe>,
) -> JsonResult<Stored> {
    let stored = gateway.chat.pin(me.by(), room, key.or_new()?, msg, true).await?;
    told(&gateway, room, stored, ask.level.unwrap_or_default()).await
}

async fn unpin(
    State(gateway): Served,
    me: Me,
    key: Key,
    At((room, msg)): At<(RoomId, MessageId)>,
    Ask(ask): Ask<Safe>,
) -> JsonResult<Stored> {
    let stored = gateway.chat.pin(me.by(), room, key.or_new()?, msg, false).await?;
    told(&gateway, room, stored, ask.level.unwrap_or_default()).await
}

async fn react(
    State(gateway): Served,
    me: Me,
    key: Key,
    At((room, msg, emoji)): At<(RoomId, MessageId, String)>,
    Ask(ask): Ask<Safe>,
) -> JsonResult<Stored> {
    let stored = gateway.chat.react(me.by(), room, key.or_new()?, msg, (emoji, true)).await?;
    told(&gateway, room, stored, ask.level.unwrap_or_default()).await
}

async fn unreact(
    State(gateway): Served,
    me: Me,
    key: Key,
    At((room, msg, emoji)): At<(RoomId, MessageId, String)>,
    Ask(ask): Ask<Safe>,
) -> JsonResult<Stored> {
    let stored = gateway.chat.react(me.by(), room, key.or_new()?, msg, (emoji, false)).await?;
    told(&gateway, room, stored, ask.level.unwrap_or_default()).await
}
