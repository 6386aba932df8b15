-- Times are milliseconds since the Unix epoch, UTC. Enumerations are the
-- numbers of package im.

-- What makes these data different from others: 'log_id', 'ticket_key', and
-- 'log_cut', the newest position that is gone from the log.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value ANY  NOT NULL
) STRICT, WITHOUT ROWID;

-- Users are whoever the application's tokens name; the integer is what other
-- tables hold.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    tokens_cut_at INTEGER
) STRICT;

CREATE INDEX users_cut ON users (tokens_cut_at, name) WHERE tokens_cut_at IS NOT NULL;

CREATE TABLE conversations (
    id           INTEGER PRIMARY KEY,
    kind         INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    history      INTEGER NOT NULL,
    -- The two users of a direct conversation, in the byte order of their names.
    peer_low     INTEGER REFERENCES users (id),
    peer_high    INTEGER REFERENCES users (id),
    member_count INTEGER NOT NULL DEFAULT 0,
    last_seq     INTEGER NOT NULL DEFAULT 0,
    last_event   INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    -- Its activity: when it was created or, if that is later, the time of the newest
    -- message that is told, or that is for all to see. listed_id is the newest such
    -- message by id, 0 without one.
    listed_at    INTEGER NOT NULL DEFAULT 0,
    listed_id    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX conversations_direct ON conversations (peer_low, peer_high)
    WHERE peer_low IS NOT NULL;

-- Who is a member now.
CREATE TABLE members (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    role            INTEGER NOT NULL,
    joined_at       INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_of_user ON members (user_id, conversation_id);

-- Every stay of every member. to_event is 9223372036854775807 while a stay
-- lasts: so one range condition finds the stays that reach past a position,
-- and those that ended before it are not even looked at.
CREATE TABLE intervals (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    from_event      INTEGER NOT NULL,
    to_event        INTEGER NOT NULL DEFAULT 9223372036854775807,
    from_seq        INTEGER NOT NULL,
    to_seq          INTEGER, -- once the stay has ended
    by_self         INTEGER NOT NULL DEFAULT 0, -- 1 if the member ended it themselves
    PRIMARY KEY (conversation_id, user_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE INDEX intervals_of_user ON intervals (user_id, to_event, conversation_id, from_event);
CREATE INDEX intervals_of_conversation ON intervals (conversation_id, to_event, from_event, user_id);

-- Messages without what they say. Nothing refers to a message by a foreign
-- key, and sender_id and content_id are none either: the parent's removal
-- would look through the whole table.
CREATE TABLE messages (
    id              INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL,
    sender_id       INTEGER NOT NULL,
    sender_device   TEXT    NOT NULL,
    client_id       TEXT,
    type            INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    reply_to        INTEGER,
    receipt         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    content_id      INTEGER -- NULL once erased
) STRICT;

CREATE UNIQUE INDEX messages_by_seq ON messages (conversation_id, seq);
CREATE UNIQUE INDEX messages_by_client_id ON messages (sender_id, client_id)
    WHERE client_id IS NOT NULL;
CREATE INDEX messages_by_time ON messages (conversation_id, created_at, seq);
CREATE INDEX messages_by_sender ON messages (conversation_id, sender_id, seq);
CREATE INDEX messages_by_type ON messages (conversation_id, type, seq)
    WHERE type <> 1;

-- What messages say, in a rowid table of its own that is only ever appended
-- to and whose rows are never resized. Only so does erasing reach every copy:
-- where B-trees rebalance, SQLite leaves copies of live cells in the gaps of
-- pages, and overwriting the row later misses them. An appended table does
-- not rebalance, and AUTOINCREMENT keeps a rowid from being used again.
CREATE TABLE contents (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    data BLOB NOT NULL
) STRICT;

-- The event log. A row is for the members of its conversation, or for to_user.
CREATE TABLE events (
    pos             INTEGER PRIMARY KEY AUTOINCREMENT,
    type            TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    conversation_id INTEGER,
    to_user         INTEGER,
    message_id      INTEGER,
    seq             INTEGER,
    actor           INTEGER,
    actor_device    TEXT    NOT NULL,
    user_id         INTEGER,
    role            INTEGER NOT NULL
) STRICT;

-- The rowid, which is pos, is the last column of every index.
CREATE INDEX events_of_conversation ON events (conversation_id) WHERE to_user IS NULL;
CREATE INDEX events_of_user ON events (to_user) WHERE to_user IS NOT NULL;

-- by_id gets no direct messages from the user called name. The name stands
-- here itself, for it is what lists of blocks are sorted by.
CREATE TABLE blocks (
    by_id INTEGER NOT NULL REFERENCES users (id),
    name  TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (by_id, name)
) STRICT, WITHOUT ROWID;
