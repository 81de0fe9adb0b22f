//! Users: what they show of themselves, friends, whom one blocks, and who writes most.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{
        ErrorCode, FriendAct, FriendEntry, Leader, MAX_ABOUT, MAX_LEADER_DAYS, MAX_LEADERS, MAX_STATUS_TEXT,
        Profile, Status,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    asked::{Ask, At, Me},
    route::{Route, delete, get, patch, put},
};
use crate::{
    gateway::{
        Gateway,
        fault::JsonResult,
        http::{Body, NO_CONTROL},
    },
    service::ports::ProfileChange,
};

const MISSING: &[ErrorCode] = &[ErrorCode::NotFound];
const MISSING_OR_CONFLICT: &[ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Conflict];
/// A text of which only line breaks are control characters.
const LINES: &str = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$";

/// The routes.
pub fn routes() -> Vec<Route> {
    let mut routes = vec![
        get("/v1/profile", own).says("What one shows of oneself").gives::<Profile>(StatusCode::OK),
        patch("/v1/profile", set)
            .says("Changes what one shows of oneself")
            .body::<NewProfile>()
            .gives::<Profile>(StatusCode::OK),
        get("/v1/users/{user}", profile)
            .says("What somebody shows of themselves")
            .gives::<Profile>(StatusCode::OK)
            .codes(MISSING),
        get("/v1/rooms/{room}/leaders", leaders)
            .says("Who has sent the most texts lately")
            .query::<Lately>()
            .gives::<Leaders>(StatusCode::OK)
            .codes(MISSING),
        get("/v1/blocks", list).says("Whom one blocks").gives::<Blocks>(StatusCode::OK),
        put("/v1/blocks/{user}", block)
            .says("Blocks somebody")
            .gives::<Blocks>(StatusCode::OK)
            .codes(MISSING_OR_CONFLICT),
        delete("/v1/blocks/{user}", unblock)
            .says("Blocks somebody no longer")
            .gives::<Blocks>(StatusCode::OK),
    ];
    routes.extend(of_friends());
    routes
}

fn of_friends() -> Vec<Route> {
    let one = |route: Route| route.gives::<Friends>(StatusCode::OK).codes(MISSING_OR_CONFLICT);
    vec![
        get("/v1/friends", friends)
            .says("One's friends, whom one has asked, and who asks")
            .gives::<Friends>(StatusCode::OK),
        one(put("/v1/friends/requests/{user}", request).says("Asks somebody to be a friend")),
        one(delete("/v1/friends/requests/{user}", decline).says("Says no to who has asked")),
        one(put("/v1/friends/{user}", accept).says("Says yes to who has asked")),
        one(delete("/v1/friends/{user}", remove).says("Ends a friendship, or takes back what one has asked")),
    ]
}

/// What is to be changed; what is missing stays as it is.
#[derive(Deserialize, JsonSchema)]
pub struct NewProfile {
    /// What one says about oneself; of control characters only line breaks.
    #[schemars(length(max = MAX_ABOUT), regex(pattern = LINES))]
    about: Option<String>,
    /// Whether one is to be had. Holds until it is changed, for all connections.
    status: Option<Status>,
    /// What one says beside it, without control characters.
    #[schemars(length(max = MAX_STATUS_TEXT), regex(pattern = NO_CONTROL))]
    status_text: Option<String>,
}

/// Which list of who writes most.
#[derive(Deserialize, JsonSchema)]
pub struct Lately {
    /// On how many days, today being the last of them, by UTC; 7 when missing.
    #[schemars(range(min = 1, max = MAX_LEADER_DAYS))]
    days: Option<u32>,
    /// How many; 10 when missing.
    #[schemars(range(min = 1, max = MAX_LEADERS))]
    limit: Option<u32>,
}

/// Who writes most.
#[derive(Serialize, JsonSchema)]
pub struct Leaders {
    /// Who has sent most comes first.
    leaders: Vec<Leader>,
}

/// Whom one blocks.
#[derive(Serialize, JsonSchema)]
pub struct Blocks {
    /// By id.
    users: Vec<UserId>,
}

/// Friends, and who may become some.
#[derive(Serialize, JsonSchema)]
pub struct Friends {
    /// By id.
    friends: Vec<FriendEntry>,
}

type Served = State<Arc<Gateway>>;

async fn own(State(gateway): Served, me: Me) -> JsonResult<Profile> {
    Ok(Json(gateway.people.profile(me.user(), None).await?))
}

async fn profile(State(gateway): Served, me: Me, At(user): At<UserId>) -> JsonResult<Profile> {
    Ok(Json(gateway.people.profile(me.user(), Some(user)).await?))
}

async fn set(State(gateway): Served, me: Me, Body(new): Body<NewProfile>) -> JsonResult<Profile> {
    let NewProfile { about, status, status_text } = new;
    let change = ProfileChange { about, status, status_text };
    Ok(Json(gateway.people.set_profile(me.user(), change).await?))
}

async fn leaders(
    State(gateway): Served,
    me: Me,
    At(room): At<RoomId>,
    Ask(ask): Ask<Lately>,
) -> JsonResult<Leaders> {
    let leaders = gateway.chat.leaders(me.by(), room, (ask.days, ask.limit)).await?;
    Ok(Json(Leaders { leaders }))
}

async fn list(State(gateway): Served, me: Me) -> JsonResult<Blocks> {
    Ok(Json(Blocks { users: gateway.chat.blocks(me.by()).await? }))
}

async fn block(State(gateway): Served, me: Me, At(user): At<UserId>) -> JsonResult<Blocks> {
    Ok(Json(Blocks { users: gateway.chat.block(me.by(), user, true).await? }))
}

async fn unblock(State(gateway): Served, me: Me, At(user): At<UserId>) -> JsonResult<Blocks> {
    Ok(Json(Blocks { users: gateway.chat.block(me.by(), user, false).await? }))
}

async fn friends(State(gateway): Served, me: Me) -> JsonResult<Friends> {
    Ok(Json(Friends { friends: gateway.people.friends(me.user()).await? }))
}

async fn request(gateway: Served, me: Me, user: At<UserId>) -> JsonResult<Friends> {
    act(gateway, me, user, FriendAct::Request).await
}

async fn accept(gateway: Served, me: Me, user: At<UserId>) -> JsonResult<Friends> {
    act(gateway, me, user, FriendAct::Accept).await
}

async fn decline(gateway: Served, me: Me, user: At<UserId>) -> JsonResult<Friends> {
    act(gateway, me, user, FriendAct::Decline).await
}

async fn remove(gateway: Served, me: Me, user: At<UserId>) -> JsonResult<Friends> {
    act(gateway, me, user, FriendAct::Remove).await
}

async fn act(State(gateway): Served, me: Me, At(user): At<UserId>, act: FriendAct) -> JsonResult<Friends> {
    Ok(Json(Friends { friends: gateway.people.friend(me.user(), user, act).await? }))
}
