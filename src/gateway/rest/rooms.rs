//! Rooms and their members.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
};
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{
        DIRECT_MAX_S, ErrorCode, MAX_ROOM_NAME, MAX_ROOMS_PAGE, MAX_WHO, MemberEntry, Role, RoomInfo,
        StatusEntry,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    asked::{Ask, At, Key, Me, next_link},
    route::{Route, delete, get, patch, post, put},
};
use crate::{
    gateway::{
        Gateway,
        fault::{Fault, JsonResult},
        http::{Body, NO_CONTROL},
    },
    service::{chat::By, ports::RoomChange},
};

const MISSING: &[ErrorCode] = &[ErrorCode::NotFound];
const MISSING_OR_CONFLICT: &[ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Conflict];

/// The routes.
pub fn routes() -> Vec<Route> {
    let mut routes = vec![
        get("/v1/rooms", list)
            .says("The rooms that one is in, by id")
            .query::<RoomsAfter>()
            .gives::<Rooms>(StatusCode::OK),
        post("/v1/rooms", make)
            .says("Makes a group, whose owner one is")
            .keyed()
            .body::<Named>()
            .gives::<Which>(StatusCode::CREATED)
            .codes(&[ErrorCode::Conflict]),
        post("/v1/direct", direct)
            .says("Opens the direct chat with somebody: the one that there is, or a new one")
            .body::<With>()
            .gives::<Which>(StatusCode::OK)
            .codes(MISSING),
        get("/v1/rooms/{room}", one)
            .says("A room and its settings")
            .gives::<RoomInfo>(StatusCode::OK)
            .codes(MISSING),
        patch("/v1/rooms/{room}", set)
            .says("Changes settings of a group; for admins")
            .body::<Settings>()
            .codes(MISSING),
        delete("/v1/rooms/{room}", end).says("Ends a direct chat").codes(MISSING),
        post("/v1/rooms/{room}/join", join).says("Becomes a member").codes(MISSING),
        post("/v1/rooms/{room}/leave", leave).says("Ends one's own membership of a group").codes(MISSING),
    ];
    routes.extend(of_members());
    routes
}

fn of_members() -> Vec<Route> {
    vec![
        get("/v1/rooms/{room}/members", members)
            .says("The members, by id")
            .query::<MembersAfter>()
            .gives::<Members>(StatusCode::OK)
            .codes(MISSING),
        get("/v1/rooms/{room}/online", online)
            .says("Which members are online, of a page of them")
            .query::<MembersAfter>()
            .gives::<Online>(StatusCode::OK)
            .codes(MISSING),
        put("/v1/rooms/{room}/members/{user}", add)
            .says("Makes somebody a member; for moderators")
            .codes(MISSING_OR_CONFLICT),
        patch("/v1/rooms/{room}/members/{user}", set_role)
            .says("Gives a member another role; for admins, of who is below them")
            .body::<NewRole>()
            .codes(MISSING_OR_CONFLICT),
        delete("/v1/rooms/{room}/members/{user}", remove)
            .says("Ends somebody's membership; for moderators, of who is below them")
            .codes(MISSING_OR_CONFLICT),
        put("/v1/rooms/{room}/bans/{user}", ban)
            .says("Bans somebody, member or not; for moderators, of who is below them")
            .codes(MISSING_OR_CONFLICT),
        delete("/v1/rooms/{room}/bans/{user}", unban).says("Ends a ban; for moderators").codes(MISSING),
        put("/v1/rooms/{room}/typing", typing)
            .says("Says that one is writing; to be said again while it lasts")
            .codes(MISSING),
        delete("/v1/rooms/{room}/typing", not_typing)
            .says("Says that one is no longer writing")
            .codes(MISSING),
    ]
}

/// Which page of rooms.
#[derive(Deserialize, JsonSchema)]
pub struct RoomsAfter {
    /// `next` of the page before.
    start_after: Option<RoomId>,
    /// How many; as many as may be when missing.
    #[schemars(range(min = 1, max = MAX_ROOMS_PAGE))]
    limit: Option<u32>,
}

/// A page of rooms.
#[derive(Serialize, JsonSchema)]
pub struct Rooms {
    /// By id.
    rooms: Vec<RoomInfo>,
    /// `start_after` for the next page; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<RoomId>,
}

/// Which room it is.
#[derive(Serialize, JsonSchema)]
pub struct Which {
    /// Its id.
    room: RoomId,
}

/// A new room.
#[derive(Deserialize, JsonSchema)]
pub struct Named {
    /// Without control characters.
    #[schemars(length(min = 1, max = MAX_ROOM_NAME), regex(pattern = NO_CONTROL))]
    name: String,
}

/// With whom, and for how long.
#[derive(Deserialize, JsonSchema)]
pub struct With {
    /// The other one.
    user: UserId,
    /// After how many seconds a new one ends by itself; never when missing.
    #[schemars(range(min = 1, max = DIRECT_MAX_S))]
    for_s: Option<u32>,
}

/// Settings to change; what is missing stays as it is.
#[derive(Deserialize, JsonSchema)]
pub struct Settings {
    /// Another name, without control characters.
    #[schemars(length(min = 1, max = MAX_ROOM_NAME), regex(pattern = NO_CONTROL))]
    name: Option<String>,
    /// Whether only moderators and higher write.
    read_only: Option<bool>,
    /// In how many seconds a member may write once; 0 without a pause.
    #[schemars(extend("enum" = [0, 5, 10, 30, 60, 300, 900, 3_600, null]))]
    slow_s: Option<u32>,
    /// Whether nobody joins by themselves.
    invited: Option<bool>,
}

