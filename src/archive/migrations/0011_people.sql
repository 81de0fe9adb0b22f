-- What users show of themselves, who is a friend of whom, and who has written how much.

ALTER TABLE users ADD COLUMN about TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN status TEXT NOT NULL DEFAULT 'available';
ALTER TABLE users ADD COLUMN status_text TEXT NOT NULL DEFAULT '';

-- Two rows for two users: what each is to the other. `state` is `friend`, `asks` or `asked`.
CREATE TABLE friends (
    user_id   TEXT   NOT NULL REFERENCES users (id),
    friend_id TEXT   NOT NULL REFERENCES users (id),
    state     TEXT   NOT NULL,
    since_ms  BIGINT NOT NULL,
    PRIMARY KEY (user_id, friend_id)
);

-- Texts by room, day (of UTC, counted from 1970) and sender. What is archived twice is counted once: only what was new is counted.
CREATE TABLE room_activity (
    room_id TEXT   NOT NULL,
    day     BIGINT NOT NULL,
    user_id TEXT   NOT NULL,
    texts   BIGINT NOT NULL,
    PRIMARY KEY (room_id, day, user_id)
);

-- The same by sender and day. It stays when a room is gone: nobody loses what they have achieved.
CREATE TABLE user_activity (
    user_id TEXT   NOT NULL,
    day     BIGINT NOT NULL,
    texts   BIGINT NOT NULL,
    PRIMARY KEY (user_id, day)
);

INSERT INTO room_activity (room_id, day, user_id, texts)
SELECT room_id, ts_ms / 86400000, user_id, COUNT(*) FROM messages WHERE kind = 'text'
GROUP BY room_id, ts_ms / 86400000, user_id;

INSERT INTO user_activity (user_id, day, texts)
SELECT user_id, ts_ms / 86400000, COUNT(*) FROM messages WHERE kind = 'text'
GROUP BY user_id, ts_ms / 86400000;
