//! What a history leaves in Redis.

use chatlab_kit::{LabResult, redis::Redis};

/// How many keys a scan looks at in one go.
const SCAN_COUNT: u64 = 10_000;

/// The keys of every master that never expire and whose name contains one of `names`.
pub(crate) async fn keys_left(redis: &Redis, names: &[String]) -> LabResult<Vec<String>> {
    let masters = redis.primaries().await?;
    let mut left = Vec::new();
    for (address, mut node) in redis.each_node().await? {
        if !masters.contains(&address) {
            continue;
        }
        let mut cursor = 0_u64;
        loop {
            let (next, keys): (u64, Vec<String>) =
                redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(SCAN_COUNT).query_async(&mut node).await?;
            for key in keys.into_iter().filter(|key| names.iter().any(|name| key.contains(name))) {
                let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut node).await?;
                if ttl == -1 {
                    left.push(key);
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(left)
}
