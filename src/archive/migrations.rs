//! How the tables came to be what they are: each file of `migrations/`, by its number. What has shipped is never changed.
//!
//! They are for both databases, but for a file in `migrations/postgres/`: there it takes the place of the one with its number. PostgreSQL would
//! compare texts by the rules of its database's language; so what is TEXT there is compared by its bytes, as SQLite does.
//!
//! A list and not sqlx's macro, for which both drivers, and SQLite itself, would be compiled a second time.

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
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

/// What PostgreSQL has in the place of one of them.
const POSTGRES: [(i64, &str); 1] = [(8, include_str!("migrations/postgres/0008_search.sql"))];

/// Which database they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// All of them, in order.
pub(super) fn migrator(kind: Kind) -> Migrator {
    let one = |(number, what, sql): (i64, &'static str, &'static str)| {
        let sql = match kind {
            Kind::Sqlite => sql.into_sql_str(),
            Kind::Postgres => {
                let own = POSTGRES.iter().find(|(of, _)| *of == number).map_or(sql, |(_, own)| own);
                AssertSqlSafe(own.replace("TEXT", "TEXT COLLATE \"C\"")).into_sql_str()
            }
        };
        Migration::new(number, what.into(), MigrationType::Simple, sql, false)
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
        assert_eq!(told(&migrator(Kind::Sqlite)), told(&found));
    }
    #[test]
    fn every_file_for_postgres_stands_in_for_one_of_the_same_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/archive/migrations");
        let mut own = 0;
        for file in std::fs::read_dir(folder.join("postgres")).unwrap().flatten() {
            let name = file.file_name().into_string().unwrap();
            assert!(folder.join(&name).exists(), "{name}");
            let (number, sql) =
                POSTGRES.iter().find(|(of, _)| name.starts_with(&format!("{of:04}_"))).unwrap();
            assert_eq!(std::fs::read_to_string(file.path()).unwrap(), *sql, "{number}");
            own += 1;
        }
        assert_eq!(own, POSTGRES.len());
    }
}
