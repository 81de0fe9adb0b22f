//! Two clients that send to one room at the same moment.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    check::{Finding, Racers},
    ids::{ClientMsgId, RoomId, UserId},
    redis::Redis,
};

use crate::{SendPath, Sent};

/// Makes the variant over a handle.
pub(crate) type Make<'a> = &'a (dyn Fn(Redis) -> Arc<dyn SendPath> + Send + Sync);

/// Two clients, one room.
pub(crate) struct Senders<'a> {
    pub(crate) make: Make<'a>,
    /// Both send the same message: a sender that lost patience.
    pub(crate) same: bool,
    /// A handle whose commands nobody sees.
    pub(crate) unseen: Redis,
    /// Where it was tried so far.
    pub(crate) places: Mutex<Vec<Place>>,
}

/// A fresh room and its sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) room: RoomId,
    pub(crate) from: UserId,
}

/// A client id of the lab's own making.
pub(crate) fn cid(text: &str) -> LabResult<ClientMsgId> {
    text.parse().map_err(|error| LabError::Other(format!("client message id {text}: {error}")))
}

impl Senders<'_> {
    fn text(&self, client: usize) -> String {
        if self.same { "m".to_owned() } else { format!("m{client}") }
    }
}

#[async_trait]
impl Racers for Senders<'_> {
    type Place = Place;
    type Answer = LabResult<Sent>;

    async fn place(&self, _redis: &Redis) -> LabResult<Place> {
        let place = Place { room: RoomId::new(), from: UserId::new() };
        self.places.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        Ok(place)
    }

    async fn act(&self, place: &Place, client: usize, redis: Redis) -> LabResult<Sent> {
        let text = self.text(client);
        (self.make)(redis).send(&place.room, &place.from, &cid(&text)?, &text).await
    }

    async fn judge(&self, place: &Place, _redis: &Redis, answers: &[LabResult<Sent>]) -> LabResult<Finding> {
        if let Some(Err(error)) = answers.iter().find(|answer| answer.is_err()) {
            return Ok(Finding::Broken(format!("two clients met, and one was answered: {error}")));
        }
        let answers: Vec<Sent> = answers.iter().flatten().copied().collect();
        let stored = (self.make)(self.unseen.clone()).read(&place.room, 0, 100).await?;
        let wanted = if self.same { 1 } else { answers.len() };
        if stored.len() != wanted {
            return Ok(Finding::Broken(format!("{wanted} should be stored, {} are", stored.len())));
        }
        let numbers: Vec<u64> = stored.iter().map(|(seq, _)| *seq).collect();
        if !numbers.iter().copied().eq(1..=numbers.len() as u64) {
            return Ok(Finding::Broken(format!("the numbers are {numbers:?}")));
        }
        let new = answers.iter().filter(|sent| !sent.duplicate).count();
        if new != wanted {
            return Ok(Finding::Broken(format!("{new} of {} were told that they were first", answers.len())));
        }
        for (client, sent) in answers.iter().enumerate() {
            if !stored.contains(&(sent.seq, self.text(client))) {
                return Ok(Finding::Broken(format!("a client was told number {}, another has it", sent.seq)));
            }
        }
        Ok(Finding::Holds)
    }
}
