package im

import (
	"context"
	"time"
)

// Work whose size depends on a caller or on the data is done in steps, each in a transaction of its
// own. This file has the rule for the length of a step and of the pause of a job after it.
//
//   - A step of a request or of a timer holds the writer for about stepTime. Then the work queues
//     again, behind other callers.
//   - A step of a job that can wait holds the writer for a third of that, because senders
//     wait for the step and for its commit. Afterwards the job waits for as long as the two took,
//     so it gets no more than half of the writer's time. See [PauseAfter].

const (
	// stepTime is the approximate time that a step holds the writer.
	stepTime = 5 * time.Millisecond
	// A step of a job takes 1/jobPart of that time.
	jobPart = 3
	// maxPause is the longest pause of a job between two steps.
	maxPause = 250 * time.Millisecond
)

// pace measures how long a step has held the writer. A step must make some progress before it calls
// over, so that the work ends.
type pace struct {
	began time.Time
	most  time.Duration
}

// pace begins a step. It measures by the clock of the machine, not by that of the domain.
func (s *Service) pace() pace { return pace{began: time.Now(), most: s.step} }

// jobPace begins a step of a job.
func (s *Service) jobPace() pace { return pace{began: time.Now(), most: s.step / jobPart} }

// over reports whether the step has held the writer for long enough.
func (p pace) over() bool { return time.Since(p.began) >= p.most }

// PauseAfter waits for as long as a step of a background job took, so that the job gets no more
// than half of the resource that it shares with others. It waits at most 250 ms, even after a
// longer step. If ctx ends first it returns its cause.
func PauseAfter(ctx context.Context, took time.Duration) error {
	timer := time.NewTimer(min(took, maxPause))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// firstRows is the number of rows that the first transaction of a job changes. The others are the
// most that one transaction changes. Trimming takes rows of many conversations in turn; rows of the
// log are the cheapest.
const (
	firstRows = 10
	jobRows   = 100
	trimRows  = 400
	logRows   = 1000
)

// pacer learns how many rows a step of a job can change in its time. The cost of a row depends on
// its age.
type pacer struct{ rows, most int }

// newPacer returns a pacer for transactions that change up to most rows.
func newPacer(most int) *pacer { return &pacer{rows: firstRows, most: most} }

// learn adapts the number of rows to a step that took the time took and should not have taken more
// than most.
func (p *pacer) learn(took, most time.Duration) {
	switch {
	case took > most:
		p.rows = max(1, p.rows/2)
	case took < most/2:
		p.rows = min(p.most, p.rows*2)
	}
}

// paced is write for one step of a job: fn changes up to limit rows, and a pause follows.
func paced[T any](ctx context.Context, s *Service, p *pacer, fn func(tx Tx, limit int) (T, error)) (T, error) {
	began := time.Now()
	var took time.Duration
	out, err := write(ctx, s, func(tx Tx) (T, error) {
		step := s.pace()
		out, err := fn(tx, p.rows)
		took = time.Since(step.began)
		return out, err
	})
	if err != nil {
		return out, err
	}
	p.learn(took, s.step/jobPart)
	return out, PauseAfter(ctx, time.Since(began))
}

// pacedAll runs steps of a job, each of which returns how many rows it changed, until one
// changes fewer than its limit. It returns the sum.
func pacedAll(ctx context.Context, s *Service, most int, fn func(tx Tx, limit int) (int, error)) (total int, err error) {
	for p := newPacer(most); ; {
		asked := 0
		n, err := paced(ctx, s, p, func(tx Tx, limit int) (int, error) {
			asked = limit
			return fn(tx, limit)
		})
		total += n
		if err != nil || n < asked {
			return total, err
		}
	}
}
