package await

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestUndisturbed(t *testing.T) {
	for name, c := range map[string]struct {
		stands time.Duration // for which the process stands still in the first attempt
		fails  int           // the number of attempts that fail
		says   string        // how the message of the failed test begins, "" if it goes on
		made   int           // the number of attempts
	}{
		"success":                             {0, 0, "", 1},
		"success after a pause":               {12 * time.Second, 0, "", 1},
		"failure":                             {0, 1, "failed (", 1},
		"failure after an allowed pause":      {time.Second, 1, "failed (", 1},
		"failure after a pause":               {12 * time.Second, 1, "", 2},
		"failure after a pause and a failure": {12 * time.Second, 2, "failed (", 2},
		"failures and pauses for long":        {12 * time.Second, 1000, "no attempt in 5m0s was undisturbed: failed", 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				made, stood := 0, 5*time.Minute // before the first attempt, which does not count
				longest := func() time.Duration {
					defer func() { stood = 0 }()
					return stood
				}
				attempt := func() error {
					time.Sleep(time.Minute)
					if made++; made == 1 || c.fails > 2 {
						stood = c.stands
					}
					if made <= c.fails {
						return errors.New("failed")
					}
					return nil
				}
				f := &failing{TB: t}
				done := make(chan struct{})
				repeat := undisturbed // otherwise vet takes f for the test itself
				go func() {
					defer close(done)
					repeat(f, time.Second, longest, attempt)
				}()
				<-done
				if made != c.made || !strings.HasPrefix(f.says, c.says) || (f.says == "") != (c.says == "") {
					t.Errorf("made %d attempts and said %q, want %d and %q", made, f.says, c.made, c.says)
				}
			})
		})
	}
}
