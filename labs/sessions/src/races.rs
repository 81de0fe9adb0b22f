//! Races that can be driven step by step.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Finding, Racers},
    ids::{SessionId, UserId},
    lab::Race,
    redis::Redis,
};

use crate::{Policy, Sessions, build};

/// The lab's races.
pub(crate) const RACES: &[Race] = &[Race {
    name: "revoke-while-touching",
    about: "A uses a session while B revokes it: afterwards it must be over, in whatever order their commands came",
}];

/// A touch and a revocation of the same session.
pub(crate) struct RevokeWhileTouching {
    variant: &'static str,
    /// Stands in where the variant cannot be built; never, as [`RevokeWhileTouching::new`] has built it once.
    spare: Arc<dyn Sessions>,
}

impl RevokeWhileTouching {
    /// The race of this variant; none where there is no such variant in this build.
    pub(crate) fn new(variant: &'static str, redis: &Redis) -> Option<Self> {
        Some(Self { variant, spare: build(variant, redis.clone(), Policy::default())? })
    }

    fn over(&self, redis: &Redis) -> Arc<dyn Sessions> {
        build(self.variant, redis.clone(), Policy::default()).unwrap_or_else(|| self.spare.clone())
    }
}

#[async_trait]
impl Racers for RevokeWhileTouching {
    type Place = SessionId;
    type Answer = LabResult<()>;

    async fn place(&self, redis: &Redis) -> LabResult<SessionId> {
        Ok(self.over(redis).create(&UserId::new(), "Firefox on Linux").await?.id)
    }

    async fn act(&self, id: &SessionId, client: usize, redis: Redis) -> LabResult<()> {
        let sessions = self.over(&redis);
        match client {
            0 => sessions.touch(id).await.map(drop),
            _ => sessions.revoke(id).await.map(drop),
        }
    }

    async fn judge(&self, id: &SessionId, redis: &Redis, answers: &[LabResult<()>]) -> LabResult<Finding> {
        if let Some(Err(error)) = answers.iter().find(|answer| answer.is_err()) {
            return Ok(Finding::Broken(format!("a client was answered: {error}")));
        }
        let sessions = self.over(redis);
        if sessions.touch(id).await?.is_some() {
            return Ok(Finding::Broken("the revoked session is live again".into()));
        }
        match sessions.list(&id.user).await?.len() {
            0 => Ok(Finding::Holds),
            _ => Ok(Finding::Broken("the revoked session is still listed".into())),
        }
    }
}
