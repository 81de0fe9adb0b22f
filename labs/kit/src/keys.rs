//! The one table of keys. Every key that chatlab writes is built here, and described here.
//!
//! Keys that one script touches together share a hash tag: `{pN}` for what belongs to a room
//! ([`crate::slots::Partition`]), `{u:ID}` for what belongs to a user.

mod table;

use crate::{
    ids::{ClientMsgId, InstanceId, RoomId, SessionId, UserId},
    slots::Partition,
};

pub use table::{KeyRow, TABLE, markdown};

/// A user's hash tag with braces.
pub fn user_tag(user: &UserId) -> String {
    format!("{{u:{user}}}")
}

/// One login session.
pub fn session(id: &SessionId) -> String {
    format!("{}:session:{}", user_tag(&id.user), id.secret())
}

/// A user's sessions by expiry.
pub fn user_sessions(user: &UserId) -> String {
    format!("{}:sessions", user_tag(user))
}

/// What a rate-limited subject has taken.
pub fn rate(subject: &str) -> String {
    format!("rate:{subject}")
}

/// A key of a lab variant that the server does not run by default.
pub fn user_lab(user: &UserId, variant: &str, name: &str) -> String {
    format!("{}:lab:{variant}:{name}", user_tag(user))
}

/// A user's connections, each with the lease that it lives under.
pub fn presence(user: &UserId) -> String {
    format!("{}:presence", user_tag(user))
}

/// The connections under one lease of an instance.
pub fn lease_connections(lease: &InstanceId) -> String {
    format!("{{i:{lease}}}:connections")
}

/// The leases of all instances that share `tag`.
pub fn leases(tag: &str) -> String {
    format!("{{presence:{tag}}}:leases")
}

/// The leases that ran out and whose connections are being closed.
pub fn dead_leases(tag: &str) -> String {
    format!("{{presence:{tag}}}:dead")
}

/// A key of a lab variant that belongs to neither a user nor a room; `tag` decides the slot.
pub fn lab(tag: &str, variant: &str, name: &str) -> String {
    format!("{{lab:{tag}}}:{variant}:{name}")
}

/// A key of a lab variant without a tag: the whole name decides the slot.
pub fn untagged_lab(variant: &str, name: &str) -> String {
    format!("lab:{variant}:{name}")
}

/// What the names of probe channels begin with.
pub const PROBE_PREFIX: &str = "chatlab:probe:";

/// The `n`-th probe channel of a subscription manager. Without a tag: `n` is counted up until the
/// channel belongs to the master that is to be probed.
pub fn probe(instance: impl std::fmt::Display, n: u32) -> String {
    format!("{PROBE_PREFIX}{instance}:{n}")
}

/// A topic's stream in a partition.
pub fn events(partition: Partition, topic: &str) -> String {
    format!("{{{}}}:events:{topic}", partition.tag())
}

/// What a group of a topic could not work, in a partition.
pub fn dead_events(partition: Partition, topic: &str, group: &str) -> String {
    format!("{{{}}}:dead:{topic}:{group}", partition.tag())
}

/// What an instance writes in a partition for `WAIT` to wait for.
pub fn wait_mark(partition: Partition, instance: InstanceId) -> String {
    format!("{{{}}}:mark:{instance}", partition.tag())
}

/// The keys of one room.
#[derive(Debug, Clone)]
pub struct RoomKeys {
    tag: String,
    room: RoomId,
}

impl RoomKeys {
    /// The keys of `room`.
    pub fn new(room: &RoomId) -> Self {
        Self { tag: Partition::of(room).tag(), room: *room }
    }

    fn key(&self, name: &str) -> String {
        format!("{{{}}}:room:{}:{name}", self.tag, self.room)
    }

    /// Epoch and last sequence.
    pub fn meta(&self) -> String {
        self.key("meta")
    }

    /// Message ids by sequence.
    pub fn log(&self) -> String {
        self.key("log")
    }

    /// Message id to envelope.
    pub fn msg(&self) -> String {
        self.key("msg")
    }

    /// The sequences of what is about other messages.
    pub fn changes(&self) -> String {
        self.key("changes")
    }

    /// How far each member is.
    pub fn marks(&self) -> String {
        self.key("marks")
    }

    /// The pinned messages.
    pub fn pins(&self) -> String {
        self.key("pins")
    }

    /// Remembers a sent message by its sender's own id.
    pub fn sent(&self, user: &UserId, cid: &ClientMsgId) -> String {
        self.key(&format!("sent:{user}:{cid}"))
    }

    /// The room's channel.
    pub fn live(&self) -> String {
        self.key("live")
    }

    /// A key of a lab variant that the server does not run by default.
    pub fn lab(&self, variant: &str, name: &str) -> String {
        self.key(&format!("lab:{variant}:{name}"))
    }

    /// The event stream of the room's partition.
    pub fn events(&self, topic: &str) -> String {
        format!("{{{}}}:events:{topic}", self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::slot;

    #[test]
    fn what_belongs_together_shares_a_slot() {
        let room = RoomId::new();
        let user = UserId::new();
        let keys = RoomKeys::new(&room);
        let all = [
            keys.meta(),
            keys.log(),
            keys.msg(),
            keys.pins(),
            keys.changes(),
            keys.marks(),
            keys.live(),
            keys.sent(&user, &"c".parse().unwrap()),
            keys.events("message.created"),
        ];
        assert!(all.iter().all(|k| slot(k.as_bytes()) == Partition::of(&room).slot()), "{all:?}");
        let session = SessionId::new(user);
        assert_eq!(slot(self::session(&session).as_bytes()), slot(user_sessions(&user).as_bytes()));
    }

    #[test]
    fn every_constructor_has_its_row_in_the_table() {
        let (room, user) = (RoomId::new(), UserId::new());
        let keys = RoomKeys::new(&room);
        let session = SessionId::new(user);
        let cid: ClientMsgId = "CIDX".parse().unwrap();
        let lease = InstanceId::new();
        for key in [
            keys.meta(),
            keys.log(),
            keys.msg(),
            keys.pins(),
            keys.changes(),
            keys.marks(),
            keys.live(),
            keys.sent(&user, &cid),
            keys.events("message.created"),
            events(Partition::of(&room), "TOPIC"),
            dead_events(Partition::of(&room), "TOPIC", "GROUP"),
            wait_mark(Partition::of(&room), lease).replace(&lease.to_string(), "INSTANCE"),
            self::session(&session),
            user_sessions(&user),
            rate("SUBJECT"),
            presence(&user),
            lease_connections(&lease),
            leases("TAG"),
            dead_leases("TAG"),
            user_lab(&user, "VARIANT", "NAME"),
            keys.lab("VARIANT", "NAME"),
            lab("TAG", "VARIANT", "NAME"),
            untagged_lab("VARIANT", "NAME"),
            probe("INSTANCE", 7).replace(":7", ":N"),
        ] {
            let pattern = key
                .replace(&Partition::of(&room).tag(), "pN")
                .replace(&room.to_string(), "RID")
                .replace(&session.secret(), "SECRET")
                .replace(&user.to_string(), "UID")
                .replace(&lease.to_string(), "LEASE")
                .replace("CIDX", "CID");
            assert!(TABLE.iter().any(|row| row.pattern == pattern), "no row for {pattern}");
        }
    }

    #[test]
    fn the_document_shows_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/KEYS.md");
        if std::env::var_os("CHATLAB_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text == markdown(), "docs/KEYS.md is out of date: run this test with CHATLAB_BLESS=1");
    }
}
