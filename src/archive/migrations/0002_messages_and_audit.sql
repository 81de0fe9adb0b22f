-- What the consumers of the event streams write: at least once, so every insert is by a key that a second try hits again.

CREATE TABLE messages (
    id      TEXT   NOT NULL PRIMARY KEY,
    room_id TEXT   NOT NULL,
    epoch   TEXT   NOT NULL,
    seq     BIGINT NOT NULL,
    ts_ms   BIGINT NOT NULL,
    user_id TEXT   NOT NULL,
    cid     TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    body    TEXT   NOT NULL
);

CREATE INDEX messages_by_room ON messages (room_id, seq);

CREATE TABLE audit (
    event   TEXT   NOT NULL PRIMARY KEY,
    at_ms   BIGINT NOT NULL,
    user_id TEXT,
    action  TEXT   NOT NULL,
    detail  TEXT   NOT NULL
);

CREATE INDEX audit_by_user ON audit (user_id, at_ms);
