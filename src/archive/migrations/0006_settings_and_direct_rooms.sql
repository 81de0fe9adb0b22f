-- Settings of rooms; direct chats, of which there is one for each two users at a time; and who blocks whom.
-- `pair` is the ids of the two, the lower one first, with a space between; a chat that has ended gives it up.

ALTER TABLE rooms ADD COLUMN read_only BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN slow_s BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN invited BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN pair TEXT;
ALTER TABLE rooms ADD COLUMN ends_ms BIGINT;

CREATE UNIQUE INDEX rooms_by_pair ON rooms (pair) WHERE pair IS NOT NULL;
CREATE INDEX rooms_by_end ON rooms (ends_ms) WHERE ends_ms IS NOT NULL;

CREATE TABLE blocks (
    user_id    TEXT   NOT NULL REFERENCES users (id),
    blocked_id TEXT   NOT NULL REFERENCES users (id),
    since_ms   BIGINT NOT NULL,
    PRIMARY KEY (user_id, blocked_id)
);

CREATE INDEX blocks_by_blocked ON blocks (blocked_id);
