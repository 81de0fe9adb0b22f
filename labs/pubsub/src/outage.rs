//! Cuts the connections of one variant and of nobody else.
//!
//! The variant logs in as a user that was made for it, and `CLIENT KILL USER` ends whatever that user has open, whatever the
//! variant has built: subscriptions, blocked reads, ordinary connections. Ten runs at once on one server do not meet.

use chatlab_kit::{LabResult, ids::RoomId, redis::Redis};
use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;

/// A user of the server, and connections of the checker's own to every node.
pub(crate) struct Outage {
    user: String,
    nodes: Vec<MultiplexedConnection>,
    masters: usize,
    /// The user's own connection, for its subscribers.
    pub(crate) redis: Redis,
}

impl Outage {
    /// Makes the user, on every node, and logs in as it.
    pub(crate) async fn new(redis: &Redis) -> LabResult<Self> {
        let user = format!("lab-{}", RoomId::new());
        let masters = redis.primaries().await?.len();
        let nodes: Vec<_> = redis.each_node().await?.into_iter().map(|(_, node)| node).collect();
        // The password is no secret: the server is private, and the user lives for a second.
        for mut node in nodes.clone() {
            let rules = ["reset", "on", ">cut", "~*", "&*", "+@all"];
            let () = redis::cmd("ACL").arg("SETUSER").arg(&user).arg(&rules).query_async(&mut node).await?;
        }
        let config = redis.config().clone().with_credentials(Some(user.clone()), Some("cut".to_owned()));
        let redis = Redis::connect(&config).await?;
        Ok(Self { user, nodes, masters, redis })
    }

    /// Ends all connections of the user, and lets it do nothing but log in until [`Outage::end`]; how many there were.
    /// Whatever is published meanwhile passes it by for certain.
    pub(crate) async fn begin(&self) -> LabResult<u64> {
        let killed = self.nodes.iter().cloned().map(|mut node| async move {
            let mut pipe = redis::pipe();
            pipe.cmd("ACL")
                .arg("SETUSER")
                .arg(&self.user)
                .arg(&["-@all", "+@connection", "+cluster"])
                .ignore();
            pipe.cmd("CLIENT").arg("KILL").arg("USER").arg(&self.user);
            pipe.query_async::<(u64,)>(&mut node).await
        });
        Ok(try_join_all(killed).await?.into_iter().map(|(count,)| count).sum())
    }

    /// Lets the user do nothing but log in until [`Outage::end`]; what it has subscribed to goes on.
    pub(crate) async fn refuse(&self) -> LabResult<()> {
        let refused = self.nodes.iter().cloned().map(|mut node| async move {
            let mut acl = redis::cmd("ACL");
            acl.arg("SETUSER").arg(&self.user).arg(&["-@all", "+@connection", "+cluster"]);
            acl.query_async::<()>(&mut node).await
        });
        try_join_all(refused).await?;
        Ok(())
    }

    /// Lets the user do everything again.
    pub(crate) async fn end(&self) -> LabResult<()> {
        let allowed = self.nodes.iter().cloned().map(|mut node| async move {
            redis::cmd("ACL").arg("SETUSER").arg(&self.user).arg("+@all").query_async::<()>(&mut node).await
        });
        try_join_all(allowed).await?;
        Ok(())
    }

    /// The keys of a room and how many messages each keeps.
    pub(crate) async fn kept(&self, room: &RoomId) -> LabResult<Vec<(String, u64)>> {
        let mut kept = Vec::new();
        for node in &self.nodes[..self.masters] {
            let mut node = node.clone();
            for key in keys_of(&mut node, room).await? {
                let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut node).await?;
                let verb = match kind.as_str() {
                    "list" => "LLEN",
                    "stream" => "XLEN",
                    "zset" => "ZCARD",
                    "hash" => "HLEN",
                    "set" => "SCARD",
                    _ => continue,
                };
                let count = redis::cmd(verb).arg(&key).query_async(&mut node).await?;
                kept.push((key, count));
            }
        }
        Ok(kept)
    }

    /// Removes what the rooms have left, and the user, which ends its connections.
    pub(crate) async fn clean_up(self, rooms: impl IntoIterator<Item = RoomId>) -> LabResult<()> {
        let rooms: Vec<_> = rooms.into_iter().collect();
        for (i, mut node) in self.nodes.into_iter().enumerate() {
            if i < self.masters {
                for room in &rooms {
                    for key in keys_of(&mut node, room).await? {
                        let () = redis::cmd("UNLINK").arg(key).query_async(&mut node).await?;
                    }
                }
            }
            let () = redis::cmd("ACL").arg("DELUSER").arg(&self.user).query_async(&mut node).await?;
        }
        Ok(())
    }
}

/// The keys of a room on one node of a private server.
async fn keys_of(node: &mut MultiplexedConnection, room: &RoomId) -> LabResult<Vec<String>> {
    let (mut found, mut cursor) = (Vec::new(), 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("*{room}*")).arg("COUNT").arg(1_000);
        let (next, keys): (u64, Vec<String>) = scan.query_async(node).await?;
        found.extend(keys);
        cursor = next;
        if cursor == 0 {
            return Ok(found);
        }
    }
}
