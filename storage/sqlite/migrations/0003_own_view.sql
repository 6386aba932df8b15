-- What each user makes of their conversations, what is put in without being
-- told, and what retention needs.

-- quiet messages were imported or inserted: they are told to nobody and count
-- as read. visible_to is the one user who can see a message, NULL for all.
ALTER TABLE messages ADD COLUMN quiet      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN visible_to INTEGER;
-- How many of the conversation's messages were counted up to and including
-- this one, ever: those that are not quiet. So how many lie between two of
-- them is a subtraction, whatever was erased or removed.
ALTER TABLE messages ADD COLUMN ord        INTEGER NOT NULL DEFAULT 0;
-- sender_ord is the same of the messages of its sender.
ALTER TABLE messages ADD COLUMN sender_ord INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET ord = seq, sender_ord = counted.n FROM (
    SELECT id, row_number() OVER (PARTITION BY conversation_id, sender_id ORDER BY seq) AS n FROM messages
) AS counted WHERE messages.id = counted.id;

-- What is to be subtracted besides: one's own, in the same way, what was erased,
-- what is due.
DROP INDEX messages_active;
DROP INDEX messages_by_sender;
CREATE INDEX messages_by_sender ON messages (conversation_id, sender_id, seq, sender_ord, quiet);
CREATE INDEX messages_erased ON messages (conversation_id, seq, sender_id, quiet, state) WHERE state <> 1;
CREATE INDEX messages_due_in ON messages (conversation_id, due_at, seq, sender_id, quiet) WHERE due_at IS NOT NULL;

ALTER TABLE conversations ADD COLUMN counted    INTEGER NOT NULL DEFAULT 0; -- messages that were, ever
ALTER TABLE conversations ADD COLUMN first_seq  INTEGER NOT NULL DEFAULT 1; -- the first that is left, or would be
ALTER TABLE conversations ADD COLUMN oldest_at  INTEGER; -- the oldest created_at that is left; NULL if none is
ALTER TABLE conversations ADD COLUMN retention  INTEGER; -- NULL leaves it to the policy, 0 keeps for ever
ALTER TABLE conversations ADD COLUMN edited_at  INTEGER NOT NULL DEFAULT 0; -- of name and settings
ALTER TABLE conversations ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0; -- the newest event for the members
ALTER TABLE conversations ADD COLUMN trim_before INTEGER; -- the cutoff of a trimming that is not done
ALTER TABLE conversations ADD COLUMN deleted_at INTEGER;
ALTER TABLE conversations ADD COLUMN deleted_event INTEGER; -- the event by which its members' stays ended
ALTER TABLE conversations ADD COLUMN purged     INTEGER NOT NULL DEFAULT 0; -- nothing is left of what was deleted
UPDATE conversations SET counted = last_seq, edited_at = created_at, changed_at = updated_at,
    oldest_at = (SELECT min(created_at) FROM messages WHERE conversation_id = conversations.id);

-- Those with one retention, the oldest message first.
CREATE INDEX conversations_oldest ON conversations (retention, oldest_at) WHERE oldest_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX conversations_trimming ON conversations (id) WHERE trim_before IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX conversations_unpurged ON conversations (deleted_at) WHERE deleted_at IS NOT NULL AND purged = 0;
DROP INDEX conversations_direct;
CREATE UNIQUE INDEX conversations_direct ON conversations (peer_low, peer_high)
    WHERE peer_low IS NOT NULL AND deleted_at IS NULL;

-- What a user made of a conversation, for all of their devices.
CREATE TABLE marks (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    pinned_at       INTEGER,
    muted           INTEGER NOT NULL DEFAULT 0,
    cleared_seq     INTEGER NOT NULL DEFAULT 0, -- not unread up to this
    hidden_seq      INTEGER NOT NULL DEFAULT 0, -- hidden up to this
    hidden_before   INTEGER,                    -- hidden if created before
    hidden_at       INTEGER,                    -- when one of the two was last moved
    gone_counted    INTEGER NOT NULL DEFAULT -1, -- not listed while no more than this were counted
    changed_at      INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX marks_changed ON marks (user_id, changed_at);
CREATE INDEX marks_hidden ON marks (user_id, hidden_at) WHERE hidden_at IS NOT NULL;
CREATE INDEX marks_hiding ON marks (conversation_id, hidden_seq, hidden_before, hidden_at) WHERE hidden_at IS NOT NULL;

-- Messages that users have hidden one by one are ranges of the kind 3, with the
-- time at which they were hidden.
CREATE INDEX receipts_hidden ON receipts (user_id, at) WHERE kind = 3;

-- Who is mentioned where, of messages that are counted and not erased.
CREATE TABLE mentions (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL,
    user_id         INTEGER NOT NULL REFERENCES users (id),
    PRIMARY KEY (conversation_id, seq, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX mentions_of_user ON mentions (user_id, conversation_id, seq);

-- Events for one user about a conversation: retention looks for them.
CREATE INDEX events_addressed ON events (conversation_id) WHERE to_user IS NOT NULL AND conversation_id IS NOT NULL;

-- What messages that were removed are known by, for a time: so that neither a retry
-- nor a repeated import brings one back. No content, nor anything made of it.
CREATE TABLE gone_messages (
    id              INTEGER PRIMARY KEY, -- the message's
    conversation_id INTEGER NOT NULL,
    sender_id       INTEGER NOT NULL,
    client_id       TEXT,
    created_at      INTEGER NOT NULL,
    gone_at         INTEGER NOT NULL     -- when it was removed
) STRICT;

CREATE INDEX gone_by_client_id ON gone_messages (sender_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX gone_by_time ON gone_messages (sender_id, created_at, conversation_id);
CREATE INDEX gone_longest ON gone_messages (gone_at);

-- Whose direct conversations those were that were deleted, for lines of an import
-- name them by their users.
CREATE TABLE gone_directs (
    conversation_id INTEGER PRIMARY KEY,
    peer_low        INTEGER NOT NULL REFERENCES users (id),
    peer_high       INTEGER NOT NULL REFERENCES users (id),
    gone_at         INTEGER -- when the last of its messages was removed
) STRICT;

CREATE INDEX gone_directs_of ON gone_directs (peer_low, peer_high);
CREATE INDEX gone_directs_longest ON gone_directs (gone_at) WHERE gone_at IS NOT NULL;
