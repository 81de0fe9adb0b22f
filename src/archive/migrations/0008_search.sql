-- Words of texts. `searchable` numbers the messages that are in the index, because SQLite may number the rows of `messages` anew. The index
-- keeps no text of its own, and has the room as a word too: so a common word costs what it has in one room, not in all. What is encrypted is not in it.

CREATE TABLE searchable (
    nr         INTEGER NOT NULL PRIMARY KEY,
    message_id TEXT    NOT NULL UNIQUE
);

CREATE VIRTUAL TABLE message_words USING fts5 (
    room, body, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TRIGGER messages_are_searchable AFTER INSERT ON messages WHEN new.kind = 'text' AND new.body <> '' AND new.body NOT LIKE 'sealed:1:%' BEGIN
    INSERT INTO searchable (message_id) VALUES (new.id);
    INSERT INTO message_words (rowid, room, body)
    SELECT nr, replace(new.room_id, '-', ''), new.body FROM searchable WHERE message_id = new.id;
END;

CREATE TRIGGER messages_are_searched_as_they_are AFTER UPDATE OF body ON messages WHEN new.kind = 'text' BEGIN
    DELETE FROM message_words WHERE rowid = (SELECT nr FROM searchable WHERE message_id = new.id);
    INSERT INTO message_words (rowid, room, body)
    SELECT nr, replace(new.room_id, '-', ''), new.body FROM searchable WHERE message_id = new.id AND new.body <> '' AND new.body NOT LIKE 'sealed:1:%';
END;

CREATE TRIGGER messages_that_are_gone_are_not_found AFTER DELETE ON messages WHEN old.kind = 'text' BEGIN
    DELETE FROM message_words WHERE rowid = (SELECT nr FROM searchable WHERE message_id = old.id);
    DELETE FROM searchable WHERE message_id = old.id;
END;

INSERT INTO searchable (message_id) SELECT id FROM messages WHERE kind = 'text' AND body <> '' AND body NOT LIKE 'sealed:1:%'
ORDER BY ts_ms, seq;
INSERT INTO message_words (rowid, room, body)
SELECT nr, replace(room_id, '-', ''), body FROM searchable JOIN messages ON messages.id = message_id;
