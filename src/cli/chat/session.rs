//! The connection: what comes on it, and coming back when it is lost.

use std::time::Duration;

use anyhow::{Context, bail};
use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{Position, Seq},
    wire::{ErrorCode, MAX_WHO, ServerFrame},
};
use chatlab_load::client::{ClientError, WsClient};
use serde_json::json;

use super::{
    find::names_room,
    input::{Line, Lines},
    login::Access,
    names::{Names, Numbers},
    show::{Show, clean},
};

/// The wait before the first try to connect again; each further one waits twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// The longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long nothing may come until the connection is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(50);
/// How long the end of a pipe waits for one's own last message to come.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a close may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// The messages that are shown of a room when somebody at a terminal comes there.
const BACKLOG: u32 = 10;
/// The most letters of a room's name in the prompt.
const PROMPT_MAX: usize = 24;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to.
    Fine,
    /// A line of the pipe was refused.
    Refused,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The server's answer, or the lack of one.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The line itself is wrong.
    #[error("{0}")]
    Line(String),
    /// Nobody reads.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

impl Trouble {
    /// Whether the connection is gone, or as good as.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Client(ClientError::Refused { code, .. }) => {
                matches!(code, ErrorCode::TokenExpired | ErrorCode::GoingAway)
            }
            Self::Client(ClientError::Id(_)) | Self::Line(_) | Self::Output(_) => false,
            Self::Client(_) => true,
        }
    }
}

/// A room that is listened to.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub(super) id: RoomId,
    pub(super) name: String,
}

/// Somebody's connection, and what is known so far.
pub struct Session {
    pub(super) client: WsClient,
    access: Access,
    token: String,
    pub(super) me: UserId,
    /// All that are listened to; the server bounds them.
    pub(super) rooms: Vec<Room>,
    pub(super) current: Option<RoomId>,
    pub(super) names: Names,
    pub(super) numbers: Numbers,
    pub(super) show: Show,
    /// The number of one's own last message in the current room.
    pub(super) said: Option<Seq>,
    pub(super) refused: bool,
    tries: u32,
    /// The server's last word.
    bye: Option<(ErrorCode, String)>,
}

impl Session {
    /// Logs in and connects. A lost connection will be tried again so often.
    ///
    /// # Errors
    /// When the server is out of reach, or refuses.
    pub async fn open(mut access: Access, show: Show, tries: u32) -> anyhow::Result<Self> {
        let token = access.log_in().await?;
        let client = WsClient::connect(&access.ws_url(), &token).await;
        let client =
            client.map_err(|error| anyhow::anyhow!(clean(&error.to_string()))).with_context(|| {
                format!("{} let {} in, but not on its WebSocket", access.url(), clean(access.name()))
            })?;
        let me = client.welcome().map(|welcome| welcome.user).context("the server named no user")?;
        let mut names = Names::default();
        names.keep(me, access.name());
        let (rooms, current, numbers) = (Vec::new(), None, Numbers::default());
        let (said, refused, bye) = (None, false, None);
        Ok(Self {
            client,
            access,
            token,
            me,
            rooms,
            current,
            names,
            numbers,
            show,
            said,
            refused,
            tries,
            bye,
        })
    }

    /// Where it is shown.
    pub fn show(&self) -> &Show {
        &self.show
    }

    /// What asks for a line: the room.
    pub fn prompt(&self) -> String {
        let name = self.current.map_or_else(|| "no room".to_owned(), |room| self.room_name(room));
        clean(&name).chars().take(PROMPT_MAX).collect()
    }

    pub(super) fn room_name(&self, room: RoomId) -> String {
        let known = self.rooms.iter().find(|known| known.id == room);
        known.map_or_else(|| room.to_string(), |room| room.name.clone())
    }

    /// Joins the room that was named, or says how to name one.
    ///
    /// # Errors
    /// When there is no such room, or it can't be joined.
    pub async fn enter(&mut self, room: Option<&str>) -> anyhow::Result<()> {
        let Some(named) = room else {
            let text = format!(
                "{} is logged in at {}. /rooms lists your rooms, /join ROOM talks in one, /create NAME makes one, /help lists the rest.",
                self.access.name(),
                self.access.url()
            );
            return Ok(self.show.note(&text, &json!({ "t": "ready", "user": self.me }))?);
        };
        let joined = match self.room(named).await {
            Ok(room) => self.join(room).await,
            Err(trouble) => Err(trouble),
        };
        joined.map_err(|trouble| match trouble {
            Trouble::Output(error) => error.into(),
            trouble => anyhow::anyhow!(
                "{} can't talk in {} at {}: {}. `chatlab chat` without a room, then /rooms, lists the rooms; /create makes one",
                clean(self.access.name()),
                clean(named),
                self.access.url(),
                clean(&explain(&trouble))
            ),
        })
    }

