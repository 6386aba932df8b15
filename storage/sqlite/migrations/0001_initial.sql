-- Times are milliseconds since the Unix epoch, UTC, durations milliseconds.
-- Names in braces stand for constants of Go, see numbers.go. An interval of positions of the log
-- that has not ended has the end {open}, the greatest there is: so one range condition finds
-- what reaches past a position, and what ended before it is not even looked at.

-- What makes these data different from others: 'store_id', which their keys have, too;
-- 'log_id', 'ticket_key'; 'log_cut', the newest position that is gone from the log;
-- 'filed', the position up to which all events are filed; 'stamp', the latest time by which what was taken from readers is found, see Stamp;
-- 'slots', below which all slots of keys are that rows may name; 'key_epoch', that of the
-- keys when they were last seen; 'reconcile', what is to be done before anybody reads, see
-- reconcile.go.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value ANY  NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('stamp', 0), ('filed', 0);

-- The logs that this one goes on from, each up to its head: a backup that is restored
-- begins another. Cursors of them are good up to there.
CREATE TABLE past_logs (
    log  INTEGER NOT NULL,
    head INTEGER NOT NULL
) STRICT;

-- Users are whoever the application's tokens name; the integer is what other
-- tables hold.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    tokens_cut_at INTEGER
) STRICT;

CREATE INDEX users_cut ON users (tokens_cut_at, name) WHERE tokens_cut_at IS NOT NULL;

-- by_id gets no direct messages from the user called name. The name stands
-- here itself, for it is what lists of blocks are sorted by.
CREATE TABLE blocks (
    by_id INTEGER NOT NULL REFERENCES users (id),
    name  TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (by_id, name)
) STRICT, WITHOUT ROWID;

-- Where messages are. A space is a conversation, too, for its members' sake.
CREATE TABLE conversations (
    id           INTEGER PRIMARY KEY,
    kind         INTEGER NOT NULL,
    -- Its texts are content, each sealed under the key in a slot; NULL if it is empty.
    name_slot         INTEGER,
    name              BLOB,
    announcement_slot INTEGER,
    announcement      BLOB,
    avatar_slot       INTEGER,
    avatar            BLOB,
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
    listed_id    INTEGER NOT NULL DEFAULT 0,
    counted      INTEGER NOT NULL DEFAULT 0, -- messages that were counted, ever
    first_seq    INTEGER NOT NULL DEFAULT 1, -- the first that is left, or would be
    oldest_at    INTEGER,                    -- the oldest created_at that is left; NULL if none is
    edited_at    INTEGER NOT NULL DEFAULT 0, -- of name and settings
    changed_at   INTEGER NOT NULL DEFAULT 0, -- the newest event for the members
    revoke_window        INTEGER,            -- NULL leaves it to the policy
    revoke_others_window INTEGER,            -- the same
    retention            INTEGER,            -- the same; 0 keeps for ever
    expire_after  INTEGER NOT NULL DEFAULT 0,
    join_policy   INTEGER NOT NULL,
    invite_policy INTEGER NOT NULL,
    mute_all      INTEGER NOT NULL DEFAULT 0,
    slow_mode     INTEGER NOT NULL DEFAULT 0,
    private       INTEGER NOT NULL DEFAULT 0,
    trim_before   INTEGER,                   -- the cutoff of a trimming that is not done
    deleted_at    INTEGER,
    deleted_event INTEGER,                   -- the event by which its members' stays ended
    purged        INTEGER NOT NULL DEFAULT 0, -- nothing is left of what was deleted
    -- The conversation that it is below, and the message that a thread is under. They are
    -- no foreign keys: no conversation is ever removed, and a message is without a look
    -- at who refers to it.
    parent_id  INTEGER,
    root_id    INTEGER,
    space_id   INTEGER,                      -- of a channel, and of a thread in one
    creator_id INTEGER,                      -- a user; NULL if that is not known
    -- How many messages of a thread were not erased, and when the newest was sent.
    messages   INTEGER NOT NULL DEFAULT 0,
    active_at  INTEGER
) STRICT;

CREATE UNIQUE INDEX conversations_direct ON conversations (peer_low, peer_high)
    WHERE peer_low IS NOT NULL AND deleted_at IS NULL;
