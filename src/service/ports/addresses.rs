//! What the services ask about addresses.

use std::str::FromStr;

use async_trait::async_trait;
use ipnet::IpNet;

use super::ArchiveError;

/// What becomes of who comes from a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeVerdict {
    /// They come in.
    Allow,
    /// They are refused.
    Deny,
}

impl RangeVerdict {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl FromStr for RangeVerdict {
    type Err = ArchiveError;

    fn from_str(text: &str) -> Result<Self, ArchiveError> {
        let found = [Self::Allow, Self::Deny].into_iter().find(|verdict| verdict.as_str() == text);
        found.ok_or_else(|| ArchiveError::Corrupt(format!("`{text}` is neither allow nor deny")))
    }
}

/// A range of addresses, and what becomes of who comes from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRange {
    /// The addresses; no bit set behind the prefix.
    pub net: IpNet,
    /// What becomes of them.
    pub verdict: RangeVerdict,
    /// Why, for people.
    pub note: String,
}

/// The port: ranges of addresses. Every method is one transaction.
#[async_trait]
pub trait AddressBook: Send + Sync {
    /// The ranges, at most `limit` of them, in a fixed order.
    async fn ranges(&self, limit: u32) -> Result<Vec<AddressRange>, ArchiveError>;

    /// Puts a range down, in place of what was there about the same one; false when there are `most` already.
    async fn put_range(&self, range: &AddressRange, most: u32) -> Result<bool, ArchiveError>;

    /// Takes a range out; false when there is none.
    async fn drop_range(&self, net: &IpNet) -> Result<bool, ArchiveError>;
}
