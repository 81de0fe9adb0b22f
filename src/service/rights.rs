//! What a member may do by their role: one table, asked by every service.

use super::ports::Role;

/// What not every member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Take the text out of what somebody else wrote.
    DeleteOthers,
    /// Pin messages, and take pins away.
    Pin,
}

/// Whether a member of this role may do that.
pub const fn may(role: Role, right: Right) -> bool {
    match (right, role) {
        (Right::DeleteOthers | Right::Pin, Role::Owner) => true,
        (Right::DeleteOthers | Right::Pin, Role::Member) => false,
    }
}
