package im_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// publishedReceipts returns the receipts published since a position, each as user, kind, recipient
// and seqs; up_to is written as "<=".
func (w *world) publishedReceipts(since int, seqs map[im.ID]int64) []string {
	w.Helper()
	out := []string{}
	for _, e := range w.committed()[since:] {
		if e.Type != im.ReceiptRead && e.Type != im.ReceiptDelivered {
			continue
		}
		what := fmt.Sprint(e.User, " ", strings.TrimPrefix(string(e.Type), "receipt."))
		if e.To != "" {
			what += fmt.Sprint(" to ", e.To)
		}
		if e.UpTo != 0 {
			what += fmt.Sprint(" <=", seqs[e.UpTo])
		}
		var list []int64
		for _, id := range e.MessageIDs {
			list = append(list, seqs[id])
		}
		slices.Sort(list)
		if list != nil {
			what += fmt.Sprint(" ", list)
		}
		out = append(out, what)
	}
	return out
}

// A receipt is published only for existing messages of others that were read. In each case bob
// sends "b" and alice sends "a"; then follow an act of alice or bob, and the published receipts.
func TestPublishedReceipts(t *testing.T) {
	type scene struct {
		*world
		messages []im.Message
		seqs     map[im.ID]int64
	}
	ref := direct("bob")
	put := func(kind im.ReceiptKind, upTo int) func(*scene) {
		return func(s *scene) {
			s.must1(s.PutReceipt(s.ctx, as("alice"), ref, im.ReceiptDraft{Kind: kind, UpTo: s.messages[upTo-1].ID.String()}))
		}
	}
	putIDs := func(kind im.ReceiptKind, seqs ...int) func(*scene) {
		return func(s *scene) {
			var ids []string
			for _, seq := range seqs {
				ids = append(ids, s.messages[seq-1].ID.String())
			}
			s.must1(s.PutReceipt(s.ctx, as("alice"), ref, im.ReceiptDraft{Kind: kind, MessageIDs: ids}))
		}
	}
	revoke := func(seq int) func(*scene) {
		return func(s *scene) {
			m := s.messages[seq-1]
			s.must1m(s.Revoke(s.ctx, as(m.Sender), m.ID, im.RevokeNote{}))
			s.pass(time.Second)
		}
	}
	hide := func(seqs ...int) func(*scene) {
		return func(s *scene) {
			var ids []im.ID
			for _, seq := range seqs {
				ids = append(ids, s.messages[seq-1].ID)
			}
			s.hide("alice", ref, ids...)
		}
	}
	hideAll := func(s *scene) { s.must(s.Hide(s.ctx, as("alice"), ref, im.HideDraft{All: true})) }
	more := func(senders string) func(*scene) {
		return func(s *scene) {
			for _, sender := range senders {
				user, to := im.UserID("bob"), direct("alice")
				if sender == 'a' {
					user, to = "alice", ref
				}
				m := s.say(user, to, "words")
				s.messages, s.seqs[m.ID] = append(s.messages, m), m.Seq
			}
		}
	}
	stream := func(from, to int64) func(*scene) {
		return func(s *scene) {
			s.must(s.Deliver(s.ctx, []im.Delivery{{User: "alice", Conversation: s.messages[0].Conversation, Range: im.SeqRange{From: from, To: to}}}))
		}
	}
	for name, test := range map[string]struct {
		senders string
		acts    []func(*scene)
		want    []string
		read    string // the seqs of bob's messages that alice has read, by GET …/receipts
	}{
		"up to a message of the peer":                              {"bb", []func(*scene){put(im.Read, 2)}, []string{"alice read <=2"}, "1 2"},
		"up to their own message":                                  {"bba", []func(*scene){put(im.Read, 3)}, []string{"alice read <=2"}, "1 2"},
		"up to their own message, nothing new":                     {"ba", []func(*scene){put(im.Read, 1), put(im.Read, 2)}, []string{"alice read <=1"}, "1"},
		"own messages only":                                        {"aa", []func(*scene){put(im.Read, 2), putIDs(im.Read, 1)}, nil, ""},
		"their own message by its id":                              {"ab", []func(*scene){putIDs(im.Read, 1, 2)}, []string{"alice read [2]"}, "2"},
		"a tombstone":                                              {"b", []func(*scene){revoke(1), put(im.Read, 1), putIDs(im.Read, 1)}, nil, ""},
		"up to a tombstone":                                        {"bb", []func(*scene){revoke(2), put(im.Read, 2)}, []string{"alice read <=1"}, "1"},
		"up to a message after a tombstone":                        {"bbb", []func(*scene){revoke(2), put(im.Read, 3)}, []string{"alice read <=3"}, "1 3"},
		"read, then revoked":                                       {"bb", []func(*scene){put(im.Read, 2), revoke(1)}, []string{"alice read <=2"}, "1 2"},
		"by id, one of them read":                                  {"bb", []func(*scene){putIDs(im.Read, 1), putIDs(im.Read, 1, 2)}, []string{"alice read [1]", "alice read [2]"}, "1 2"},
		"delivered after read":                                     {"bb", []func(*scene){put(im.Read, 2), put(im.Delivered, 2), stream(1, 2), putIDs(im.Delivered, 1)}, []string{"alice read <=2"}, "1 2"},
		"delivered, some of them read":                             {"bbb", []func(*scene){put(im.Read, 2), stream(1, 3)}, []string{"alice read <=2", "alice delivered to bob [3]"}, "1 2"},
		"delivered up to a message, some of them delivered before": {"bbb", []func(*scene){putIDs(im.Delivered, 3), put(im.Delivered, 3)}, []string{"alice delivered to bob [3]", "alice delivered to bob <=2"}, ""},
		"delivered, one of them a tombstone":                       {"bb", []func(*scene){revoke(1), stream(1, 2)}, []string{"alice delivered to bob [2]"}, ""},
		"hidden unread":                                            {"bbb", []func(*scene){hide(2), put(im.Read, 3)}, []string{"alice read [1 3]"}, "1 3"},
		"hidden unread, then read up to a later one":               {"bb", []func(*scene){hide(1), put(im.Read, 2), more("b"), put(im.Read, 3)}, []string{"alice read [2]", "alice read [3]"}, "2 3"},
		"hidden unread and revoked":                                {"bb", []func(*scene){hide(1), revoke(1), put(im.Read, 2)}, []string{"alice read <=2"}, "2"},
		"read, then hidden":                                        {"bbb", []func(*scene){put(im.Read, 2), hide(1), put(im.Read, 3)}, []string{"alice read <=2", "alice read <=3"}, "1 2 3"},
		"all hidden unread":                                        {"bb", []func(*scene){hideAll, more("b"), put(im.Read, 3)}, []string{"alice read [3]"}, "3"},
		"their own message hidden":                                 {"bab", []func(*scene){hide(2), put(im.Read, 3)}, []string{"alice read <=3"}, "1 3"},
		"hidden unread among more messages than one event names":   {strings.Repeat("b", 1203), []func(*scene){hide(1), put(im.Read, 1203)}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scene{world: newWorld(t), seqs: make(map[im.ID]int64)}
			more(test.senders)(s)
			before := len(s.committed())
			s.pass(time.Second)
			for _, act := range test.acts {
				act(s)
			}
			got := s.publishedReceipts(before, s.seqs)
			if len(test.senders) > 1000 {
				n := 0
				for _, what := range got {
					n += strings.Count(what, " ") - 1
				}
				s.equal("messages that receipts were published for", n, len(test.senders)-1)
				return
			}
			s.equal("published", got, slices.Concat([]string{}, test.want))
			var read []string
			for _, m := range s.messages {
				if m.Sender != "bob" {
					continue
				}
				r, err := s.Receipts(s.ctx, as("bob"), m.ID)
				s.must(err)
				if len(r.Read) > 0 {
					read = append(read, fmt.Sprint(m.Seq))
				}
				for _, d := range r.Delivered {
					if len(r.Read) > 0 && d.At.After(r.Read[0].At) {
						t.Errorf("%d was delivered %v and read %v", m.Seq, d.At, r.Read[0].At)
					}
				}
			}
			s.equal("receipts that bob can list", strings.Join(read, " "), test.read)
		})
	}
}

