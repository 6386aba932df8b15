package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imapi/imapi/im"
)

// postbox records the calls of Options.Deliver.
type postbox struct {
	mu    sync.Mutex
	calls []delivered
	fails int           // the number of next calls that fail
	stall chan struct{} // if not nil, calls block until it is closed
}

type delivered struct {
	at   time.Duration // since the creation of the postbox
	what []im.Delivery
}

func newPostbox() *postbox { return &postbox{} }

func (p *postbox) options() Options {
	start := time.Now()
	return Options{Deliver: func(_ context.Context, what []im.Delivery) error {
		at := time.Since(start)
		p.mu.Lock()
		stall := p.stall
		p.mu.Unlock()
		if stall != nil {
			<-stall
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		what = slices.Clone(what)
		slices.SortFunc(what, func(a, b im.Delivery) int {
			return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Conversation, b.Conversation), cmp.Compare(a.Range.From, b.Range.From))
		})
		p.calls = append(p.calls, delivered{at, what})
		if p.fails > 0 {
			p.fails--
			return errors.New("disk full")
		}
		return nil
	}}
}

// expect checks all calls so far, each as "time: user conversation from-to ...".
func (p *postbox) expect(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var got []string
	for _, c := range p.calls {
		s := fmt.Sprintf("%v:", c.at)
		for _, d := range c.what {
			s += fmt.Sprintf(" %s %d %d-%d", d.User, int64(d.Conversation), d.Range.From, d.Range.To)
		}
		got = append(got, s)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected deliveries (-want +got):\n%s", diff)
	}
}

// tracked returns the event of a message whose sender gets receipts.
func tracked(c, id im.ID, sender im.UserID) im.Event {
	e := withText(c, id, "text")
	e.Message.Sender, e.Actor, e.Tracked = sender, sender, true
	return e
}

func TestWrittenMessagesAreDelivered(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m, box := newModel(), newPostbox()
		h := newTestHub(t, m, box.options())
		m.create(1, "a", "b", "c")
		m.create(2, "a", "b")
		for _, u := range []im.UserID{"a", "b", "c"} {
			newClient(t, h, u, "").connect(newPipe())
			newClient(t, h, u, "other").connect(newPipe())
		}
		synctest.Wait()
		m.commit(tracked(1, 11, "a"))
		<-time.After(100 * time.Millisecond)
		m.commit(tracked(1, 12, "a"), withText(1, 13, "without receipts"), tracked(1, 14, "b"), tracked(2, 21, "a"))
		erased := tracked(1, 15, "a")
		erased.Message.Content = nil
		absent := tracked(1, 16, "a")
		absent.Message = nil
		notNew := tracked(1, 17, "a")
		notNew.Type = im.MessageBurnStarted
		m.commit(erased, absent, notNew)
		<-time.After(399 * time.Millisecond)
		box.expect(t)
		<-time.After(2 * time.Millisecond)
		first := "500ms: a 1 4-4 b 1 1-2 b 2 1-1 c 1 1-2 c 1 4-4"
		box.expect(t, first)
		// Without events there are no deliveries.
		<-time.After(time.Hour)
		box.expect(t, first)
		m.commit(tracked(2, 22, "b"))
		<-time.After(time.Second)
		box.expect(t, first, "1h0m1.001s: a 2 2-2")
	})
}

// Messages that are written from the log count as delivered, too, unless they were erased.
func TestReplayedMessagesAreDelivered(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m, box := newModel(), newPostbox()
		h := newTestHub(t, m, box.options())
		m.create(1, "a", "b")
		erased := tracked(1, 12, "a")
		erased.Message.Content = nil
		m.commit(tracked(1, 11, "a"), erased, tracked(1, 13, "a"), tracked(1, 14, "b"), tracked(1, 15, "a"), tracked(1, 16, "a"))
		synctest.Wait()
		c := newClient(t, h, "b", "")
		c.cursor = &Cursor{testLog, 1}
		c.connect(newPipe())
		<-time.After(time.Second)
		box.expect(t, "500ms: b 1 1-1 b 1 3-3 b 1 5-6")
	})
}

