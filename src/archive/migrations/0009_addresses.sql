-- Ranges of addresses (CIDR) that are refused or let in; the narrowest that an address is in decides.

CREATE TABLE addresses (
    net      TEXT   NOT NULL PRIMARY KEY,
    verdict  TEXT   NOT NULL,
    note     TEXT   NOT NULL,
    since_ms BIGINT NOT NULL
);
