//! Flawed: believes the lag of XINFO GROUPS.
//!
//! Redis 7.0 counts the entries that a group has read, and steps over erased ones without counting them. Where an erased entry
//! lies ahead, it says nil; once the group has passed it, it says a number, and that is too high for ever.

use std::collections::HashMap;

use async_trait::async_trait;
use chatlab_kit::{LabResult, redis::Redis};

use crate::{Lag, Policy, StreamGroups, corrupt, over::Over, stream_groups::log_key};

/// `XINFO GROUPS`, and 0 where it says nil.
#[derive(Debug, Clone)]
pub struct LagByXinfo(StreamGroups);

impl LagByXinfo {
    /// Groups under `policy`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self(StreamGroups::new(redis, policy))
    }
}

#[async_trait]
impl Over for LagByXinfo {
    fn inner(&self) -> &StreamGroups {
        &self.0
    }

    async fn lag(&self, topic: &str, group: &str) -> LabResult<Lag> {
        let key = log_key(topic);
        let mut info = redis::cmd("XINFO");
        info.arg("GROUPS").arg(&key);
        let groups: Vec<HashMap<String, Option<String>>> =
            info.query_async(&mut self.0.redis.clone()).await?;
        let ours = groups.iter().find(|of| of.get("name").is_some_and(|name| name.as_deref() == Some(group)));
        let number = |field: &str| -> Option<u64> { ours?.get(field)?.as_deref()?.parse().ok() };
        let pending = number("pending").ok_or_else(|| corrupt(&key, "there is no such group"))?;
        Ok(Lag { undelivered: number("lag").unwrap_or(0), pending })
    }
}
