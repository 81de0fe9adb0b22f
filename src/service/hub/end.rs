//! Closing connections from outside: all, or those of a log-in or a user.

use std::collections::HashSet;

use chatlab_kit::{
    ids::{SessionId, UserId},
    wire::ErrorCode,
};

use super::{Hub, outbox::Closing};

impl Hub {
    /// Closes all connections for a reason.
    pub fn close_all(&self, closing: &Closing) {
        for entry in &self.connections {
            entry.outbox.close(closing.clone());
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

    /// The log-ins that have a connection here.
    pub fn sessions(&self) -> HashSet<SessionId> {
        self.connections.iter().map(|entry| entry.session.clone()).collect()
    }
}
