-- The client_ids under which users created conversations, so that a repeated request creates
-- nothing. members is a digest of the ids of the users whom the request named. remembered_at is when
-- the conversation was deleted.
CREATE TABLE creations (
    creator_id      INTEGER NOT NULL REFERENCES users (id),
    client_id       TEXT    NOT NULL,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    members         BLOB    NOT NULL,
    remembered_at   INTEGER,
    PRIMARY KEY (creator_id, client_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX creations_of_conversation ON creations (conversation_id);
CREATE INDEX creations_longest ON creations (remembered_at) WHERE remembered_at IS NOT NULL;
