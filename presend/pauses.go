package presend

import (
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// The hook is paused after mostFailures failures in a row, with messages of at least
	// fewestUsers users. A single user, whose messages may be the cause, cannot get it paused for
	// the others.
	mostFailures = 10
	fewestUsers  = 3
	// pause is the time for which the hook is not asked, and mostTrials the number of users who
	// then try it at once, with one message each. The first answer ends the pause.
	pause      = time.Second
	mostTrials = 8
)

// pauses decides when a failing hook is not asked.
type pauses struct {
	now func() time.Time

	mu       sync.Mutex
	failures int
	users    map[im.UserID]bool // of the failures, up to fewestUsers
	// until is when the pause ends and trials begin, zero if the hook is not paused.
	until  time.Time
	trials map[im.UserID]bool
}

func newPauses(now func() time.Time) *pauses {
	return &pauses{now: now, users: make(map[im.UserID]bool), trials: make(map[im.UserID]bool)}
}

// begin reports whether the hook may be asked about a message of a user. If so, the caller must
// call end or abandon.
func (p *pauses) begin(user im.UserID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.until.IsZero():
		return true
	case p.now().Before(p.until) || p.trials[user] || len(p.trials) >= mostTrials:
		return false
	default:
		p.trials[user] = true
		return true
	}
}

// end records whether the hook gave an answer.
func (p *pauses) end(user im.UserID, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answered {
		p.failures, p.until = 0, time.Time{}
		clear(p.users)
		clear(p.trials)
		return
	}
	if !p.until.IsZero() {
		if p.trials[user] {
			delete(p.trials, user)
			p.until = p.now().Add(pause)
		}
		return
	}
	p.failures++
	if len(p.users) < fewestUsers {
		p.users[user] = true
	}
	if p.failures >= mostFailures && len(p.users) >= fewestUsers {
		p.until = p.now().Add(pause)
	}
}

// abandon records that the sender disconnected before the hook answered.
func (p *pauses) abandon(user im.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.trials, user)
}
