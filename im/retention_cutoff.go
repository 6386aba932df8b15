package im

import "time"

// retention returns how long messages of a conversation with this setting are kept: for the
// setting's time, up to the policy's maximum, or for the policy's if it is nil; 0 is for ever.
func (p Policy) retention(setting *time.Duration) time.Duration {
	keep := p.Retention
	if setting != nil {
		keep = *setting
	}
	if p.RetentionMax > 0 && (keep == 0 || keep > p.RetentionMax) {
		keep = p.RetentionMax
	}
	return keep
}

// cutoffOf returns the time before which messages are past retention at now in a
// conversation with this setting, zero if they never are.
func (p Policy) cutoffOf(setting *time.Duration, now time.Time) time.Time {
	keep := p.retention(setting)
	if keep == 0 {
		return time.Time{}
	}
	return now.Add(-keep)
}

// cutoff returns the time before which messages of the conversation are past retention at
// now, zero if there is none. It is the only rule: reads, imports, exports and trimming use
// it. A message that was past a shorter retention stays past retention, which TrimBefore
// says.
func (p Policy) cutoff(c Conversation, now time.Time) time.Time {
	return laterOf(p.cutoffOf(c.Retention, now), c.TrimBefore)
}

// cutoff is [Policy.cutoff] now.
func (s *Service) cutoff(c Conversation) time.Time { return s.policy.cutoff(c, s.time()) }
