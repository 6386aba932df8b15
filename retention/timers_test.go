package retention_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/retention"
)

// due is a store of due times only.
type due struct {
	mu    sync.Mutex
	start time.Time
	now   func() time.Time
	times []time.Time
	// late is the longest time that a message was overdue.
	late   time.Duration
	calls  []time.Duration // times of the calls, since the start
	fails  int             // the number of next calls that fail
	during func()          // called within the next call, before it returns
}

func newDue() *due { return &due{start: time.Now(), now: time.Now} }

func (d *due) add(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times = append(d.times, at)
}

func (d *due) EraseDue(ctx context.Context) (n int, next time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, time.Since(d.start))
	if err := ctx.Err(); err != nil {
		return 0, time.Time{}, err
	}
	if d.fails > 0 {
		d.fails--
		return 0, time.Time{}, errors.New("disk full")
	}
	now := d.now()
	left := d.times[:0]
	for _, at := range d.times {
		if at.After(now) {
			left = append(left, at)
			continue
		}
		n++
		d.late = max(d.late, now.Sub(at))
	}
	d.times = left
	if len(left) > 0 {
		next = slices.MinFunc(left, time.Time.Compare)
	}
	if during := d.during; during != nil {
		d.during = nil
		d.mu.Unlock()
		during()
		d.mu.Lock()
	}
	return n, next, nil
}

// expect checks the times of the calls, rounded to a second.
func (d *due) expect(t *testing.T, want ...time.Duration) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var got []time.Duration
	for _, at := range d.calls {
		got = append(got, at.Round(time.Second))
	}
	if !slices.Equal(got, want) {
		t.Errorf("looked at %v, want %v", got, want)
	}
}

// run runs timers until the test ends, and returns them with their store.
func run(t *testing.T, prepare ...func(*due, *retention.Timers)) (*due, *retention.Timers) {
	d := newDue()
	timers := retention.NewTimers(slog.New(slog.DiscardHandler), d)
	for _, p := range prepare {
		p(d, timers)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { timers.Run(ctx); close(done) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(time.Second):
			t.Error("does not end with its context")
		}
	})
	synctest.Wait()
	return d, timers
}

// later adds a due time to the store and then reports it, as a commit does.
func later(d *due, timers *retention.Timers, after time.Duration) {
	at := time.Now().Add(after)
	d.add(at)
	timers.Due(at)
}

func TestTimers(t *testing.T) {
	type step func(*due, *retention.Timers)
	for name, tt := range map[string]struct {
		before step // due before the start
		then   step
		want   []time.Duration
	}{
		"nothing is due": {want: []time.Duration{0}},
		"due while the server was down": {
			before: func(d *due, _ *retention.Timers) { d.add(d.start.Add(-time.Hour)) },
			want:   []time.Duration{0},
		},
		"stored before the start": {
			before: func(d *due, _ *retention.Timers) {
				d.add(d.start.Add(20 * time.Second))
				d.add(d.start.Add(10 * time.Second))
			},
			want: []time.Duration{0, 10 * time.Second, 20 * time.Second},
		},
		"reported before Run": {
			before: func(d *due, timers *retention.Timers) { later(d, timers, 10*time.Second) },
			want:   []time.Duration{0, 10 * time.Second},
		},
		"an earlier one wakes the job": {
			before: func(d *due, _ *retention.Timers) { d.add(d.start.Add(30 * time.Second)) },
			then:   func(d *due, timers *retention.Timers) { later(d, timers, 10*time.Second) },
			want:   []time.Duration{0, 10 * time.Second, 30 * time.Second},
		},
		"a later one does not wake it": {
			before: func(d *due, _ *retention.Timers) { d.add(d.start.Add(10 * time.Second)) },
			then:   func(d *due, timers *retention.Timers) { later(d, timers, 30*time.Second) },
			want:   []time.Duration{0, 10 * time.Second, 30 * time.Second},
		},
		// The messages come due in quick succession and are erased in two runs.
		"many in quick succession": {
			then: func(d *due, timers *retention.Timers) {
				for i := range 1000 {
					later(d, timers, 30*time.Second-time.Duration(i)*time.Nanosecond)
				}
			},
			want: []time.Duration{0, 30 * time.Second, 30 * time.Second},
		},
		"in the past": {
			then: func(d *due, timers *retention.Timers) { later(d, timers, -time.Hour) },
			want: []time.Duration{0, 0},
		},
		"a zero time": {
			then: func(_ *due, timers *retention.Timers) { timers.Due(time.Time{}) },
			want: []time.Duration{0},
		},
		// An erased message is no longer due: the run at its reported time finds nothing.
		"erased in the meantime": {
			then: func(_ *due, timers *retention.Timers) { timers.Due(time.Now().Add(5 * time.Second)) },
			want: []time.Duration{0, 5 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var prepare []func(*due, *retention.Timers)
				if tt.before != nil {
					prepare = append(prepare, tt.before)
				}
				d, timers := run(t, prepare...)
				if tt.then != nil {
					tt.then(d, timers)
				}
				<-time.After(5 * time.Hour)
				d.expect(t, tt.want...)
				if len(d.times) > 0 {
					t.Errorf("%d are left", len(d.times))
				}
			})
		})
	}
}

