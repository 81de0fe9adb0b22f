//! Whom one blocks.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chatlab_kit::{ids::UserId, wire::ErrorCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    asked::{At, Me},
    route::{Route, delete, get, put},
};
use crate::gateway::{Gateway, fault::JsonResult};

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        get("/v1/blocks", list).says("Whom one blocks").gives::<Blocks>(StatusCode::OK),
        put("/v1/blocks/{user}", block)
            .says("Blocks somebody")
            .gives::<Blocks>(StatusCode::OK)
            .codes(&[ErrorCode::NotFound, ErrorCode::Conflict]),
        delete("/v1/blocks/{user}", unblock)
            .says("Blocks somebody no longer")
            .gives::<Blocks>(StatusCode::OK),
    ]
}

/// Whom one blocks.
#[derive(Serialize, JsonSchema)]
pub struct Blocks {
    /// By id.
    users: Vec<UserId>,
}

async fn list(State(gateway): State<Arc<Gateway>>, me: Me) -> JsonResult<Blocks> {
    Ok(Json(Blocks { users: gateway.chat.blocks(me.by()).await? }))
}

async fn block(State(gateway): State<Arc<Gateway>>, me: Me, At(user): At<UserId>) -> JsonResult<Blocks> {
    Ok(Json(Blocks { users: gateway.chat.block(me.by(), user, true).await? }))
}

async fn unblock(State(gateway): State<Arc<Gateway>>, me: Me, At(user): At<UserId>) -> JsonResult<Blocks> {
    Ok(Json(Blocks { users: gateway.chat.block(me.by(), user, false).await? }))
}
