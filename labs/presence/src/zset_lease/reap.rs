//! Closing what dead instances held.

use chatlab_kit::{
    LabError, LabResult,
    ids::{InstanceId, UserId},
    keys,
    lua::Script,
};

use super::ZsetLease;
use crate::{
    MAX_REAPED,
    batch::{PAGE, batch},
    local::{Held, Taken, parse_row},
};

pub(crate) static CLAIM: Script = Script::new(
    "presence/claim",
    include_str!("../../../../lua/presence/claim.lua"),
    &["leases", "dead"],
    &["margin_ms", "claim_ms", "batch"],
);
pub(crate) static TAKE: Script = Script::new(
    "presence/take",
    include_str!("../../../../lua/presence/take.lua"),
    &["presence"],
    &["connection", "lease"],
);

/// The most leases that one claim moves to the dead, and the most that one reap works on.
const LEASES_A_REAP: usize = 16;

impl ZsetLease {
    async fn claim(&self) -> LabResult<Option<InstanceId>> {
        let dead = keys::dead_leases(&self.space);
        let claimed: Option<String> = CLAIM
            .call()
            .key(keys::leases(&self.space))
            .key(&dead)
            .arg(self.policy.margin_ms())
            .arg(self.policy.lease_ms)
            .arg(LEASES_A_REAP)
            .run(&mut self.redis.clone())
            .await?;
        let parse =
            |id: String| id.parse().map_err(|_| LabError::Corrupt { key: dead, why: format!("`{id}`") });
        claimed.map(parse).transpose()
    }

    /// Closes the connections of dead leases; who went offline is added to `gone` at once.
    pub(super) async fn reap_into(&self, gone: &mut Vec<UserId>) -> LabResult<()> {
        let mut left = MAX_REAPED;
        for _ in 0..LEASES_A_REAP {
            let Some(lease) = self.claim().await? else { return Ok(()) };
            let drained = self.drain(&lease, &mut left, gone).await?;
            let mut release = redis::cmd(if drained { "ZREM" } else { "ZADD" });
            release.arg(keys::dead_leases(&self.space));
            if !drained {
                // Anybody may go on with it.
                release.arg("XX").arg(0);
            }
            let () = release.arg(lease.to_string()).query_async(&mut self.redis.clone()).await?;
            if left == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// True when nothing is left under the lease.
    async fn drain(&self, lease: &InstanceId, left: &mut usize, gone: &mut Vec<UserId>) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let index = keys::lease_connections(lease);
        while *left > 0 {
            let rows: Vec<String> =
                redis::cmd("SRANDMEMBER").arg(&index).arg(PAGE.min(*left)).query_async(&mut redis).await?;
            if rows.is_empty() {
                return Ok(true);
            }
            *left -= rows.len();
            let page = rows.iter().map(|row| parse_row(&index, row)).collect::<LabResult<Vec<Held>>>()?;
            let taken = self.take(page.iter().map(|held| (*held, *lease))).await?;
            let mut failed = None;
            for (held, answer) in page.into_iter().zip(taken) {
                match answer {
                    Ok(offline) => {
                        gone.extend((offline == 1).then_some(held.0));
                        self.local.took((held, *lease));
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            let () = redis::cmd("SREM").arg(&index).arg(&rows).query_async(&mut redis).await?;
        }
        Ok(false)
    }

    /// Takes connections out, each if it is still under its lease.
    async fn take(&self, all: impl Iterator<Item = Taken>) -> LabResult<Vec<LabResult<i64>>> {
        let take = |((user, conn), lease): Taken| {
            TAKE.call().key(keys::presence(&user)).arg(conn.to_string()).arg(lease.to_string())
        };
        batch(&self.redis, all.map(take).collect()).await
    }

    /// Takes once more what was taken lately: a failover may have lost that, and nothing else names it any more.
    pub(super) async fn take_again(&self) -> LabResult<()> {
        for page in self.local.lately_taken().chunks(PAGE) {
            for (((user, _), _), answer) in page.iter().zip(self.take(page.iter().copied()).await?) {
                if answer? == 1 {
                    self.local.went(*user);
                }
            }
        }
        Ok(())
    }
}
