//! What the server holds for its clients while a batch is under way.

use chatlab_kit::{LabResult, redis::Redis};
use redis::aio::MultiplexedConnection;

/// Plain connections to the masters, to ask for their memory.
pub(crate) struct Masters(Vec<MultiplexedConnection>);

/// `tot-mem` of the lines of `CLIENT LIST`: of all, or of one client.
fn bytes_of(list: &str, id: Option<u64>) -> u64 {
    let wanted = id.map(|id| format!("id={id} "));
    let lines = list.lines().filter(|line| wanted.as_ref().is_none_or(|id| line.starts_with(id)));
    let bytes = lines.filter_map(|line| line.split(' ').find_map(|field| field.strip_prefix("tot-mem=")));
    bytes.filter_map(|bytes| bytes.parse::<u64>().ok()).sum()
}

async fn client_list(node: &mut MultiplexedConnection) -> LabResult<String> {
    Ok(redis::cmd("CLIENT").arg("LIST").query_async(node).await?)
}

impl Masters {
    pub(crate) async fn of(redis: &Redis) -> LabResult<Self> {
        let masters = redis.primaries().await?;
        let nodes = redis.each_node().await?;
        Ok(Self(nodes.into_iter().filter(|(at, _)| masters.contains(at)).map(|(_, node)| node).collect()))
    }

    /// Bytes for all clients of all masters.
    async fn clients_bytes(&mut self) -> LabResult<u64> {
        let mut sum = 0;
        for node in &mut self.0 {
            sum += bytes_of(&client_list(node).await?, None);
        }
        Ok(sum)
    }

    /// The most that was seen while `work` ran, above what there was before it.
    pub(crate) async fn peak_during<T>(
        &mut self,
        work: impl Future<Output = LabResult<T>>,
    ) -> LabResult<(T, u64)> {
        let before = self.clients_bytes().await?;
        let mut work = std::pin::pin!(work);
        let mut most = before;
        loop {
            tokio::select! {
                done = &mut work => return Ok((done?, most - before)),
                bytes = self.clients_bytes() => most = most.max(bytes?),
            }
        }
    }
}

/// Bytes that the server holds for `commands` between MULTI and EXEC: all are queued on the node that owns them, looked at, and
/// discarded.
pub(crate) async fn queued_bytes(
    redis: &Redis,
    owner: &str,
    commands: impl Iterator<Item = redis::Cmd>,
) -> LabResult<u64> {
    let mut client = redis.node(owner).await?;
    let id: u64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await?;
    let mut others: Vec<_> = redis.each_node().await?.into_iter().filter(|(at, _)| at == owner).collect();
    let Some((_, other)) = others.first_mut() else { return Ok(0) };
    let before = bytes_of(&client_list(other).await?, Some(id));
    let mut queue = redis::pipe();
    queue.cmd("MULTI").ignore();
    for command in commands {
        queue.add_command(command).ignore();
    }
    let () = queue.query_async(&mut client).await?;
    let after = bytes_of(&client_list(other).await?, Some(id));
    let () = redis::cmd("DISCARD").query_async(&mut client).await?;
    Ok(after.saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_found_by_its_whole_id() {
        let list = "id=1 addr=a tot-mem=10 x=1\nid=12 addr=b tot-mem=200 x=1\n";
        assert_eq!((bytes_of(list, None), bytes_of(list, Some(1)), bytes_of(list, Some(12))), (210, 10, 200));
    }
}
