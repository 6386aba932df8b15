package storagetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// erase erases a message in its own transaction.
func (w *world) erase(id im.ID, e im.Erasure) (done bool) {
	w.Helper()
	w.write(func(tx im.Tx) (err error) {
		done, err = tx.Erase(id, e, w.now)
		return err
	})
	return done
}

func (w *world) message(id im.ID) im.Message {
	w.Helper()
	return read(w, func(r im.Reader) (im.Message, error) { return r.Message(id) })
}

func testErase(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	at := w.tick()
	erasures := []im.Erasure{
		{State: im.Revoked, At: at, By: "alice"},
		{State: im.Revoked, At: at, By: "an admin never seen", Postscript: "naïve ☃", Extension: []byte(`{"a":[1,2]}`)},
		{State: im.Burned, At: at.Add(-time.Hour), By: "bob"},
		{State: im.Expired, At: at.Add(-time.Hour)},
	}
	for _, e := range erasures {
		m := w.text(id, "alice", "secret")
		m.ClientID, m.SenderDevice, m.Receipt = fmt.Sprint("c", m.ID), "phone", true
		m.ExpiresAt = m.CreatedAt.Add(time.Hour)
		m.Burn = &im.Burn{After: 10 * time.Second, UnreadTTL: time.Minute, At: m.CreatedAt.Add(time.Minute)}
		m = w.send(m)
		w.sameMessage(w.message(m.ID), m)
		next := w.send(w.text(id, "alice", "stays"))
		if !w.erase(m.ID, e) {
			w.Fatal("not erased")
		}
		want := m.Tombstone(e)
		w.sameMessage(w.message(m.ID), want)
		w.sameMessage(w.message(next.ID), next)
		again := read(w, func(r im.Reader) (im.Message, error) { return r.MessageByClientID("alice", m.ClientID) })
		w.sameMessage(again, want)
		page := read(w, func(r im.Reader) (im.HistoryPage, error) {
			return r.Messages(im.HistoryQuery{Conversation: id, Ranges: []im.SeqRange{{From: m.Seq, To: m.Seq}}, Limit: 9})
		})
		w.sameMessage(page.Messages[0], want)
	}
	if w.erase(1, erasures[0]) {
		w.Fatal("erased an unknown message")
	}
}

// testEraseIsFinal checks that of concurrent erasures of a message exactly one succeeds, and that
// the tombstone keeps the state that this erasure gave it.
func testEraseIsFinal(w *world) {
	id := w.group(im.HistoryAll, "alice")
	for range 20 {
		m := w.text(id, "alice", "secret")
		m.ExpiresAt = m.CreatedAt.Add(time.Minute)
		m.Burn = &im.Burn{UnreadTTL: time.Minute}
		m = w.send(m)
		var group sync.WaitGroup
		var done [6]bool
		states := []im.State{im.Revoked, im.Burned, im.Expired}
		for i := range done {
			e := im.Erasure{State: states[i%3], At: w.now, By: im.UserID(fmt.Sprint("user ", i))}
			group.Go(func() {
				err := w.store.Write(w.Context(), func(tx im.Tx) (err error) {
					done[i], err = tx.Erase(m.ID, e, w.now)
					return err
				})
				if err != nil {
					w.Error(err)
				}
			})
		}
		group.Wait()
		winner := slices.Index(done[:], true)
		if winner < 0 || slices.Contains(done[winner+1:], true) {
			w.Fatalf("erased by %v", done)
		}
		want := m.Tombstone(im.Erasure{State: states[winner%3], At: w.now, By: im.UserID(fmt.Sprint("user ", winner))})
		w.sameMessage(w.message(m.ID), want)
		if w.store.Write(w.Context(), func(tx im.Tx) error { return tx.StartBurn(m.ID, w.now) }) == nil {
			w.Fatal("a burn was started on a tombstone")
		}
	}
	// Within a transaction an erased message is a tombstone. After a rollback it is not
	// erased.
	m := w.send(w.text(id, "alice", "secret"))
	e := im.Erasure{State: im.Revoked, At: w.now}
	_ = w.store.Write(w.Context(), func(tx im.Tx) error {
		for i := range 2 {
			done, err := tx.Erase(m.ID, e, w.now)
			w.must(err)
			w.equal("erased", done, i == 0)
		}
		got, err := tx.Message(m.ID)
		w.must(err)
		w.sameMessage(got, m.Tombstone(e))
		return fmt.Errorf("for a test")
	})
	w.sameMessage(w.message(m.ID), m)
}