    /// Handles lines and events until the end of either.
    ///
    /// # Errors
    /// When the connection is lost for good, or nothing can be read or printed.
    pub async fn run(&mut self, lines: &mut Lines) -> anyhow::Result<Ended> {
        loop {
            self.tell_queued().await?;
            tokio::select! {
                line = lines.next() => {
                    let Some(line) = line? else { break };
                    if self.handle(line).await? {
                        break;
                    }
                    self.tell_queued().await?;
                    lines.handled(self.prompt());
                }
                event = self.client.next_event(QUIET) => self.heard(event).await?,
            }
        }
        self.last_words().await?;
        let refused = self.refused && self.show.printer().is_none();
        Ok(if refused { Ended::Refused } else { Ended::Fine })
    }

    /// Shows what came while something else was waited for.
    async fn tell_queued(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.client.queued() {
            self.heard(Ok(event)).await?;
        }
        Ok(())
    }

    async fn heard(&mut self, event: Result<ServerFrame, ClientError>) -> anyhow::Result<()> {
        let trouble = match event {
            Ok(ServerFrame::Bye { code, message, .. }) => {
                self.bye = Some((code, message));
                return Ok(());
            }
            Ok(event) => match self.event(&event).await {
                Ok(()) => return Ok(()),
                Err(trouble) => trouble,
            },
            Err(ClientError::Timeout(_)) => match self.client.ping().await {
                Ok(()) => return Ok(()),
                Err(error) => error.into(),
            },
            // What a newer server may say is not for us.
            Err(ClientError::Protocol(_)) => return Ok(()),
            Err(error) => error.into(),
        };
        if trouble.is_lost() { self.come_back().await } else { Err(trouble.into()) }
    }

    /// Handles a line, again if the connection is lost meanwhile. Whether it was the last one.
    async fn handle(&mut self, line: Line) -> anyhow::Result<bool> {
        let cid = uuid::Uuid::new_v4().simple().to_string();
        for _ in 0..=self.tries {
            let trouble = match self.act(&line, &cid).await {
                Ok(over) => return Ok(over),
                Err(Trouble::Output(error)) => return Err(error.into()),
                Err(trouble) => trouble,
            };
            if trouble.is_lost() {
                self.tell_queued().await?;
                self.come_back().await?;
                continue;
            }
            self.refused = true;
            let code = match &trouble {
                Trouble::Client(ClientError::Refused { code, .. }) => json!(code),
                _ => json!(ErrorCode::Invalid),
            };
            let text = explain(&trouble);
            self.show.warn(&text, &json!({ "t": "refused", "code": code, "message": text }))?;
            return Ok(false);
        }
        bail!("the connection to {} is lost again and again: try later", self.access.url())
    }

    /// Connects again and goes on in every room where it stopped.
    ///
    /// # Errors
    /// When the server does not come back in so many tries, or refuses.
    async fn come_back(&mut self) -> anyhow::Result<()> {
        let bye = self.bye.take();
        if let Some((code @ ErrorCode::SessionRevoked, message)) = &bye {
            let (code, message) = (called(*code), clean(message));
            bail!("{} ended this session ({code}: {message}): log in again", self.access.url());
        }
        let why = bye.map_or_else(String::new, |(code, message)| format!(" ({}: {message})", called(code)));
        let text = format!("the connection is lost{why}; trying again …");
        self.show.note(&text, &json!({ "t": "lost" }))?;
        let (mut wait, mut last) = (BACKOFF_FIRST, None);
        for _ in 0..self.tries {
            // Between two tries, bounded by `--tries`.
            tokio::time::sleep(wait).await;
            wait = (2 * wait).min(BACKOFF_MAX);
            match self.reconnect().await {
                Ok(()) => return Ok(self.show.note("connected again", &json!({ "t": "back" }))?),
                Err(Trouble::Output(error)) => return Err(error.into()),
                Err(Trouble::Client(ClientError::Refused { code, .. })) if !code.retryable() => {
                    // The token's time is over, or the server knows it no more.
                    match self.access.log_in().await {
                        Ok(token) => self.token = token,
                        Err(error) => last = Some(error),
                    }
                }
                Err(_) => {}
            }
        }
        let text = format!(
            "the connection to {} is lost, and did not come back (tries: {}): is the server still there? What was \
             acknowledged is stored; call again to go on",
            self.access.url(),
            self.tries
        );
        Err(last.map_or_else(|| anyhow::anyhow!(text.clone()), |last| last.context(text.clone())))
    }

