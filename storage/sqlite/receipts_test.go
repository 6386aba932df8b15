package sqlite

import (
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/seqs"
	"github.com/imapi/imapi/storage/record"
)

// storedReceipts returns a user's stored ranges.
func storedReceipts(t *testing.T, s *Store, user im.UserID) (list []record.Range) {
	t.Helper()
	err := s.Write(t.Context(), func(w im.Tx) error {
		key, err := w.(*tx).userKey(user)
		if err != nil {
			return err
		}
		o := rangesOf{tx: w.(*tx), conversation: int64(testConversation), kind: int64(record.Read), user: key}
		list, err = o.ranges(selectRangeAfter[:len(selectRangeAfter)-len(" LIMIT 1")], int64(-1))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestReceiptsAreRanges checks that receipts take few rows, in whatever order they are
// given.
func TestReceiptsAreRanges(t *testing.T) {
	const n, keptTimes = 1000, 64
	s := openNew(t, Options{Synchronous: "normal"})
	step := steps.Begin(t)
	step("send")
	createConversation(t, s)
	err := s.Write(t.Context(), func(w im.Tx) error {
		for i := range n {
			m := im.Message{ID: firstID + im.ID(i), Conversation: testConversation, Sender: "alice", Type: im.Text, State: im.Active}
			if i%2 == 1 {
				m.Sender = "answers"
			}
			if _, err := w.InsertMessage(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(user im.UserID, from, to int64, at int) {
		t.Helper()
		err := s.Write(t.Context(), func(w im.Tx) error {
			_, err := w.PutReceipt(im.Read, testConversation, user, im.SeqRange{From: from, To: to}, fromMillis(int64(at)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	step("read all at once")
	put("at once", 1, n, 5)
	if got := storedReceipts(t, s, "at once"); !slices.Equal(got, []record.Range{{Range: seqs.Range{From: 1, To: n}, At: 5}}) {
		t.Errorf("at once: %v", got)
	}
	step("read one by one, in several orders")
	for seq := int64(1); seq <= n; seq++ {
		put("one by one", seq, seq, int(seq))
		put("at the same time", seq, seq, 7)
		put("backwards", n+1-seq, n+1-seq, int(seq))
		if seq%2 == 1 {
			put("answers", seq, seq, int(seq))
		}
		if seq%3 != 0 {
			put("some", seq, seq, int(seq))
		}
	}
	for user, want := range map[im.UserID]int{
		"one by one": keptTimes + 1, "at the same time": 1, "backwards": keptTimes + 1, "answers": keptTimes + 1,
		"some": n/3 + keptTimes/2 + 1, // a gap after every other message
	} {
		if got := storedReceipts(t, s, user); len(got) > want {
			t.Errorf("%s: %d rows, %v ...", user, len(got), got[:9])
		}
	}
	step("a receipt for all closes the gaps")
	put("some", 1, n, n+1)
	if got := storedReceipts(t, s, "some"); len(got) > keptTimes+1 {
		t.Errorf("after a receipt for all: %d rows", len(got))
	}
	step("the newest keep their times")
	for _, seq := range []int64{1, 2, n - keptTimes + 1, n} {
		var at int64
		for _, r := range storedReceipts(t, s, "one by one") {
			if r.Has(seq) {
				at = r.At
			}
		}
		if want := max(seq, n-keptTimes); at != want {
			t.Errorf("%d was read at %d, want %d", seq, at, want)
		}
	}
}
