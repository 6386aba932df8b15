-- What who revoked a message left in its place is content, too: JSON in a row
-- of contents, so that it can be destroyed when the tombstone goes.
ALTER TABLE messages ADD COLUMN note_id INTEGER; -- NULL without
UPDATE messages SET note_id = note.id FROM (
    SELECT id AS message,
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'contents'), 0) + row_number() OVER (ORDER BY id) AS id
    FROM messages WHERE erased_postscript IS NOT NULL OR erased_extension IS NOT NULL
) AS note WHERE messages.id = note.message;
INSERT INTO contents (id, data)
    SELECT note_id, CAST(json_object('postscript', coalesce(erased_postscript, ''),
        'extension', json(coalesce(erased_extension, 'null'))) AS BLOB)
    FROM messages WHERE note_id IS NOT NULL ORDER BY note_id;
ALTER TABLE messages DROP COLUMN erased_postscript;
ALTER TABLE messages DROP COLUMN erased_extension;

-- How many rows of contents were wiped, ever, of each 64 by id, until it was
-- looked for what can be deleted around them; see reclaim.go.
CREATE TABLE wiped (
    block INTEGER PRIMARY KEY,
    n     INTEGER NOT NULL
) STRICT;

CREATE INDEX wiped_whole ON wiped (block) WHERE n >= 64;

INSERT INTO wiped (block, n)
    SELECT (id - 1) / 64, count(*) FROM contents WHERE substr(data, 1, 1) = x'00' GROUP BY 1;

-- How far the removal of a conversation's messages has come with what was kept
-- of them: through its events up to pos, through its receipts up to those of
-- one user of one kind.
CREATE TABLE removals (
    conversation_id INTEGER PRIMARY KEY,
    pos             INTEGER NOT NULL DEFAULT 0,
    kind            INTEGER NOT NULL DEFAULT 0,
    user_id         INTEGER NOT NULL DEFAULT 0
) STRICT;
