//! Clients that do nothing wrong, and must not notice those who do.

use std::time::Duration;

use chatlab_kit::ids::RoomId;
use tokio::time::Instant;

use super::{
    case::Case,
    play::{ANSWER_BOUND, Place, play},
};
use crate::client::{ClientError, WsClient};

/// Two people in a room of their own, on connections that stay.
pub(super) struct Honest {
    url: String,
    tokens: [String; 2],
    room: RoomId,
    here: WsClient,
    there: WsClient,
    /// Where newcomers come by Socket.IO, if that is fuzzed.
    engine: Option<Place>,
    said: u64,
}

impl Honest {
    pub(super) async fn arrive(
        url: &str,
        tokens: [String; 2],
        room: RoomId,
        engine: Option<Place>,
    ) -> Result<Self, ClientError> {
        let mut here = WsClient::connect(url, &tokens[0]).await?;
        let mut there = WsClient::connect(url, &tokens[1]).await?;
        for client in [&mut here, &mut there] {
            client.set_timeout(ANSWER_BOUND);
            client.join(room, None).await?;
        }
        Ok(Self { url: url.to_owned(), tokens, room, here, there, engine, said: 0 })
    }

    /// A message from one to the other, and a newcomer who is let in and answered. How long the slower of the two took.
    pub(super) async fn probe(&mut self) -> Result<Duration, String> {
        let failed =
            |what: &'static str| move |error: ClientError| format!("an honest client: {what}: {error}");
        let began = Instant::now();
        self.said += 1;
        let body = format!("still here {}", self.said);
        self.here.send(self.room, &format!("h-{}", self.said), &body).await.map_err(failed("send"))?;
        for client in [&mut self.here, &mut self.there] {
            let got = client.next_message(ANSWER_BOUND).await.map_err(failed("delivery"))?;
            if got.draft.body != body {
                return Err(format!("an honest client got {:?} instead of {body:?}", got.draft.body));
            }
        }
        let talked = began.elapsed();
        let began = Instant::now();
        let mut newcomer = WsClient::connect(&self.url, &self.tokens[0]).await.map_err(failed("connect"))?;
        newcomer.set_timeout(ANSWER_BOUND);
        newcomer.ping().await.map_err(failed("ping"))?;
        newcomer.close().await.map_err(failed("close"))?;
        if let Some(place) = &self.engine {
            let played = Box::pin(play(&Case::good(), place)).await;
            if let Some(why) = played.wrong {
                return Err(format!("an honest client of Socket.IO: {why}"));
            }
            if !played.labels.iter().any(|label| label == "packet 40") {
                return Err(format!("an honest client of Socket.IO was not let in: {:?}", played.labels));
            }
        }
        let slower = talked.max(began.elapsed());
        match slower <= ANSWER_BOUND {
            true => Ok(slower),
            false => Err(format!("an honest client waited {slower:?}")),
        }
    }

    /// Reads what comes meanwhile, so that heartbeats are answered.
    pub(super) async fn idle(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        for client in [&mut self.here, &mut self.there] {
            loop {
                let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                match client.next_event(left / 2).await {
                    Ok(_) => {}
                    Err(ClientError::Timeout(_)) => break,
                    Err(error) => return Err(format!("an honest client: {error}")),
                }
            }
        }
        Ok(())
    }

    pub(super) async fn go(self) {
        for client in [self.here, self.there] {
            let _ = client.close().await;
        }
    }
}
