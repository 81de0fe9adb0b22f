//! What every live connection has, whichever protocol it speaks: who is let in, requests one after the other, a heartbeat, a
//! writer that drains the outbox, a goodbye.
//!
//! | module | for |
//! | --- | --- |
//! | `source` | where a client is heard; each protocol has its own |
//! | `reader` | hearing a client out, from its first word to its last |
//! | `requests` | from a request to its answer |
//! | `acks` | the answers to `send`, now or later |
//! | `fields` | what exactly is wrong with a request |
//! | `pulse` | heartbeats, silence, the end of a token |
//! | `writer` | a socket that takes what is queued; each protocol has its own `writer::Dialect` |
//! | `written` | the resume token |

mod acks;
pub(super) mod fields;
mod pulse;
pub(super) mod reader;
mod requests;
pub(super) mod source;
pub(super) mod writer;
pub(super) mod written;

use std::sync::Arc;

use axum::{extract::WebSocketUpgrade, http::HeaderMap};
use chatlab_kit::wire::{ErrorCode, MAX_FRAME_BYTES, ServerFrame};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Gateway, accept::Peer, origin};
use crate::service::{
    ServiceError, ServiceResult,
    chat::PAGE_BYTES,
    hub::{
        frame::{Frame, Mark},
        outbox::Outbox,
    },
};

/// The read buffer, in bytes. Reading zero-fills it each time, and there are many connections:
/// larger costs memory and time, smaller a system call more for a large frame.
const READ_BUFFER_BYTES: usize = 4096;
/// Frames are collected up to here before they are written, in bytes.
const WRITE_BUFFER_BYTES: usize = 4096;
/// The most that waits in the write buffer, in bytes: what is collected, the largest frame on top (a page of history), and
/// answers to the client's WebSocket pings. Those are written past the outbox; without a bound, a client that sends pings and
/// reads nothing would fill the memory.
const MAX_WRITE_BUFFER_BYTES: usize = WRITE_BUFFER_BYTES + PAGE_BYTES + 64 * 1024;

/// Whether one more connection may be opened. What is returned lives as long as the connection: a shutdown waits for it.
///
/// # Errors
/// `forbidden` for a foreign origin; `going_away`; `rate_limited` when there are too many connections.
pub(super) fn admit(gateway: &Gateway, headers: &HeaderMap) -> ServiceResult<TaskTrackerToken> {
    if !origin::is_allowed(headers, &gateway.allow_origins) {
        return Err(origin::refusal());
    }
    if gateway.stopping.is_cancelled() {
        return Err(ServiceError::new(ErrorCode::GoingAway, "the server is stopping"));
    }
    if gateway.sockets.len() >= gateway.max_connections {
        return Err(ServiceError::new(ErrorCode::RateLimited, "too many connections"));
    }
    Ok(gateway.sockets.token())
}

/// Notes from where a connection is.
pub(super) fn comes_from(outbox: &Outbox, peer: Option<Peer>) {
    if let Some(Peer(from)) = peer {
        let _ = outbox.from.set(from);
    }
}

/// The bounds of every WebSocket.
pub(super) fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
}

/// Queues an answer that moves no position.
fn push(outbox: &Arc<Outbox>, frame: &ServerFrame) {
    match Frame::new(frame, Mark::None) {
        Ok(frame) => {
            outbox.push(frame);
        }
        Err(error) => tracing::error!(%error, "live.frame"),
    }
}
