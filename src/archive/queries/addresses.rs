//! Ranges of addresses that are denied or allowed.

use async_trait::async_trait;
use ipnet::IpNet;

use super::{SqlArchive, begin, failed, rooms::changed};
use crate::service::{
    now_ms,
    ports::{AddressBook, AddressRange, ArchiveError},
};

#[async_trait]
impl AddressBook for SqlArchive {
    async fn ranges(&self, limit: u32) -> Result<Vec<AddressRange>, ArchiveError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT net, verdict, note FROM addresses ORDER BY net LIMIT $1")
                .bind(i64::from(limit))
                .fetch_all(&self.read)
                .await
                .map_err(failed)?;
        let range = |(net, verdict, note): (String, String, String)| {
            let wrong = |_| ArchiveError::Corrupt(format!("`{net}` is no range of addresses"));
            Ok(AddressRange { net: net.parse().map_err(wrong)?, verdict: verdict.parse()?, note })
        };
        rows.into_iter().map(range).collect()
    }

    async fn put_range(&self, range: &AddressRange, most: u32) -> Result<bool, ArchiveError> {
        let mut transaction = begin(&self.write, &["addresses".to_owned()]).await?;
        let query = sqlx::query(
            "INSERT INTO addresses (net, verdict, note, since_ms) SELECT $1, $2, $3, $4 \
             WHERE (SELECT COUNT(*) FROM addresses WHERE net <> $1) < $5 \
             ON CONFLICT (net) DO UPDATE SET verdict = $2, note = $3, since_ms = $4",
        )
        .bind(range.net.trunc().to_string())
        .bind(range.verdict.as_str())
        .bind(&range.note)
        .bind(now_ms())
        .bind(i64::from(most));
        let put = changed(query, &mut *transaction).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(put)
    }

    async fn drop_range(&self, net: &IpNet) -> Result<bool, ArchiveError> {
        let query = sqlx::query("DELETE FROM addresses WHERE net = $1").bind(net.trunc().to_string());
        changed(query, &self.write).await
    }
}
