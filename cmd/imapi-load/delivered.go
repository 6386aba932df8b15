package main

import (
	"sync"
	"sync/atomic"
)

// track is what one stream has received of one conversation. The seqs of a conversation are
// dense and all of its messages come from this run, so a stream must receive every seq after
// the initial last, once and in order.
type track struct {
	last    int64              // the highest seq that was received
	missing map[int64]struct{} // seqs below it that were not
}

// verdict is the result of checking a delivery.
type verdict int

const (
	inOrder verdict = iota
	early           // messages before it were not delivered yet
	late            // messages after it were delivered already
	twice
)

// take records a message.
func (t *track) take(seq int64) verdict {
	switch {
	case seq == t.last+1:
		t.last = seq
		return inOrder
	case seq > t.last:
		if t.missing == nil {
			t.missing = make(map[int64]struct{})
		}
		for s := t.last + 1; s < seq; s++ {
			t.missing[s] = struct{}{}
		}
		t.last = seq
		return early
	}
	if _, was := t.missing[seq]; !was {
		return twice
	}
	delete(t.missing, seq)
	return late
}

// lost returns the number of messages that were not received: up to a seq, or up to last if that is
// greater.
func (t *track) lost(through int64) int64 {
	return int64(len(t.missing)) + max(through-t.last, 0)
}

// deliveries counts what the streams of a run received.
type deliveries struct {
	messages, twice, outOfOrder     atomic.Int64
	disconnects, resets, reconnects atomic.Int64
	latency                         histogram // from when a message was due until a stream received it
}

// received is what a stream has received of its conversations.
type received struct {
	mu     sync.Mutex
	tracks map[string]*track // by conversation; does not change
}

func newReceived(conversations []*conversation) *received {
	r := &received{tracks: make(map[string]*track, len(conversations))}
	for _, c := range conversations {
		r.tracks[c.id] = &track{last: c.newest.Load()}
	}
	return r
}

// take records a message of a conversation and calls count, unless the conversation is one of
// another run. It holds the lock meanwhile, so that every message is counted once lost returns 0.
func (r *received) take(conversation []byte, seq int64, count func(verdict)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tracks[string(conversation)]; t != nil {
		count(t.take(seq))
	}
}

// lost returns the number of answered messages that did not arrive.
func (r *received) lost(conversations []*conversation) (n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conversations {
		n += r.tracks[c.id].lost(c.newest.Load())
	}
	return n
}
