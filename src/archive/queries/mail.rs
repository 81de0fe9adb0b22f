//! E-mail addresses of users, and the codes that show that they are theirs.

use async_trait::async_trait;
use chatlab_kit::ids::UserId;

use super::{SqlArchive, alone, begin, failed};
use crate::service::ports::{ArchiveError, Confirmed, Mailbox, Mailboxes, Proposal};

/// Ends a code. When it was sent stays: who forgets their address has no letter more by that.
const OVER: &str = "UPDATE mailbox_codes SET expires_ms = 0 WHERE user_id = $1 AND expires_ms <> 0";

#[async_trait]
impl Mailboxes for SqlArchive {
    async fn mailbox(&self, user: &UserId, now_ms: i64) -> Result<Mailbox, ArchiveError> {
        let (verified, waiting) = sqlx::query_as(
            "SELECT (SELECT address FROM mailboxes WHERE user_id = $1), \
             (SELECT address FROM mailbox_codes WHERE user_id = $1 AND expires_ms > $2)",
        )
        .bind(user.to_string())
        .bind(now_ms)
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        Ok(Mailbox { verified, waiting })
    }

    async fn propose(
        &self,
        user: &UserId,
        proposal: &Proposal,
        not_after_ms: i64,
    ) -> Result<Option<i64>, ArchiveError> {
        let mut transaction = begin(&self.write, &[]).await?;
        let put = sqlx::query(
            "INSERT INTO mailbox_codes (user_id, address, code_hash, sent_ms, expires_ms, tries) \
             VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (user_id) DO UPDATE SET \
             address = $2, code_hash = $3, sent_ms = $4, expires_ms = $5, tries = 0 \
             WHERE mailbox_codes.sent_ms <= $6",
        )
        .bind(user.to_string())
        .bind(&proposal.address)
        .bind(&proposal.code_hash)
        .bind(proposal.sent_ms)
        .bind(proposal.expires_ms)
        .bind(not_after_ms)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        let sent = if put.rows_affected() > 0 {
            None
        } else {
            let sent = sqlx::query_scalar("SELECT sent_ms FROM mailbox_codes WHERE user_id = $1");
            Some(sent.bind(user.to_string()).fetch_one(&mut *transaction).await.map_err(failed)?)
        };
        transaction.commit().await.map_err(failed)?;
        Ok(sent)
    }

    async fn withdraw(&self, user: &UserId) -> Result<(), ArchiveError> {
        let gone = sqlx::query("DELETE FROM mailbox_codes WHERE user_id = $1").bind(user.to_string());
        gone.execute(&self.write).await.map_err(failed)?;
        Ok(())
    }

