-- Who must not come back into a room, by whom and since when.

CREATE TABLE bans (
    room_id   TEXT   NOT NULL REFERENCES rooms (id),
    user_id   TEXT   NOT NULL REFERENCES users (id),
    banned_by TEXT   NOT NULL REFERENCES users (id),
    banned_ms BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
