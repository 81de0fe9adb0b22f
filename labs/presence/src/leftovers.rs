//! What a history leaves in Redis.

use chatlab_kit::{LabResult, check::stored_keys, redis::Redis};

/// The keys of every master that never expire and whose name contains one of `names`.
pub(crate) async fn keys_left(redis: &Redis, names: &[String]) -> LabResult<Vec<String>> {
    let mut left = Vec::new();
    for key in stored_keys(redis, "*").await? {
        if !names.iter().any(|name| key.contains(name)) {
            continue;
        }
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis.clone()).await?;
        if ttl == -1 {
            left.push(key);
        }
    }
    Ok(left)
}
