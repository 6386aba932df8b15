package main

import (
	"errors"
	"time"

	"github.com/imapi/imapi/im"
)

// retentionValue is a flag for a retention.
type retentionValue struct{ keep *time.Duration }

func (v retentionValue) String() string {
	if v.keep == nil {
		return ""
	}
	return im.FormatRetention(*v.keep)
}

func (v retentionValue) Set(text string) error {
	keep, ok := im.ParseRetention(text)
	if !ok {
		return errors.New(im.RetentionRule)
	}
	*v.keep = keep
	return nil
}

// retention adds the flags for the retention of messages.
func (f flags) retention(p *im.Policy) {
	f.Var(retentionValue{&p.Retention}, "retention", "the `age` to which messages are kept: free (3d), basic (7d), advanced (90d), enterprise (180d), days such as 30d, or none to keep them forever")
	f.Var(retentionValue{&p.RetentionMax}, "retention-max", "the longest `age` that a conversation may set; none sets no limit")
}

// clockGuard adds the flag for the time that the clock is not trusted after a jump, for commands
// that trim messages.
func (f flags) clockGuard(p *im.Policy) {
	f.DurationVar(&p.ClockGuard, "clock-guard", p.ClockGuard, "the `duration` for which nothing is trimmed after the clock jumped ahead by more than a day, even across a restart; 0 trusts it at once")
}

// checkRetention refuses a default retention longer than conversations may choose, and a negative
// --clock-guard.
func checkRetention(p im.Policy) error {
	if p.ClockGuard < 0 {
		return misuse("--clock-guard: must not be negative")
	}
	if p.RetentionMax > 0 && p.Retention > p.RetentionMax {
		return misuse("--retention: must not be longer than --retention-max")
	}
	return nil
}
