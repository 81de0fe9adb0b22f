//! Many script calls in few round trips.

use chatlab_kit::{LabResult, lua::Call, redis::Redis};
use redis::RedisResult;

/// The most calls in one pipeline: others get their turn in between.
pub(crate) const PAGE: usize = 128;

/// Runs the calls as pipelines of [`PAGE`]; each has an answer of its own. A node that does not know a script gets the
/// source, call by call, once.
///
/// # Errors
/// When a pipeline could not be sent or its answers were lost.
pub(crate) async fn batch(redis: &Redis, calls: Vec<Call>) -> LabResult<Vec<LabResult<i64>>> {
    let mut redis = redis.clone();
    let mut answers = Vec::with_capacity(calls.len());
    let mut calls = calls.into_iter();
    loop {
        let page: Vec<Call> = calls.by_ref().take(PAGE).collect();
        if page.is_empty() {
            return Ok(answers);
        }
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for call in &page {
            pipe.add_command(call.by_sha());
        }
        let replies: Vec<RedisResult<i64>> = pipe.query_async(&mut redis).await?;
        for (call, reply) in page.into_iter().zip(replies) {
            answers.push(match reply {
                Err(error) if error.code() == Some("NOSCRIPT") => call.run(&mut redis).await,
                other => other.map_err(Into::into),
            });
        }
    }
}