    async fn confirm(
        &self,
        user: &UserId,
        code_hash: &str,
        now_ms: i64,
        most: u32,
    ) -> Result<Confirmed, ArchiveError> {
        let mut transaction = begin(&self.write, &[]).await?;
        // Counted before it is looked at: who tries many at once has no more tries by that.
        let tried: Option<(String, String, i64)> = sqlx::query_as(
            "UPDATE mailbox_codes SET tries = tries + 1 WHERE user_id = $1 AND expires_ms > $2 AND tries < $3 \
             RETURNING address, code_hash, tries",
        )
        .bind(user.to_string())
        .bind(now_ms)
        .bind(i64::from(most))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        let confirmed = match tried {
            None => Confirmed::None,
            Some((_, wanted, tries)) if wanted != code_hash => {
                Confirmed::Wrong(u32::try_from(i64::from(most) - tries).unwrap_or_default())
            }
            Some((address, ..)) => {
                alone(&mut transaction, &[format!("whose is {}", address.to_lowercase())]).await?;
                let taken: bool = sqlx::query_scalar(
                    "SELECT EXISTS (SELECT 1 FROM mailboxes WHERE address_key = $1 AND user_id <> $2)",
                )
                .bind(address.to_lowercase())
                .bind(user.to_string())
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
                if taken { Confirmed::Taken } else { Confirmed::Yes(address) }
            }
        };
        if let Confirmed::Yes(address) = &confirmed {
            sqlx::query(
                "INSERT INTO mailboxes (user_id, address, address_key, verified_ms) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (user_id) DO UPDATE SET address = $2, address_key = $3, verified_ms = $4",
            )
            .bind(user.to_string())
            .bind(address)
            .bind(address.to_lowercase())
            .bind(now_ms)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        if matches!(confirmed, Confirmed::Yes(_) | Confirmed::Taken) {
            let over = sqlx::query(OVER).bind(user.to_string());
            over.execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(confirmed)
    }

    async fn forget_mailbox(&self, user: &UserId) -> Result<bool, ArchiveError> {
        let mut transaction = begin(&self.write, &[]).await?;
        let mut gone = 0;
        // In the order in which `confirm` comes to them.
        for statement in [OVER, "DELETE FROM mailboxes WHERE user_id = $1"] {
            let done = sqlx::query(statement).bind(user.to_string()).execute(&mut *transaction).await;
            gone += done.map_err(failed)?.rows_affected();
        }
        transaction.commit().await.map_err(failed)?;
        Ok(gone > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Place, *};
    use crate::service::ports::{Archive, UserRecord};

    async fn user(archive: &SqlArchive, name: &str) -> UserId {
        let user =
            UserRecord { id: UserId::new(), name: name.into(), password_hash: "h".into(), created_ms: 1 };
        archive.add_user(&user).await.unwrap();
        user.id
    }

    fn proposal(address: &str, hash: &str, sent_ms: i64) -> Proposal {
        Proposal { address: address.into(), code_hash: hash.into(), sent_ms, expires_ms: sent_ms + 100 }
    }

    #[tokio::test]
    async fn a_code_is_good_for_its_time_and_its_tries_and_an_address_for_one() {
        let place = Place::fresh().await;
        let archive = place.open().await;
        let (ada, bob) = (user(&archive, "ada").await, user(&archive, "bob").await);
        assert_eq!(archive.confirm(&ada, "h", 0, 3).await.unwrap(), Confirmed::None);
        assert_eq!(
            archive.propose(&ada, &proposal("Ada@example.org", "h1", 1_000), 940).await.unwrap(),
            None
        );
        // Too soon for another one.
        let soon = archive.propose(&ada, &proposal("x@example.org", "h2", 1_010), 950).await.unwrap();
        assert_eq!(soon, Some(1_000));
        let mailbox = archive.mailbox(&ada, 1_099).await.unwrap();
        assert_eq!(mailbox, Mailbox { verified: None, waiting: Some("Ada@example.org".into()) });
        assert_eq!(archive.confirm(&ada, "no", 1_050, 3).await.unwrap(), Confirmed::Wrong(2));
        assert_eq!(archive.confirm(&ada, "h1", 1_100, 3).await.unwrap(), Confirmed::None, "its time is over");
        assert_eq!(archive.mailbox(&ada, 1_100).await.unwrap(), Mailbox::default());
        let yes = archive.confirm(&ada, "h1", 1_060, 3).await.unwrap();
        assert_eq!(yes, Confirmed::Yes("Ada@example.org".into()));
        assert_eq!(archive.confirm(&ada, "h1", 1_060, 3).await.unwrap(), Confirmed::None, "good once");

        archive.propose(&bob, &proposal("ADA@example.org", "h3", 2_000), 0).await.unwrap();
        assert_eq!(archive.confirm(&bob, "h3", 2_001, 3).await.unwrap(), Confirmed::Taken);
        archive.propose(&bob, &proposal("bob@example.org", "h4", 3_000), 3_000).await.unwrap();
        for left in [2, 1, 0] {
            assert_eq!(archive.confirm(&bob, "no", 3_001, 3).await.unwrap(), Confirmed::Wrong(left));
        }
        assert_eq!(archive.confirm(&bob, "h4", 3_001, 3).await.unwrap(), Confirmed::None, "no try is left");

        assert!(archive.forget_mailbox(&ada).await.unwrap());
        let soon = archive.propose(&ada, &proposal("x@example.org", "h2", 1_020), 960).await.unwrap();
        assert_eq!(soon, Some(1_000), "no letter more by forgetting");
        assert!(!archive.forget_mailbox(&ada).await.unwrap());
        archive.propose(&bob, &proposal("ada@example.org", "h5", 4_000), 4_000).await.unwrap();
        let yes = archive.confirm(&bob, "h5", 4_001, 3).await.unwrap();
        assert_eq!(yes, Confirmed::Yes("ada@example.org".into()), "free again");
    }
}
