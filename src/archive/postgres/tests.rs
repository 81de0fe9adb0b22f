//! What is PostgreSQL's own; all else is in `queries/`, for both.

use super::*;

#[test]
fn zeros_are_kept_in_other_words_and_come_back() {
    for text in ["", "plain ✓", "\0", "a\0b", "\u{10ffff}", "\u{10ffff}-", "\0\u{10ffff}\0-"] {
        let kept = text_to(text);
        assert!(!kept.contains('\0'), "{kept:?}");
        assert_eq!(text_from(kept.into_owned()), text);
    }
    assert!(matches!(text_to("plain"), Cow::Borrowed(_)));
}

#[test]
fn a_password_is_never_shown() {
    let url = "postgresql://ada:secret@db.example:5433/chat?application_name=x";
    assert_eq!(shown(url), "postgres://db.example:5433/chat");
    for url in ["postgres://ada:sec/ret@db.example/chat", "postgres://ada:secret@db:x/chat", "postgres://"] {
        assert!(!shown(url).contains("sec"), "{}", shown(url));
    }
}

#[tokio::test]
async fn what_is_no_database_is_told_without_the_password() {
    let Place(url) = Place::fresh().await;
    let nowhere = |name: &str| url.rsplit_once('/').map(|(server, _)| format!("{server}/{name}")).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, words) in [
        (nowhere("no_such_database"), "does not exist"),
        (format!("postgres://ada:secret@{nobody}/chat"), "refused"),
        ("postgres://ada:secret@127.0.0.1:x/chat".to_owned(), "port"),
        (format!("{url}?sslmode=require"), "TLS"),
    ] {
        let Err(error) = PostgresArchive::open(&url).await else { panic!("{url} is a database") };
        let told = error.to_string();
        assert!(told.contains(words) && !told.contains("secret"), "{told}");
    }
}

/// The database's own order is that of a language; ids and names are ordered as SQLite orders them.
#[tokio::test]
async fn every_text_is_compared_by_its_bytes() {
    let place = Place::fresh().await;
    let archive = place.open().await;
    let (language,): (bool,) = sqlx::query_as("SELECT 'a' < 'B'").fetch_one(&archive.read).await.unwrap();
    let others: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%' AND data_type = 'text' \
         AND collation_name IS DISTINCT FROM 'C'",
    )
    .fetch_all(&archive.read)
    .await
    .unwrap();
    assert_eq!(others, []);
    assert!(language, "the order of this database would show nothing");
}