-- Those with one retention, the oldest message first.
CREATE INDEX conversations_oldest ON conversations (retention, oldest_at) WHERE oldest_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX conversations_trimming ON conversations (id) WHERE trim_before IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX conversations_unpurged ON conversations (deleted_at) WHERE deleted_at IS NOT NULL AND purged = 0;
-- The rowid, which is the conversation's id, is the last column of every index.
CREATE INDEX threads_of_parent ON conversations (parent_id)
    WHERE parent_id IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX thread_of_root ON conversations (root_id)
    WHERE root_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX channels_of_space ON conversations (space_id, coalesce(deleted_event, {open}))
    WHERE kind = {channel};

-- Who is a member now.
CREATE TABLE members (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    role            INTEGER NOT NULL,
    joined_at       INTEGER NOT NULL,
    -- The kind of the conversation, so that a user's list does not go through their
    -- threads and spaces.
    kind            INTEGER NOT NULL,
    returned_at     INTEGER, -- when somebody came back who had left before; NULL for others
    -- What a thread is below: who leaves that is taken out of the thread, and those of a
    -- user's threads that are elsewhere are not looked at.
    parent_id       INTEGER,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_of_user ON members (user_id, conversation_id, kind, joined_at) WHERE kind <= {room};
CREATE INDEX members_returned ON members (user_id, returned_at, conversation_id) WHERE returned_at IS NOT NULL AND kind <= {room};
CREATE INDEX members_owning ON members (conversation_id) WHERE role = {owner};
CREATE INDEX threads_of_user ON members (user_id, conversation_id) WHERE kind = {thread};
CREATE INDEX threads_of_user_below ON members (user_id, parent_id) WHERE kind = {thread};

-- Every stay of every member.
CREATE TABLE intervals (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    from_event      INTEGER NOT NULL,
    to_event        INTEGER NOT NULL DEFAULT {open},
    from_seq        INTEGER NOT NULL,
    to_seq          INTEGER, -- once the stay has ended
    by_self         INTEGER NOT NULL DEFAULT 0, -- 1 if the member ended it themselves
    in_space        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation_id, user_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE INDEX intervals_of_user ON intervals (user_id, to_event, conversation_id, from_event);
CREATE INDEX intervals_of_conversation ON intervals (conversation_id, to_event, from_event, user_id);
-- Who was a member when a message was sent: those whose stay ends at it or
-- later. A stay that lasts has no end.
CREATE INDEX intervals_by_seq
    ON intervals (conversation_id, coalesce(to_seq, {open}), from_seq, user_id);
-- Stays in spaces have an index of their own: through them a user gets what
-- happens in channels, and who is in no space pays nothing for it.
CREATE INDEX intervals_in_spaces ON intervals (user_id, to_event, conversation_id, from_event)
    WHERE in_space = 1;

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
    gone_counted    INTEGER NOT NULL DEFAULT {not_gone}, -- not listed while no more than this were counted
    changed_at      INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX marks_changed ON marks (user_id, changed_at);
CREATE INDEX marks_hidden ON marks (user_id, hidden_at) WHERE hidden_at IS NOT NULL;
CREATE INDEX marks_hiding ON marks (conversation_id, hidden_seq, hidden_before, hidden_at) WHERE hidden_at IS NOT NULL;

-- When somebody last did what slow mode counts, in a conversation or in a thread of it.
CREATE TABLE spoken (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

-- Until when a user may not send. It outlives their leaving.
CREATE TABLE mutes (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    until           INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

-- What decides who may what is kept as it was after each event that changed it,
-- for an event is for those who could see its conversation when it happened. A
-- version holds from one event up to another, which it does not hold after. What ended
-- before the log begins decides nothing any more and goes with what is cut off it.
CREATE TABLE space_roles (
    space_id   INTEGER NOT NULL REFERENCES conversations (id),
    from_event INTEGER NOT NULL,
    to_event   INTEGER NOT NULL DEFAULT {open},
    roles      TEXT    NOT NULL, -- JSON of numbers
    owner_id   INTEGER REFERENCES users (id), -- NULL while nobody owns the space
    PRIMARY KEY (space_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE INDEX space_roles_closed ON space_roles (to_event) WHERE to_event < {open};

-- What roles are called now, sealed. A name decides nothing, so no version has it: one
-- that was changed is gone.
CREATE TABLE role_names (
    role_id  INTEGER PRIMARY KEY,
    space_id INTEGER NOT NULL REFERENCES conversations (id),
    slot     INTEGER NOT NULL,
    name     BLOB    NOT NULL
) STRICT;

CREATE INDEX role_names_of_space ON role_names (space_id);

CREATE TABLE channel_access (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    from_event      INTEGER NOT NULL,
    to_event        INTEGER NOT NULL DEFAULT {open},
    access          TEXT    NOT NULL, -- JSON of numbers
    PRIMARY KEY (conversation_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE INDEX channel_access_closed ON channel_access (to_event) WHERE to_event < {open};

-- Which roles of a space its members have.
CREATE TABLE role_stays (
    space_id   INTEGER NOT NULL REFERENCES conversations (id),
    user_id    INTEGER NOT NULL REFERENCES users (id),
    role_id    INTEGER NOT NULL,
    from_event INTEGER NOT NULL,
    to_event   INTEGER NOT NULL DEFAULT {open},
    PRIMARY KEY (space_id, user_id, role_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX role_stays_open ON role_stays (space_id, user_id, role_id)
    WHERE to_event = {open};
CREATE INDEX role_stays_closed ON role_stays (to_event) WHERE to_event < {open};

-- Who is on which list of a conversation. The name stands here itself, as in blocks.
CREATE TABLE list_stays (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    name            TEXT    NOT NULL,
    list            INTEGER NOT NULL,
    from_event      INTEGER NOT NULL,
    to_event        INTEGER NOT NULL DEFAULT {open},
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, name, list, from_event)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX list_stays_open ON list_stays (conversation_id, list, name)
    WHERE to_event = {open};
CREATE INDEX list_stays_closed ON list_stays (to_event) WHERE to_event < {open};

-- Who was asked to join a group, room or space.
CREATE TABLE invitations (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    name            TEXT    NOT NULL,
    by_id           INTEGER NOT NULL REFERENCES users (id),
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX invitations_of_user ON invitations (name, conversation_id);

-- Messages. Nothing refers to a message by a foreign key, and sender_id is none either:
-- the parent's removal would look through the whole table.
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
    -- quiet messages were imported or inserted: they cause no event and count
    -- as read. visible_to is the one user who can see a message, NULL for all.
    quiet           INTEGER NOT NULL DEFAULT 0,
    visible_to      INTEGER,
    -- 1 if created_at is not the time that the id says: of what was imported, or sent while
    -- the clock was set back.
    timed           INTEGER NOT NULL,
    -- How many of the conversation's messages were counted up to and including
    -- this one, ever: those that are not quiet. So how many lie between two of
    -- them is a subtraction, whatever was erased or removed.
    ord             INTEGER NOT NULL DEFAULT 0,
    in_thread       INTEGER NOT NULL DEFAULT 0,
    -- What it says, sealed under the key in a slot. Of a tombstone the slot stays, so that
    -- it is known where the key was; NULL if there was no content.
    slot            INTEGER,
    sealed          BLOB,    -- NULL once erased
    expires_at      INTEGER,
    burn_after      INTEGER, -- NULL if not sent for burning
    burn_unread_ttl INTEGER,
    burn_at         INTEGER, -- once it was read
    due_at          INTEGER, -- when it erases itself; NULL once erased
    -- The tombstone. erased_at is when nobody could read it any more, wiped_at, when it
    -- was erased here, rises from one to the next, and shredded_at is when the key was
    -- destroyed.
    erased_at       INTEGER,
    erased_by       INTEGER,
    wiped_at        INTEGER,
    shredded_at     INTEGER,
    -- What who revoked a message left in its place is content, too, under a key of its
    -- own, so that it can be erased when the tombstone goes. NULL without.
    note_slot       INTEGER,
    note            BLOB
) STRICT;

-- No two have the same seq: each is greater than that of the message before it.
CREATE INDEX messages_by_seq ON messages (conversation_id, seq, sender_id, quiet, timed);
CREATE UNIQUE INDEX messages_by_client_id ON messages (sender_id, client_id)
    WHERE client_id IS NOT NULL;
-- Those of the others rise by created_at as they do by seq, see timed.go.
CREATE INDEX messages_by_time ON messages (conversation_id, created_at, seq) WHERE timed = 1;
CREATE INDEX messages_by_type ON messages (conversation_id, type, seq)
    WHERE type <> {text};
CREATE INDEX messages_due ON messages (due_at) WHERE due_at IS NOT NULL;
-- What is to be subtracted from what was counted: what was erased, what is due.
CREATE INDEX messages_due_in ON messages (conversation_id, due_at, seq, sender_id, quiet) WHERE due_at IS NOT NULL;
CREATE INDEX messages_erased ON messages (conversation_id, seq, sender_id, quiet, state) WHERE state <> {active};
-- The conversation is in it for the erasures of one user to be picked from it.
CREATE INDEX messages_wiped ON messages (wiped_at, id, conversation_id) WHERE wiped_at IS NOT NULL;
CREATE INDEX messages_unstarted ON messages (conversation_id, seq) WHERE burn_after IS NOT NULL AND burn_at IS NULL AND state = {active};
CREATE INDEX messages_burning ON messages (conversation_id, seq) WHERE burn_at IS NOT NULL AND state = {active};
CREATE INDEX messages_tracked ON messages (conversation_id, seq) WHERE receipt = 1 AND state = {active};
-- Messages of threads that were not erased and are for all to see, for the newest.
CREATE INDEX messages_of_thread ON messages (conversation_id, created_at)
    WHERE in_thread = 1 AND state = {active} AND visible_to IS NULL;

-- Keys that are to be shredded, for what was sealed under them was erased. A row is
-- written by the transaction that erases, and removed once the key is gone. message_id is
-- the tombstone that stays, 0 for none.
CREATE TABLE doomed (
    slot       INTEGER NOT NULL,
    code       INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (slot, code)
) STRICT, WITHOUT ROWID;

-- Who is mentioned where, of messages that are counted and not erased.
CREATE TABLE mentions (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL,
    user_id         INTEGER NOT NULL REFERENCES users (id),
    PRIMARY KEY (conversation_id, seq, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX mentions_of_user ON mentions (user_id, conversation_id, seq);

-- Which messages mention everyone, of those that are counted and not erased.
CREATE TABLE mentions_all (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL,
    sender_id       INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, seq)
) STRICT, WITHOUT ROWID;

-- The messages of a conversation that a user has received, read or hidden by their ids:
-- ranges of seq, both ends included, which do not overlap. The kinds are those of
-- storage/record. Whether a user has a message is found by one seek. at is when the range
-- was added.
CREATE TABLE seq_ranges (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    kind            INTEGER NOT NULL,
    user_id         INTEGER NOT NULL REFERENCES users (id),
    from_seq        INTEGER NOT NULL,
    to_seq          INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, kind, user_id, from_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX seq_ranges_hidden ON seq_ranges (user_id, at) WHERE kind = {hidden_range};

-- The event log. A row is for the members of its conversation, or for to_user.
CREATE TABLE events (
    pos             INTEGER PRIMARY KEY,
    type            TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    conversation_id INTEGER,
    to_user         INTEGER,
    message_id      INTEGER,
    seq             INTEGER,
    actor           INTEGER,
    actor_device    TEXT    NOT NULL,
    user_id         INTEGER,
    role            INTEGER NOT NULL,
    data            TEXT, -- JSON of what few events have: ids and a time, never content
    -- 0 of an event that tells of a message and is not in the index yet: those are put
    -- there many at once, see filing.go.
    filed           INTEGER NOT NULL DEFAULT 1
) STRICT;

-- The rowid, which is pos, is the last column of every index.
CREATE INDEX events_of_conversation ON events (conversation_id) WHERE to_user IS NULL AND filed = 1;
CREATE INDEX events_of_user ON events (to_user) WHERE to_user IS NOT NULL;
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

-- How far the removal of a conversation's messages has come with what was kept
-- of them: through its events up to pos, through its ranges of seq up to those of
-- one user of one kind.
CREATE TABLE removals (
    conversation_id INTEGER PRIMARY KEY,
    pos             INTEGER NOT NULL DEFAULT 0,
    kind            INTEGER NOT NULL DEFAULT 0,
    user_id         INTEGER NOT NULL DEFAULT 0
) STRICT;