// unflushed is a sink whose flushes fail.
type unflushed struct {
	*pipe
	after int // the number of flushes that succeed first
}

func (s *unflushed) Flush() error {
	if s.after--; s.after < 0 {
		return errBroken
	}
	return s.pipe.Flush()
}

func TestUnwrittenMessagesAreNotDelivered(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m, box := newModel(), newPostbox()
		h := newTestHub(t, m, box.options())
		m.create(1, "a", "slow", "broken", "unflushed")
		slow, broken := newClient(t, h, "slow", ""), newClient(t, h, "broken", "")
		slow.connect(newPipe())
		broken.connect(newPipe())
		sub, err := h.Subscribe(Subscriber{Actor: im.Actor{User: "unflushed"}})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- sub.Serve(t.Context(), &unflushed{newPipe(), 1}) }()
		synctest.Wait()
		slow.pipe.block(true)
		broken.pipe.mu.Lock()
		broken.pipe.bytes = 10
		broken.pipe.mu.Unlock()
		m.commit(tracked(1, 11, "a"))
		synctest.Wait()
		m.commit(tracked(1, 12, "a"), tracked(1, 13, "a"))
		if err := <-served; !errors.Is(err, errBroken) {
			t.Errorf("Serve = %v", err)
		}
		<-time.After(time.Second)
		box.expect(t)
		// A message that is erased while it is queued does not count as delivered. One that is
		// being written does.
		m.commit(erasureOf(1, 12))
		synctest.Wait()
		slow.pipe.block(false)
		<-time.After(time.Second)
		box.expect(t, "1.5s: slow 1 1-1 slow 1 3-3")
	})
}

// A slow or failing call of Deliver delays no stream, and loses no delivery.
func TestDeliverIsSlowAndFails(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m, box := newModel(), newPostbox()
		h := newTestHub(t, m, box.options())
		m.create(1, "a", "b")
		synctest.Wait()
		c := newClient(t, h, "b", "")
		c.connect(newPipe())
		synctest.Wait()
		box.stall, box.fails = make(chan struct{}), 2
		m.commit(tracked(1, 11, "a"))
		<-time.After(700 * time.Millisecond) // Deliver is running
		for id := range im.ID(3) {
			m.commit(tracked(1, 12+id, "a"))
			synctest.Wait()
			c.read()
			if len(c.got) != 2+int(id) {
				t.Errorf("received %d events, want %d", len(c.got), 2+int(id))
			}
		}
		close(box.stall)
		<-time.After(10 * time.Second)
		box.expect(t, "500ms: b 1 1-1", "1.2s: b 1 1-4", "1.7s: b 1 1-4")
	})
}

// Deliveries that cannot be stored are dropped in the end, so that they do not hold up later
// ones.
func TestDeliverGivesUp(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m, box := newModel(), newPostbox()
		h := newTestHub(t, m, box.options())
		m.create(1, "a", "b")
		newClient(t, h, "b", "").connect(newPipe())
		synctest.Wait()
		for n, fails := range []int{receiptTries, receiptTries, receiptTries - 1, receiptTries - 1} {
			box.mu.Lock()
			box.calls, box.fails = nil, fails
			box.mu.Unlock()
			m.commit(tracked(1, im.ID(n+11), "a"))
			<-time.After(time.Hour)
			box.mu.Lock()
			if got := len(box.calls); got != receiptTries {
				t.Errorf("the %d-th was tried %d times, want %d", n+1, got, receiptTries)
			}
			last, seq := box.calls[len(box.calls)-1].what, int64(n+1)
			if len(last) != 1 || last[0].Range != (im.SeqRange{From: seq, To: seq}) {
				t.Errorf("the %d-th was delivered as %v in the end", n+1, last)
			}
			box.mu.Unlock()
		}
	})
}

