//! Who asks: somebody on a connection, or by a request of its own.

use std::sync::Arc;

use chatlab_kit::ids::{RoomId, UserId};

use super::{Chat, no_room, not_joined};
use crate::service::{
    ServiceError, ServiceResult,
    hub::{Connection, Rules},
    standing,
};

/// Who asks for something, and what is known of them.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// On a connection. Of a room that it listens to nothing need be asked, and what it is sent waits until it reads.
    Live(&'a Connection),
    /// By one request: whether they may, the archive says each time.
    Once(UserId),
    /// Who runs the server, and is no user: in no room, and over all members below the owner in each that is no direct chat.
    Operator,
}

impl<'a> From<&'a Connection> for By<'a> {
    fn from(connection: &'a Connection) -> Self {
        Self::Live(connection)
    }
}

impl<'a> From<&'a Arc<Connection>> for By<'a> {
    fn from(connection: &'a Arc<Connection>) -> Self {
        Self::Live(connection)
    }
}

impl By<'_> {
    /// Which user it is, if it is one.
    pub fn actor(&self) -> Option<UserId> {
        match self {
            Self::Live(connection) => Some(connection.user),
            Self::Once(user) => Some(*user),
            Self::Operator => None,
        }
    }

    /// Which user it is, for what only users do.
    ///
    /// # Errors
    /// `forbidden` for the operator.
    pub(super) fn user(&self) -> ServiceResult<UserId> {
        self.actor().ok_or_else(no_user)
    }

    /// Whether they are known to be in a room without asking.
    pub(super) fn is_in(&self, room: &RoomId) -> bool {
        matches!(self, Self::Live(connection) if connection.is_in(room))
    }

    /// Waits until there is room for a big answer.
    pub(super) async fn space(&self) {
        if let Self::Live(connection) = self {
            connection.space().await;
        }
    }
}

impl Chat {
    /// What a room allows, for who is to write there: on a connection one that it listens to.
    ///
    /// # Errors
    /// `forbidden` for who may not be there, or does not listen; `not_found`.
    pub(super) async fn rules(&self, by: By<'_>, room: &RoomId) -> ServiceResult<Rules> {
        match by {
            By::Live(connection) => connection.rules(room).ok_or_else(not_joined),
            By::Once(_) => {
                self.role(by, *room).await?;
                let info = self.archive.room(room, None).await?.ok_or_else(no_room)?;
                Ok(Rules::from(&info))
            }
            By::Operator => Err(no_user()),
        }
    }

    /// As [`rules`](Self::rules), where they do not matter.
    pub(super) async fn must_be_there(&self, by: By<'_>, room: RoomId) -> ServiceResult<()> {
        match by {
            By::Live(connection) if connection.is_in(&room) => Ok(()),
            By::Live(_) => Err(not_joined()),
            By::Once(_) => self.role(by, room).await.map(drop),
            By::Operator => Err(no_user()),
        }
    }

    /// Sees to it that the next message of a room has a new number. Who listens to the room came in by where it stands, and hears what
    /// befalls it; anybody else may be the first there after Redis has lost it.
    pub(super) async fn must_stand(&self, by: By<'_>, room: &RoomId) -> ServiceResult<()> {
        if !by.is_in(room) {
            standing::head(&*self.history, &*self.archive, room).await?;
        }
        Ok(())
    }
}

fn no_user() -> ServiceError {
    ServiceError::forbidden("only users do that, and the operator is none")
}
