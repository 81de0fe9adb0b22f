//! One's e-mail address.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chatlab_kit::wire::ErrorCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    asked::Me,
    route::{Route, delete, get, post, put},
};
use crate::{
    gateway::{
        Gateway,
        fault::{Fault, JsonResult},
        http::Body,
    },
    service::{mail::MAX_ADDRESS_BYTES, ports},
};

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        get("/v1/email", mailbox).says("One's e-mail address").gives::<Mailbox>(StatusCode::OK),
        put("/v1/email", propose)
            .says("Has a code sent to an address, to show that it is one's own")
            .body::<Address>()
            .answers(StatusCode::ACCEPTED),
        post("/v1/email/code", confirm)
            .says("Shows the code that was sent")
            .body::<Code>()
            .gives::<Mailbox>(StatusCode::OK)
            .codes(&[ErrorCode::NotFound, ErrorCode::Conflict]),
        delete("/v1/email", forget).says("Forgets one's address"),
    ]
}

/// One's addresses.
#[derive(Serialize, JsonSchema)]
pub struct Mailbox {
    /// The one that was shown to be one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<String>,
    /// The one that a code was sent to, which is still good.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
}

impl From<ports::Mailbox> for Mailbox {
    fn from(ports::Mailbox { verified, waiting }: ports::Mailbox) -> Self {
        Self { verified, waiting }
    }
}

/// An address to be shown.
#[derive(Deserialize, JsonSchema)]
pub struct Address {
    /// As it is written, without a name.
    #[schemars(length(min = 5, max = MAX_ADDRESS_BYTES), extend("format" = "email"))]
    address: String,
}

/// A code.
#[derive(Deserialize, JsonSchema)]
pub struct Code {
    /// As the letter has it.
    #[schemars(regex(pattern = "^[0-9]{6}$"))]
    code: String,
}

async fn mailbox(State(gateway): State<Arc<Gateway>>, me: Me) -> JsonResult<Mailbox> {
    Ok(Json(gateway.mail.mailbox(&me.user()).await?.into()))
}

async fn propose(
    State(gateway): State<Arc<Gateway>>,
    me: Me,
    Body(body): Body<Address>,
) -> Result<StatusCode, Fault> {
    gateway.mail.propose(me.user(), &body.address).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn confirm(State(gateway): State<Arc<Gateway>>, me: Me, Body(body): Body<Code>) -> JsonResult<Mailbox> {
    Ok(Json(gateway.mail.confirm(me.user(), &body.code).await?.into()))
}

async fn forget(State(gateway): State<Arc<Gateway>>, me: Me) -> Result<StatusCode, Fault> {
    gateway.mail.forget(me.user()).await?;
    Ok(StatusCode::NO_CONTENT)
}
