-- The pins of a room are what its messages of these kinds say, the last one about each message; they are few among many.

CREATE INDEX messages_pins ON messages (room_id, about, seq) WHERE kind IN ('pin', 'unpin');
