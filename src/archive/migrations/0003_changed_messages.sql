-- A message can be about another one and change it: an edit, a deletion. The one that is changed says what became of it.

ALTER TABLE messages ADD COLUMN about TEXT;
ALTER TABLE messages ADD COLUMN changed_what TEXT;
ALTER TABLE messages ADD COLUMN changed_ms BIGINT;
ALTER TABLE messages ADD COLUMN changed_by TEXT;

CREATE INDEX messages_about ON messages (about, seq) WHERE about IS NOT NULL;
