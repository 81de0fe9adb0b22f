//! What is stored, asked behind the variant's back.

use crate::LabResult;
use crate::redis::Redis;

/// How many keys a scan looks at in one go.
const SCAN_COUNT: u32 = 1_000;

/// The keys of every master that match `pattern`, as `SCAN` understands it, in order.
///
/// # Errors
/// When a master does not answer.
pub async fn stored_keys(redis: &Redis, pattern: &str) -> LabResult<Vec<String>> {
    let masters = redis.primaries().await?;
    let mut found = Vec::new();
    for (address, mut node) in redis.each_node().await? {
        if !masters.contains(&address) {
            continue;
        }
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut node).await?;
            found.extend(keys);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    // A scan may show a key twice.
    found.sort();
    found.dedup();
    Ok(found)
}
