package im_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/imapi/imapi/im"
)

// together runs fn n times concurrently.
func together(n int, fn func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			fn(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// Concurrent retries create one message.
func TestOneClientIDAtOnce(t *testing.T) {
	w := newWorld(t)
	sent := make([]im.Sent, 50)
	errs := make([]error, len(sent))
	together(len(sent), func(i int) {
		d := text("hi")
		d.ClientID = "c1"
		sent[i], errs[i] = w.Send(w.ctx, on("alice", fmt.Sprint(i)), direct("bob"), d)
	})
	first := 0
	for i, s := range sent {
		w.must(errs[i])
		if !s.Again {
			first++
		}
		if s.Message.ID != sent[0].Message.ID || s.Message.Seq != 1 {
			t.Errorf("sender %d got message %s, %d, another one got %s", i, s.Message.ID, s.Message.Seq, sent[0].Message.ID)
		}
	}
	w.equal("how many were the first", first, 1)
	w.equal("published", w.since(0), []string{"conversation.created by alice", "message.created by alice"})
	w.equal("bob reads", w.said("bob", direct("alice")), []string{"hi"})
}

// Of different messages with one client_id, one is sent and the others are refused.
func TestOneClientIDForManyMessagesAtOnce(t *testing.T) {
	w := newWorld(t)
	answers := make([]string, 20)
	together(len(answers), func(i int) {
		d := text("%d", i)
		d.ClientID = "c1"
		_, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
		answers[i] = answer(err)
	})
	slices.Sort(answers)
	w.equal("answers", slices.Compact(answers), []string{"409 client_id_reused", "ok"})
	w.equal("messages", len(w.said("bob", direct("alice"))), 1)
}

// Two users who send to each other for the first time get one conversation.
func TestOneDirectConversationAtOnce(t *testing.T) {
	w := newWorld(t)
	const pairs = 20
	sent := make([]im.Sent, 2*pairs)
	errs := make([]error, len(sent))
	together(len(sent), func(i int) {
		a, b := im.UserID(fmt.Sprint("a", i/2)), im.UserID(fmt.Sprint("b", i/2))
		if i%2 == 1 {
			a, b = b, a
		}
		sent[i], errs[i] = w.Send(w.ctx, as(a), direct(b), text("hi"))
	})
	for i := 0; i < len(sent); i += 2 {
		w.must(errs[i])
		w.must(errs[i+1])
		m, n := sent[i].Message, sent[i+1].Message
		if m.Conversation != n.Conversation || m.Seq+n.Seq != 3 {
			t.Errorf("one wrote message %d of %s, the other %d of %s", m.Seq, m.Conversation, n.Seq, n.Conversation)
		}
	}
	created := map[im.ID]int{}
	for _, e := range w.committed() {
		if e.Type == im.ConversationCreated {
			created[e.Conversation]++
		}
	}
	w.equal("conversations", len(created), pairs)
	w.equal("events", len(w.committed()), 3*pairs)
}

// seq has no gap and no repeat, and follows the order of the log.
func TestSeqIsDense(t *testing.T) {
	w := newWorld(t)
	const senders, each = 10, 20
	var members []im.UserID
	for i := range senders {
		members = append(members, im.UserID(fmt.Sprint("user", i)))
	}
	groups := []im.ID{w.group(im.HistoryAll, "owner", members...), w.group(im.HistoryAll, "owner", members...)}
	errs := make([]error, senders)
	together(senders, func(i int) {
		last := map[im.ID]int64{}
		for n := range each {
			id := groups[n%2]
			sent, err := w.Send(w.ctx, as(members[i]), byID(id), text("%d", n))
			if err == nil && sent.Message.Seq <= last[id] {
				err = fmt.Errorf("message %d after %d", sent.Message.Seq, last[id])
			}
			if err != nil {
				errs[i] = err
				return
			}
			last[id] = sent.Message.Seq
		}
	})
	for _, err := range errs {
		w.must(err)
	}
	for _, id := range groups {
		page, err := w.Messages(w.ctx, as("owner"), byID(id), im.HistoryFilter{Ascending: true, Limit: 1000})
		w.must(err)
		w.equal("messages", len(page.Messages), senders*each/2)
		for i, m := range page.Messages {
			if m.Seq != int64(i+1) {
				t.Fatalf("message %d of %s has the seq %d", i+1, id, m.Seq)
			}
		}
		seq := int64(0)
		for _, e := range w.replay(as("owner"), 0, 50) {
			if e.Conversation != id || e.Type != im.MessageCreated {
				continue
			}
			if seq++; e.Seq != seq {
				t.Fatalf("the log has message %d after %d", e.Seq, seq-1)
			}
		}
	}
}
