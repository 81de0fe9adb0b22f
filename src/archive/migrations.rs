//! How the tables came to be what they are: each file of `migrations/`, by its number. What has shipped is never changed.
//!
//! A list and not sqlx's macro, for which both drivers, and SQLite itself, would be compiled a second time.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

const FILES: [(i64, &str, &str); 11] = [
    (1, "accounts and rooms", include_str!("migrations/0001_accounts_and_rooms.sql")),
    (2, "messages and audit", include_str!("migrations/0002_messages_and_audit.sql")),
    (3, "changed messages", include_str!("migrations/0003_changed_messages.sql")),
    (4, "pins", include_str!("migrations/0004_pins.sql")),
    (5, "bans", include_str!("migrations/0005_bans.sql")),
    (6, "settings and direct rooms", include_str!("migrations/0006_settings_and_direct_rooms.sql")),
    (7, "replies and forwards", include_str!("migrations/0007_replies_and_forwards.sql")),
    (8, "search", include_str!("migrations/0008_search.sql")),
    (9, "addresses", include_str!("migrations/0009_addresses.sql")),
    (10, "mailboxes", include_str!("migrations/0010_mailboxes.sql")),
    (11, "people", include_str!("migrations/0011_people.sql")),
];

/// All of them, in order.
pub(super) fn migrator() -> Migrator {
    let one = |(number, what, sql): (i64, &'static str, &'static str)| {
        Migration::new(number, what.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(FILES.map(one).to_vec())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn every_file_of_the_folder_is_listed_as_it_is_named() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/archive/migrations");
        let found = Migrator::new(folder.as_path()).await.unwrap();
        let told = |migrator: &Migrator| -> Vec<_> {
            let all = migrator.iter();
            all.map(|m| (m.version, m.description.to_string(), m.migration_type, m.checksum.to_vec()))
                .collect()
        };
        assert_eq!(told(&migrator()), told(&found));
    }
}
