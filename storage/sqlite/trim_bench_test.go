package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// trimmed is the number of messages that BenchmarkTrim stores. It trims all except the youngest
// fifth.
const trimmed = 5_000

// BenchmarkTrim measures the effect on senders while retention trims 4,000 of 5,000 messages: the
// 99th percentile of durable sends by four senders, before and during the trim. It also measures
// the speed of trimming, with pauses, and without pauses and senders.
func BenchmarkTrim(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := openNew(b, Options{})
		createConversation(b, s)
		fillConversations(b, s)
		next := firstID + 1<<40
		p99 := func(until <-chan struct{}) time.Duration {
			took := sendUntil(b, s, next, until)
			next += 1 << 30
			slices.Sort(took)
			return took[len(took)*99/100]
		}
		quiet := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(quiet) })
		alone := p99(quiet)
		policy := im.DefaultPolicy()
		policy.Retention = time.Hour
		jobs := im.NewService(s, policy, func() time.Time { return fromMillis(trimmed * 4 / 5).Add(time.Hour) })
		removed := int64(0)
		began := time.Now()
		ended := make(chan struct{})
		var trimming time.Duration
		b.StartTimer()
		go func() {
			defer close(ended)
			err := jobs.Trim(context.Background(), time.Time{}, func(of im.RetentionOf) error {
				if of.Conversation != testConversation {
					removed += of.Messages
				}
				return nil
			})
			trimming = time.Since(began)
			if err != nil {
				b.Error(err)
			}
		}()
		meanwhile := p99(ended)
		lag := time.Now()
		for s.SearchState().Removals > 0 {
			time.Sleep(time.Millisecond)
		}
		b.ReportMetric(float64(time.Since(lag).Milliseconds()), "index-lag-ms")
		b.ReportMetric(float64(alone.Microseconds())/1000, "alone-p99-ms")
		b.ReportMetric(float64(meanwhile.Microseconds())/1000, "meanwhile-p99-ms")
		b.ReportMetric(float64(removed)/trimming.Seconds(), "paced-msg/s")
		began = time.Now()
		rest := 0
		for i := range 50 {
			rest += trimRest(b, s, im.ID(100+i))
		}
		b.ReportMetric(float64(rest)/time.Since(began).Seconds(), "msg/s")
	}
}

// trimRest trims a conversation without pauses.
func trimRest(b *testing.B, s *Store, id im.ID) (n int) {
	for {
		var step im.Trimmed
		err := s.Write(context.Background(), func(t im.Tx) (err error) {
			step, err = t.Trim(id, fromMillis(endOfTime), 100, fromMillis(0))
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		if n += step.Messages; step.Done {
			return n
		}
	}
}

// fillConversations stores messages with their events in 50 conversations.
func fillConversations(b *testing.B, s *Store) {
	some := secrets(rand.New(rand.NewPCG(63, 64)), 1000)
	for _, m := range some { // messages have at most 4 KiB
		if len(m.content.Sent) > 4096 {
			m.content = marked(m.marker, 3000)
		}
	}
	write := func(fn func(im.Tx) error) {
		if err := s.Write(context.Background(), fn); err != nil {
			b.Fatal(err)
		}
	}
	write(func(t im.Tx) error {
		for i := range 50 {
			err := t.CreateConversation(im.Conversation{ID: im.ID(100 + i), Kind: im.Group, History: im.HistoryAll})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for from := 0; from < trimmed; from += 1000 {
		write(func(t im.Tx) error {
			for i := from; i < from+1000; i++ {
				m := im.Message{
					ID: firstID + im.ID(i), Conversation: im.ID(100 + i*7%50), Sender: "alice", ClientID: fmt.Sprint(i),
					Type: im.Text, State: im.Active, CreatedAt: fromMillis(int64(i)), Content: some[i%1000].content,
				}
				seq, err := t.InsertMessage(m)
				if err != nil {
					return err
				}
				_, err = t.Append(im.Event{
					Type: im.MessageCreated, At: m.CreatedAt, Conversation: m.Conversation, MessageID: m.ID, Seq: seq, Actor: "alice",
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// BenchmarkDeleteConversation measures deleting a group of 2,000 members.
func BenchmarkDeleteConversation(b *testing.B) {
	s := openNew(b, Options{Synchronous: "normal"})
	id := im.ID(100)
	for b.Loop() {
		b.StopTimer()
		id++
		err := s.Write(context.Background(), func(t im.Tx) error {
			if err := t.CreateConversation(im.Conversation{ID: id, Kind: im.Group, History: im.HistoryAll}); err != nil {
				return err
			}
			for i := range 2000 {
				user := im.UserID(fmt.Sprint("user ", i))
				if err := t.AddMember(im.Membership{Conversation: id, User: user, Role: im.Member}, 1); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		err = s.Write(context.Background(), func(t im.Tx) error { return t.DeleteConversation(id, fromMillis(1), 2) })
		if err != nil {
			b.Fatal(err)
		}
	}
}

// sendUntil sends from four senders until a channel is closed, and returns the duration of
// each send.
func sendUntil(b *testing.B, s *Store, first im.ID, until <-chan struct{}) (took []time.Duration) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-until:
					return
				default:
				}
				mu.Lock()
				id := first
				first++
				mu.Unlock()
				began := time.Now()
				m := &secret{id: id, content: marked("a marker", 200)}
				if err := s.Write(context.Background(), func(w im.Tx) error { return insertSecret(w, m) }); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return took
}
