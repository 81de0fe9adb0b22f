//! Hash slots and partitions.
//!
//! A Redis cluster stores a key by `CRC16(tag) mod 16384`, where the tag is what stands between the
//! first `{` and the next `}` (the whole key when there is none). chatlab spreads rooms over
//! [`PARTITIONS`] tags that are chosen so that partition *i* lies in the *i*-th of 256 equal ranges
//! of slots: whichever way a cluster cuts the slots into contiguous ranges, nodes get even shares.
//! Tags like `{p0}`, `{p1}`, … in counting order would leave some nodes with half again the load of others.

use crate::ids::{RoomId, UserId};

/// The number of slots of every Redis cluster.
pub const SLOTS: u16 = 16_384;
/// The number of partitions that rooms are spread over.
pub const PARTITIONS: usize = 256;

/// CRC-16/XMODEM (polynomial 0x1021, initial value 0), as in the Redis cluster specification.
const fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut i = 0;
    while i < bytes.len() {
        crc ^= (bytes[i] as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        i += 1;
    }
    crc
}

/// The slot of a key, by the rule of the cluster specification.
pub fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&b| b == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|&b| b == b'}')?;
        (close > 0).then_some(&rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// `p` and up to four digits: the longest tag that [`tags`] has to try.
const MAX_TAG: usize = 5;

/// The slot of the tag `pN`, at compile time.
const fn tag_slot(n: u16) -> u16 {
    let mut text = [b'p'; MAX_TAG];
    let mut divisor = 1;
    while n / divisor >= 10 {
        divisor *= 10;
    }
    let mut len = 1;
    while divisor > 0 {
        text[len] = b'0' + ((n / divisor) % 10) as u8;
        len += 1;
        divisor /= 10;
    }
    crc16(text.split_at(len).0) % SLOTS
}

/// For each partition the smallest number whose tag falls into the partition's range of slots.
#[expect(clippy::panic, reason = "runs in the compiler only")]
const fn tags() -> [u16; PARTITIONS] {
    const RANGE: usize = SLOTS as usize / PARTITIONS;
    let mut found = [u16::MAX; PARTITIONS];
    let mut missing = PARTITIONS;
    let mut n = 0;
    while missing > 0 {
        if n == 10_000 {
            panic!("some range of slots has no tag of four digits");
        }
        let bucket = tag_slot(n) as usize / RANGE;
        if found[bucket] == u16::MAX {
            found[bucket] = n;
            missing -= 1;
        }
        n += 1;
    }
    found
}

static TAGS: [u16; PARTITIONS] = tags();

/// One of the [`PARTITIONS`] shares of all rooms. Whatever one script touches together is in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// The first one: for what is about nobody.
    pub const FIRST: Self = Self(0);

    /// The partition of a room. It follows from the id alone and never changes.
    pub fn of(room: &RoomId) -> Self {
        Self((crc16(room.0.as_bytes()) % PARTITIONS as u16) as u8)
    }

    /// The partition of what is about a user and no room.
    pub fn of_user(user: &UserId) -> Self {
        Self((crc16(user.0.as_bytes()) % PARTITIONS as u16) as u8)
    }

    /// From 0 to 255: its place among all of them.
    pub const fn index(self) -> u8 {
        self.0
    }

    /// All partitions.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// The hash tag without braces, such as `p17`.
    pub fn tag(self) -> String {
        format!("p{}", TAGS[usize::from(self.0)])
    }

    /// The slot of every key of this partition.
    pub fn slot(self) -> u16 {
        tag_slot(TAGS[usize::from(self.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), crc16(b"{bar") % SLOTS);
    }

    #[test]
    fn partitions_lie_evenly_over_the_slots() {
        for (i, partition) in Partition::all().enumerate() {
            assert_eq!(usize::from(partition.slot()) / 64, i);
            assert_eq!(slot(format!("{{{}}}:x", partition.tag()).as_bytes()), partition.slot());
        }
    }

    #[test]
    fn rooms_spread_over_partitions_without_skew() {
        let mut counts = [0u32; PARTITIONS];
        for i in 0..25_600u128 {
            let room =
                RoomId(uuid::Uuid::from_u128(i.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)));
            counts[usize::from(Partition::of(&room).0)] += 1;
        }
        assert!(counts.iter().all(|&c| (50..=160).contains(&c)), "{counts:?}");
    }
}
