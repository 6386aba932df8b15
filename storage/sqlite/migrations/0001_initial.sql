-- Times and durations are in milliseconds; times since the Unix epoch, UTC. Names in braces are Go
-- constants, see numbers.go. An interval of log positions that has not ended has the end {open},
-- the greatest position. A single range condition therefore finds the intervals that reach past a
-- position, and skips those that ended before it.

-- Values of the whole database. 'store_id' identifies these data; the key file has it, too.
-- 'log_id' identifies the event log. 'ticket_key' signs stream tickets. 'log_cut' is the newest
-- position that was trimmed from the log. All events up to 'indexed_through' are in the index of
-- their conversation. 'stamp' is the latest stamp, see erase.go. All slots that rows refer to are
-- below 'slots'. 'key_epoch' is the epoch of the keys when they were last in step with these data.
-- 'reconcile' says what must be done before the data may be read, see reconcile.go.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value ANY  NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('stamp', 0), ('indexed_through', 0);

-- The earlier logs that this one continues, each up to its head. Restoring a backup begins a new
-- log. Cursors of an earlier log are valid up to its head.
CREATE TABLE past_logs (
    log  INTEGER NOT NULL,
    head INTEGER NOT NULL
) STRICT;

-- Users, as named by the application's tokens. Other tables refer to them by the integer.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    tokens_cut_at INTEGER
) STRICT;

CREATE INDEX users_cut ON users (tokens_cut_at, name) WHERE tokens_cut_at IS NOT NULL;

-- The user by_id receives no direct messages from the user called name. Lists of blocks are sorted
-- by name, so it is stored here, not the user's id.
CREATE TABLE blocks (
    by_id INTEGER NOT NULL REFERENCES users (id),
    name  TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (by_id, name)
) STRICT, WITHOUT ROWID;

-- Conversations. A space is one, too, because it has members.
CREATE TABLE conversations (
    id           INTEGER PRIMARY KEY,
    kind         INTEGER NOT NULL,
    -- Texts are content: each is sealed with the key in its slot. Both are NULL if it is empty.
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
    -- The time by which the conversation is listed: its creation or, if later, the newest message
    -- that has an event or is visible to all. listed_id is the id of that message, 0 without one.
    listed_at    INTEGER NOT NULL DEFAULT 0,
    listed_id    INTEGER NOT NULL DEFAULT 0,
    counted      INTEGER NOT NULL DEFAULT 0, -- messages counted so far
    first_seq    INTEGER NOT NULL DEFAULT 1, -- first remaining, or next if none
    oldest_at    INTEGER,                    -- oldest created_at; NULL without messages
    edited_at    INTEGER NOT NULL DEFAULT 0, -- last change of name or settings
    changed_at   INTEGER NOT NULL DEFAULT 0, -- time of the newest event for the members
    revoke_window        INTEGER,            -- NULL uses the server's policy
    revoke_others_window INTEGER,            -- likewise
    retention            INTEGER,            -- likewise; 0 keeps for ever
    expire_after  INTEGER NOT NULL DEFAULT 0,
    join_policy   INTEGER NOT NULL,
    invite_policy INTEGER NOT NULL,
    mute_all      INTEGER NOT NULL DEFAULT 0,
    slow_mode     INTEGER NOT NULL DEFAULT 0,
    private       INTEGER NOT NULL DEFAULT 0,
    trim_before   INTEGER,                   -- cutoff of a trim in progress
    deleted_at    INTEGER,
    deleted_event INTEGER,                   -- event that ended its members' stays
    purged        INTEGER NOT NULL DEFAULT 0, -- 1 once all of it is purged
    -- The parent, and the message that a thread belongs to. They are not foreign keys:
    -- conversations are never deleted, and messages are deleted without looking for references.
    parent_id  INTEGER,
    root_id    INTEGER,
    space_id   INTEGER,                      -- of a channel or a thread in one
    creator_id INTEGER,                      -- a user; NULL if unknown
    -- The number of messages of a thread that are not erased, and when the newest was sent.
    messages   INTEGER NOT NULL DEFAULT 0,
    active_at  INTEGER
) STRICT;

