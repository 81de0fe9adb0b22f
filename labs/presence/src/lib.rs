//! Lab: presence. Who is online, on how many devices, when servers crash, pause and come back.

mod batch;
mod card_then_add;
mod checks;
mod counter;
#[cfg(feature = "exercise")]
mod exercise;
mod experiments;
mod fleet;
mod hash_field_ttl;
mod heartbeat;
mod history;
mod keys_listing;
mod lab;
mod leftovers;
mod local;
mod model;
mod plans;
mod set_members;
mod srem_any_close;
mod told_by_all;
mod ttl_keys;
mod variants;
mod workload;
mod world;
mod zset_heartbeat;
mod zset_lease;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ConnectionId, UserId},
};

pub use card_then_add::CardThenAdd;
pub use counter::Counter;
#[cfg(feature = "exercise")]
pub use exercise::Exercise;
pub use hash_field_ttl::HashFieldTtl;
pub use heartbeat::{Heartbeats, Structure};
pub use keys_listing::KeysListing;
pub use lab::{LAB, PresenceLab};
pub use set_members::SetMembers;
pub use srem_any_close::SremAnyClose;
pub use told_by_all::ToldByAll;
pub use ttl_keys::TtlKeys;
pub use variants::{build, build_in};
pub use zset_heartbeat::ZsetHeartbeat;
pub use zset_lease::ZsetLease;

/// The most users that one call of [`Presence::online`] may ask about.
pub const MAX_ASKED: usize = 256;
/// The most connections that one call of [`Presence::reap`] closes; what remains is for the next one.
pub const MAX_REAPED: usize = 4_096;

/// How long an instance is believed to be alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// An instance that has not refreshed for so long is dead, in milliseconds by Redis' clock. Nobody reaps it sooner, and
    /// who reaps it [`Policy::overdue_ms`] later or later still finds it.
    pub lease_ms: u64,
    /// How often an instance refreshes, in milliseconds: several times within a lease.
    pub refresh_ms: u64,
}

impl Default for Policy {
    /// Ten seconds, refreshed every three.
    fn default() -> Self {
        Self { lease_ms: 10_000, refresh_ms: 3_000 }
    }
}

impl Policy {
    /// How long after its last refresh an instance is dead for every reaper, in milliseconds: a quarter of a lease later, so
    /// that clocks of several nodes may differ a little.
    pub const fn overdue_ms(self) -> u64 {
        self.lease_ms + self.margin_ms()
    }

    /// How much later than its end a lease is treated as over by others than its owner, in milliseconds.
    pub(crate) const fn margin_ms(self) -> u64 {
        self.lease_ms / 4
    }
}

/// The port: what one server instance asks of presence.
///
/// A user is online while at least one connection is there, on whichever instance. Three rules:
///
/// - **Told in turn.** What is told about a user alternates: online, offline, online. It is told to exactly one caller, by
///   the answers of [`connect`](Self::connect), [`disconnect`](Self::disconnect), [`reap`](Self::reap) and
///   [`returned`](Self::returned). A user whose instance died stays online until somebody was told otherwise: who connects
///   before that brings nobody online. A caller that dies before it can read its answer takes that answer with it.
/// - **An instance that dies** is reaped by any other one: its connections end, and nothing of it stays.
/// - **An instance that was only paused** may find its connections reaped. Its next `refresh` takes them all back, and
///   `returned` names the users who came online by that.
///
/// An instance is alive from its first `connect` or `refresh` on, and for a lease after each `refresh`.
#[async_trait]
pub trait Presence: Send + Sync {
    /// A device connected to this instance. True when the user came online by this.
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool>;

    /// A connection of this instance closed. True when the user went offline by this. After an error it may be called again.
    async fn disconnect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool>;

    /// This instance is alive; called every [`Policy::refresh_ms`].
    async fn refresh(&self) -> LabResult<()>;

    /// Ends the connections of dead instances, at most about [`MAX_REAPED`] of them. The users who went offline by this; each
    /// is told to one caller only. Those already taken are answered even if Redis fails half-way.
    async fn reap(&self) -> LabResult<Vec<UserId>>;

    /// Who of `users` is online, in the order asked; at most [`MAX_ASKED`].
    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>>;

    /// How many connections a user has.
    async fn devices(&self, user: &UserId) -> LabResult<u64>;

    /// Redis may have lost what was written to it last: a master died and its replica lacked it. The next `refresh` that gets through
    /// writes down once more who is here, and who went lately.
    fn doubt(&self) {}

    /// Users who came online by a `refresh`, because this instance had only been paused; each is told once. Ask after each
    /// `refresh`.
    fn returned(&self) -> Vec<UserId> {
        Vec::new()
    }
}

/// Refuses a question about too many users.
fn check_asked(users: &[UserId]) -> LabResult<()> {
    if users.len() > MAX_ASKED {
        return Err(LabError::Bound { what: "users asked about at once", bound: MAX_ASKED as u64 });
    }
    Ok(())
}
