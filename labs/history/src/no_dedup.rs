//! Flawed: a retry is recognised by the server's message id, and that is a new one at every attempt.
//!
//! The client's answer was lost, the client sends again, and the room has the message twice. Only the client can name its
//! message before it knows whether it was stored.

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult, ids::ClientMsgId, message::Draft};

use crate::{Appended, History, ZsetHash, twist::Twist};

/// ZSET and HASH, remembering the wrong id.
pub(crate) struct NoDedup(pub(crate) ZsetHash);

#[async_trait]
impl Twist for NoDedup {
    fn sound(&self) -> &dyn History {
        &self.0
    }

    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        let attempt: ClientMsgId =
            draft.id.to_string().parse().map_err(|e| LabError::Other(format!("the message's id: {e}")))?;
        self.0.append_as(draft, &attempt).await
    }
}