// testDue compares the messages that are due, and the time at which the next message is due, with a
// scan of all messages.
func testDue(w *world) {
	random := rand.New(rand.NewPCG(9, 10))
	next := func() (time.Time, bool) {
		var at time.Time
		var ok bool
		w.view(func(r im.Reader) (err error) {
			at, ok, err = r.NextDue()
			return err
		})
		return at, ok
	}
	if _, ok := next(); ok {
		w.Fatal("NextDue reports a time in an empty store")
	}
	id := w.group(im.HistoryAll, "alice")
	messages := map[im.ID]im.Message{}
	seconds := func(n int) time.Duration { return time.Duration(random.IntN(n)) * time.Second }
	for i := range 120 {
		m := w.text(id, "alice", fmt.Sprint("m", i))
		if random.IntN(2) == 0 {
			m.ExpiresAt = epoch.Add(seconds(60))
		}
		if random.IntN(2) == 0 {
			m.Burn = &im.Burn{After: seconds(9), UnreadTTL: time.Second + seconds(60)}
		}
		m = w.send(m)
		messages[m.ID] = m
	}
	expect := func(now time.Time) (list []im.Message) {
		for _, m := range messages {
			if at, _, ok := m.Due(); ok && !at.After(now) {
				list = append(list, m)
			}
		}
		slices.SortFunc(list, func(a, b im.Message) int {
			x, _, _ := a.Due()
			y, _, _ := b.Due()
			return cmp.Or(x.Compare(y), cmp.Compare(a.ID, b.ID))
		})
		return list
	}
	check := func() {
		w.Helper()
		all := expect(epoch.Add(1e6 * time.Second))
		at, ok := next()
		want, _, _ := all[0].Due()
		w.equal("next", []any{at, ok}, []any{want, true})
		for _, now := range []time.Time{epoch.Add(-time.Hour), want.Add(-time.Microsecond), want, want.Add(seconds(40)), epoch.Add(1e6 * time.Second)} {
			for _, limit := range []int{1, 7, 1000} {
				got := read(w, func(r im.Reader) ([]im.Message, error) { return r.Due(now, limit) })
				list := expect(now)
				list = list[:min(limit, len(list))]
				w.equal("due", seqs(got), seqs(list))
				for i := range got {
					w.sameMessage(got[i], list[i])
				}
			}
		}
	}
	w.step("as sent", check)
	w.step("after erasures and burns that have started", func() {
		for _, m := range expect(epoch.Add(1e6 * time.Second)) {
			switch random.IntN(3) {
			case 0:
				w.erase(m.ID, im.Erasure{State: im.Expired, At: w.now})
				delete(messages, m.ID)
			case 1:
				at := epoch.Add(seconds(100))
				err := w.store.Write(w.Context(), func(tx im.Tx) error { return tx.StartBurn(m.ID, at) })
				w.equal("can burn", err == nil, m.Burn != nil)
				if m.Burn != nil {
					m.Burn = &im.Burn{After: m.Burn.After, UnreadTTL: m.Burn.UnreadTTL, At: at}
					messages[m.ID] = m
				}
			}
		}
		check()
	})
	w.step("after all were erased", func() {
		for _, m := range messages {
			w.erase(m.ID, im.Erasure{State: im.Expired, At: w.now})
		}
		if _, ok := next(); ok {
			w.Fatal("NextDue reports a time after all messages were erased")
		}
	})
}

func testBurningAndTracked(w *world) {
	random := rand.New(rand.NewPCG(11, 12))
	id, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	var all []im.Message
	for i := range 80 {
		m := w.text(id, []im.UserID{"alice", "bob"}[random.IntN(2)], fmt.Sprint("m", i))
		if i%8 == 0 {
			m.Conversation = other
		}
		if random.IntN(2) == 0 {
			m.Burn = &im.Burn{After: time.Second, UnreadTTL: time.Hour}
		}
		m.Receipt = random.IntN(2) == 0
		m = w.send(m)
		if m.Burn != nil && random.IntN(2) == 0 {
			burn := *m.Burn
			burn.At = w.now.Add(time.Hour)
			m.Burn = &burn
			w.write(func(tx im.Tx) error { return tx.StartBurn(m.ID, burn.At) })
		}
		if random.IntN(4) == 0 {
			w.erase(m.ID, im.Erasure{State: im.Revoked, At: w.now})
			m = m.Tombstone(im.Erasure{State: im.Revoked, At: w.now})
		}
		all = append(all, m)
	}
	for _, rng := range []im.SeqRange{{From: 1, To: 100}, {From: 10, To: 30}, {From: 30, To: 29}, {From: 200, To: 300}} {
		for _, notBy := range []im.UserID{"alice", "bob", "nobody"} {
			for _, limit := range []int{1, 5, 100} {
				pick := func(is func(im.Message) bool) (list []im.Message) {
					for _, m := range all {
						if len(list) < limit && m.Conversation == id && m.State == im.Active && m.Sender != notBy &&
							rng.From <= m.Seq && m.Seq <= rng.To && is(m) {
							list = append(list, m)
						}
					}
					return list
				}
				unstarted := pick(func(m im.Message) bool { return m.Burn != nil && m.Burn.At.IsZero() })
				burning := pick(func(m im.Message) bool { return m.Burn != nil && !m.Burn.At.IsZero() })
				tracked := pick(func(m im.Message) bool { return m.Receipt })
				gotUnstarted := read(w, func(r im.Reader) ([]im.Message, error) { return r.Unstarted(id, rng, notBy, limit) })
				gotBurning := read(w, func(r im.Reader) ([]im.Message, error) { return r.Burning(id, rng, notBy, limit) })
				gotTracked := read(w, func(r im.Reader) ([]im.Message, error) { return r.Tracked(id, rng, notBy, limit) })
				w.equal("unstarted", seqs(gotUnstarted), seqs(unstarted))
				w.equal("burning", seqs(gotBurning), seqs(burning))
				w.equal("tracked", seqs(gotTracked), seqs(tracked))
				for i := range unstarted {
					w.sameMessage(gotUnstarted[i], unstarted[i])
				}
				for i, m := range burning {
					m.Content = nil
					w.sameMessage(gotBurning[i], m)
				}
				for i, m := range tracked {
					m.Content = nil
					w.sameMessage(gotTracked[i], m)
				}
			}
		}
	}
}
