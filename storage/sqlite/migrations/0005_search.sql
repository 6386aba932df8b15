-- What is searched. A row is the entries of a message, which are keyed hashes of
-- its words, under the message's id; package search makes them. FTS5 is good at
-- finding what is in many lists, and does nothing else here: which rows it
-- finds are candidates, and the text decides.
--
-- Nothing but the lists is stored: no text, no positions (detail=none), no sizes
-- of messages (columnsize=0). What was put in must be told again to take it out.
CREATE VIRTUAL TABLE search USING fts5 (entries, content='', columnsize=0, detail=none, tokenize=ascii);

-- What is deleted is taken out of the lists at once. contentless_delete would
-- defeat it: deletions would then be notes beside the lists.
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
-- Merge early: a deletion looks for each entry in each segment. With the defaults
-- of 4 and 16 there are half as many segments more, and it takes a third longer;
-- with fewer, insertions pay more than deletions gain.
INSERT INTO search (search, rank) VALUES ('automerge', 3), ('crisismerge', 4);

-- The entries by message. It looks through the whole index; see unreadable.
CREATE VIRTUAL TABLE search_entries USING fts5vocab (search, instance);

INSERT INTO meta (key, value) VALUES ('search_key', randomblob(32));
