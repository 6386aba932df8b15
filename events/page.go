package events

import (
	"context"
	"encoding/json"
	"time"

	"github.com/imapi/imapi/im"
)

// Page is a part of the log, for clients that poll instead of opening a stream.
type Page struct {
	// Items are events as the data of a stream's frames.
	Items []json.RawMessage
	// Cursor is the position up to which the page is complete: the next page begins
	// after it.
	Cursor Cursor
	// More reports whether the log had events after Cursor when the page was read.
	More bool
}

// The bounds of a page besides the number of its events. Most events of the log may be
// for other users, so Page reads at least minPageWindow events at a time, and at most
// maxPageWindows times. A page ends after the event with which its JSON reaches maxPageBytes.
const (
	minPageWindow  = 64
	maxPageWindows = 32
	maxPageBytes   = 1 << 20
)

// Page reads up to limit events for an actor, from the cursor on, or from the start of
// the log if cursor is nil. It may return fewer, even none, while there are more. If it is not
// known what follows the cursor (see [resolve]), the page consists of a [Reset]; if events were
// trimmed while the page was read, it ends with one. Errors are those of [Log].
func (h *Hub) Page(ctx context.Context, actor im.Actor, cursor *Cursor, limit int) (Page, error) {
	bounds, err := h.opts.Log.LogBounds(ctx)
	if err != nil {
		return Page{}, err
	}
	p := pageReader{hub: h, limit: limit, after: bounds.Cut, items: []json.RawMessage{}}
	if cursor != nil {
		var reset bool
		if p.after, reset = resolve(*cursor, bounds, h.opts.LogID); reset {
			p.reset(p.after)
		}
	}
	for range maxPageWindows {
		if p.full() || p.after >= bounds.Head {
			break
		}
		w, err := h.opts.Log.Events(ctx, actor, p.after, bounds.Head, max(limit-len(p.items), minPageWindow))
		if err != nil {
			return Page{}, err
		}
		if w.Cut > p.after {
			// The log was trimmed since its bounds were read.
			p.reset(bounds.Head)
			break
		}
		p.add(w)
	}
	return Page{Items: p.items, Cursor: h.cursorAt(p.after), More: p.after < bounds.Head}, nil
}

// pageReader collects the events of a page.
type pageReader struct {
	hub   *Hub
	limit int
	after im.Position // up to which the log was read
	items []json.RawMessage
	bytes int
}

func (p *pageReader) full() bool { return len(p.items) >= p.limit || p.bytes >= maxPageBytes }

func (p *pageReader) put(e *im.Event) {
	item := p.hub.opts.Encode(nil, e, p.hub.cursorAt(e.Position).String())
	p.items, p.bytes = append(p.items, item), p.bytes+len(item)
}

// reset adds a [Reset] and continues after a position.
func (p *pageReader) reset(at im.Position) {
	p.after = at
	p.put(&im.Event{Type: Reset, Position: at, At: time.Now()})
}

// add adds the events of a window until the page is full.
func (p *pageReader) add(w im.EventWindow) {
	for i := range w.Events {
		if p.full() {
			return
		}
		p.put(&w.Events[i])
		p.after = w.Events[i].Position
	}
	p.after = w.Through
}
