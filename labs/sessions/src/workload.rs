//! The same logins, uses and lists for every variant.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{SessionId, UserId},
    lab::{Operation, Workload},
};

use crate::{Rotation, Sessions};

/// Users whose sessions are touched and listed; `n` goes round them.
const USERS: usize = 64;
/// The devices of each.
const DEVICES: usize = 4;

const OPERATIONS: &[Operation] = &[
    Operation { name: "create", weight: 5 },
    Operation { name: "touch", weight: 90 },
    Operation { name: "rotate", weight: 0 },
    Operation { name: "list", weight: 5 },
];

/// One variant and the users that it is asked about.
pub(crate) struct SessionsWorkload {
    sessions: Arc<dyn Sessions>,
    users: OnceLock<Vec<(UserId, Vec<SessionId>)>>,
}

impl SessionsWorkload {
    pub(crate) fn new(sessions: Arc<dyn Sessions>) -> Self {
        Self { sessions, users: OnceLock::new() }
    }

    fn user(&self, n: u64) -> LabResult<&(UserId, Vec<SessionId>)> {
        let users = self.users.get().ok_or_else(|| LabError::Other("the workload is not prepared".into()))?;
        Ok(&users[n as usize % users.len()])
    }
}

#[async_trait]
impl Workload for SessionsWorkload {
    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn prepare(&self) -> LabResult<()> {
        let mut users = Vec::with_capacity(USERS);
        for _ in 0..USERS {
            let user = UserId::new();
            let mut ids = Vec::with_capacity(DEVICES);
            for _ in 0..DEVICES {
                ids.push(self.sessions.create(&user, "Firefox on Linux").await?.id);
            }
            users.push((user, ids));
        }
        // A second call keeps the first users.
        let _ = self.users.set(users);
        Ok(())
    }

    async fn run(&self, operation: &str, n: u64) -> LabResult<()> {
        let wrong = |why: String| LabError::Corrupt { key: "a prepared session".into(), why };
        match operation {
            // A user of its own: the prepared ones keep their number of devices.
            "create" => self.sessions.create(&UserId::new(), "Firefox on Linux").await.map(drop),
            "touch" => {
                let (_, ids) = self.user(n)?;
                let id = &ids[n as usize / USERS % ids.len()];
                self.sessions.touch(id).await?.map(drop).ok_or_else(|| wrong("touch does not find it".into()))
            }
            // Each round over the users brings the next token of each one's first session: one caller at a time.
            "rotate" => {
                let (token, (_, ids)) = (n / USERS as u64, self.user(n)?);
                match self.sessions.rotate(&ids[0], token).await? {
                    Rotation::Next(next) if next == token + 1 => Ok(()),
                    other => Err(wrong(format!("token {token} is good, but the answer is {other:?}"))),
                }
            }
            "list" => match self.sessions.list(&self.user(n)?.0).await?.len() {
                DEVICES => Ok(()),
                other => Err(wrong(format!("{other} of {DEVICES} are listed"))),
            },
            other => Err(LabError::Other(format!("there is no operation {other}"))),
        }
    }
}
