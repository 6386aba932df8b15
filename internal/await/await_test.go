package await

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		asked := 0
		Until(t, "a second has passed", func() bool {
			asked++
			return time.Since(began) >= time.Second
		})
		if took := time.Since(began); took > time.Second+maxPause || asked > 30 {
			t.Errorf("done was called %d times in %v", asked, took)
		}
	})
}

// failing records the failure of a test.
type failing struct {
	testing.TB
	says string
}

func (f *failing) Helper() {}

func (f *failing) Logf(string, ...any) {}

func (f *failing) Fatalf(format string, args ...any) {
	f.says = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestUntilFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{TB: t}
		began := time.Now()
		wait := Until // otherwise vet takes f for the test itself
		go wait(f, "pigs fly", func() bool { return false })
		synctest.Wait()
		time.Sleep(Limit + time.Second)
		synctest.Wait()
		if f.says != "gave up after waiting 5m0s until pigs fly" || time.Since(began) < Limit {
			t.Errorf("said %q after %v", f.says, time.Since(began))
		}
	})
}
