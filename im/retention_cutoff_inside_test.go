package im

import (
	"testing"
	"time"
)

func TestCutoff(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	ago := func(days int) time.Time { return now.Add(-time.Duration(days) * day) }
	days := func(n int) *time.Duration {
		d := time.Duration(n) * day
		return &d
	}
	for name, test := range map[string]struct {
		policy Policy
		c      Conversation
		want   time.Time
	}{
		"kept forever":                         {Policy{}, Conversation{}, time.Time{}},
		"the policy's":                         {Policy{Retention: *days(7)}, Conversation{}, ago(7)},
		"its own":                              {Policy{Retention: *days(7)}, Conversation{Retention: days(90)}, ago(90)},
		"its own, forever":                     {Policy{Retention: *days(7)}, Conversation{Retention: days(0)}, time.Time{}},
		"no longer than the policy allows":     {Policy{RetentionMax: *days(30)}, Conversation{Retention: days(90)}, ago(30)},
		"not forever if the policy forbids it": {Policy{RetentionMax: *days(30)}, Conversation{Retention: days(0)}, ago(30)},
		"a trimming in progress is ahead":      {Policy{Retention: *days(7)}, Conversation{TrimBefore: ago(3)}, ago(3)},
		"a trimming in progress is behind":     {Policy{Retention: *days(7)}, Conversation{TrimBefore: ago(9)}, ago(7)},
		"past a shorter retention for good":    {Policy{}, Conversation{TrimBefore: ago(3)}, ago(3)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.policy.cutoff(test.c, now); !got.Equal(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
