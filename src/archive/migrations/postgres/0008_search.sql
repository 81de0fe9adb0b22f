-- Words of texts, as 0008_search.sql beside this folder has them for SQLite. What a word is depends on a database's locale here; so the archive
-- itself says what the words of a text are, and puts them in (src/archive/postgres/words.rs). The room is a word too: a common word costs
-- what it has in one room, not in all. What is encrypted is not in it.

CREATE TABLE searchable (
    nr         BIGINT   NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id TEXT     NOT NULL UNIQUE REFERENCES messages (id) ON DELETE CASCADE,
    words      TSVECTOR NOT NULL
);

CREATE INDEX searchable_by_words ON searchable USING GIN (words);
