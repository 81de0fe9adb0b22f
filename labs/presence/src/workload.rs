//! The same devices and questions for every variant.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ConnectionId, UserId},
    lab::{Operation, Workload},
};

use crate::Presence;

/// Users that are online all the time; `n` goes round them.
const USERS: usize = 256;
/// How many users a question is about: a room's members on the screen.
const ASKED: usize = 32;

const OPERATIONS: &[Operation] = &[
    Operation { name: "connect", weight: 10 },
    Operation { name: "disconnect", weight: 10 },
    Operation { name: "online", weight: 75 },
    Operation { name: "devices", weight: 4 },
    Operation { name: "refresh", weight: 1 },
    Operation { name: "reap", weight: 0 },
];

/// One variant and the users that it is asked about.
pub(crate) struct PresenceWorkload {
    presence: Arc<dyn Presence>,
    users: OnceLock<Vec<UserId>>,
}

impl PresenceWorkload {
    pub(crate) fn new(presence: Arc<dyn Presence>) -> Self {
        Self { presence, users: OnceLock::new() }
    }

    fn users(&self) -> LabResult<&[UserId]> {
        self.users
            .get()
            .map(Vec::as_slice)
            .ok_or_else(|| LabError::Other("the workload is not prepared".into()))
    }

    /// One device more of a user who is online anyway, and its end.
    async fn visit(&self, n: u64, close: bool) -> LabResult<()> {
        let users = self.users()?;
        let (user, conn) = (users[n as usize % users.len()], ConnectionId::new());
        if self.presence.connect(&user, &conn).await? {
            return Err(wrong("a second device brings its user online".into()));
        }
        if close && self.presence.disconnect(&user, &conn).await? {
            return Err(wrong("the first of two devices takes its user offline".into()));
        }
        Ok(())
    }
}

fn wrong(why: String) -> LabError {
    LabError::Corrupt { key: "a prepared user".into(), why }
}

#[async_trait]
impl Workload for PresenceWorkload {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        let mut users = Vec::with_capacity(USERS);
        for _ in 0..USERS {
            let user = UserId::new();
            self.presence.connect(&user, &ConnectionId::new()).await?;
            users.push(user);
        }
        // A second call keeps the first users.
        let _ = self.users.set(users);
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        match operation {
            "connect" => self.presence.connect(&UserId::new(), &ConnectionId::new()).await.map(drop),
            // With the connect that it needs.
            "disconnect" => self.visit(n, true).await,
            "online" => {
                let users = self.users()?;
                let asked: Vec<UserId> =
                    (0..ASKED).map(|i| users[(n as usize * ASKED + i) % users.len()]).collect();
                match self.presence.online(&asked).await?.len() {
                    ASKED => Ok(()),
                    other => Err(wrong(format!("{other} of {ASKED} answers"))),
                }
            }
            "devices" => {
                let users = self.users()?;
                self.presence.devices(&users[n as usize % users.len()]).await.map(drop)
            }
            "refresh" => self.presence.refresh().await,
            "reap" => self.presence.reap().await.map(drop),
            other => Err(LabError::Other(format!("there is no operation {other}"))),
        }
    }
}
