-- Rooms, threads, and spaces with channels and roles. A space is a conversation
-- of kind 6, for its members' sake. Durations are milliseconds.

-- What a conversation hangs in, and the message that a thread hangs under. They
-- are no foreign keys: no conversation is ever removed, and a message is without
-- a look at who refers to it.
ALTER TABLE conversations ADD COLUMN parent_id  INTEGER;
ALTER TABLE conversations ADD COLUMN root_id    INTEGER;
ALTER TABLE conversations ADD COLUMN space_id   INTEGER; -- of a channel, and of a thread in one
ALTER TABLE conversations ADD COLUMN creator_id INTEGER; -- a user; NULL if that is not known

ALTER TABLE conversations ADD COLUMN announcement  TEXT    NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN avatar        TEXT    NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN join_policy   INTEGER NOT NULL DEFAULT 1;
ALTER TABLE conversations ADD COLUMN invite_policy INTEGER NOT NULL DEFAULT 1;
ALTER TABLE conversations ADD COLUMN mute_all      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN slow_mode     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN private       INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN revoke_others_window INTEGER; -- NULL leaves it to the policy

-- How many messages of a thread were not erased, and when the newest was sent.
ALTER TABLE conversations ADD COLUMN messages  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN active_at INTEGER;

-- Messages of threads that were not erased and are for all to see, for the newest.
ALTER TABLE messages ADD COLUMN in_thread INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_of_thread ON messages (conversation_id, created_at)
    WHERE in_thread = 1 AND state = 1 AND visible_to IS NULL;

-- The rowid, which is the conversation's id, is the last column of every index.
CREATE INDEX threads_of_parent ON conversations (parent_id)
    WHERE parent_id IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX thread_of_root ON conversations (root_id)
    WHERE root_id IS NOT NULL AND deleted_at IS NULL;
-- Those that are there have no end: so one range condition finds them and those
-- that were deleted past a position, of which the log may have to tell, and
-- others are not even looked at.
CREATE INDEX channels_of_space ON conversations (space_id, coalesce(deleted_event, 9223372036854775807))
    WHERE kind = 5;

-- The kind of the conversation, so that a user's list does not go through their
-- threads and spaces.
ALTER TABLE members ADD COLUMN kind INTEGER NOT NULL DEFAULT 2;
UPDATE members SET kind = 1 WHERE conversation_id IN (SELECT id FROM conversations WHERE kind = 1);
DROP INDEX members_of_user;
CREATE INDEX members_of_user ON members (user_id, conversation_id, kind, joined_at) WHERE kind <= 3;
-- When somebody came back who had left before; NULL for others.
ALTER TABLE members ADD COLUMN returned_at INTEGER;
CREATE INDEX members_returned ON members (user_id, returned_at, conversation_id) WHERE returned_at IS NOT NULL AND kind <= 3;
CREATE INDEX members_owning ON members (conversation_id) WHERE role = 3;
-- What a thread hangs in: who leaves that is taken out of the thread, and those of a
-- user's threads that hang elsewhere are not looked at.
ALTER TABLE members ADD COLUMN parent_id INTEGER;
CREATE INDEX threads_of_user ON members (user_id, conversation_id) WHERE kind = 4;
CREATE INDEX threads_of_user_below ON members (user_id, parent_id) WHERE kind = 4;

-- Stays in spaces have an index of their own: through them a user is told what
-- happens in channels, and who is in no space pays nothing for it.
ALTER TABLE intervals ADD COLUMN in_space INTEGER NOT NULL DEFAULT 0;
CREATE INDEX intervals_in_spaces ON intervals (user_id, to_event, conversation_id, from_event)
    WHERE in_space = 1;

-- Until when a user may not send to a place. It outlives their leaving.
-- When somebody last did what slow mode counts, in a place or in a thread of it.
CREATE TABLE spoken (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE mutes (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    until           INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

-- What decides who may what is kept as it was after each event that changed it,
-- for an event is told to those who could see its place when it happened. A
-- version holds from one event up to another, which it does not hold after;
-- to_event is 9223372036854775807 while it lasts. What ended before the log
-- begins decides nothing any more and goes with what is cut off it.
CREATE TABLE space_roles (
    space_id   INTEGER NOT NULL REFERENCES conversations (id),
    from_event INTEGER NOT NULL,
    to_event   INTEGER NOT NULL DEFAULT 9223372036854775807,
    roles      TEXT    NOT NULL, -- JSON
    PRIMARY KEY (space_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE INDEX space_roles_closed ON space_roles (to_event) WHERE to_event < 9223372036854775807;

CREATE TABLE channel_access (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    from_event      INTEGER NOT NULL,
    to_event        INTEGER NOT NULL DEFAULT 9223372036854775807,
    access          TEXT    NOT NULL, -- JSON
    PRIMARY KEY (conversation_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE INDEX channel_access_closed ON channel_access (to_event) WHERE to_event < 9223372036854775807;

-- Which roles of a space its members have.
CREATE TABLE role_stays (
    space_id   INTEGER NOT NULL REFERENCES conversations (id),
    user_id    INTEGER NOT NULL REFERENCES users (id),
    role_id    INTEGER NOT NULL,
    from_event INTEGER NOT NULL,
    to_event   INTEGER NOT NULL DEFAULT 9223372036854775807,
    PRIMARY KEY (space_id, user_id, role_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX role_stays_open ON role_stays (space_id, user_id, role_id)
    WHERE to_event = 9223372036854775807;
CREATE INDEX role_stays_closed ON role_stays (to_event) WHERE to_event < 9223372036854775807;

-- Who is on which list of a place. The name stands here itself, as in blocks.
CREATE TABLE list_stays (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    name            TEXT    NOT NULL,
    list            INTEGER NOT NULL,
    from_event      INTEGER NOT NULL,
    to_event        INTEGER NOT NULL DEFAULT 9223372036854775807,
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, name, list, from_event)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX list_stays_open ON list_stays (conversation_id, list, name)
    WHERE to_event = 9223372036854775807;
CREATE INDEX list_stays_closed ON list_stays (to_event) WHERE to_event < 9223372036854775807;

-- Who was asked to join a space.
CREATE TABLE invitations (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    name            TEXT    NOT NULL,
    by_id           INTEGER NOT NULL REFERENCES users (id),
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX invitations_of_user ON invitations (name, conversation_id);

-- Which messages mention everyone, of those that are counted and not erased.
CREATE TABLE mentions_all (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL,
    sender_id       INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, seq)
) STRICT, WITHOUT ROWID;