    async fn reconnect(&mut self) -> Result<(), Trouble> {
        let mut fresh = WsClient::connect(&self.access.ws_url(), &self.token).await?;
        let mut kept = Vec::new();
        for room in self.rooms.clone() {
            match fresh.join(room.id, self.client.position(room.id)).await {
                Ok(_) => kept.push(room),
                Err(ClientError::Refused { code, message, retryable: false }) => {
                    let text = format!("{} is closed to you ({}: {message})", room.name, called(code));
                    self.show.warn(&text, &json!({ "t": "left", "room": room.id, "user": self.me }))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.current = self.current.filter(|current| kept.iter().any(|room| room.id == *current));
        self.rooms = kept;
        self.client = fresh;
        Ok(())
    }

    /// Waits a little until one's own last message has come, so that it is shown.
    async fn last_words(&mut self) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + LAST_WORDS;
        let has_come = |seen: Option<Position>, said| seen.is_some_and(|seen| seen.seq >= said);
        loop {
            self.tell_queued().await?;
            let (Some(room), Some(said)) = (self.current, self.said) else { return Ok(()) };
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if has_come(self.client.position(room), said) || left.is_zero() {
                return Ok(());
            }
            match self.client.next_event(left).await {
                Ok(event) => self.heard(Ok(event)).await?,
                // It is acknowledged: whatever ends this now, it is stored.
                Err(_) => return Ok(()),
            }
        }
    }

    /// Listens to a room and talks there from now on.
    pub(super) async fn join(&mut self, room: RoomId) -> Result<(), Trouble> {
        self.client.join(room, None).await?;
        self.talk_in(room).await
    }

    /// Talks in a room that is listened to.
    pub(super) async fn talk_in(&mut self, room: RoomId) -> Result<(), Trouble> {
        let (members, next) = self.client.members(room, None, Some(MAX_WHO as u32)).await?;
        self.names.keep_all(&members);
        if !self.rooms.iter().any(|known| known.id == room) {
            let name = match self.info(room).await? {
                Some(info) => names_room(&info, &self.names),
                None => room.to_string(),
            };
            self.rooms.push(Room { id: room, name });
        }
        (self.current, self.said) = (Some(room), None);
        let name = self.room_name(room);
        let more = if next.is_some() { " and more" } else { "" };
        let text = format!("you talk in {name} now; members: {}{more}", members.len());
        self.show.note(&text, &json!({ "t": "joined", "room": room, "name": name }))?;
        // A script reads what comes; a person wants to know what it is about.
        if self.show.printer().is_some() {
            let page = self.client.history(room, None, Some(BACKLOG)).await?;
            self.page("page", page.messages, "nothing was said here yet").await?;
        }
        Ok(())
    }

    /// Says goodbye.
    pub async fn close(self) {
        // Whoever does not answer that is left all the same.
        let _ = tokio::time::timeout(GOODBYE, self.client.close()).await;
    }
}

/// What was refused, and what to do.
fn explain(trouble: &Trouble) -> String {
    let Trouble::Client(ClientError::Refused { code, message, .. }) = trouble else {
        return trouble.to_string();
    };
    let advice = match code {
        ErrorCode::RateLimited => "wait a moment and say it again",
        ErrorCode::TooLarge => "make it shorter",
        ErrorCode::Forbidden => "/members shows who may do more, /join ROOM goes elsewhere",
        ErrorCode::NotFound => "/rooms and /history show what there is",
        ErrorCode::Conflict => "it is so already, or there is no more room for it",
        ErrorCode::Unavailable | ErrorCode::Internal => "say it again in a while",
        _ => "say it another way; /help lists the commands",
    };
    format!("refused ({}): {message}; {advice}", called(*code))
}

/// A code as the protocol writes it.
pub(super) fn called(code: ErrorCode) -> String {
    let code = serde_json::to_value(code).ok();
    code.and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default()
}
