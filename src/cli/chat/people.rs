//! What is asked about users: what they show of themselves, friends, and who writes most.

use chatlab_kit::{
    ids::UserId,
    wire::{FriendAct, FriendEntry, FriendState, Profile, Status},
};
use chatlab_load::client::NewProfile;
use serde_json::json;

use super::session::{Session, Trouble};

impl Session {
    /// Shows what somebody shows of themselves; oneself when nobody is named.
    pub(super) async fn profile(&mut self, named: &str) -> Result<(), Trouble> {
        let user = if named.is_empty() { None } else { Some(self.somebody(named).await?) };
        let profile = self.client.profile(user).await?;
        self.show_profile(&profile)
    }

    /// Says whether one is to be had, and what there is to say about it.
    pub(super) async fn status(&mut self, status: Status, text: String) -> Result<(), Trouble> {
        let new = NewProfile { status: Some(status), status_text: Some(text), about: None };
        let profile = self.client.set_profile(new).await?;
        self.show_profile(&profile)
    }

    /// Says something about oneself.
    pub(super) async fn about_oneself(&mut self, about: String) -> Result<(), Trouble> {
        let profile =
            self.client.set_profile(NewProfile { about: Some(about), ..NewProfile::default() }).await?;
        self.show_profile(&profile)
    }

    fn show_profile(&self, profile: &Profile) -> Result<(), Trouble> {
        let status = profile.status.map_or("offline", Status::as_str);
        let said =
            if profile.status_text.is_empty() { String::new() } else { format!(": {}", profile.status_text) };
        let mut lines = vec![
            (format!("  {} ", profile.user), format!("{} ({})", profile.name, profile.avatar.initials)),
            ("  status ".to_owned(), format!("{status}{said}")),
        ];
        if !profile.about.is_empty() {
            lines.push(("  about  ".to_owned(), profile.about.clone()));
        }
        if !profile.badges.is_empty() {
            let badges: Vec<String> = profile.badges.iter().map(word).collect();
            lines.push(("  badges ".to_owned(), badges.join(", ")));
        }
        if let Some(friend) = profile.friend {
            lines.push(("  friend ".to_owned(), in_words(friend).to_owned()));
        }
        Ok(self.show.list(&lines, &json!({ "t": "profile", "profile": profile }))?)
    }

    /// Shows one's friends, and who may become one.
    pub(super) async fn friends(&mut self) -> Result<(), Trouble> {
        let friends = self.client.friends().await?;
        self.show_friends(&friends)
    }

    /// Does something about a friend.
    pub(super) async fn friend(&mut self, act: FriendAct, named: &str) -> Result<(), Trouble> {
        let user = self.somebody(named).await?;
        let friends = self.client.friend(user, act).await?;
        self.show_friends(&friends)
    }

    fn show_friends(&self, friends: &[FriendEntry]) -> Result<(), Trouble> {
        let line = |entry: &FriendEntry| {
            let state = entry.state.map_or("", in_words);
            let status = entry.status.map(|status| format!(", {}", status.as_str())).unwrap_or_default();
            (format!("  {} ", entry.user), format!("{}, {state}{status}", entry.name))
        };
        let mut lines: Vec<_> = friends.iter().map(line).collect();
        if lines.is_empty() {
            lines.push((
                String::new(),
                "you have no friends here: /friend request USER asks somebody".to_owned(),
            ));
        }
        Ok(self.show.list(&lines, &json!({ "t": "friends", "friends": friends }))?)
    }

    /// Shows who has written most in the room, on so many days.
    pub(super) async fn leaders(&mut self, days: Option<u32>) -> Result<(), Trouble> {
        let here = self.here()?;
        let leaders = self.client.leaders(here, days).await?;
        let mut lines: Vec<_> = leaders
            .iter()
            .map(|leader| {
                (
                    format!("  {:>2}. ", leader.place),
                    format!(
                        "{}, {} text{}",
                        leader.name,
                        leader.texts,
                        if leader.texts == 1 { "" } else { "s" }
                    ),
                )
            })
            .collect();
        if lines.is_empty() {
            lines.push((
                String::new(),
                "nobody has written here; what was just said may come later".to_owned(),
            ));
        }
        Ok(self.show.list(&lines, &json!({ "t": "leaders", "leaders": leaders }))?)
    }

    /// Who is called so: one of the friends, or somebody in one's rooms.
    async fn somebody(&mut self, named: &str) -> Result<UserId, Trouble> {
        if named.parse::<UserId>().is_err() {
            let plain = named.trim_start_matches('@');
            let friends = self.client.friends().await?;
            if let Some(friend) = friends.iter().find(|friend| friend.name.eq_ignore_ascii_case(plain)) {
                return Ok(friend.user);
            }
        }
        self.user(named).await
    }
}

/// What somebody is to the one who reads it.
pub(super) const fn in_words(state: FriendState) -> &'static str {
    match state {
        FriendState::Friend => "your friend",
        FriendState::Asks => "asks to be your friend",
        FriendState::Asked => "was asked by you",
    }
}

/// A badge as it is written.
fn word(badge: &chatlab_kit::wire::Badge) -> String {
    json!(badge).as_str().unwrap_or_default().replace('_', " ")
}
