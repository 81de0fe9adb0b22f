//! Many commands at once.
//!
//! On one node a pipeline takes them in one round trip. The cluster client refuses a pipeline over several slots, so there
//! they are sent side by side on the connections it has to each node: not one round trip to count, but the time of one.

use chatlab_kit::{LabResult, lua::Call, redis::Redis, servers::Topology};
use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, RedisResult};

/// The most commands on their way at once: others get their turn in between.
pub(crate) const PAGE: usize = 128;

/// Sends the commands; each has an answer of its own.
///
/// # Errors
/// On one node when the pipeline could not be sent or its answers were lost.
pub(crate) async fn at_once<T: FromRedisValue>(
    redis: &Redis,
    cmds: &[Cmd],
) -> LabResult<Vec<RedisResult<T>>> {
    let mut answers = Vec::with_capacity(cmds.len());
    for page in cmds.chunks(PAGE) {
        if redis.topology() == Topology::Cluster {
            let sent = page.iter().map(|cmd| {
                let mut redis = redis.clone();
                async move { cmd.query_async(&mut redis).await }
            });
            answers.extend(join_all(sent).await);
            continue;
        }
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for cmd in page {
            pipe.add_command(cmd.clone());
        }
        let replies: Vec<RedisResult<T>> = pipe.query_async(&mut redis.clone()).await?;
        answers.extend(replies);
    }
    Ok(answers)
}

/// Which of these keys exist, in order.
///
/// # Errors
/// The first that there was.
pub(crate) async fn existing(
    redis: &Redis,
    keys: impl Iterator<Item = String> + Send,
) -> LabResult<Vec<bool>> {
    let cmds: Vec<Cmd> = keys.map(|key| redis::cmd("EXISTS").arg(key).to_owned()).collect();
    Ok(at_once(redis, &cmds).await?.into_iter().collect::<RedisResult<_>>()?)
}

/// Runs the calls; each has an answer of its own. A node that does not know a script gets the source, call by call, once.
///
/// # Errors
/// Those of [`at_once`].
pub(crate) async fn batch(redis: &Redis, calls: Vec<Call>) -> LabResult<Vec<LabResult<i64>>> {
    let cmds: Vec<Cmd> = calls.iter().map(Call::by_sha).collect();
    let mut answers = Vec::with_capacity(calls.len());
    for (call, reply) in calls.into_iter().zip(at_once(redis, &cmds).await?) {
        answers.push(match reply {
            Err(error) if error.code() == Some("NOSCRIPT") => call.run(&mut redis.clone()).await,
            other => other.map_err(Into::into),
        });
    }
    Ok(answers)
}
