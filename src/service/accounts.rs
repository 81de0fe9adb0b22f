//! Accounts: register, log in, authenticate, refresh, log out.

use std::sync::Arc;

use chatlab_kit::{
    ids::{SessionId, UserId},
    wire::ErrorCode,
};
use chatlab_sessions::{MAX_DEVICE_BYTES, Rotation, Session, Sessions};

use super::{
    ServiceError, ServiceResult,
    events::{Event, Events, Topic},
    limits::{Caller, Deed, Limits},
    notices::{Ended, Notices},
    now_ms,
    passwords::Passwords,
    ports::{Archive, ArchiveError, UserRecord},
    tokens::{Bearer, Refresh, Tokens},
};

/// The shortest name, in characters.
pub const MIN_NAME: usize = 3;
/// The longest name, in characters.
pub const MAX_NAME: usize = 32;
/// The shortest password, in characters.
pub const MIN_PASSWORD: usize = 8;
/// The longest password, in characters.
pub const MAX_PASSWORD: usize = 128;

/// What a log-in or a refresh gives.
#[derive(Debug, Clone)]
pub struct Login {
    /// The access token.
    pub token: String,
    /// How long it lives, in seconds.
    pub expires_in_s: u64,
    /// What gives the next tokens, once.
    pub refresh_token: String,
    /// How long that lives at most, in seconds.
    pub refresh_expires_in_s: u64,
    /// Who logged in.
    pub user: UserId,
    /// The login session.
    pub session: SessionId,
}

/// Users and their login sessions.
pub struct Accounts {
    archive: Arc<dyn Archive>,
    sessions: Arc<dyn Sessions>,
    passwords: Passwords,
    tokens: Tokens,
    limits: Limits,
    events: Events,
    notices: Arc<Notices>,
}

impl Accounts {
    /// Over the archive's users and the live sessions. Who ends a session tells `notices`.
    pub fn new(
        archive: Arc<dyn Archive>,
        sessions: Arc<dyn Sessions>,
        passwords: Passwords,
        tokens: Tokens,
        limits: Limits,
        events: Events,
        notices: Arc<Notices>,
    ) -> Self {
        Self { archive, sessions, passwords, tokens, limits, events, notices }
    }

    /// Makes an account and logs in.
    ///
    /// # Errors
    /// `invalid` for a name or password out of bounds, `conflict` for a taken name, `rate_limited`.
    pub async fn register(
        &self,
        name: &str,
        password: String,
        device: &str,
        caller: &Caller,
    ) -> ServiceResult<Login> {
        check_name(name)?;
        check_password(&password)?;
        check_device(device)?;
        self.limits.admit(Deed::Register, caller, Some(name)).await?;
        let password_hash = self.passwords.hash(password).await?;
        let user =
            UserRecord { id: UserId::new(), name: name.to_owned(), password_hash, created_ms: now_ms() };
        self.archive.add_user(&user).await.map_err(|e| match e {
            ArchiveError::Conflict => ServiceError::new(ErrorCode::Conflict, "the name is taken"),
            other => other.into(),
        })?;
        self.audit("account.registered", user.id);
        self.start(&user.id, device).await
    }

    fn audit(&self, action: &str, user: UserId) {
        self.events.tell(Topic::AuditLog, Event::new(action, Some(user), None));
    }

    /// Starts a session.
    ///
    /// # Errors
    /// `unauthorized`, the same for an unknown name and a wrong password, after the same time; `rate_limited`.
    pub async fn log_in(
        &self,
        name: &str,
        password: String,
        device: &str,
        caller: &Caller,
    ) -> ServiceResult<Login> {
        check_device(device)?;
        let refuse = || ServiceError::new(ErrorCode::Unauthorized, "name or password is wrong");
        let possible = password.chars().count() <= MAX_PASSWORD && check_name(name).is_ok();
        self.limits.admit(Deed::LogIn, caller, possible.then_some(name)).await?;
        if !possible {
            return Err(refuse());
        }
        let user = self.archive.user_by_name(name).await?;
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        let fits = self.passwords.verify(password, stored).await?;
        match user {
            Some(user) if fits => self.start(&user.id, device).await,
            known => {
                let (user, detail) = (known.map(|user| user.id), name.to_owned());
                let event = Event { detail, ..Event::new("login.refused", user, None) };
                self.events.tell(Topic::AuditLog, event);
                Err(refuse())
            }
        }
    }

    /// Who is there: the token is verified and its session must be live (which counts as use).
    ///
    /// # Errors
    /// `unauthorized`, `token_expired` or `session_revoked`.
    pub async fn authenticate(&self, token: &str) -> ServiceResult<Bearer> {
        let bearer = self.tokens.verify(token)?;
        self.check_session(&bearer.session).await?;
        Ok(bearer)
    }