/// Which page of members.
#[derive(Deserialize, JsonSchema)]
pub struct MembersAfter {
    /// `next` of the page before.
    start_after: Option<UserId>,
    /// How many; as many as may be when missing.
    #[schemars(range(min = 1, max = MAX_WHO))]
    limit: Option<u32>,
}

/// A page of members.
#[derive(Serialize, JsonSchema)]
pub struct Members {
    /// By id.
    members: Vec<MemberEntry>,
    /// `start_after` for the next page; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
}

/// Who of a page of members is online.
#[derive(Serialize, JsonSchema)]
pub struct Online {
    /// By id.
    online: Vec<UserId>,
    /// Of those, who is not simply `available`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<StatusEntry>,
    /// `start_after` for the next page of members; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
}

/// A role to give.
#[derive(Deserialize, JsonSchema)]
pub struct NewRole {
    /// Not `owner`.
    role: Role,
}

type Served = State<Arc<Gateway>>;
/// A page, and where the next one is.
type PageOf<T> = Result<(HeaderMap, Json<T>), Fault>;
type Done = Result<StatusCode, Fault>;

async fn list(State(gateway): Served, me: Me, uri: Uri, Ask(ask): Ask<RoomsAfter>) -> PageOf<Rooms> {
    let page = gateway.chat.rooms(me.user(), ask.start_after, ask.limit).await?;
    let link = next_link(&uri, "start_after", page.next.map(|next| next.to_string()));
    Ok((link, Json(Rooms { rooms: page.rooms, next: page.next })))
}

async fn make(
    State(gateway): Served,
    me: Me,
    key: Key,
    Body(body): Body<Named>,
) -> Result<(StatusCode, HeaderMap, Json<Which>), Fault> {
    let room = gateway.chat.make_room(me.user(), &body.name, key.given()).await?;
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/rooms/{room}")) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Json(Which { room })))
}

async fn direct(State(gateway): Served, me: Me, Body(body): Body<With>) -> JsonResult<Which> {
    let room = gateway.chat.open_direct(me.user(), body.user, body.for_s).await?;
    Ok(Json(Which { room }))
}

async fn one(State(gateway): Served, me: Me, At(room): At<RoomId>) -> JsonResult<RoomInfo> {
    Ok(Json(gateway.chat.room(me.by(), room).await?))
}

async fn set(State(gateway): Served, me: Me, At(room): At<RoomId>, Body(body): Body<Settings>) -> Done {
    let Settings { name, read_only, slow_s, invited } = body;
    gateway.chat.set_room(me.by(), room, RoomChange { name, read_only, slow_s, invited }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end(State(gateway): Served, me: Me, At(room): At<RoomId>) -> Done {
    gateway.chat.end(me.by(), room).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn join(State(gateway): Served, me: Me, At(room): At<RoomId>) -> Done {
    gateway.chat.enter(me.user(), room).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn leave(State(gateway): Served, me: Me, At(room): At<RoomId>) -> Done {
    gateway.chat.quit(me.user(), room).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn members(
    State(gateway): Served,
    me: Me,
    uri: Uri,
    At(room): At<RoomId>,
    Ask(ask): Ask<MembersAfter>,
) -> PageOf<Members> {
    let page = gateway.chat.roster(me.by(), room, ask.start_after, ask.limit).await?;
    let link = next_link(&uri, "start_after", page.next.map(|next| next.to_string()));
    Ok((link, Json(Members { members: page.members, next: page.next })))
}

async fn online(
    State(gateway): Served,
    me: Me,
    uri: Uri,
    At(room): At<RoomId>,
    Ask(ask): Ask<MembersAfter>,
) -> PageOf<Online> {
    let page = gateway.chat.who(me.by(), room, ask.start_after, ask.limit).await?;
    let link = next_link(&uri, "start_after", page.next.map(|next| next.to_string()));
    Ok((link, Json(Online { online: page.online, statuses: page.statuses, next: page.next })))
}

async fn add(State(gateway): Served, me: Me, At((room, user)): At<(RoomId, UserId)>) -> Done {
    gateway.chat.add(me.by(), room, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_role(
    State(gateway): Served,
    me: Me,
    At((room, user)): At<(RoomId, UserId)>,
    Body(body): Body<NewRole>,
) -> Done {
    gateway.chat.set_role(me.by(), room, user, body.role).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(State(gateway): Served, me: Me, At((room, user)): At<(RoomId, UserId)>) -> Done {
    gateway.chat.remove(me.by(), room, user, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn ban(State(gateway): Served, me: Me, At((room, user)): At<(RoomId, UserId)>) -> Done {
    gateway.chat.remove(me.by(), room, user, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unban(State(gateway): Served, me: Me, At((room, user)): At<(RoomId, UserId)>) -> Done {
    gateway.chat.unban(me.by(), room, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn typing(State(gateway): Served, me: Me, At(room): At<RoomId>) -> Done {
    say_typing(&gateway, me.by(), room, true).await
}

async fn not_typing(State(gateway): Served, me: Me, At(room): At<RoomId>) -> Done {
    say_typing(&gateway, me.by(), room, false).await
}

async fn say_typing(gateway: &Gateway, by: By<'_>, room: RoomId, on: bool) -> Done {
    gateway.chat.typing(by, room, on).await?;
    Ok(StatusCode::NO_CONTENT)
}