func TestCloseStoresDeliveries(t *testing.T) {
	for name, under := range map[string]bool{"idle": false, "while Deliver is running": true} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				m, box := newModel(), newPostbox()
				h := newTestHub(t, m, box.options())
				m.create(1, "a", "b")
				newClient(t, h, "b", "").connect(newPipe())
				synctest.Wait()
				want := []string{"100ms: b 1 1-1"}
				if under {
					want = []string{"500ms: b 1 1-1", "700ms: b 1 1-2"}
					box.stall, box.fails = make(chan struct{}), 1
				}
				m.commit(tracked(1, 11, "a"))
				<-time.After(100 * time.Millisecond)
				if under {
					<-time.After(600 * time.Millisecond)
					m.commit(tracked(1, 12, "a"))
					synctest.Wait()
				}
				closed := make(chan struct{})
				go func() { h.Close(); close(closed) }()
				synctest.Wait()
				if under {
					select {
					case <-closed:
						t.Error("closed while Deliver was running")
					default:
					}
					close(box.stall)
				}
				<-closed
				box.expect(t, want...)
				h.receipts.put([]im.Delivery{{User: "b"}}) // by a stream that has not ended yet
				h.Close()
				box.expect(t, want...)
				if n := h.receipts.ranges; n > 0 {
					t.Errorf("%d ranges are left", n)
				}
			})
		})
	}
}

func TestWithoutDeliver(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		m.create(1, "a", "b")
		c := newClient(t, h, "b", "")
		c.connect(newPipe())
		synctest.Wait()
		m.commit(tracked(1, 11, "a"))
		synctest.Wait()
		c.read()
		c.expect(m)
	})
}

// The collected ranges equal those computed from single messages.
func TestReceiptRanges(t *testing.T) {
	for range 300 {
		r := newReceipts(nil, slog.New(slog.DiscardHandler))
		var noted [40]bool
		for range rand.N(30) {
			from := rand.Int64N(30)
			to := from + rand.Int64N(4)*rand.Int64N(3)
			r.put([]im.Delivery{{User: "u", Conversation: 1, Range: im.SeqRange{From: from, To: to}}})
			for seq := from; seq <= to; seq++ {
				noted[seq] = true
			}
		}
		var want []im.Delivery
		for seq, is := range noted {
			switch d := (im.Delivery{User: "u", Conversation: 1, Range: im.SeqRange{From: int64(seq), To: int64(seq)}}); {
			case !is:
			case seq > 0 && noted[seq-1]:
				last := &want[len(want)-1]
				last.Range.To = d.Range.To
			default:
				want = append(want, d)
			}
		}
		if r.ranges != len(want) {
			t.Fatalf("counts %d ranges, want %d", r.ranges, len(want))
		}
		if diff := gocmp.Diff(want, r.take(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("unexpected ranges (-want +got):\n%s", diff)
		}
		if len(r.take()) != 0 || r.ranges != 0 {
			t.Fatal("taken twice")
		}
	}
}

func TestReceiptsAreBounded(t *testing.T) {
	r := newReceipts(nil, slog.New(slog.DiscardHandler))
	one := func(c im.ID, seq int64) []im.Delivery {
		return []im.Delivery{{User: "u", Conversation: c, Range: im.SeqRange{From: seq, To: seq}}}
	}
	for c := range im.ID(maxReceipts + 100) {
		r.put(one(c, 1))
	}
	r.put(one(0, 2)) // extends a range
	r.put(one(0, 4)) // would be one range more
	if r.lost != 101 || len(r.pending) != maxReceipts {
		t.Errorf("%d lost, %d lists, want 101 and %d", r.lost, len(r.pending), maxReceipts)
	}
	if got := r.take(); len(got) != maxReceipts || !slices.ContainsFunc(got, func(d im.Delivery) bool { return d.Range.To == 2 }) {
		t.Errorf("took %d ranges, want %d and one of them up to 2", len(got), maxReceipts)
	}
	r.put(one(maxReceipts+1, 1))
	if got := r.take(); len(got) != 1 || r.lost != 0 {
		t.Errorf("took %d ranges after there was room again", len(got))
	}
}
