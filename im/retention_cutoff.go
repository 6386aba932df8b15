package im

import "time"

// retention returns the time for which messages of a conversation with this setting are kept: the
// setting, up to the policy's maximum, or the policy's retention if the setting is nil; 0 means
// forever.
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
// now, zero if there is none. Reads, imports, exports and trimming all use it. A message that was
// past a shorter retention stays past retention, because of TrimBefore.
func (p Policy) cutoff(c Conversation, now time.Time) time.Time {
	return laterOf(p.cutoffOf(c.Retention, now), c.TrimBefore)
}

// cutoff returns [Policy.cutoff] as of now.
func (s *Service) cutoff(c Conversation) time.Time { return s.policy.cutoff(c, s.time()) }
