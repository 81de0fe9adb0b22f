//! What a member may do by their role: one table, asked by every service.

use super::ports::Role;

/// What not every member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Take the text out of what somebody else wrote.
    DeleteOthers,
    /// Pin messages, and take pins away.
    Pin,
    /// End memberships and bans, and ban.
    Remove,
    /// Give roles.
    SetRole,
    /// Let somebody in.
    Add,
    /// Change the room's settings.
    Settings,
    /// Write in a room that is read only, and without a pause in slow mode.
    WriteFreely,
}

/// Whether a member of this role may do that.
pub fn may(role: Role, right: Right) -> bool {
    let least = match right {
        Right::DeleteOthers | Right::Pin | Right::Remove | Right::Add | Right::WriteFreely => Role::Moderator,
        Right::SetRole | Right::Settings => Role::Admin,
    };
    role >= least
}

/// Whether one who may do something to members at all may do it to one of that role: only to those below.
pub fn outranks(role: Role, other: Role) -> bool {
    role > other
}
