-- E-mail addresses that users have shown to be theirs, and the codes that were sent to show it. `address_key` is the lower-cased
-- address: whoever reads a mailbox verifies it for one account.

CREATE TABLE mailboxes (
    user_id     TEXT   NOT NULL PRIMARY KEY REFERENCES users (id),
    address     TEXT   NOT NULL,
    address_key TEXT   NOT NULL UNIQUE,
    verified_ms BIGINT NOT NULL
);

CREATE TABLE mailbox_codes (
    user_id    TEXT   NOT NULL PRIMARY KEY REFERENCES users (id),
    address    TEXT   NOT NULL,
    code_hash  TEXT   NOT NULL,
    sent_ms    BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    tries      BIGINT NOT NULL
);
