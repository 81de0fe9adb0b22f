//! Connections from outside: closing all, or those of a log-in or a user; telling a user.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use chatlab_kit::{
    ids::{SessionId, UserId},
    wire::ErrorCode,
};

use super::{Hub, frame::Frame, outbox::Closing};

impl Hub {
    /// Closes all connections for a reason.
    pub fn close_all(&self, closing: &Closing) {
        for entry in &self.connections {
            entry.outbox.close(closing.clone());
        }
    }

    /// Closes the connections from some addresses.
    pub fn close_where(&self, closing: &Closing, from: impl Fn(IpAddr) -> bool) {
        for entry in &self.connections {
            if entry.outbox.from.get().is_some_and(|address| from(*address)) {
                entry.outbox.close(closing.clone());
            }
        }
    }

    /// Closes the connections of a login session that was ended.
    pub fn close_session(&self, session: &SessionId) {
        for entry in self.connections.iter().filter(|entry| entry.session == *session) {
            entry.outbox.close(Closing::new(ErrorCode::SessionRevoked, "the session was ended"));
        }
    }

    /// Closes all connections of a user, whose sessions were ended.
    pub fn close_user(&self, user: &UserId) {
        for entry in self.connections.iter().filter(|entry| entry.user == *user) {
            entry.outbox.close(Closing::new(ErrorCode::SessionRevoked, "all sessions were ended"));
        }
    }

    /// Whether a user has a connection here.
    pub fn has_user(&self, user: &UserId) -> bool {
        self.connections.iter().any(|entry| entry.user == *user)
    }

    /// Queues a frame on all connections that a user has here.
    pub fn tell_user(&self, user: &UserId, frame: &Arc<Frame>) {
        for entry in self.connections.iter().filter(|entry| entry.user == *user) {
            entry.outbox.push(frame.clone());
        }
    }

    /// The log-ins that have a connection here.
    pub fn sessions(&self) -> HashSet<SessionId> {
        self.connections.iter().map(|entry| entry.session.clone()).collect()
    }
}
