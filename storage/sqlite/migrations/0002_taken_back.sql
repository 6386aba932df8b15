-- What messages are taken back by. Durations are milliseconds.
ALTER TABLE messages ADD COLUMN expires_at       INTEGER;
ALTER TABLE messages ADD COLUMN burn_after       INTEGER; -- NULL if not sent for burning
ALTER TABLE messages ADD COLUMN burn_unread_ttl  INTEGER;
ALTER TABLE messages ADD COLUMN burn_at          INTEGER; -- once it was read
ALTER TABLE messages ADD COLUMN due_at           INTEGER; -- when it erases itself; NULL once erased

-- The tombstone. wiped_at is when the content was overwritten, erased_at when
-- nobody could read it any more.
ALTER TABLE messages ADD COLUMN erased_at        INTEGER;
ALTER TABLE messages ADD COLUMN erased_by        INTEGER;
ALTER TABLE messages ADD COLUMN wiped_at         INTEGER;
ALTER TABLE messages ADD COLUMN erased_postscript TEXT;
ALTER TABLE messages ADD COLUMN erased_extension  TEXT;

-- The latest time by which something that was taken from readers is found; see Stamp.
INSERT INTO meta (key, value) VALUES ('stamp', 0);

CREATE INDEX messages_due ON messages (due_at) WHERE due_at IS NOT NULL;
-- The conversation is in it for the erasures of one user to be picked from it.
CREATE INDEX messages_wiped ON messages (wiped_at, id, conversation_id) WHERE wiped_at IS NOT NULL;
CREATE INDEX messages_unstarted ON messages (conversation_id, seq) WHERE burn_after IS NOT NULL AND burn_at IS NULL AND state = 1;
CREATE INDEX messages_burning ON messages (conversation_id, seq) WHERE burn_at IS NOT NULL AND state = 1;
CREATE INDEX messages_tracked ON messages (conversation_id, seq) WHERE receipt = 1 AND state = 1;
-- What can be unread, counted within the index.
CREATE INDEX messages_active ON messages (conversation_id, seq, sender_id) WHERE state = 1;

ALTER TABLE conversations ADD COLUMN revoke_window INTEGER; -- NULL leaves it to the policy
ALTER TABLE conversations ADD COLUMN expire_after  INTEGER NOT NULL DEFAULT 0;

-- JSON of what few events have: ids and a time, never content.
ALTER TABLE events ADD COLUMN data TEXT;

-- Who was a member when a message was sent: those whose stay ends at it or
-- later. A stay that lasts has no end.
CREATE INDEX intervals_by_seq
    ON intervals (conversation_id, coalesce(to_seq, 9223372036854775807), from_seq, user_id);

-- Who got or read what: ranges of seq, both ends included, apart from each
-- other for each user. Who has one message is found by one seek a user.
CREATE TABLE receipts (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    kind            INTEGER NOT NULL,
    user_id         INTEGER NOT NULL REFERENCES users (id),
    from_seq        INTEGER NOT NULL,
    to_seq          INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, kind, user_id, from_seq)
) STRICT, WITHOUT ROWID;