// must1m is must for calls that also return a message.
func (w *world) must1m(_ im.Message, err error) { w.Helper(); w.must(err) }

// A receipt up to a later message does not start the burn timer of a message that the reader has
// hidden unread.
func TestHidingIsNotReading(t *testing.T) {
	w := newWorld(t)
	d := text("burns")
	d.Burn = &im.Burn{After: time.Minute, UnreadTTL: time.Hour}
	var burning []im.Message
	for range 2 {
		sent, err := w.Send(w.ctx, as("bob"), direct("alice"), d)
		w.must(err)
		burning = append(burning, sent.Message)
	}
	w.hide("alice", direct("bob"), burning[0].ID)
	out, err := w.PutReceipt(w.ctx, as("alice"), direct("bob"), im.ReceiptDraft{Kind: im.Read, UpTo: burning[1].ID.String()})
	w.must(err)
	w.equal("burning", len(out.Burning), 1)
	for i, want := range []bool{false, true} {
		m, err := w.Message(w.ctx, as("bob"), burning[i].ID)
		w.must(err)
		w.equal(fmt.Sprint("whether the clock of ", i, " runs"), !m.Burn.At.IsZero(), want)
	}
}

// A user who joined after a message can read it, but the receipt is neither published to
// its sender nor listed: only members at the time of sending give receipts.
func TestReadersWhoJoinedLaterGiveNoReceipt(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "owner", "bob")
	seqs := make(map[im.ID]int64)
	send := func() im.Message {
		d := text("did you get this?")
		d.Receipt = true
		sent, err := w.Send(w.ctx, as("owner"), byID(id), d)
		w.must(err)
		seqs[sent.Message.ID] = sent.Message.Seq
		return sent.Message
	}
	first := send()
	w.add(id, "owner", im.Member, "late")
	second := send()
	before := len(w.committed())
	w.read("late", byID(id), second.ID)
	w.must(w.Deliver(w.ctx, []im.Delivery{{User: "bob", Conversation: id, Range: im.SeqRange{From: 1, To: 2}}}))
	w.readEach("late", byID(id), first.ID)
	w.equal("published", w.publishedReceipts(before, seqs), []string{"late read to owner [2]", "bob delivered to owner [1 2]"})
	for m, want := range map[im.ID]int{first.ID: 0, second.ID: 1} {
		r, err := w.Receipts(w.ctx, as("owner"), m)
		w.must(err)
		w.equal(fmt.Sprint("readers of ", seqs[m]), len(r.Read), want)
	}
	w.equal("late's unread count", w.unread("late", byID(id)), "0/0")
}
