-- Ids are UUID text and times are milliseconds since 1970, so that the same text runs on SQLite and PostgreSQL.
-- `name_key` is the lower-cased name: names are unique whatever their case, without a collation of one database.

CREATE TABLE users (
    id            TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    name_key      TEXT   NOT NULL UNIQUE,
    password_hash TEXT   NOT NULL,
    created_ms    BIGINT NOT NULL
);

CREATE TABLE rooms (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    created_by TEXT   NOT NULL REFERENCES users (id),
    created_ms BIGINT NOT NULL
);

CREATE TABLE members (
    room_id   TEXT   NOT NULL REFERENCES rooms (id),
    user_id   TEXT   NOT NULL REFERENCES users (id),
    role      TEXT   NOT NULL,
    joined_ms BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);

CREATE INDEX members_by_user ON members (user_id);
