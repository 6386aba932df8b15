package events

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

// readPages reads the log as a polling client, until a page says that there are no more,
// and returns the envelopes of all events.
func readPages(t *testing.T, h *Hub, user im.UserID, cursor *Cursor, limit int) (got []testEnvelope) {
	t.Helper()
	for range 1000 {
		page, err := h.Page(t.Context(), im.Actor{User: user}, cursor, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) > limit {
			t.Errorf("a page has %d events, want at most %d", len(page.Items), limit)
		}
		for _, item := range page.Items {
			var e testEnvelope
			if err := json.Unmarshal(item, &e); err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if !page.More {
			return got
		}
		cursor = &page.Cursor
	}
	t.Fatal("the pages do not end")
	return nil
}

func at(position im.Position) *Cursor { return &Cursor{Log: testLog, Position: position} }

func TestPagesEqualTheStream(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a", "b")
		m.create(2, "b")
		for range 200 {
			m.commit(sent(1), sent(2))
		}
		stream := newClient(t, h, "a", "")
		stream.cursor, stream.from = at(0), 0
		stream.connect(newPipe())
		synctest.Wait()
		stream.read()

		for _, limit := range []int{1, 7, 1000} {
			var got []im.Position
			for _, e := range readPages(t, h, "a", nil, limit) {
				cursor, err := ParseCursor(e.ID)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, cursor.Position)
			}
			if diff := cmp.Diff(stream.got, got); diff != "" {
				t.Errorf("pages of %d differ from the stream (-stream +pages):\n%s", limit, diff)
			}
		}
	})
}

func TestPageBeginsWithReset(t *testing.T) {
	for name, c := range map[string]struct {
		cursor func(*Hub) *Cursor
		want   []im.EventType
	}{
		"no cursor":               {func(*Hub) *Cursor { return nil }, []im.EventType{im.MessageCreated}},
		"at the oldest event":     {func(*Hub) *Cursor { return at(2) }, []im.EventType{im.MessageCreated}},
		"before the oldest event": {func(*Hub) *Cursor { return at(1) }, []im.EventType{Reset}},
		"after the head":          {func(*Hub) *Cursor { return at(4) }, []im.EventType{Reset}},
		"another log":             {func(*Hub) *Cursor { return &Cursor{Log: testLog + 7, Position: 2} }, []im.EventType{Reset}},
		"lost":                    {func(h *Hub) *Cursor { lost := h.Lost(); return &lost }, []im.EventType{Reset}},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m := newModel()
				h := newTestHub(t, m, Options{})
				m.create(1, "a")
				m.commit(sent(1), sent(1))
				m.trim(2)
				var got []im.EventType
				for _, e := range readPages(t, h, "a", c.cursor(h), 10) {
					got = append(got, e.Type)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("unexpected events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// If the log is trimmed between two reads of one page, events are lost, which the page must not
// hide.
func TestPageOfALogTrimmedMeanwhile(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a")
		for range 10 {
			m.commit(sent(1))
		}
		m.stride = 3
		m.onEvents = func() { m.cut = 8 }
		page, err := h.Page(t.Context(), im.Actor{User: "a"}, at(0), 100)
		if err != nil {
			t.Fatal(err)
		}
		var last testEnvelope
		if err := json.Unmarshal(page.Items[len(page.Items)-1], &last); err != nil {
			t.Fatal(err)
		}
		if last.Type != Reset || page.More || page.Cursor != *at(11) {
			t.Errorf("the page ends with %s at %v, more %t; want reset at the head", last.Type, page.Cursor, page.More)
		}
	})
}

func TestPageIsBounded(t *testing.T) {
	t.Run("in bytes", func(t *testing.T) {
		bothWays(t, func(t *testing.T) {
			m := newModel()
			long := `"` + strings.Repeat("x", maxPageBytes/4) + `"`
			h := newTestHub(t, m, Options{Encode: func(dst []byte, _ *im.Event, _ string) []byte { return append(dst, long...) }})
			m.create(1, "a")
			for range 20 {
				m.commit(sent(1))
			}
			page, err := h.Page(t.Context(), im.Actor{User: "a"}, nil, 100)
			if err != nil || len(page.Items) != 4 || !page.More {
				t.Errorf("got %d events, more %t, %v; want 4 and more", len(page.Items), page.More, err)
			}
		})
	})
	t.Run("in reads", func(t *testing.T) {
		bothWays(t, func(t *testing.T) {
			m := newModel()
			h := newTestHub(t, m, Options{})
			m.create(1, "b")
			for range 10 * maxPageWindows {
				m.commit(sent(1))
			}
			m.stride = 1
			_, before := m.reads()
			page, err := h.Page(t.Context(), im.Actor{User: "a"}, nil, 100)
			_, after := m.reads()
			if err != nil || len(page.Items) != 0 || !page.More || after-before != maxPageWindows+1 {
				t.Errorf("got %d events, more %t, %d reads, %v; want none, more, %d reads",
					len(page.Items), page.More, after-before, err, maxPageWindows+1)
			}
		})
	})
}
