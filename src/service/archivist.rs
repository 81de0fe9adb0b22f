//! The work of the groups that write to the archive: messages, and the audit log.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::message::{Envelope, Message};

use super::{
    commits::Commits,
    consume::{Outcome, Taken, Work},
    events::Event,
    ports::{Archive, ArchiveError, AuditRecord},
};

/// Group `persistence` of `message.created`.
pub struct Archivist {
    /// Where messages go.
    pub archive: Arc<dyn Archive>,
    /// Who waits for that.
    pub commits: Arc<Commits>,
}

/// Group `audit` of `audit.log`.
pub struct Auditor(pub Arc<dyn Archive>);

/// Splits a batch into what could be read, and an outcome for each entry that is right when that is stored.
fn read<T>(batch: &[Taken], of: impl Fn(&Taken) -> Result<T, String>) -> (Vec<T>, Vec<Outcome>) {
    let mut good = Vec::with_capacity(batch.len());
    let outcomes = batch.iter().map(|taken| match of(taken) {
        Ok(one) => {
            good.push(one);
            Outcome::Done
        }
        Err(why) => Outcome::Poison(why),
    });
    let outcomes = outcomes.collect();
    (good, outcomes)
}

/// An archive that is away comes back; so does one that is too busy.
fn again(error: &ArchiveError) -> String {
    error.to_string()
}

#[async_trait]
impl Work for Archivist {
    async fn work(&self, batch: &[Taken]) -> Result<Vec<Outcome>, String> {
        let message = |(_, entry): &Taken| -> Result<Message, String> {
            Envelope::parse(&entry.payload).and_then(|envelope| envelope.message()).map_err(|e| e.to_string())
        };
        let (messages, outcomes) = read(batch, message);
        self.archive.add_messages(&messages).await.map_err(|error| again(&error))?;
        self.commits.committed(messages.iter().map(|message| &message.draft.id));
        Ok(outcomes)
    }
}

#[async_trait]
impl Work for Auditor {
    async fn work(&self, batch: &[Taken]) -> Result<Vec<Outcome>, String> {
        let record = |(partition, entry): &Taken| -> Result<AuditRecord, String> {
            let event: Event = serde_json::from_slice(&entry.payload).map_err(|e| e.to_string())?;
            let room = event.room.map(|room| format!("room {room}"));
            let detail = [room.unwrap_or_default(), event.detail].join(" ").trim().to_owned();
            let (at_ms, user, action) = (event.at_ms, event.user, event.action);
            Ok(AuditRecord {
                event: format!("{}/{}", partition.tag(), entry.id),
                at_ms,
                user,
                action,
                detail,
            })
        };
        let (records, outcomes) = read(batch, record);
        self.0.add_audit(&records).await.map_err(|error| again(&error))?;
        Ok(outcomes)
    }
}
