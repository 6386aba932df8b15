package storagetest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

// testInsert checks how a new message changes its conversation.
func testInsert(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	made := w.now
	expect := func(what string, last, counted int64, oldest, updated time.Time) {
		w.Helper()
		c := w.conversation(id)
		w.equal(what, []any{c.LastSeq, c.Counted, c.OldestAt, c.UpdatedAt, c.FirstSeq}, []any{last, counted, oldest, updated, int64(1)})
	}
	expect("empty", 0, 0, time.Time{}, made)
	send := func(seq int64, at time.Time, quiet bool, visibleTo im.UserID) {
		w.Helper()
		m := w.text(id, "alice", "hi")
		m.CreatedAt, m.Quiet, m.VisibleTo = at, quiet, visibleTo
		m.Seq = 0
		m = w.send(m)
		w.equal("seq", m.Seq, seq)
		w.sameMessage(w.message(m.ID), m)
	}
	at := func(n int) time.Time { return made.Add(time.Duration(n) * time.Hour) }
	send(1, at(1), false, "")
	expect("one message", 1, 1, at(1), at(1))
	send(2, at(-5), true, "")
	expect("an old quiet message", 2, 1, at(-5), at(1))
	send(3, at(2), true, "")
	expect("a later quiet message", 3, 1, at(-5), at(2))
	send(4, at(3), true, "bob")
	expect("a message visible to bob only", 4, 1, at(-5), at(2))
	send(5, at(-9), true, "somebody new")
	expect("the oldest message", 5, 1, at(-9), at(2))
	send(6, at(1), false, "")
	expect("after the clock was set back", 6, 2, at(-9), at(1))

	// A message keeps its own seq if that is greater than the last seq of the conversation.
	for _, own := range []struct {
		name      string
		seq, want int64
	}{
		{"the last seq", 6, 7},
		{"a lower seq", 1, 8},
		{"a higher seq", 100, 100},
		{"no seq", 0, 101},
	} {
		m := w.text(id, "alice", "hi")
		m.Seq, m.Quiet, m.CreatedAt = own.seq, true, at(0)
		w.equal(own.name, w.send(m).Seq, own.want)
	}
	expect("after own seqs", 101, 2, at(-9), at(1))

	// In an empty conversation, the first seq is that of the next message.
	other := w.group(im.HistoryAll, "alice")
	m := w.text(other, "alice", "hi")
	m.Seq = 50
	w.equal("own first seq", w.send(m).Seq, 50)
	w.equal("first", w.conversation(other).FirstSeq, 50)
}

func testMessageAt(w *world) {
	id, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	at := w.tick()
	send := func(id im.ID, sender im.UserID, at time.Time, text string) im.Message {
		m := w.text(id, sender, text)
		m.CreatedAt = at
		return w.send(m)
	}
	m := send(id, "alice", at, "hi")
	send(id, "alice", at, "ho")
	send(id, "bob", at, "hi bob")
	send(other, "bob", at, "ho")
	find := func(id im.ID, sender im.UserID, at time.Time, text string) (im.Message, error) {
		var found im.Message
		var err error
		w.view(func(r im.Reader) error {
			found, err = r.MessageAt(id, sender, at, w.text(id, sender, text).Content.Sent)
			return nil
		})
		return found, err
	}
	got, err := find(id, "alice", at, "hi")
	w.must(err)
	w.sameMessage(got, m)
	for what, err := range map[string]error{
		"another text":         second(find(id, "alice", at, "ha")),
		"another sender":       second(find(id, "bob", at, "hi")),
		"an unknown sender":    second(find(id, "carol", at, "hi")),
		"another time":         second(find(id, "alice", at.Add(time.Millisecond), "hi")),
		"another conversation": second(find(other, "alice", at, "hi")),
	} {
		w.notFound(what, err)
	}
	rewritten := w.text(id, "alice", "rewritten")
	stored := bytes.Replace(rewritten.Content.Sent, []byte(`,"type":`), []byte(`,"original":"x","type":`), 1)
	rewritten.CreatedAt = at
	rewritten.Content, err = im.ParseContent(stored)
	w.must(err)
	rewritten = w.send(rewritten)
	got, err = find(id, "alice", at, "rewritten")
	w.must(err)
	w.sameMessage(got, rewritten)
	w.equal("its fingerprint", got.Content.Original, "x")
	w.erase(m.ID, im.Erasure{State: im.Revoked, At: at})
	w.notFound("erased", second(find(id, "alice", at, "hi")))
}

// second returns its second argument.
func second[A, B any](_ A, b B) B { return b }

// testSeqSince compares the binary search with a scan of all messages.
func testSeqSince(w *world) {
	id := w.group(im.HistoryAll, "alice")
	since := func(at time.Time) int64 {
		w.Helper()
		return read(w, func(r im.Reader) (int64, error) { return r.SeqSince(id, at) })
	}
	w.view(func(r im.Reader) error {
		_, err := r.SeqSince(1, epoch)
		w.notFound("unknown conversation", err)
		return nil
	})
	w.equal("no messages", since(epoch), 1)
	w.now = epoch.Add(time.Hour)
	type stored struct {
		seq int64
		at  time.Time
	}
	var all []stored
	seq := int64(0)
	for i := range 90 {
		w.now = w.now.Add(time.Duration(i%4) * time.Minute)
		if seq++; i%7 == 3 {
			seq += int64(i)
		}
		m := w.text(id, "alice", "hi")
		m.Seq, m.Quiet, m.CreatedAt = seq, true, epoch.Add(-time.Duration(i)*time.Hour)
		w.equal("seq", w.send(m).Seq, seq)
		all = append(all, stored{seq, w.now})
	}
	for _, at := range all {
		for _, at := range []time.Time{at.at.Add(-time.Millisecond), at.at, at.at.Add(time.Millisecond), epoch, w.now.Add(time.Hour)} {
			want := seq + 1
			for _, s := range all {
				if !s.at.Before(at) {
					want = s.seq
					break
				}
			}
			w.equal(fmt.Sprint("since ", at), since(at), want)
		}
	}
}
