//! Which addresses may come in: ranges that are denied or allowed, from the archive, looked at again all the time.
//!
//! Of the ranges that an address is in the narrowest decides; an address that is in none comes in. So one address can be denied or let
//! back in within a range, and `0.0.0.0/0` with `::/0` denied leaves those that are allowed. When ranges change, connections from
//! addresses that are denied now are closed. An archive that is away changes nothing.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use chatlab_kit::wire::ErrorCode;
use ipnet::IpNet;
use tokio::time::MissedTickBehavior;

use super::{
    ServiceError, ServiceResult,
    hub::{Hub, outbox::Closing},
    ports::{AddressRange, Archive, RangeVerdict},
};

/// How often the archive is asked.
const LOOK: Duration = Duration::from_millis(500);
/// The most ranges.
pub const MAX_RANGES: u32 = 10_000;

/// The ranges, for many questions.
#[derive(Debug, Default)]
struct List {
    /// By the length of their prefixes, of each family.
    four: BTreeMap<u8, HashMap<IpNet, RangeVerdict>>,
    six: BTreeMap<u8, HashMap<IpNet, RangeVerdict>>,
}

impl List {
    fn new(ranges: &[AddressRange]) -> Self {
        let mut list = Self::default();
        for range in ranges {
            let family = if range.net.addr().is_ipv4() { &mut list.four } else { &mut list.six };
            family.entry(range.net.prefix_len()).or_default().insert(range.net.trunc(), range.verdict);
        }
        list
    }

    fn admits(&self, address: IpAddr) -> bool {
        // An IPv4 address that came through an IPv6 socket is the same address.
        let address = address.to_canonical();
        let family = if address.is_ipv4() { &self.four } else { &self.six };
        let narrowest = family.iter().rev().find_map(|(length, ranges)| {
            let range = IpNet::new(address, *length).ok()?.trunc();
            ranges.get(&range).copied()
        });
        narrowest != Some(RangeVerdict::Deny)
    }
}

/// Says who may come in.
pub struct Addresses {
    archive: Arc<dyn Archive>,
    hub: Arc<Hub>,
    known: RwLock<(Vec<AddressRange>, Arc<List>)>,
}

impl Addresses {
    /// With the ranges that there are now.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn load(archive: Arc<dyn Archive>, hub: Arc<Hub>) -> ServiceResult<Self> {
        let ranges = archive.ranges(MAX_RANGES).await?;
        let list = Arc::new(List::new(&ranges));
        Ok(Self { archive, hub, known: RwLock::new((ranges, list)) })
    }

    /// Whether somebody may come in from there.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn admit(&self, address: IpAddr) -> ServiceResult<()> {
        if self.list().admits(address) { Ok(()) } else { Err(ServiceError::forbidden(DENIED)) }
    }

    fn list(&self) -> Arc<List> {
        self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).1.clone()
    }

    /// Looks again and again, for ever.
    pub async fn tend(&self) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            match self.archive.ranges(MAX_RANGES).await {
                Ok(ranges) => self.hear(ranges),
                // What was known holds on; readiness tells that the archive is away.
                Err(error) => tracing::debug!(%error, "addresses.not_looked"),
            }
        }
    }

    fn hear(&self, ranges: Vec<AddressRange>) {
        let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.0 == ranges {
            return;
        }
        tracing::info!(ranges = ranges.len(), "addresses.changed");
        let list = Arc::new(List::new(&ranges));
        *known = (ranges, list.clone());
        drop(known);
        let closing = Closing::new(ErrorCode::Forbidden, DENIED);
        self.hub.close_where(&closing, |from| !list.admits(from));
    }
}

const DENIED: &str = "connections from your address are not allowed";

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ranges: &[(&str, RangeVerdict)]) -> List {
        let range = |(net, verdict): &(&str, RangeVerdict)| AddressRange {
            net: net.parse().unwrap(),
            verdict: *verdict,
            note: String::new(),
        };
        List::new(&ranges.iter().map(range).collect::<Vec<_>>())
    }

    #[test]
    fn the_narrowest_range_decides() {
        use RangeVerdict::{Allow, Deny};
        let some = list(&[
            ("10.0.0.0/8", Deny),
            ("10.1.0.0/16", Allow),
            ("10.1.2.3/32", Deny),
            ("2001:db8::/32", Deny),
            ("2001:db8:1::/48", Allow),
        ]);
        for (address, comes_in) in [
            ("10.0.0.1", false),
            ("10.1.0.1", true),
            ("10.1.2.3", false),
            ("10.1.2.4", true),
            ("11.0.0.1", true),
            ("::ffff:10.0.0.1", false),
            ("::ffff:10.1.0.1", true),
            ("2001:db8::1", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", true),
        ] {
            assert_eq!(some.admits(address.parse().unwrap()), comes_in, "{address}");
        }
        let only = list(&[("0.0.0.0/0", Deny), ("::/0", Deny), ("192.0.2.0/24", Allow)]);
        assert!(only.admits("192.0.2.7".parse().unwrap()));
        for out in ["192.0.3.7", "::1"] {
            assert!(!only.admits(out.parse().unwrap()), "{out}");
        }
        assert!(List::default().admits("192.0.2.7".parse().unwrap()));
    }
}