    /// That a session is still live; counts as use of it.
    ///
    /// # Errors
    /// `session_revoked` when it is not.
    pub async fn check_session(&self, session: &SessionId) -> ServiceResult<()> {
        match self.sessions.touch(session).await? {
            Some(_) => Ok(()),
            None => Err(over("the session was ended, log in again")),
        }
    }

    /// For a connection that was authenticated and is registered now: that its session did not end in between.
    ///
    /// # Errors
    /// `session_revoked` when it did.
    pub async fn still_live(&self, session: &SessionId) -> ServiceResult<()> {
        if self.notices.doubts(session) { self.check_session(session).await } else { Ok(()) }
    }

    /// New tokens for a session. Each refresh token is good once; one that comes again is in two hands, so the session ends for both.
    ///
    /// # Errors
    /// `unauthorized`, `token_expired` or `session_revoked`; `rate_limited`.
    pub async fn refresh(&self, token: &str, caller: &Caller) -> ServiceResult<Login> {
        let Refresh { session, number } = self.tokens.verify_refresh(token)?;
        self.limits.admit(Deed::Refresh, caller, None).await?;
        match self.sessions.rotate(&session, number).await? {
            Rotation::Next(next) => self.tokens_of(session, next),
            Rotation::Over => Err(over("the session was ended, log in again")),
            Rotation::Stolen => {
                self.audit("session.refresh_reused", session.user);
                self.notices.ended(&Ended::Session(session)).await;
                Err(over("this refresh token was used before: the session is ended, log in again"))
            }
        }
    }

    /// Ends a session and closes its connections everywhere; false when it was not live.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn log_out(&self, session: &SessionId) -> ServiceResult<bool> {
        let ended = self.sessions.revoke(session).await?;
        if ended {
            self.audit("session.ended", session.user);
            self.notices.ended(&Ended::Session(session.clone())).await;
        }
        Ok(ended)
    }

    /// Ends all sessions of a user and closes their connections everywhere; how many were live.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn log_out_everywhere(&self, user: UserId) -> ServiceResult<u64> {
        self.end_all(user, Event::new("sessions.ended", Some(user), None)).await
    }

    /// The same by the operator, who is no user.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn log_out_by_operator(&self, user: UserId) -> ServiceResult<u64> {
        let event = Event { detail: user.to_string(), ..Event::new("sessions.ended", None, None) };
        self.end_all(user, event).await
    }

    async fn end_all(&self, user: UserId, event: Event) -> ServiceResult<u64> {
        let ended = self.sessions.revoke_all(&user).await?;
        self.events.tell(Topic::AuditLog, event);
        self.notices.ended(&Ended::User(user)).await;
        Ok(ended)
    }

    /// A user's live sessions, the newest login first.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn sessions(&self, user: &UserId) -> ServiceResult<Vec<Session>> {
        Ok(self.sessions.list(user).await?)
    }

    /// A session and a token for a user who has shown who they are.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn start(&self, user: &UserId, device: &str) -> ServiceResult<Login> {
        let session = self.sessions.create(user, device).await?.id;
        self.audit("session.started", *user);
        // A new session's first refresh token has the number 0.
        self.tokens_of(session, 0)
    }

    fn tokens_of(&self, session: SessionId, refresh: u64) -> ServiceResult<Login> {
        Ok(Login {
            token: self.tokens.mint(&session)?,
            expires_in_s: self.tokens.ttl_s(),
            refresh_token: self.tokens.mint_refresh(&session, refresh)?,
            refresh_expires_in_s: self.tokens.refresh_ttl_s(),
            user: session.user,
            session,
        })
    }
}

fn over(why: &str) -> ServiceError {
    ServiceError::new(ErrorCode::SessionRevoked, why)
}

fn check_name(name: &str) -> ServiceResult<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if (MIN_NAME..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ServiceError::invalid(format!("name: {MIN_NAME} to {MAX_NAME} characters of A-Z a-z 0-9 _ . -")))
}

fn check_password(password: &str) -> ServiceResult<()> {
    if (MIN_PASSWORD..=MAX_PASSWORD).contains(&password.chars().count()) {
        return Ok(());
    }
    Err(ServiceError::invalid(format!("password: {MIN_PASSWORD} to {MAX_PASSWORD} characters")))
}

fn check_device(device: &str) -> ServiceResult<()> {
    if device.len() <= MAX_DEVICE_BYTES && !device.chars().any(char::is_control) {
        return Ok(());
    }
    Err(ServiceError::invalid(format!("device: at most {MAX_DEVICE_BYTES} bytes without control characters")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_have_bounds() {
        for good in ["abc", "A.b_c-9", &"x".repeat(32)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "a b", "ä-umlaut", &"x".repeat(33), "a{b}"] {
            assert_eq!(check_name(bad).unwrap_err().code, ErrorCode::Invalid, "{bad}");
        }
        assert!(check_password("ääääääää").is_ok());
        assert!(check_password("1234567").is_err());
        assert!(check_password(&"x".repeat(129)).is_err());
    }
}