// A message that is committed after a run has read the store, but before the run returns, is not
// lost, whether or not there is another one to wait for.
func TestTimersKeepWhatIsReportedDuringARun(t *testing.T) {
	for _, other := range []time.Duration{0, 10 * time.Second, time.Minute} {
		t.Run(fmt.Sprint(other), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := []time.Duration{0, 30 * time.Second}
				d, _ := run(t, func(d *due, timers *retention.Timers) {
					if other > 0 {
						d.add(d.start.Add(other))
						want = append(want, other)
					}
					d.during = func() { later(d, timers, 30*time.Second) }
				})
				<-time.After(time.Hour)
				slices.Sort(want)
				d.expect(t, want...)
			})
		})
	}
}

func TestTimersBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const s = time.Second
		d, timers := run(t, func(d *due, _ *retention.Timers) { d.fails = 8 })
		// While every run fails, new due times do not cause more runs.
		later(d, timers, s/10)
		<-time.After(121 * s)
		want := []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s, 121 * s}
		synctest.Wait()
		d.expect(t, want...)
		if len(d.times) > 0 {
			t.Error("due messages are left")
		}
		// After a success, the backoff starts again at its first value.
		d.mu.Lock()
		d.fails = 1
		d.mu.Unlock()
		later(d, timers, 9*s)
		<-time.After(time.Hour)
		d.expect(t, append(want, 130*s, 131*s)...)
	})
}

func TestTimersLogFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := newDue()
		d.fails = 1
		timers := retention.NewTimers(slog.New(slog.NewTextHandler(&out, nil)), d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		timers.Run(ctx)
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "disk full") {
			t.Errorf("logged %q, want the failure and nothing else", got)
		}
	})
}

// The end of ctx is not logged as a failure.
func TestTimersEndQuietly(t *testing.T) {
	for name, prepare := range map[string]func(*due, context.CancelFunc){
		"while erasing":    func(d *due, cancel context.CancelFunc) { d.during = cancel },
		"while waiting":    func(d *due, _ context.CancelFunc) { d.add(d.start.Add(time.Hour)) },
		"while idle":       func(*due, context.CancelFunc) {},
		"before the start": func(_ *due, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				d := newDue()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				prepare(d, cancel)
				retention.NewTimers(slog.New(slog.NewTextHandler(&out, nil)), d).Run(ctx)
				d.expect(t, 0)
				if out.Len() > 0 {
					t.Errorf("logged %q", out.String())
				}
			})
		})
	}
}

// Setting the clock during a sleep makes the timers late by at most 15 s, and causes no run without
// a due message.
func TestTimersFollowTheWallClock(t *testing.T) {
	for name, tt := range map[string]struct {
		jump time.Duration // after 50 s
		want []time.Duration
	}{
		"is right":        {0, []time.Duration{0, 10 * time.Hour}},
		"is set forward":  {24 * time.Hour, []time.Duration{0, time.Minute}},
		"is set backward": {-2 * time.Hour, []time.Duration{0, 12 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				clock := func() time.Time {
					now := time.Now()
					if now.Sub(start) >= 50*time.Second {
						now = now.Round(0).Add(tt.jump)
					}
					return now
				}
				d, _ := run(t, func(d *due, timers *retention.Timers) {
					d.now = clock
					timers.SetClock(clock)
					d.add(d.start.Round(0).Add(10 * time.Hour))
				})
				<-time.After(20 * time.Hour)
				d.expect(t, tt.want...)
			})
		})
	}
}

// A store whose clock is behind keeps returning a due time that has passed by the job's
// clock: that must not become a busy loop.
func TestTimersDoNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := run(t, func(d *due, _ *retention.Timers) {
			d.now = func() time.Time { return time.Now().Add(-time.Second) }
			d.add(d.start)
		})
		<-time.After(2 * time.Second)
		d.mu.Lock()
		defer d.mu.Unlock()
		if n := len(d.calls); n < 2 || n > 102 || len(d.times) > 0 {
			t.Errorf("looked %d times, %d left", n, len(d.times))
		}
	})
}

// Many writers add due times at random: every message is erased soon after it is due.
func TestTimersUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, timers := run(t)
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for range 200 {
					later(d, timers, time.Duration(rand.Int64N(int64(10*time.Second))))
					<-time.After(time.Duration(rand.Int64N(int64(100 * time.Millisecond))))
				}
			})
		}
		writers.Wait()
		<-time.After(10 * time.Second)
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.times) > 0 || d.late > 20*time.Millisecond {
			t.Errorf("%d are left, the latest was %v late", len(d.times), d.late)
		}
	})
}
