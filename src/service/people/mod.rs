//! Users as others see them: profiles, statuses, friends, badges.

mod badges;
mod friends;

use std::sync::Arc;

use chatlab_kit::{
    ids::UserId,
    wire::{Avatar, ErrorCode, MAX_ABOUT, MAX_STATUS_TEXT, Profile},
};

use super::{
    ServiceError, ServiceResult,
    attendance::Attendance,
    events::{Event, Events, Topic},
    notices::Notices,
    now_ms,
    ports::{Archive, ProfileChange, ProfileRecord},
};

/// What users show of themselves and are to each other.
pub struct People {
    archive: Arc<dyn Archive>,
    attendance: Arc<Attendance>,
    notices: Arc<Notices>,
    events: Events,
}

impl People {
    /// Over the archive and who is online; who is concerned is told by `notices`.
    pub fn new(
        archive: Arc<dyn Archive>,
        attendance: Arc<Attendance>,
        notices: Arc<Notices>,
        events: Events,
    ) -> Self {
        Self { archive, attendance, notices, events }
    }

    /// A user as `viewer` sees them: themselves, or another one.
    ///
    /// # Errors
    /// `not_found` for who is no user, or blocks the viewer.
    pub async fn profile(&self, viewer: UserId, of: Option<UserId>) -> ServiceResult<Profile> {
        let user = of.unwrap_or(viewer);
        let record = self.archive.profile(&user).await?.ok_or_else(nobody)?;
        if user == viewer {
            let status = Some(record.standing.status);
            return Ok(Profile { status, ..shown(record) });
        }
        if !self.archive.blockers(&viewer, &[user]).await?.is_empty() {
            return Err(nobody());
        }
        let seen = self.attendance.seen(&[user], Some(viewer)).await?;
        let status = seen.first().map(|(_, standing)| standing.status);
        let friend = self.archive.friend_state(&viewer, &user).await?;
        Ok(Profile { status, friend, ..shown(record) })
    }

    /// Changes what a user shows of themselves; what that is now.
    ///
    /// # Errors
    /// `invalid` for a text that can't be.
    pub async fn set_profile(&self, user: UserId, change: ProfileChange) -> ServiceResult<Profile> {
        check(&change)?;
        let before = self.archive.set_profile(&user, &change).await?.ok_or_else(nobody)?;
        let status = change.status.unwrap_or(before.status);
        let text = change.status_text.as_ref().unwrap_or(&before.text);
        let same = status == before.status && *text == before.text;
        // What one says while one hides is not told: it would say that one is there.
        if !same && (status.shown().is_some() || before.status.shown().is_some()) {
            self.attendance.changed(user);
        }
        self.events.tell(Topic::AuditLog, Event::new("profile.changed", Some(user), None));
        self.profile(user, None).await
    }
}

fn check(change: &ProfileChange) -> ServiceResult<()> {
    let long = |text: &str, most: usize| text.chars().count() > most;
    if let Some(about) = &change.about
        && (long(about, MAX_ABOUT) || about.chars().any(|c| c.is_control() && c != '\n'))
    {
        let wrong = format!("about: at most {MAX_ABOUT} characters, of control characters only line breaks");
        return Err(ServiceError::invalid(wrong));
    }
    if let Some(text) = &change.status_text
        && (long(text, MAX_STATUS_TEXT) || text.chars().any(char::is_control))
    {
        let wrong = format!("status_text: at most {MAX_STATUS_TEXT} characters, no control characters");
        return Err(ServiceError::invalid(wrong));
    }
    Ok(())
}

/// What everybody sees.
fn shown(record: ProfileRecord) -> Profile {
    Profile {
        badges: badges::of(&record, now_ms()),
        avatar: Avatar::of(&record.name, record.id.0.as_bytes()),
        user: record.id,
        name: record.name,
        about: record.about,
        status: None,
        status_text: record.standing.text,
        since_ms: u64::try_from(record.created_ms).unwrap_or_default(),
        friend: None,
    }
}

fn nobody() -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, "user: there is no such user")
}