CREATE UNIQUE INDEX conversations_direct ON conversations (peer_low, peer_high)
    WHERE peer_low IS NOT NULL AND deleted_at IS NULL;
-- Conversations by retention and oldest message.
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

-- Current members.
CREATE TABLE members (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    role            INTEGER NOT NULL,
    joined_at       INTEGER NOT NULL,
    -- The kind of the conversation, so that listing a user's conversations does not read their
    -- threads and spaces.
    kind            INTEGER NOT NULL,
    returned_at     INTEGER, -- when a former member rejoined; NULL for others
    -- The parent of a thread. A user who leaves the parent also leaves the threads in it; this
    -- finds them without reading the user's other threads.
    parent_id       INTEGER,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_of_user ON members (user_id, conversation_id, kind, joined_at) WHERE kind <= {room};
CREATE INDEX members_returned ON members (user_id, returned_at, conversation_id) WHERE returned_at IS NOT NULL AND kind <= {room};
CREATE INDEX members_owning ON members (conversation_id) WHERE role = {owner};
CREATE INDEX threads_of_user ON members (user_id, conversation_id) WHERE kind = {thread};
CREATE INDEX threads_of_user_below ON members (user_id, parent_id) WHERE kind = {thread};

-- All stays of all members. A stay is an interval of membership.
CREATE TABLE intervals (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    from_event      INTEGER NOT NULL,
    to_event        INTEGER NOT NULL DEFAULT {open},
    from_seq        INTEGER NOT NULL,
    to_seq          INTEGER, -- NULL until the stay ends
    by_self         INTEGER NOT NULL DEFAULT 0, -- 1 if the member ended it themselves
    in_space        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation_id, user_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE INDEX intervals_of_user ON intervals (user_id, to_event, conversation_id, from_event);
CREATE INDEX intervals_of_conversation ON intervals (conversation_id, to_event, from_event, user_id);
-- The members at the time of a message: those whose stay ends at it or later. A stay that has not
-- ended has no to_seq.
CREATE INDEX intervals_by_seq
    ON intervals (conversation_id, coalesce(to_seq, {open}), from_seq, user_id);
-- Stays in spaces have an index of their own, through which a user gets the events of channels. It
-- costs users without spaces nothing.
CREATE INDEX intervals_in_spaces ON intervals (user_id, to_event, conversation_id, from_event)
    WHERE in_space = 1;

-- A user's settings for a conversation, the same on all of their devices.
CREATE TABLE marks (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    pinned_at       INTEGER,
    muted           INTEGER NOT NULL DEFAULT 0,
    cleared_seq     INTEGER NOT NULL DEFAULT 0, -- unread begins after this
    hidden_seq      INTEGER NOT NULL DEFAULT 0, -- hidden up to this
    hidden_before   INTEGER,                    -- hidden if created before
    hidden_at       INTEGER,                    -- when hidden_seq or hidden_before last changed
    gone_counted    INTEGER NOT NULL DEFAULT {not_gone}, -- not listed until more messages are counted
    changed_at      INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX marks_changed ON marks (user_id, changed_at);
CREATE INDEX marks_hidden ON marks (user_id, hidden_at) WHERE hidden_at IS NOT NULL;
CREATE INDEX marks_hiding ON marks (conversation_id, hidden_seq, hidden_before, hidden_at) WHERE hidden_at IS NOT NULL;

-- When a user last did what slow mode limits, in a conversation or in a thread of it.
CREATE TABLE spoken (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

-- Until when a user may not send. A mute survives leaving.
CREATE TABLE mutes (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user_id         INTEGER NOT NULL REFERENCES users (id),
    until           INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;

-- What decides about access is stored as versions, because an event is delivered to those who had
-- access when it happened. A version is valid from the event from_event up to, and without, the
-- event to_event. Versions that ended before the start of the log are trimmed with it.
CREATE TABLE space_roles (
    space_id   INTEGER NOT NULL REFERENCES conversations (id),
    from_event INTEGER NOT NULL,
    to_event   INTEGER NOT NULL DEFAULT {open},
    roles      TEXT    NOT NULL, -- JSON of numbers
    owner_id   INTEGER REFERENCES users (id), -- NULL while nobody owns the space
    PRIMARY KEY (space_id, from_event)
) STRICT, WITHOUT ROWID;

CREATE INDEX space_roles_closed ON space_roles (to_event) WHERE to_event < {open};

-- The current names of roles, sealed. They do not affect access, so they have no versions; changing
-- a name erases the old one.
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

-- The roles of the members of a space.
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

-- The users on the lists of a conversation. Lists are sorted by name, so it is stored here.
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

-- Invitations to groups, rooms and spaces.
CREATE TABLE invitations (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    name            TEXT    NOT NULL,
    by_id           INTEGER NOT NULL REFERENCES users (id),
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX invitations_of_user ON invitations (name, conversation_id);

-- Messages. No foreign key refers to a message, and sender_id is none either: deleting a parent row
-- would search the whole table.
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
    -- Quiet messages were imported or inserted: they have no event and count as read. visible_to is
    -- the only user who can see the message, NULL if all members can.
    quiet           INTEGER NOT NULL DEFAULT 0,
    visible_to      INTEGER,
    -- 1 if created_at differs from the time in the id, because the message was imported or sent
    -- while the clock was set back.
    timed           INTEGER NOT NULL,
    -- The number of messages of the conversation up to and including this one that are not quiet,
    -- whether or not they still exist. The number between two messages is the difference, whatever
    -- was erased or deleted.
    ord             INTEGER NOT NULL DEFAULT 0,
    in_thread       INTEGER NOT NULL DEFAULT 0,
    -- The content, sealed with the key in the slot. A tombstone keeps the slot, so that it is known
    -- where the key was. The slot is NULL if there never was content.
    slot            INTEGER,
    sealed          BLOB,    -- NULL once erased
    expires_at      INTEGER,
    burn_after      INTEGER, -- NULL if it does not burn
    burn_unread_ttl INTEGER,
    burn_at         INTEGER, -- when it burns, once it was read
    due_at          INTEGER, -- when it burns or expires; NULL once erased
    -- The tombstone. erased_at is the time from which the message was no longer readable.
    -- erase_stamp is when it was erased here; it never decreases from one erasure to the next.
    -- shredded_at is when the key was shredded.
    erased_at       INTEGER,
    erased_by       INTEGER,
    erase_stamp     INTEGER,
    shredded_at     INTEGER,
    -- The note that the user who revoked the message has left: content, with a key of its own, so
    -- that it is erased with the tombstone. NULL without one.
    note_slot       INTEGER,
    note            BLOB
) STRICT;

-- Seqs are unique: each is greater than that of the message before it.
CREATE INDEX messages_by_seq ON messages (conversation_id, seq, sender_id, quiet, timed);
CREATE UNIQUE INDEX messages_by_client_id ON messages (sender_id, client_id)
    WHERE client_id IS NOT NULL;
-- Messages that are not timed are in the order of created_at by seq, see messages_by_time.go.
CREATE INDEX messages_by_time ON messages (conversation_id, created_at, seq) WHERE timed = 1;
CREATE INDEX messages_by_type ON messages (conversation_id, type, seq)
    WHERE type <> {text};
CREATE INDEX messages_due ON messages (due_at) WHERE due_at IS NOT NULL;
-- What is subtracted from unread counts: erased messages, and due ones.
CREATE INDEX messages_due_in ON messages (conversation_id, due_at, seq, sender_id, quiet) WHERE due_at IS NOT NULL;
CREATE INDEX messages_erased ON messages (conversation_id, seq, sender_id, quiet, state) WHERE state <> {active};
-- conversation_id is in the index so that the erasures of a user are found within it.
CREATE INDEX messages_by_erase_stamp ON messages (erase_stamp, id, conversation_id) WHERE erase_stamp IS NOT NULL;
CREATE INDEX messages_unstarted ON messages (conversation_id, seq) WHERE burn_after IS NOT NULL AND burn_at IS NULL AND state = {active};
CREATE INDEX messages_burning ON messages (conversation_id, seq) WHERE burn_at IS NOT NULL AND state = {active};
CREATE INDEX messages_tracked ON messages (conversation_id, seq) WHERE receipt = 1 AND state = {active};
-- Messages of threads that are not erased and visible to all, to find the newest.
CREATE INDEX messages_of_thread ON messages (conversation_id, created_at)
    WHERE in_thread = 1 AND state = {active} AND visible_to IS NULL;

-- Keys to be shredded, because what they sealed was erased. The erasing transaction inserts the
-- row; it is deleted after the key is shredded. message_id is the tombstone, 0 for none.
CREATE TABLE doomed (
    slot       INTEGER NOT NULL,
    code       INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (slot, code)
) STRICT, WITHOUT ROWID;

-- Attachments. info, the description of the file, is content; the file is sealed under the same
-- key. refs is the number of rows in attachment_refs.
CREATE TABLE attachments (
    id          INTEGER PRIMARY KEY,
    uploader_id INTEGER NOT NULL REFERENCES users (id),
    slot        INTEGER NOT NULL,
    info        BLOB    NOT NULL,
    size        INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    refs        INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX attachments_orphans ON attachments (created_at) WHERE refs = 0;

-- The attachments of messages that are not erased.
CREATE TABLE attachment_refs (
    message_id    INTEGER NOT NULL,
    attachment_id INTEGER NOT NULL,
    PRIMARY KEY (message_id, attachment_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX attachment_refs_of ON attachment_refs (attachment_id, message_id);

-- Thumbnails of attachments that are pictures. id, slot, size and info are NULL without a blob;
-- info is content, sealed under the key of the blob.
CREATE TABLE thumbnails (
    attachment_id INTEGER PRIMARY KEY,
    uploader_id   INTEGER NOT NULL REFERENCES users (id),
    state         INTEGER NOT NULL,
    tries         INTEGER NOT NULL,
    id            INTEGER,
    slot          INTEGER,
    size          INTEGER,
    info          BLOB
) STRICT;

CREATE INDEX thumbnails_waiting ON thumbnails (uploader_id, attachment_id) WHERE state = {thumbnail_waiting};

CREATE UNIQUE INDEX thumbnails_blobs ON thumbnails (id) WHERE id IS NOT NULL;

-- The number and the bytes of each user's attachments. The row of user 0 has the totals.
CREATE TABLE attachment_use (
    user_id INTEGER PRIMARY KEY,
    files   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;

-- Files of erased attachments that are still to be deleted. The slot shows whether the key is
-- shredded.
CREATE TABLE dead_blobs (
    id   INTEGER PRIMARY KEY,
    slot INTEGER NOT NULL
) STRICT;

-- Mentions of users, in messages that count as unread and are not erased.
CREATE TABLE mentions (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL,
    user_id         INTEGER NOT NULL REFERENCES users (id),
    PRIMARY KEY (conversation_id, seq, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX mentions_of_user ON mentions (user_id, conversation_id, seq);

-- Mentions of everyone, in messages that count as unread and are not erased.
CREATE TABLE mentions_all (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL,
    sender_id       INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, seq)
) STRICT, WITHOUT ROWID;

-- The messages of a conversation that a user has received, read or hidden by id, as ranges of seq
-- that do not overlap, both ends included. storage/record defines the kinds. Whether a message is
-- in one takes one seek. at is when the range was added.
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

-- The event log. An event is for the members of its conversation, or for to_user.
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
    data            TEXT, -- JSON of rare fields: ids and times, never content
    -- 1 if it is in the index of its conversation's events: not if it is for to_user, nor while
    -- an event of a message is new. Many are indexed together, see event_index.go.
    indexed         INTEGER NOT NULL
) STRICT;

-- The rowid, which is pos, is the last column of every index. The first index has one condition,
-- so that SQLite finds positions in it without reading the events.
CREATE INDEX events_of_conversation ON events (conversation_id) WHERE indexed = 1;
CREATE INDEX events_of_user ON events (to_user) WHERE to_user IS NOT NULL;
-- Events for one user about a conversation, for retention.
CREATE INDEX events_addressed ON events (conversation_id) WHERE to_user IS NOT NULL AND conversation_id IS NOT NULL;

-- The ids and client_ids of messages that were trimmed or purged, for a time, so that a retry or a
-- repeated import does not store them again. They hold no content, nor anything computed from it.
CREATE TABLE remembered_messages (
    id              INTEGER PRIMARY KEY, -- of the message
    conversation_id INTEGER NOT NULL,
    sender_id       INTEGER NOT NULL,
    client_id       TEXT,
    created_at      INTEGER NOT NULL,
    remembered_at   INTEGER NOT NULL     -- when it was trimmed or purged
) STRICT;

CREATE INDEX remembered_by_client_id ON remembered_messages (sender_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX remembered_by_time ON remembered_messages (sender_id, created_at, conversation_id);
CREATE INDEX remembered_longest ON remembered_messages (remembered_at);

-- The users of deleted direct conversations, because imports name such conversations by their
-- users.
CREATE TABLE remembered_directs (
    conversation_id INTEGER PRIMARY KEY,
    peer_low        INTEGER NOT NULL REFERENCES users (id),
    peer_high       INTEGER NOT NULL REFERENCES users (id),
    remembered_at   INTEGER -- when its last message was purged
) STRICT;

CREATE INDEX remembered_directs_of ON remembered_directs (peer_low, peer_high);
CREATE INDEX remembered_directs_longest ON remembered_directs (remembered_at) WHERE remembered_at IS NOT NULL;

-- The progress of deleting what belongs to trimmed messages: events up to pos, and ranges of seq up
-- to those of one user of one kind.
CREATE TABLE trim_progress (
    conversation_id INTEGER PRIMARY KEY,
    pos             INTEGER NOT NULL DEFAULT 0,
    kind            INTEGER NOT NULL DEFAULT 0,
    user_id         INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Webhooks: readers of the event log that receive events by HTTP. pos is the last event that is
-- delivered or skipped, in the log with this id. The url is not content. The secrets are sealed
-- together, with the key in the slot; both are NULL if the secrets are lost.
CREATE TABLE webhooks (
    id              INTEGER PRIMARY KEY,
    url             TEXT    NOT NULL,
    events          TEXT    NOT NULL, -- JSON: names of event types; [] means all
    kinds           TEXT    NOT NULL, -- JSON: numbers of kinds; [] means all
    state           INTEGER NOT NULL,
    reason          INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    previous_until  INTEGER,
    slot            INTEGER,
    sealed          BLOB,
    log             INTEGER NOT NULL,
    pos             INTEGER NOT NULL,
    moves           INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    refusals        INTEGER NOT NULL,
    next_attempt    INTEGER,
    failures        INTEGER NOT NULL,
    failing_since   INTEGER,
    delivered_at    INTEGER
) STRICT;

-- What is kept of deliveries: ids, times and numbers, never content. pos is the event.
CREATE TABLE webhook_deliveries (
    webhook_id      INTEGER NOT NULL REFERENCES webhooks (id),
    pos             INTEGER NOT NULL,
    type            TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    message_id      INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    first_at        INTEGER,
    last_at         INTEGER,
    status          INTEGER NOT NULL,
    fault           INTEGER NOT NULL,
    took            INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, pos)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (webhook_id, state, pos);
